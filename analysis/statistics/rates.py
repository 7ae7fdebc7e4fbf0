"""How fast simulation approaches theory as n grows.

A replicate minus theory is a finite-size fluctuation, O(n^-1/2), plus a finite-size bias, O(1/n), plus the error of the
solver that computed the theory, the same for every n that shares a solution (docs/theory.md#decomposition). The three
are reported apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.bias import bias_law
from analysis.statistics.bootstrap import Bootstrap
from analysis.statistics.datasets import LEAST_SIZES, by_observable, in_both, larger_half, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.halves import WORDS as HALVES_WORDS
from analysis.statistics.halves import halves_bias
from analysis.statistics.intervals import spread, student
from analysis.statistics.loglog import half_log, weights
from analysis.statistics.moments import ROUNDING, Moments, moments
from analysis.statistics.power_law import fit_powers
from analysis.statistics.stack import Stack, stack
from sedyn.errors import InvalidInput
from sedyn.model.observables import HALVES

__all__ = ["OBSERVABLES", "PARTS", "REASONS", "compared", "rates"]

OBSERVABLES = (
    *("train_error", "test_error", "train_error_rate", "test_error_rate"),
    *("signal_overlap", "row_average", "deep_weights", "biases"),
)
"""Stored names that `rates` compares where theory predicts them, unless told otherwise."""

PARTS = ("distance", "fluctuation")
"""What exponents are fitted to: the distance to theory, and the standard deviation over replicates alone."""

REASONS = (
    "fitted",
    "nothing finished yet, or not defined here",
    "exact by construction: no finite-size error to measure",
    "hidden by the error of the average over fresh data",
    "fewer than 2 replicates",
    "fewer than 3 values of n",
)
"""Why a fit has or lacks an exponent; ``reason`` counts into this tuple."""

LEAST_REPLICATES = 2
NUMERICAL_ALLOWANCE = 5.0
"""A difference without fluctuation and within so many numerical errors is numerical, not of finite size."""
READOUT_ALLOWANCE = 2.0
"""A fluctuation within so many errors of the simulation's own average over fresh data is no fluctuation; nor is one
within so many standard errors of zero, where the errors of these averages are taken out."""


@measure()
def rates(
    simulation: xr.Dataset,
    theory: xr.Dataset,
    *,
    observables: Sequence[str] | None = None,
    draws: int = 1000,
    level: float = 0.95,
    solver_tolerance: float = 0.1,
    without_readout: bool = False,
    seed: int = 0,
) -> xr.Dataset:
    """Measure how fast simulation approaches theory as n grows.

    For each observable, grid cell and iteration, ``distance(n)`` is the root of the mean square, over replicates and
    over the entries of a vector or matrix observable, of replicate minus theory. Its square is split, without bias,
    into fluctuation (variance over replicates), squared bias (mean minus theory) and squared solver error. A straight
    line is fitted to log distance against log n with weights from the distance's standard errors. Fits with a
    common slope and separate intercepts give one exponent per cell (over iterations) and one overall (over cells and
    iterations). What has diverged (`analysis.statistics.divergence`) is left out.

    Parameters
    ----------
    simulation : Dataset
        Observables with dimensions (grid axes..., replicate, iteration, entries...), ``n`` among the grid axes. NaN
        where unfinished, diverged or padded.
    theory : Dataset
        The same without ``replicate``, and ``<name>_stderr``, the solver's standard error.
    observables : sequence of str, optional
        Names to compare; those that are not in both datasets are left out. `compared` unless given.
    draws, seed : int
        Of the bootstrap (`analysis.statistics.bootstrap`).
    level : float
        Coverage of the intervals.
    solver_tolerance : float
        The solver's error is called negligible below this fraction of the smallest distance.
    without_readout : bool
        Whether the error of a simulation's own average over fresh data is taken out of distance and fluctuation, where
        it is not small beside them, as for error rates. Its mean square is known without bias, so theirs stay so.

    Returns
    -------
    Dataset
        On (observable, grid axes, n, iteration): ``distance``, ``fluctuation`` (a standard deviation),
        ``bias_squared`` (it can be negative), each with ``_stderr``; ``solver_error``; ``readout_error`` (standard
        error of a simulation's own average over fresh data, part of the fluctuation unless taken out);
        ``replicates``.
        On (observable, part, grid axes, iteration): ``exponent``, ``exponent_stderr``, ``exponent_low``,
        ``exponent_high``, ``prefactor`` (the line at n = 1), ``reason`` (see `REASONS`); and without part
        ``solver_ratio`` (largest solver error over distance), ``solver_negligible``.
        On (observable, part, grid axes): ``cell_exponent`` with error and interval.
        On (observable, part): ``overall_exponent`` likewise, ``overall_larger_exponent`` over the larger half of the
        sizes, those from ``larger_from`` on, and the others of `analysis.statistics.power_law.Exponents`;
        ``overall_reason``; on (observable,) ``overall_solver_ratio`` (root mean square over the fits pooled),
        ``overall_solver_negligible``; on (observable, n) ``bias_share``, squared bias over squared distance, averaged
        over the fits pooled.
        Of the bias by itself (`analysis.statistics.bias`), on (observable,): ``bias_exponent`` with interval,
        ``bias_p_value``, ``bias_bound``; on (observable, n): ``mean_bias_squared`` with interval, ``mean_noise``,
        ``mean_fluctuation``, over the entries of all fits.
        Where the store has halves (`analysis.statistics.halves`) also ``halves_exponent``, ``halves_p_value``,
        ``halves_bound`` and ``mean_halves_squared`` by these; on (observable,) ``halves_gain``, the variance of runs
        over that of halves less run at the largest n; and on (observable, grid axes, iteration), of observables of one
        entry, ``bias_constant`` with interval.

    Raises
    ------
    InvalidInput
        If an argument is out of range, there is no dimension n, or no observable is in both datasets.

    Notes
    -----
    Sources: docs/theory.md#mean-squares, docs/theory.md#exponent. Intervals are those of
    `analysis.statistics.intervals.student`, with the smallest number of replicates of any point.
    """
    simulation, theory = without_diverged(simulation), without_diverged(theory)
    if observables is None:
        observables = compared(simulation, theory)
    names = in_both(observables, simulation, theory)
    if not names:
        raise InvalidInput("observables", list(observables), "none of them is in both simulation and theory")
    bootstrap = Bootstrap(draws, seed)
    halved = any(str(name).endswith(HALVES) for name in simulation)

    def measured(name: str) -> xr.Dataset:
        data = stack(name, simulation, theory)
        squares = moments(data, bootstrap, without_readout=without_readout)
        found = _measure(data, squares, bootstrap, level, solver_tolerance)
        return (
            found.assign(halves_bias(name, simulation, data, _pooled(squares), bootstrap, level)) if halved else found
        )

    result = worded(
        by_observable(names, measured),
        _WORDS | HALVES_WORDS,
        draws=draws,
        level=level,
        solver_tolerance=solver_tolerance,
        bootstrap_seed=seed,
    )
    for name in ("reason", "overall_reason"):
        # The convention of CF metadata for coded values.
        result[name].attrs |= {"flag_values": list(range(len(REASONS))), "flag_meanings": "; ".join(REASONS)}
    return result


def compared(simulation: xr.Dataset, theory: xr.Dataset) -> list[str]:
    """Names of `OBSERVABLES` that both datasets have, without those that theory predicts nowhere.

    Averages over rows have no theory where features are correlated, and a linear model has no deeper weights.

    Parameters
    ----------
    simulation, theory : Dataset
        As for `rates`.

    Returns
    -------
    list of str
    """
    both = in_both(OBSERVABLES, simulation, theory)
    return [name for name in both if bool(theory[name].notnull().any())] or both


def _measure(data: Stack, squares: Moments, bootstrap: Bootstrap, level: float, tolerance: float) -> xr.Dataset:
    valid, reason = _usable(squares)
    fitted, pooled = reason == 0, _pooled(squares)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance, fluctuation = np.sqrt(squares.distance), np.sqrt(squares.fluctuation)
        points = {
            "distance": distance,
            "distance_stderr": squares.distance_stderr / (2 * distance),
            "fluctuation": fluctuation,
            "fluctuation_stderr": squares.fluctuation_stderr / (2 * fluctuation),
            "bias_squared": squares.bias,
            "bias_squared_stderr": squares.bias_stderr,
            "solver_error": np.sqrt(squares.solver),
            "readout_error": np.sqrt(squares.readout),
            "replicates": squares.replicates,
        }
        ratio = np.sqrt(squares.solver / squares.distance)
        share = squares.bias / squares.distance
    worst = np.where(fitted, np.where(valid, ratio, -np.inf).max(1), np.nan)
    typical = np.sqrt(np.mean(worst[fitted] ** 2)) if pooled.any() else np.nan
    count = pooled.sum((0, 2))
    mean_share = np.where(pooled, share, 0).sum((0, 2))
    late = larger_half(len(data.n))
    variables: dict[str, Any] = {
        **{name: data.on_grid(values, "cell", "n", "iteration") for name, values in points.items()},
        "solver_ratio": data.on_grid(worst, "cell", "iteration"),
        "solver_negligible": data.on_grid(worst < tolerance, "cell", "iteration"),
        "reason": data.on_grid(reason, "cell", "iteration"),
        "overall_solver_ratio": ((), typical),
        "overall_solver_negligible": ((), np.bool_(typical < tolerance)),
        "overall_reason": ((), np.int64(0 if pooled.any() else np.bincount(reason.ravel()).argmax())),
        "bias_share": ("n", np.divide(mean_share, count, out=np.full(len(data.n), np.nan), where=count > 0)),
        "larger_from": ((), data.n[late]),
        **_exponents(data, squares, pooled, level),
        **_bias(data, pooled, bootstrap, level),
    }
    coords = {**data.axes, "n": data.n, "iteration": data.iteration, "part": np.array(PARTS, dtype=object)}
    return xr.Dataset(variables, coords=coords)


def _pooled(squares: Moments) -> np.ndarray:
    """Points that exponents are fitted to, (cell, n, iteration)."""
    valid, reason = _usable(squares)
    return valid & (reason == 0)[:, None]


def _bias(data: Stack, pooled: np.ndarray, bootstrap: Bootstrap, level: float) -> dict[str, Any]:
    """Variables of `bias_law`, over the points that exponents are fitted to."""
    law = bias_law(data, pooled, bootstrap, level=level)
    return {
        **law.exponent.variables("bias_exponent"),
        "bias_p_value": law.p_value,
        "bias_bound": law.bound,
        **law.square.variables("mean_bias_squared", "n"),
        "mean_noise": ("n", law.noise),
        "mean_fluctuation": ("n", law.fluctuation),
    }


def _usable(squares: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Which points a line may use, (cell, n, iteration), and why a line has none, (cell, iteration)."""
    present = squares.replicates > 0
    repeated = squares.replicates >= LEAST_REPLICATES
    scale = np.where(present, squares.predicted, 0.0).max((1, 2), keepdims=True).clip(1) * ROUNDING**2
    with np.errstate(invalid="ignore"):
        fluctuation = np.where(repeated, squares.fluctuation, 0.0)
        still = fluctuation + squares.taken_out <= scale
        unresolved = np.where(
            squares.taken_out > 0,
            fluctuation <= READOUT_ALLOWANCE * squares.fluctuation_stderr,
            fluctuation <= READOUT_ALLOWANCE**2 * squares.readout,
        )
        numerical = NUMERICAL_ALLOWANCE**2 * (np.nan_to_num(squares.solver) + squares.readout)
        near = squares.distance <= np.maximum(scale, numerical)
    exact = present & still & near
    hidden = present & unresolved & near & ~exact
    valid = repeated & ~exact & ~hidden
    reason = np.select(
        [valid.sum(1) >= LEAST_SIZES, ~present.any(1), exact.any(1), hidden.any(1), ~repeated.any(1)],
        [0, 1, 2, 3, 4],
        default=5,
    )
    return valid, reason


def _exponents(data: Stack, squares: Moments, pooled: np.ndarray, level: float) -> dict[str, Any]:
    """Exponents of each fit, each cell, overall, and at larger n: of both `PARTS`, with errors and intervals."""
    cells, sizes, steps = pooled.shape
    fewest = int(squares.replicates[pooled].min()) if pooled.any() else 0
    found: dict[str, list[np.ndarray]] = {}
    for drawn, stderr in (
        (squares.distance_draws, squares.distance_stderr),
        (squares.fluctuation_draws, squares.fluctuation_stderr),
    ):
        usable = pooled & (drawn[0] > 0)
        variance = _smoothed_variance(drawn[0], stderr, squares, usable)
        weight = weights(variance, usable).transpose(1, 0, 2).reshape(sizes, -1)
        y = half_log(drawn).transpose(0, 2, 1, 3).reshape(len(drawn), sizes, -1)
        fits = fit_powers(data.n, y, weight)
        by_cell = fits.whole.reshape((cells, steps))
        slopes = {"exponent": by_cell.slope, "cell_exponent": by_cell.common_slope}
        named = fits.exponents(data.n, fewest, level).variables("overall_exponent")
        for name, slope in slopes.items():
            named |= student(slope, fewest, level).variables(name)
        for name, slope in (slopes | {"overall_exponent": fits.whole.common_slope}).items():
            named[f"{name}_stderr"] = ((), spread(slope, fewest))
        named["prefactor"] = ((), np.exp(by_cell.intercept[0]))
        for name, (_, array) in named.items():
            found.setdefault(name, []).append(array)
    dims = ("part", "cell", "iteration")
    stacked = {name: np.stack(parts) for name, parts in found.items()}
    return {
        name: ("part", values) if values.ndim == 1 else data.on_grid(values, *dims[: values.ndim])
        for name, values in stacked.items()
    }


def _smoothed_variance(square: np.ndarray, stderr: np.ndarray, squares: Moments, usable: np.ndarray) -> np.ndarray:
    """Variance of log distance at each point, (cell, n, iteration), from the standard errors of the whole cell.

    Weights from each point's own standard error are themselves so noisy at 16 replicates that intervals which take them
    for known cover too rarely. A mean square of Gaussian deviations with variance F and bias b has relative variance
    k F (2 D - F) / (R D^2), D = F + b^2: the shape over n comes from F and D, the constant k (2 over the effective
    number of independent entries) from the standard errors of all points of a cell. What is taken out of F and D leaves
    its noise behind.
    """
    safe = np.where(usable, square, 1.0)
    taken_out = np.where(usable, squares.taken_out, 0.0)
    random = np.where(usable, np.clip(squares.fluctuation, 0.0, safe), 0.0) + taken_out
    shape = random * (2 * (safe + taken_out) - random) / safe**2 / np.maximum(squares.replicates, 1)
    own = np.where(usable, stderr / safe, 0.0) ** 2
    total = shape.sum((1, 2), keepdims=True)
    constant = np.divide(own.sum((1, 2), keepdims=True), total, out=np.ones_like(total), where=total > 0)
    return constant * shape / 4


_WORDS = {
    "distance": "root mean square of replicate minus theory",
    "fluctuation": "standard deviation over replicates",
    "bias_squared": "squared bias (mean minus theory), unbiased",
    "solver_error": "standard error of the theory's solver",
    "readout_error": "standard error of the simulation's average over fresh data",
    "replicates": "finite replicates",
    "exponent": "exponent of n",
    "cell_exponent": "exponent of n, all iterations together",
    "overall_exponent": "exponent of n, all cells and iterations together",
    "overall_larger_exponent": "exponent of n over the larger half of the sizes, all cells and iterations together",
    "overall_corrected_exponent": "exponent of n beside a correction of order 1/n, all cells and iterations together",
    "overall_rooted_exponent": "exponent of n beside a correction of order n^-1/2, all cells and iterations together",
    "overall_approach_exponent": "what the correction of order 1/n adds to the exponent, all cells and iterations",
    "overall_twice_exponent": "exponent of n beside corrections of both orders, all cells and iterations together",
    "overall_misfit": "probability of residuals like those of the fit with corrections of both orders",
    "larger_from": "smallest n of the larger half",
    "prefactor": "fitted line at n = 1",
    "reason": "why there is an exponent or none",
    "overall_reason": "why there is an exponent or none",
    "solver_ratio": "largest solver error over distance",
    "solver_negligible": "whether solver_ratio is below solver_tolerance",
    "overall_solver_ratio": "root mean square over the fits of the largest solver error over distance",
    "overall_solver_negligible": "whether overall_solver_ratio is below solver_tolerance",
    "bias_share": "squared bias over squared distance, mean over the fits",
    "bias_exponent": "exponent of n of the bias, all cells, iterations and entries together",
    "bias_p_value": "probability of so much of a power law without bias",
    "bias_bound": "upper bound of the bias over the fluctuation at the largest n",
    "mean_bias_squared": "squared bias, mean over the entries of all fits",
    "mean_noise": "standard error of mean minus theory, over the entries of all fits",
    "mean_fluctuation": "standard deviation over replicates, over the entries of all fits",
}
