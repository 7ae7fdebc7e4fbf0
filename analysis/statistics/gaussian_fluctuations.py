"""Rows and pre-activations against the laws that theory predicts for them.

A run has finitely many rows and samples, so its empirical laws are never at distance zero from the predicted ones
(docs/theory.md#law-of-rows, docs/theory.md#law-of-pre-activations). The yardstick is what independent draws from the
predicted law would show at that size, the null level. It falls like n^-1/2; so does what the fluctuation of a run's own
coefficients adds to it. Hence the claim: distances fall like n^-1/2, and the shape of the rows' law, standardized, is
at its null level.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy import special

from analysis.statistics import null_levels
from analysis.statistics.arguments import measure
from analysis.statistics.bootstrap import Bootstrap, means
from analysis.statistics.datasets import diagonal, features_of, grid_axes, larger_half, standard_error, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.intervals import student
from analysis.statistics.power_law import power_law
from analysis.statistics.solver_error import freedom, reach

__all__ = ["LAWS", "LEAST_REPLICATES", "METRICS", "NEEDED", "QUANTILES", "gaussian_fluctuations"]

LEAST_REPLICATES = 4
LAWS = ("rows", "covariance", "shape", "pre_activation", "joint")
METRICS = ("kolmogorov", "wasserstein", "frobenius")
QUANTILES = ("rows", "pre_activation")
NEEDED = (
    *("row_kolmogorov", "row_wasserstein", "row_residual_quantiles", "row_residual_covariance"),
    *("pre_activation_kolmogorov", "pre_activation_wasserstein", "pre_activation_quantiles"),
    *("pre_activation_response_kolmogorov", "pre_activation_response_wasserstein"),
)


class _Comparison(NamedTuple):
    """One distance of a law, as arrays on grid axes, n and iteration."""

    law: str
    metric: str
    runs: xr.DataArray  # the distance of each replicate to the power below, mean over units
    null: xr.DataArray  # its null level
    doubt: xr.DataArray  # at most what the theory's own error is, in units of the null level
    power: int = 1  # 2 for a root mean square over replicates instead of a mean


@measure("row_residual_quantiles", "n")
def gaussian_fluctuations(
    simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 400, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Measure distances of empirical laws from the predicted ones, their exponents of n and their null levels.

    Parameters
    ----------
    simulation : Dataset
        Of a sweep with ``laws=true``, on (grid axes..., n, replicate, iteration, ...), with ``d`` as coordinate or
        attribute.
    theory : Dataset
        ``noise_covariance`` and ``pre_activation_quantiles``.
    draws, seed : int
        Of the bootstrap (`analysis.statistics.bootstrap`).
    level : float
        Coverage of the intervals of all exponents together, and of all ratios at one size (Bonferroni).

    Returns
    -------
    Dataset
        Along ``comparison``, a pair of coordinates ``law`` (`LAWS`) and ``metric`` (`METRICS`). On (comparison, grid
        axes, n): ``distance``, mean over replicates, units and iterations after the first, with ``distance_stderr``;
        for the covariance the relative Frobenius distance, its root mean square over replicates. ``null``, its null
        level, NaN where it is not known; ``ratio`` of the two with ``ratio_low``, ``ratio_high``; ``doubt``, at most
        what the theory's own error is in units of the null level. On (comparison, grid axes): ``exponent`` with
        ``_low`` and ``_high``. The same without grid axes, over all cells: ``overall_ratio`` and ``overall_exponent``.
        On (part, grid axes, n, probability), at the last iteration: ``quantile_excess``, quantile minus what it is on
        average for as many draws of the predicted law, mean over units and replicates, with
        ``quantile_excess_stderr``; and on (part, n, probability) or with the axes of d: ``normal_quantile``.
        The attribute ``together`` is how many intervals hold together.

    Notes
    -----
    Distances: docs/theory.md#kolmogorov-distance, docs/theory.md#wasserstein-distance.
    """
    runs, predicted = without_diverged(simulation), without_diverged(theory)
    axes = grid_axes(runs["row_kolmogorov"])
    compared = [one for one in _comparisons(runs, predicted) if bool(np.isfinite(one.runs).any())]
    compared.sort(key=lambda one: LAWS.index(one.law))
    exponents = len(compared) * int(np.prod([runs.sizes[axis] for axis in axes], dtype=int))
    each, bootstrap = 1 - (1 - level) / exponents, Bootstrap(draws, seed)
    result = xr.concat([_measure(one, axes, bootstrap, each) for one in compared], "comparison")
    for key in ("law", "metric"):
        result = result.assign_coords({key: ("comparison", np.array([getattr(one, key) for one in compared], object))})
    result = result.merge(_quantiles(runs, predicted))
    return worded(result, _WORDS, draws=draws, level=level, together=exponents, bootstrap_seed=seed)


_WORDS = {
    "distance": "mean distance of an empirical law from the predicted one",
    "null": "distance that independent draws from the predicted law show on average",
    "ratio": "distance over its null level",
    "overall_ratio": "distance over its null level, all cells together",
    "doubt": "at most the theory's own error, in units of the null level",
    "exponent": "exponent of n of the distance",
    "overall_exponent": "exponent of n of the distance, all cells together",
    "quantile_excess": "quantile minus its average for draws of the predicted law",
    "normal_quantile": "normal quantile, average for as many draws",
}


def _comparisons(simulation: xr.Dataset, theory: xr.Dataset) -> Iterator[_Comparison]:
    """List every distance, from the first step on: at the start rows have no noise."""
    runs, predicted = (group.isel(iteration=slice(1, None)) for group in (simulation, theory))
    n, d, probability = runs["n"], features_of(runs), runs["probability"].values
    draws_of_theory = (n / runs.attrs.get("theory_samples", np.nan)) ** 0.5  # their error, were they independent
    covariance = _covariance(runs, predicted, d)
    shares = xr.DataArray(
        np.stack([null_levels.wasserstein_shares(int(size), probability) for size in n.values]),
        {"n": n.values, "probability": probability[1:]},
        ("n", "probability"),
    )
    unit = xr.dot(predicted["pre_activation_quantiles"].diff("probability"), shares, dim="probability").mean("neuron")
    widths = np.diff(special.ndtri(probability))
    normal = _by_size(lambda size: float(null_levels.wasserstein_shares(size, probability) @ widths), d)
    shape_first = _by_size(lambda size: null_levels.standardized(size).kolmogorov, d)
    shape_second = _by_size(lambda size: null_levels.standardized(size).wasserstein, d)
    of_rows, of_samples = (_by_size(null_levels.kolmogorov, size) for size in (d, n))
    # By law: the stored name, the null levels of Kolmogorov's and Wasserstein's distance, and theory's own error.
    # Of the last law no quantiles are kept, and the unit of the second distance with them.
    laws: dict[str, tuple[str, xr.DataArray, xr.DataArray, xr.DataArray]] = {
        "rows": ("row", of_rows, normal, covariance.doubt),
        "shape": ("row", shape_first, shape_second, 0 * n),
        "pre_activation": ("pre_activation", of_samples, unit, draws_of_theory),
        "joint": ("pre_activation_response", of_samples, np.nan * n, draws_of_theory),
    }
    for law, (stored, first, second, doubt) in laws.items():
        for metric, null in zip(METRICS, (first, second), strict=False):
            distance = runs[f"{stored}_{metric}"].mean("neuron")
            if "scale" in distance.dims:
                distance = distance.sel(scale="own" if law == "shape" else "predicted", drop=True)
            yield _Comparison(law, metric, distance, null, doubt)
    yield covariance


def _covariance(runs: xr.Dataset, predicted: xr.Dataset, d: xr.DataArray) -> _Comparison:
    """Compare the mean outer product of d residuals: of independent ones its mean square error is (tr^2 + |.|^2)/d.

    Rows that differ in law have a larger null level, which cannot be had from what is stored: NaN.
    """
    units = ("neuron", "neuron_")
    matrix, found = predicted["noise_covariance"], runs["row_residual_covariance"]
    solver = predicted.get("noise_covariance_stderr", xr.zeros_like(matrix))
    square = (matrix**2).sum(units, min_count=1)
    null = ((diagonal(matrix).sum("neuron", min_count=1) ** 2 / square + 1) / d) ** 0.5
    doubt = reach(freedom(predicted)) * ((solver**2).sum(units, min_count=1) / square) ** 0.5 / null
    features = runs.coords.get("covariance", xr.DataArray(runs.attrs.get("covariance", "identity")))
    distance = ((found - matrix) ** 2).sum(units, min_count=1) / square
    return _Comparison("covariance", "frobenius", distance, null.where(features == "identity"), doubt, 2)


def _by_size(function: Callable[[int], float], sizes: xr.DataArray) -> xr.DataArray:
    return sizes.copy(data=np.reshape([function(int(size)) for size in sizes.values.flat], sizes.shape))


def _measure(one: _Comparison, axes: list[Hashable], bootstrap: Bootstrap, level: float) -> xr.Dataset:
    runs = one.runs.transpose(*axes, "n", "replicate", "iteration")
    template = runs.isel(replicate=0, drop=True)
    shape = [runs.sizes[axis] for axis in axes]
    values = runs.values.reshape(-1, *runs.shape[len(axes) :])
    drawn = np.full((1 + bootstrap.draws, *values.shape[:2], values.shape[-1]), np.nan)
    for place in np.ndindex(values.shape[:2]):
        present = np.isfinite(values[place]).any(1)
        if present.sum() >= LEAST_REPLICATES:
            drawn[:, *place] = means(bootstrap.counts(present, *place), values[place])
    drawn **= 1 / one.power
    fewest = max(2, int(np.isfinite(values).any(-1).sum(-1).min()))
    fit = power_law(runs["n"].values, drawn, fewest, level=level)
    distance = xr.DataArray(drawn.reshape(-1, *template.shape), template.coords, ("draw", *template.dims))
    ratio = (distance / one.null).mean("iteration")
    mean = distance.mean("iteration")
    variables: dict[str, Any] = {"distance": mean[0], "distance_stderr": mean[1:].std("draw")}
    for name, array in (("null", one.null), ("doubt", one.doubt)):
        known = array.broadcast_like(template).where(np.isfinite(template))
        variables[name] = known.mean("iteration") if name == "null" else known.max("iteration")
    for name, part in (("ratio", ratio), ("overall_ratio", ratio.mean(axes))):
        part = part.transpose("draw", ...)
        variables |= student(part.values, fewest, level).variables(name, *part.dims[1:])
    variables |= fit.grouped.variables("exponent", *axes, shape=tuple(shape))
    variables |= fit.common.variables("overall_exponent")
    variables["larger_from"] = runs["n"].values[larger_half(runs.sizes["n"])]
    return xr.Dataset(variables, coords={dim: runs[dim] for dim in ("n", *axes)}).reset_coords(drop=True)


def _quantiles(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Compare quantiles at the last iteration, for Q-Q plots.

    Quantile p of N draws is on average that of the law at ((N - 1) p + 5/8)/(N + 1/4), after Blom.
    """
    runs, predicted = simulation.isel(iteration=-1, drop=True), theory.isel(iteration=-1, drop=True)
    probability = runs["probability"]
    rows, samples = (
        xr.apply_ufunc(special.ndtri, ((size - 1) * probability + 0.625) / (size + 0.25))
        for size in (features_of(runs), runs["n"])
    )
    law = xr.apply_ufunc(
        lambda at, quantiles: _interpolated(at, special.ndtri(probability.values), quantiles),
        *xr.broadcast(samples, predicted["pre_activation_quantiles"]),
        input_core_dims=[["probability"], ["probability"]],
        output_core_dims=[["probability"]],
        vectorize=True,
    )
    parts = []
    for name, at, expected in (("row_residual", rows, rows), ("pre_activation", samples, law)):
        excess = (runs[f"{name}_quantiles"] - expected).mean("neuron")
        one = {
            "quantile_excess": excess.mean("replicate"),
            "quantile_excess_stderr": standard_error(excess),
            "normal_quantile": at,
        }
        parts.append(xr.Dataset(one).reset_coords(drop=True))
    return xr.concat(parts, "part").assign_coords(part=np.array(QUANTILES, dtype=object))


def _interpolated(at: np.ndarray, nodes: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    return np.interp(at, nodes, quantiles) if np.isfinite(quantiles).all() else np.full(at.shape, np.nan)
