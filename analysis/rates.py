"""How fast simulation approaches theory: the measure behind the rates table and figure (THEORY section 3).

A replicate minus theory is a finite-size fluctuation, O(n^-1/2), plus a finite-size bias, O(1/n), plus the error of the
solver that computed the theory, the same for every n that shares a solution. The three are reported apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from analysis.bias import bias_law
from analysis.loglog import LineFit, line_fit, weights
from analysis.moments import ROUNDING, Moments, Stack, moments, stack

__all__ = ["LEAST_SIZES", "OBSERVABLES", "PARTS", "REASONS", "compared", "rates"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap", "row_average", "deep_weights")
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

LEAST_SIZES = 3
LEAST_REPLICATES = 2
BIAS_DRAWS = 400
"""Most bootstrap draws for the bias: each of them has all entries, not only their mean square."""
NUMERICAL_ALLOWANCE = 5.0
"""A difference without fluctuation and within so many numerical errors is numerical, not of finite size."""
READOUT_ALLOWANCE = 2.0
"""A fluctuation within so many errors of the simulation's own average over fresh data is no fluctuation."""


def rates(
    simulation: xr.Dataset,
    theory: xr.Dataset,
    *,
    observables: Sequence[str] | None = None,
    draws: int = 1000,
    level: float = 0.95,
    solver_tolerance: float = 0.1,
    seed: int = 0,
) -> xr.Dataset:
    """Measure how fast simulation approaches theory as n grows.

    For each observable, grid cell and iteration, ``distance(n)`` is the root of the mean square, over replicates and
    over the entries of a vector or matrix observable, of replicate minus theory. Its square is split, without bias,
    into fluctuation (variance over replicates), squared bias (mean minus theory) and squared solver error. A straight
    line is fitted to log distance against log n with weights from the distance's standard errors. Fits with a
    common slope and separate intercepts give one exponent per cell (over iterations) and one overall (over cells and
    iterations).

    Parameters
    ----------
    simulation : Dataset
        Observables with dimensions (grid axes..., replicate, iteration, entries...), ``n`` among the grid axes. NaN
        where unfinished, diverged or padded.
    theory : Dataset
        The same without ``replicate``, and ``<name>_stderr``, the solver's standard error.
    observables : sequence of str, optional
        Names to compare; those that are not in both datasets are left out. `compared` unless given.
    draws : int
        Bootstrap draws behind every standard error of an exponent.
    level : float
        Coverage of the intervals.
    solver_tolerance : float
        The solver's error is called negligible below this fraction of the smallest distance.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Dataset
        On (observable, grid axes, n, iteration): ``distance``, ``fluctuation`` (a standard deviation),
        ``bias_squared`` (it can be negative), each with ``_stderr``; ``solver_error``; ``readout_error`` (standard
        error of a simulation's own average over fresh data, part of the fluctuation); ``replicates``.
        On (observable, part, grid axes, iteration): ``exponent``, ``exponent_stderr``, ``exponent_low``,
        ``exponent_high``, ``prefactor`` (the line at n = 1), ``reason`` (see `REASONS`); and without part
        ``solver_ratio`` (largest solver error over distance), ``solver_negligible``.
        On (observable, part, grid axes): ``cell_exponent`` with error and interval.
        On (observable, part): ``overall_exponent`` likewise, and ``larger_exponent`` over the larger half of the
        sizes, those from ``larger_from`` on; ``overall_reason``; on (observable,)
        ``overall_solver_ratio`` (root mean square over the fits pooled), ``overall_solver_negligible``; on
        (observable, n) ``bias_share``, squared bias over squared distance, averaged over the fits pooled.
        Of the bias by itself (`analysis.bias`), on (observable,): ``bias_exponent`` with interval, ``bias_p_value``,
        ``bias_bound``; on (observable, n): ``mean_bias_squared`` with interval, ``mean_noise``, ``mean_fluctuation``,
        over the entries of all fits.

    Raises
    ------
    ValueError
        If no observable is in both datasets.

    Notes
    -----
    Replicates are resampled whole, so errors at different iterations of one replicate stay together; replicates of
    different cells and sizes are independent. The interval is exponent -+ t s with s the bootstrap standard deviation
    times sqrt(R/(R-1)) and t Student's quantile with R - 1 degrees of freedom, R the smallest number of replicates.

    Examples
    --------
    >>> tree = xr.open_datatree("stores/quickstart.zarr", engine="zarr")  # doctest: +SKIP
    >>> measured = rates(tree["simulation"].to_dataset(), tree["theory"].to_dataset())  # doctest: +SKIP
    >>> measured.overall_exponent.sel(observable="test_error", part="distance")  # doctest: +SKIP
    """
    if observables is None:
        observables = compared(simulation, theory)
    names = [name for name in observables if name in simulation and name in theory]
    if not names:
        raise ValueError(f"none of {', '.join(observables)} is in both simulation and theory")
    rng = np.random.default_rng(seed)
    measured = []
    for name in names:
        data = stack(name, simulation, theory)
        squares = moments(data, draws, rng)
        one = _measure(data, squares, level, solver_tolerance)
        measured.append(one.assign(_bias(data, squares, min(draws, BIAS_DRAWS), level, rng.spawn(1)[0])))
    # On one grid, which need not be compared.
    result = xr.concat(measured, "observable", join="override", coords="minimal", compat="override")
    result = result.assign_coords(observable=np.array(names, dtype=object))
    result.attrs = {"draws": draws, "level": level, "solver_tolerance": solver_tolerance, "bootstrap_seed": seed}
    return _with_words(result)


def compared(simulation: xr.Dataset, theory: xr.Dataset) -> list[str]:
    """Names of `OBSERVABLES` that both datasets have, without those that theory predicts nowhere.

    Averages over rows have no theory where features are correlated, and a linear model has no deeper weights.
    """
    both = [name for name in OBSERVABLES if name in simulation and name in theory]
    return [name for name in both if bool(theory[name].notnull().any())] or both


def _measure(data: Stack, squares: Moments, level: float, solver_tolerance: float) -> xr.Dataset:
    cells, sizes, steps = squares.distance.shape
    valid, reason = _usable(squares)
    pooled = valid & (reason == 0)[:, None]
    fewest = int(squares.replicates[pooled].min()) if pooled.any() else 0
    out = _Grid(data)

    with np.errstate(invalid="ignore", divide="ignore"):
        for part, square, stderr in (
            ("distance", squares.distance, squares.distance_stderr),
            ("fluctuation", squares.fluctuation, squares.fluctuation_stderr),
        ):
            root = np.sqrt(square)
            out.points(part, root)
            out.points(f"{part}_stderr", stderr / (2 * root))
        out.points("bias_squared", squares.bias)
        out.points("bias_squared_stderr", squares.bias_stderr)
        out.points("solver_error", np.sqrt(squares.solver))
        out.points("readout_error", np.sqrt(squares.readout))
        out.points("replicates", squares.replicates)
        ratio = np.sqrt(squares.solver / squares.distance)
        share = squares.bias / squares.distance

    worst = np.where(valid, ratio, -np.inf).max(1)
    worst = np.where(reason == 0, worst, np.nan)
    out.fits("solver_ratio", worst)
    out.fits("solver_negligible", worst < solver_tolerance)
    typical = np.sqrt(np.mean(worst[reason == 0] ** 2)) if pooled.any() else np.nan
    out.whole("overall_solver_ratio", typical)
    out.whole("overall_solver_negligible", np.bool_(typical < solver_tolerance))
    count = pooled.sum((0, 2))
    out.variables["bias_share"] = (
        ("n",),
        np.divide(np.where(pooled, share, 0).sum((0, 2)), count, out=np.full(sizes, np.nan), where=count > 0),
    )

    x = np.log(data.n.astype(float))
    larger = np.arange(sizes) >= sizes - max(LEAST_SIZES, -(-sizes // 2))
    out.whole("larger_from", data.n[larger.argmax()])
    parts = []
    for square, stderr, drawn in (
        (squares.distance, squares.distance_stderr, squares.distance_draws),
        (squares.fluctuation, squares.fluctuation_stderr, squares.fluctuation_draws),
    ):
        usable = pooled & (square > 0)
        variance = _smoothed_variance(square, stderr, squares.fluctuation, squares.replicates, usable)
        weight = weights(variance, usable).transpose(1, 0, 2).reshape(sizes, -1)
        y = _half_log(square.transpose(1, 0, 2).reshape(sizes, -1)), _half_log(drawn.reshape(len(drawn), sizes, -1))
        fit, again = (line_fit(x, values, weight) for values in y)
        late = [line_fit(x, values, weight * larger[:, None]).common_slope for values in y]
        parts.append(_exponents(fit, again, late, (cells, steps), fewest, level))
    for key in parts[0]:
        both = np.stack([part[key] for part in parts])
        if both.ndim == 1:
            out.variables[key] = (("part",), both)
        else:
            out.parts(key, both)
    out.fits("reason", reason)
    out.whole("overall_reason", np.int64(0 if pooled.any() else np.bincount(reason.ravel()).argmax()))
    return out.dataset()


def _bias(data: Stack, squares: Moments, draws: int, level: float, rng: np.random.Generator) -> dict[str, Any]:
    """Variables of `analysis.bias.bias_law`, over the points that exponents are fitted to."""
    valid, reason = _usable(squares)
    law = bias_law(data, valid & (reason == 0)[:, None], draws=draws, level=level, rng=rng)
    return {
        "bias_exponent": law.exponent,
        "bias_exponent_low": law.low,
        "bias_exponent_high": law.high,
        "bias_p_value": law.p_value,
        "bias_bound": law.bound,
        "mean_bias_squared": ("n", law.square),
        "mean_bias_squared_low": ("n", law.square_low),
        "mean_bias_squared_high": ("n", law.square_high),
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
        still = fluctuation <= scale
        unresolved = fluctuation <= READOUT_ALLOWANCE**2 * squares.readout
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


def _smoothed_variance(
    square: np.ndarray, stderr: np.ndarray, fluctuation: np.ndarray, replicates: np.ndarray, usable: np.ndarray
) -> np.ndarray:
    """Variance of log distance at each point, (cell, n, iteration), from the standard errors of the whole cell.

    Weights from each point's own standard error are themselves so noisy at 16 replicates that intervals which take them
    for known cover too rarely. A mean square of Gaussian deviations with variance F and bias b has relative variance
    k F (2 D - F) / (R D^2), D = F + b^2: the shape over n comes from F and D, the constant k (2 over the effective
    number of independent entries) from the standard errors of all points of a cell.
    """
    safe = np.where(usable, square, 1.0)
    random = np.where(usable, np.clip(fluctuation, 0.0, safe), 0.0)
    shape = random * (2 * safe - random) / safe**2 / np.maximum(replicates, 1)
    own = np.where(usable, stderr / safe, 0.0) ** 2
    total = shape.sum((1, 2), keepdims=True)
    constant = np.divide(own.sum((1, 2), keepdims=True), total, out=np.ones_like(total), where=total > 0)
    return constant * shape / 4


def _half_log(square: np.ndarray) -> np.ndarray:
    return 0.5 * np.log(np.where(square > 0, square, 1.0))


def _exponents(
    fit: LineFit, again: LineFit, larger: Sequence[np.ndarray], shape: tuple[int, int], replicates: int, level: float
) -> dict[str, np.ndarray]:
    """Exponents of each fit, each cell, overall, and at larger n, with bootstrap standard errors, Student intervals."""
    quantile = stats.t.ppf((1 + level) / 2, replicates - 1) if replicates > 1 else np.nan
    inflation = np.sqrt(replicates / (replicates - 1)) if replicates > 1 else np.nan
    by_cell = fit.reshape(shape), again.reshape(shape)
    found: dict[str, np.ndarray] = {}
    for prefix, slope, slopes in (
        ("", by_cell[0].slope, by_cell[1].slope),
        ("cell_", by_cell[0].common_slope, by_cell[1].common_slope),
        ("overall_", fit.common_slope, again.common_slope),
        ("larger_", larger[0], larger[1]),
    ):
        stderr = inflation * slopes.std(0)
        found[f"{prefix}exponent"] = slope
        found[f"{prefix}exponent_stderr"] = stderr
        found[f"{prefix}exponent_low"] = slope - quantile * stderr
        found[f"{prefix}exponent_high"] = slope + quantile * stderr
    found["prefactor"] = np.exp(by_cell[0].intercept)
    return found


class _Grid:
    """Collects variables on the grid: undoes the stacking of the grid axes to cells."""

    def __init__(self, data: Stack) -> None:
        self.data = data
        self.axes = tuple(data.axes)
        self.shape = tuple(len(values) for values in data.axes.values())
        self.variables: dict[str, tuple[Any, Any]] = {}

    def points(self, name: str, values: np.ndarray) -> None:
        """(cell, n, iteration)."""
        self.variables[name] = (
            (*self.axes, "n", "iteration"),
            values.reshape(self.shape + values.shape[1:]),
        )

    def fits(self, name: str, values: np.ndarray) -> None:
        """(cell, iteration)."""
        self.variables[name] = ((*self.axes, "iteration"), values.reshape(self.shape + values.shape[1:]))

    def parts(self, name: str, values: np.ndarray) -> None:
        """(part, cell) or (part, cell, iteration)."""
        dims = ("part", *self.axes, "iteration")[: 1 + len(self.axes) + values.ndim - 2]
        self.variables[name] = (dims, values.reshape(values.shape[:1] + self.shape + values.shape[2:]))

    def whole(self, name: str, value: Any) -> None:
        """One number for the observable."""
        self.variables[name] = ((), value)

    def dataset(self) -> xr.Dataset:
        coords = {
            **self.data.axes,
            "n": self.data.n,
            "iteration": self.data.iteration,
            "part": np.array(PARTS, dtype=object),
        }
        return xr.Dataset(self.variables, coords=coords)


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
    "larger_exponent": "exponent of n over the larger half of the sizes, all cells and iterations together",
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
_SUFFIXES = {"_stderr": "standard error: ", "_low": "lower end of interval: ", "_high": "upper end of interval: "}


def _with_words(result: xr.Dataset) -> xr.Dataset:
    for name, variable in result.data_vars.items():
        words = _WORDS.get(str(name))
        for suffix, prefix in _SUFFIXES.items():
            if words is None and str(name).endswith(suffix):
                words = prefix + _WORDS[str(name).removesuffix(suffix)]
        variable.attrs["long_name"] = words
        if str(name).endswith("reason"):
            # The convention of CF metadata for coded values.
            variable.attrs |= {"flag_values": list(range(len(REASONS))), "flag_meanings": "; ".join(REASONS)}
    return result
