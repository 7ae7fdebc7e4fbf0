"""Rows and pre-activations against the laws that theory predicts for them (THEORY section 2).

A run has finitely many rows and samples, so its empirical laws are never at distance zero from the predicted ones. The
yardstick is what independent draws from the predicted law would show at that size, the null level. It falls like
n^-1/2; so does what the fluctuation of a run's own coefficients adds to it. Hence the claim: distances fall like
n^-1/2, and the shape of the rows' law, standardized, is at its null level.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import special, stats

from analysis import null_levels, style
from analysis.power_law import judge, power_law, power_line
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict, without_laws
from analysis.solver_error import freedom, reach

__all__ = ["LAWS", "SECTION", "gaussian_fluctuations"]

EXPECTED, MARGIN = -0.5, 0.25
LEAST_SIZES, LEAST_REPLICATES = 3, 4
AT_NULL = 1.05
"""Ratio to the null level up to which a distance is at it."""
MOST_COLUMNS = 4
LAWS = {
    "rows": "rows",
    "covariance": "covariance of the rows",
    "shape": "shape of the rows' law",
    "pre_activation": "pre-activations",
    "joint": "pre-activations times response",
}
METRICS = {"kolmogorov": "Kolmogorov", "wasserstein": "Wasserstein", "frobenius": "relative Frobenius"}
QUANTILES = {"rows": "row residuals, whitened", "pre_activation": "pre-activations"}
NEEDED = (
    *("row_kolmogorov", "row_wasserstein", "row_residual_quantiles", "row_residual_covariance"),
    *("pre_activation_kolmogorov", "pre_activation_wasserstein", "pre_activation_quantiles"),
    *("pre_activation_response_kolmogorov", "pre_activation_response_wasserstein"),
)
_INNER = ("n", "replicate", "iteration", "neuron", "scale")


class _Comparison(NamedTuple):
    """One distance of a law, as arrays on grid axes, n and iteration.

    Attributes
    ----------
    law, metric : str
        Keys of `LAWS` and `METRICS`.
    runs : DataArray
        The distance of each replicate to the `power`, mean over units.
    null : DataArray
        Its null level.
    doubt : DataArray
        At most what the theory's own error is, in units of the null level.
    power : int
        1 if distances of replicates are averaged, 2 for a root mean square.
    """

    law: str
    metric: str
    runs: xr.DataArray
    null: xr.DataArray
    doubt: xr.DataArray
    power: int = 1


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
    draws : int
        Bootstrap draws, of whole replicates.
    level : float
        Coverage of the intervals of all exponents together, and of all ratios at one size (Bonferroni).
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Dataset
        Along ``comparison``, a pair of coordinates ``law`` (keys of `LAWS`) and ``metric``. On (comparison, grid axes,
        n): ``distance``, mean over replicates, units and iterations after the first, with ``distance_stderr``; for the
        covariance the relative Frobenius distance, its root mean square over replicates. ``null``, its null level, NaN
        where it is not known; ``ratio`` of the two with ``ratio_low``, ``ratio_high``; ``doubt``, at most what the
        theory's own error is in units of the null level. On (comparison, grid axes): ``exponent`` with ``_low`` and
        ``_high``. The same without grid axes, over all cells: ``overall_ratio`` and ``overall_exponent``.
        On (part, grid axes, n, probability), at the last iteration: ``quantile_excess``, quantile minus what it is on
        average for as many draws of the predicted law, mean over units and replicates, with
        ``quantile_excess_stderr``; and on (part, n, probability) or with the axes of d: ``normal_quantile``.
    """
    axes = [dim for dim in simulation["row_kolmogorov"].dims if dim not in _INNER]
    compared = [one for one in _comparisons(simulation, theory) if bool(np.isfinite(one.runs).any())]
    rng = np.random.default_rng(seed)
    exponents = len(compared) * len(style.cells(simulation["train_error"]))
    each = 1 - (1 - level) / exponents
    compared.sort(key=lambda one: list(LAWS).index(one.law))
    result = xr.concat([_measure(one, axes, rng, draws, each) for one in compared], "comparison")
    for key in ("law", "metric"):
        result = result.assign_coords({key: ("comparison", np.array([getattr(one, key) for one in compared], object))})
    result = result.merge(_quantiles(simulation, theory))
    for name, words in _WORDS.items():
        result[name].attrs["long_name"] = words
    result.attrs = {"draws": draws, "level": level, "bootstrap_seed": seed}
    return result


_WORDS = {
    "distance": "mean distance of an empirical law from the predicted one",
    "distance_stderr": "bootstrap standard error of the distance",
    "null": "distance that independent draws from the predicted law show on average",
    "ratio": "distance over its null level",
    "doubt": "at most the theory's own error, in units of the null level",
    "exponent": "exponent of n of the distance",
    "quantile_excess": "quantile minus its average for draws of the predicted law",
    "quantile_excess_stderr": "standard error of the excess over replicates",
    "normal_quantile": "normal quantile, average for as many draws",
}


def _comparisons(simulation: xr.Dataset, theory: xr.Dataset) -> Iterator[_Comparison]:
    """List every distance, from the first step on: at the start rows have no noise."""
    runs, predicted = (group.isel(iteration=slice(1, None)) for group in (simulation, theory))
    n, d = runs["n"], _features(runs)
    draws_of_theory = (n / runs.attrs.get("theory_samples", np.nan)) ** 0.5  # their error, were they independent
    covariance = _covariance(runs, predicted, d)
    widths = np.diff(special.ndtri(runs["probability"].values))
    normal = _by_size(lambda size: float(null_levels.wasserstein_shares(size, runs["probability"].values) @ widths), d)
    shares = xr.DataArray(
        np.stack([null_levels.wasserstein_shares(int(size), runs["probability"].values) for size in n.values]),
        {"n": n.values, "probability": runs["probability"].values[1:]},
        ("n", "probability"),
    )
    quantiles = predicted["pre_activation_quantiles"]
    unit = xr.dot(quantiles.diff("probability"), shares, dim="probability").mean("neuron")
    largest = _by_size(null_levels.kolmogorov, n)
    distances: dict[tuple[str, str], tuple[str, xr.DataArray, xr.DataArray]] = {
        ("rows", "kolmogorov"): ("row", _by_size(null_levels.kolmogorov, d), covariance.doubt),
        ("rows", "wasserstein"): ("row", normal, covariance.doubt),
        ("shape", "kolmogorov"): ("row", _by_size(lambda size: null_levels.standardized(size).kolmogorov, d), 0 * n),
        ("shape", "wasserstein"): ("row", _by_size(lambda size: null_levels.standardized(size).wasserstein, d), 0 * n),
        ("pre_activation", "kolmogorov"): ("pre_activation", largest, draws_of_theory),
        ("pre_activation", "wasserstein"): ("pre_activation", unit, draws_of_theory),
        ("joint", "kolmogorov"): ("pre_activation_response", largest, draws_of_theory),
        # Quantiles of this law are not kept, and the unit of the distance with them.
        ("joint", "wasserstein"): ("pre_activation_response", np.nan * n, draws_of_theory),
    }
    for (law, metric), (stored, null, doubt) in distances.items():
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
    trace = matrix.where(matrix["neuron"] == matrix["neuron_"]).sum(units, min_count=1)
    null = ((trace**2 / square + 1) / d) ** 0.5
    doubt = reach(freedom(predicted)) * ((solver**2).sum(units, min_count=1) / square) ** 0.5 / null
    features = runs.coords.get("covariance", xr.DataArray(runs.attrs.get("covariance", "identity")))
    null = null.where(features == "identity")
    return _Comparison(
        "covariance", "frobenius", ((found - matrix) ** 2).sum(units, min_count=1) / square, null, doubt, 2
    )


def _features(runs: xr.Dataset) -> xr.DataArray:
    """Number of features, which follows n unless it is fixed."""
    return runs["d"] if "d" in runs.coords else xr.DataArray(int(runs.attrs["d"]))


def _by_size(function: Callable[[int], float], sizes: xr.DataArray) -> xr.DataArray:
    return sizes.copy(data=np.reshape([function(int(size)) for size in sizes.values.flat], sizes.shape))


def _measure(one: _Comparison, axes: list[Hashable], rng: np.random.Generator, draws: int, level: float) -> xr.Dataset:
    runs = one.runs.transpose("n", *axes, "replicate", "iteration")
    template = runs.isel(replicate=0, drop=True)
    values = runs.values.reshape(-1, runs.sizes["replicate"], runs.sizes["iteration"])
    drawn = np.stack([_means(cell, rng, draws) for cell in values], axis=1).reshape(draws + 1, *template.shape)
    distance = xr.DataArray(drawn ** (1 / one.power), template.coords, ("draw", *template.dims))
    ratio = (distance / one.null).mean("iteration")
    fewest = max(2, int(np.isfinite(values).any(-1).sum(-1).min()))
    lines = distance.values.reshape(draws + 1, runs.sizes["n"], -1, runs.sizes["iteration"])
    fit = power_law(runs["n"].values, lines[0], lines[1:], fewest, level=level)
    shape = [runs.sizes[axis] for axis in axes]
    result = xr.Dataset(coords={dim: runs[dim] for dim in ("n", *axes)})
    mean = distance.mean("iteration")
    result["distance"], result["distance_stderr"] = mean[0], mean[1:].std("draw")
    for name, array in (("null", one.null), ("doubt", one.doubt)):
        known = array.broadcast_like(template).where(np.isfinite(template))
        result[name] = known.mean("iteration") if name == "null" else known.max("iteration")
    reach = np.sqrt(fewest / (fewest - 1)) * stats.t.ppf((1 + level) / 2, fewest - 1)
    for prefix, part in (("", ratio), ("overall_", ratio.mean(axes))):
        half = reach * part[1:].std("draw")
        for suffix, sign in (("", 0), ("_low", -1), ("_high", 1)):
            result[f"{prefix}ratio{suffix}"] = part[0] + sign * half
    for suffix, single, common in zip(("", "_low", "_high"), fit.grouped, fit.common, strict=True):
        result[f"exponent{suffix}"] = (axes, single.reshape(shape))
        result[f"overall_exponent{suffix}"] = ((), common)
    return result.reset_coords(drop=True)


def _means(runs: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Mean over replicates and its bootstrap draws, (replicate, iteration) to (1 + draws, iteration)."""
    present = runs[np.isfinite(runs).any(1)]
    count = len(present)
    if count < LEAST_REPLICATES:
        return np.full((draws + 1, runs.shape[1]), np.nan)
    counts = np.concatenate([np.ones((1, count)), rng.multinomial(count, np.full(count, 1 / count), draws)])
    finite = np.isfinite(present)
    with np.errstate(invalid="ignore"):
        return counts @ np.where(finite, present, 0.0) / (counts @ finite)


def _quantiles(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Compare quantiles at the last iteration, for Q-Q plots.

    Quantile p of N draws is on average that of the law at ((N - 1) p + 5/8)/(N + 1/4), after Blom.
    """
    runs, predicted = simulation.isel(iteration=-1, drop=True), theory.isel(iteration=-1, drop=True)
    probability = runs["probability"]
    rows, samples = (
        xr.apply_ufunc(special.ndtri, ((size - 1) * probability + 0.625) / (size + 0.25))
        for size in (_features(runs), runs["n"])
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
        error = excess.std("replicate", ddof=1) / np.sqrt(excess.count("replicate"))
        one = {"quantile_excess": excess.mean("replicate"), "quantile_excess_stderr": error, "normal_quantile": at}
        parts.append(xr.Dataset(one).reset_coords(drop=True))
    return xr.concat(parts, "part").assign_coords(part=np.array(list(QUANTILES), dtype=object))


def _interpolated(at: np.ndarray, nodes: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    return np.interp(at, nodes, quantiles) if np.isfinite(quantiles).all() else np.full(at.shape, np.nan)


def _findings(measured: xr.Dataset) -> list[Finding]:
    cells = style.cells(measured["exponent"], extra=("comparison",))
    varied = {axis for axis in cells[0] if measured.sizes[axis] > 1}
    one_by_one = len(varied) <= 1  # the cells of a larger grid are in the table
    found = []
    for law, words in LAWS.items():
        here = measured.isel(comparison=np.flatnonzero(measured["law"].values == law))
        if not here.sizes["comparison"]:
            continue
        for cell in cells if one_by_one else [None]:
            subject = ", ".join(filter(None, (words, style.cell_words(cell or {}))))
            each = [_finding(subject, here.isel(comparison=i), cell) for i in range(here.sizes["comparison"])]
            found.append(min(each, key=lambda finding: _GRAVEST.index(finding.verdict)))
    return found


_GRAVEST: tuple[Verdict, ...] = ("fails", "undecided", "holds")


def _finding(subject: str, one: xr.Dataset, cell: Mapping[Hashable, Any] | None) -> Finding:
    """Judge one distance of a law in one cell, or in all together."""
    prefix, one = ("overall_", one) if cell is None else ("", one.sel(cell))
    value, low, high = (float(one[f"{prefix}exponent{suffix}"]) for suffix in ("", "_low", "_high"))
    answer, words = judge(low, high, EXPECTED, margin=MARGIN)
    if high < EXPECTED:  # the null level falls like n^-1/2, so this cannot go on
        answer, words = "holds", "faster than n^-1/2 over these n, an excess over the null level that dies out"
    last = one.isel(n=-1)
    if answer != "holds" and np.isfinite(low) and float(last["doubt"].max()) > 1:
        answer, words = "undecided", f"{words}; the theory has too few samples to tell at the largest n"
    ratio, least, most = (float(last[f"{prefix}ratio{suffix}"]) for suffix in ("", "_low", "_high"))
    if answer == "holds" and str(one["law"].values) == "shape" and least > AT_NULL:
        answer, words = "undecided", f"{words}, yet above the null level"
    if np.isfinite(ratio):
        words += f"; at n = {int(last['n']):,} {ratio:.2f} [{least:.2f}, {most:.2f}] times its null level"
    return Finding(subject, answer, words, f"exponent, {METRICS[str(one['metric'].values)]} distance", value, low, high)


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    cells = style.cells(measured["exponent"], extra=("comparison",))
    exponents, levels = [], []
    for i in range(measured.sizes["comparison"]):
        for cell in cells:
            one = measured.isel(comparison=i).sel(cell)
            last = one.isel(n=-1)
            words = LAWS[str(one["law"].values)], METRICS[str(one["metric"].values)]
            place = (*words, *(f"{v:g}" if isinstance(v, float) else str(v) for v in cell.values()))
            value, low, high = (float(one[f"exponent{suffix}"]) for suffix in ("", "_low", "_high"))
            exponents.append((*place, style.number_text(value), style.interval_text(low, high)))
            distance, ratio, least, most, doubt = (
                f"{float(last[name]):.3g}" if np.isfinite(last[name]) else "-"
                for name in ("distance", "ratio", "ratio_low", "ratio_high", "doubt")
            )
            levels.append((*place, distance, ratio, "-" if least == "-" else f"[{least}, {most}]", doubt))
    headings = ("law", "distance", *map(str, cells[0]))
    jointly = f"interval, all {measured.attrs['level']:.0%}"
    return [
        Tabulated(
            "Distance of empirical laws from the predicted ones ~ n^exponent; the intervals hold together",
            (*headings, "exponent", jointly),
            exponents,
        ),
        Tabulated(
            f"The same at n = {int(measured['n'][-1]):,}, its ratio to the null level, and at most what the theory's "
            "own error is in units of the null level",
            (*headings, "size", "ratio", jointly, "theory's error"),
            levels,
        ),
    ]


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    return [
        Captioned("gaussian_fluctuations", _distances_figure(measured), _DISTANCES_CAPTION),
        Captioned("gaussian_fluctuations_quantiles", _quantiles_figure(measured), _QUANTILES_CAPTION),
    ]


def _distances_figure(measured: xr.Dataset) -> Figure:
    shown, left_out = style.shown_cells(style.cells(measured["exponent"], extra=("comparison",)))
    figure, rows = style.small_multiples(measured.sizes["comparison"], 3, width=3.5, height=2.5, sharey=True)
    n = measured["n"].values.astype(float)
    looks = style.styles(len(shown))
    for i, ax in enumerate(ax for row in rows for ax in row):
        for cell, (colour, marker) in zip(shown, looks, strict=True):
            one = measured.isel(comparison=i).sel(cell)
            level = one["distance"].values
            ax.errorbar(
                n, level, one["distance_stderr"], color=colour, marker=marker, ms=4, lw=0, elinewidth=1, zorder=3
            )
            ax.plot(n, one["null"], color=colour, lw=1.2, ls=(0, (1, 2)))
            slope = float(one["exponent"])
            if np.isfinite(slope):
                ax.plot(n, power_line(n, level, slope), color=colour, lw=1.1)
        one = measured.isel(comparison=i)
        ax.set_yscale("log")
        ax.set_title(f"{LAWS[str(one['law'].values)]}\n{METRICS[str(one['metric'].values)]} distance", fontsize=9)
        style.plain(ax)
        style.sizes_on_axis(ax, n)
    style.label_edges(rows, "samples n", "distance")
    style.title(figure, "Distance of empirical laws from the predicted ones", left_out)
    handles = style.keys((style.cell_words(cell) or "simulation" for cell in shown), lw=1.1)
    handles.append(Line2D([], [], color=style.GREY, lw=1.2, ls=(0, (1, 2)), label="null level"))
    style.legend(figure, handles, columns=4)
    return figure


def _quantiles_figure(measured: xr.Dataset) -> Figure:
    every = style.cells(measured["exponent"], extra=("comparison",))
    shown, left_out = style.shown_cells(every, MOST_COLUMNS)
    figure, rows = style.small_multiples(2 * len(shown), len(shown), width=3.3, height=2.7, sharey="row")
    ends = ((0, style.COLOURS[1], "o"), (-1, style.COLOURS[0], "s"))
    for row, (part, words) in zip(rows, QUANTILES.items(), strict=True):
        for ax, cell in zip(row, shown, strict=True):
            one = measured.sel(part=part, **{str(axis): value for axis, value in cell.items()})
            for end, colour, marker in ends:
                at = one.isel(n=end)
                error = 2 * at["quantile_excess_stderr"]
                place = at["normal_quantile"], at["quantile_excess"]
                ax.errorbar(*place, error, color=colour, marker=marker, ms=3.5, lw=0, elinewidth=1)
            ax.axhline(0, color=style.THEORY, lw=1.2, ls=(0, (1, 2)), zorder=1)
            ax.set_title(", ".join(filter(None, (words, style.cell_words(cell)))), fontsize=9)
            style.plain(ax)
        row[0].set_ylabel("quantile minus predicted")
    for ax in rows[-1]:
        ax.set_xlabel("normal quantile")
    style.title(figure, "Q-Q plots at the last iteration, as differences from the diagonal", left_out)
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=4, lw=1, label=f"n = {int(measured['n'][end]):,}")
        for end, colour, marker in ends
    ]
    handles.append(Line2D([], [], color=style.THEORY, lw=1.2, ls=(0, (1, 2)), label="predicted law"))
    style.legend(figure, handles, columns=3)
    return figure


_DISTANCES_CAPTION = (
    "Points: mean over replicates, units and iterations; bars: bootstrap standard errors; solid: the fitted exponent. "
    "Dotted: the null level, what independent draws of the predicted law show on average at that size. Rows and their "
    "covariance may stay above it by a factor, since a run's own coefficients fluctuate by as much; their shape, "
    "standardized, may not."
)
_QUANTILES_CAPTION = (
    "Quantile of a run minus its average for as many draws of the predicted law, mean over units and replicates, "
    "against the normal quantile; bars: two standard errors. Neighbouring quantiles of a run move together. Heavy "
    "tails would show as an S, a wrong variance as a slope, a wrong mean as a shift. The slope of the rows falls like "
    "1/n: deeper weights fluctuate, which widens the rows."
)


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    return without_laws(simulation, NEEDED, LEAST_SIZES, LEAST_REPLICATES)


SECTION = Section(
    "gaussian_fluctuations",
    "Are first-layer rows Gaussian with the predicted covariance, and pre-activations as predicted?",
    _unanswerable,
    gaussian_fluctuations,
    _findings,
    _figures,
    _tables,
)
