"""How far runs scatter around theory, over how far theory predicts that they do, and what single runs say of it.

Theory predicts the constant of n^-1/2 (docs/theory.md#fluctuation-covariance); its ratio to what runs show should be
one as n grows.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.bootstrap import Bootstrap, variances
from analysis.statistics.correlations import apart, largest_by_chance
from analysis.statistics.datasets import ENTRY_DIMS, LEAST_SIZES, by_observable, grid_axes, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.intervals import Interval, student
from analysis.statistics.laws import normal_quantile
from analysis.statistics.loglog import line_fit
from analysis.statistics.single_runs import NEGLIGIBLE_VARIANCE, single_runs
from sedyn.errors import InvalidInput

__all__ = ["DIFFERENCE", "LEAST_REPLICATES", "SCALARS", "fluctuations", "predicted_variance", "with_difference"]

OBSERVABLES = (
    *("train_error", "test_error", "estimated_test_error", "estimate_minus_test_error"),
    *("signal_overlap", "weight_gram", "row_average", "deep_weights", "biases"),
)
SCALARS = ("train_error", "test_error", "estimated_test_error")
"""Of which every run is tested by itself."""
DIFFERENCE = "estimate_minus_test_error"
LEAST_REPLICATES = 8
LEVELS = (0.5, 0.8, 0.95)
"""Nominal levels of the bands of single runs whose coverage is counted."""
ALPHA = 0.05
"""Level at which single runs are refused."""
LEAST_VARIANCE = 1e-4
"""Of the largest variance of an observable in a run; what varies less says nothing of a ratio."""
MOST_READOUT = 0.01
"""Of a predicted variance: the readout's own where correlations between iterations are still compared."""


@measure("n")
def fluctuations(
    simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 400, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Compare the scatter of runs with the predicted one, and test every run by itself.

    Parameters
    ----------
    simulation, theory : Dataset
        Of a sweep with ``fluctuations=true``, on (grid axes..., n, ...).
    draws, seed : int
        Of the bootstrap (`analysis.statistics.bootstrap`).
    level : float
        Coverage of the intervals.

    Returns
    -------
    Dataset
        Along ``observable``: ``ratio`` of measured to predicted standard deviation, root mean square over iterations
        after the first and entries, on (grid axes, n); ``iteration_ratio`` on (n, iteration); ``overall_ratio`` on
        (n,), over all cells; and ``constant``, what that comes to as n grows, by a correction of order 1/n of its
        square, or at the largest n where there are fewer than 3. ``overall_ratio`` and ``constant`` have ``_low`` and
        ``_high``. ``correlation_difference`` on (n,), root mean square over pairs of iterations and cells, of errors;
        ``correlation_noise``, what that is of runs that are as predicted; ``correlation_p_value``, how often the
        largest of all these differences is as large if they are.

        Along ``error`` (`SCALARS`): ``z`` and ``p_value`` of every run (`analysis.statistics.single_runs`); on (n,)
        ``refused``, the share of runs with a p-value below 0.05, with ``_low`` and ``_high``, and ``uniform``, the
        p-value of Kolmogorov and Smirnov's test that p-values are uniform; ``coverage`` of bands of single runs on
        (n, nominal).

    Raises
    ------
    InvalidInput
        If theory has no fluctuations.
    """
    runs, predicted = without_diverged(with_difference(simulation)), without_diverged(theory)
    names = [name for name in OBSERVABLES if name in runs and _is_predicted(name, predicted)]
    if not names:
        raise InvalidInput("theory", "a dataset without fluctuations", "a sweep with fluctuations=true stores them")
    bootstrap = Bootstrap(draws, seed)
    result = by_observable(names, lambda name: _ratios(name, runs, predicted, bootstrap, level))
    tested = [name for name in SCALARS if name in names]
    each = xr.concat([_single(name, runs, predicted) for name in tested], "error")
    result = result.assign(each.assign_coords(error=np.array(tested, dtype=object)))
    return worded(result, _WORDS, draws=draws, level=level, bootstrap_seed=seed)


_WORDS = {
    "ratio": "measured over predicted standard deviation",
    "iteration_ratio": "measured over predicted standard deviation, all cells",
    "overall_ratio": "measured over predicted standard deviation, all cells and iterations",
    "constant": "measured over predicted standard deviation as n grows",
    "correlation_difference": "difference of correlations between iterations from the predicted ones",
    "correlation_noise": "the same of as many runs that are as predicted",
    "correlation_p_value": "p-value of the largest difference of a correlation from the predicted one",
    "z": "deviation from theory in predicted standard deviations",
    "p_value": "p-value of the run under theory",
    "refused": "share of runs with a p-value below 0.05",
    "uniform": "p-value of uniform p-values",
    "coverage": "share of runs inside the predicted band of single runs",
}


def with_difference(simulation: xr.Dataset) -> xr.Dataset:
    """Add the estimate minus the test error, which has the readout's error of the latter.

    Parameters
    ----------
    simulation : Dataset
        On any dimensions.

    Returns
    -------
    Dataset
        The same where there is no estimate.
    """
    if "estimated_test_error" not in simulation:
        return simulation
    difference = simulation["estimated_test_error"] - simulation["test_error"]
    more = {DIFFERENCE: difference}
    if "test_error_stderr" in simulation:
        more[f"{DIFFERENCE}_stderr"] = simulation["test_error_stderr"]
    return simulation.assign(more)


def predicted_variance(name: str, theory: xr.Dataset) -> xr.DataArray:
    """Diagonal of a predicted covariance in its two iterations.

    Parameters
    ----------
    name : str
        Of the observable.
    theory : Dataset
        With ``<name>_covariance`` on (..., iteration, ..., iteration_).

    Returns
    -------
    DataArray
        Of n (run - theory)^2, without ``iteration_``.
    """
    return _diagonal(theory[f"{name}_covariance"])


def _diagonal(covariance: xr.DataArray) -> xr.DataArray:
    """Values at two equal iterations; there may be fewer of the first."""
    return covariance.sel(iteration_=covariance["iteration"]).drop_vars("iteration_")


def _is_predicted(name: str, theory: xr.Dataset) -> bool:
    return f"{name}_covariance" in theory and bool(theory[f"{name}_covariance"].notnull().any())


class _Cells(NamedTuple):
    """One observable as plain arrays, see `analysis.statistics.stack`; entries are one axis.

    Attributes
    ----------
    values : ndarray, shape (cell, n, replicate, iteration, entry)
    readout : ndarray, shape (cell, n, iteration, entry)
        Mean square of the error with which runs know it.
    variance : ndarray, shape (cell, n, iteration, entry)
        Predicted, of sqrt(n) (run - theory).
    doubt : ndarray, shape (cell, n)
        Relative standard error of the predicted standard deviation, as if all entries were off alike.
    """

    values: np.ndarray
    readout: np.ndarray
    variance: np.ndarray
    doubt: np.ndarray


def _cells(name: str, runs: xr.Dataset, predicted: xr.Dataset, axes: list[Hashable]) -> _Cells:
    values, variance = runs[name], predicted_variance(name, predicted)
    entries = [dim for dim in values.dims if dim in ENTRY_DIMS]
    later = {"iteration": slice(1, None)}
    stderr = _diagonal(predicted[f"{name}_covariance_stderr"])
    template = values.isel(replicate=0, drop=True)
    readout = runs.get(f"{name}_stderr", xr.zeros_like(values))

    def plain(array: xr.DataArray, *inner: str) -> np.ndarray:
        dims = (*axes, "n", *inner, "iteration", *entries)
        whole = array.broadcast_like(template).transpose(*dims).isel(later).values
        width = int(np.prod([template.sizes[dim] for dim in entries], dtype=int))
        shape = whole.shape[len(axes) : len(axes) + 2 + len(inner)]
        return whole.reshape(-1, *shape, width)

    found, errors = plain(variance), plain(stderr)
    most = np.nanmax(np.where(np.isfinite(found), found, 0.0), axis=(2, 3), keepdims=True)
    shown = np.isfinite(found) & (found > LEAST_VARIANCE * most) & (found > NEGLIGIBLE_VARIANCE)
    variance_shown = np.where(shown, found, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.where(shown, errors / (2 * found), 0.0).sum((2, 3)) / np.maximum(shown.sum((2, 3)), 1)
    square = plain((readout**2).mean("replicate"))
    return _Cells(plain(values, "replicate"), square, variance_shown, relative)


def _ratios(name: str, runs: xr.Dataset, predicted: xr.Dataset, bootstrap: Bootstrap, level: float) -> xr.Dataset:
    """Ratios of one observable, and what they come to as n grows."""
    axes, n = grid_axes(runs[name]), runs["n"].values.astype(float)
    data = _cells(name, runs, predicted, axes)
    cells, sizes, fewest, steps, _ = data.values.shape  # and as few replicates as some cell has
    square = np.full((1 + bootstrap.draws, cells, sizes, steps), np.nan)
    freedom = float(predicted.attrs.get("fluctuation_randomizations", np.inf)) - 1
    for cell, size in np.ndindex(cells, sizes):
        values = data.values[cell, size]
        present = np.isfinite(values).any((1, 2))
        if present.sum() < 2:
            continue
        fewest = min(fewest, int(present.sum()))
        scatter = variances(bootstrap.counts(present, cell, size), values) - data.readout[cell, size]
        shares = n[size] * scatter / data.variance[cell, size]
        shown = np.isfinite(shares[0])
        total = np.where(shown, np.nan_to_num(shares), 0.0).sum(-1)
        number = shown.sum(-1)
        off = bootstrap.shifts(1, freedom)[:, 0, None] * data.doubt[cell, size]
        square[:, cell, size] = np.where(number > 0, total / np.maximum(number, 1) * (1 + 2 * off), np.nan)
    overall = _mean(square, (1, 3))
    error = overall[1:].std(0)
    limit = _limit(n, overall, error)
    coords: dict[Hashable, Any] = {axis: runs[axis] for axis in axes} | {"n": runs["n"]}
    coords["iteration"] = runs["iteration"].values[1:]
    grid = [runs.sizes[axis] for axis in axes]
    result = xr.Dataset(coords=coords)
    result["ratio"] = ((*axes, "n"), _root(_mean(square, (3,))[0]).reshape(*grid, sizes))
    result["iteration_ratio"] = (("n", "iteration"), _root(_mean(square, (1,))[0]))
    found = {"overall_ratio": (("n",), overall), "constant": ((), limit)}
    for variable, (dims, drawn) in found.items():
        interval = Interval(*map(_root, student(drawn, fewest, level)))
        result = result.assign(interval.variables(variable, *dims))
    return result.assign(_correlations(name, runs, predicted, axes, data, bootstrap))


def _mean(square: np.ndarray, over: tuple[int, ...]) -> np.ndarray:
    """Average over cells or iterations that have a ratio."""
    finite = np.isfinite(square)
    number = finite.sum(over)
    return np.where(number > 0, np.where(finite, square, 0.0).sum(over) / np.maximum(number, 1), np.nan)


def _root(square: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(square, 0.0))


def _limit(n: np.ndarray, square: np.ndarray, error: np.ndarray) -> np.ndarray:
    """What a + b/n comes to as n grows, fitted to squared ratios, (draws, n) to (draws,); the last of few sizes."""
    known = np.isfinite(square[0]) & (error > 0)
    if known.sum() < LEAST_SIZES:
        return square[:, np.flatnonzero(known)[-1]] if known.any() else square[:, -1]
    weight = np.where(known, 1 / np.where(known, error, 1.0) ** 2, 0.0)
    return line_fit(1 / n, square[..., None], weight[:, None]).intercept[..., 0]


def _correlations(
    name: str, runs: xr.Dataset, predicted: xr.Dataset, axes: list[Hashable], data: _Cells, bootstrap: Bootstrap
) -> Mapping[str, Any]:
    """Differences of correlations between iterations from the predicted ones, of a scalar observable."""
    sizes = runs.sizes["n"]
    difference, noise, p_value = np.full((3, sizes), np.nan)
    if set(runs[name].dims) == {*axes, "n", "replicate", "iteration"}:
        known = predicted[f"{name}_covariance"].broadcast_like(runs[name].isel(replicate=0, drop=True))
        known = known.transpose(*axes, "n", "iteration", "iteration_").isel(
            iteration=slice(1, None), iteration_=slice(1, None)
        )
        covariances = known.values.reshape(len(data.values), *known.shape[-3:])
        n = runs["n"].values[:, None, None]
        # How much of what the readout gets wrong is the same at two iterations is not known.
        plain = (n * data.readout < MOST_READOUT * data.variance)[..., 0]  # false where nothing varies
        for size in range(sizes):
            several = []
            for cell, covariance in enumerate(covariances[:, size]):
                values = data.values[cell, size, ..., 0]
                values = values[np.isfinite(values).any(1)]
                shown = np.isfinite(values).all(0) & plain[cell, size]
                rng = np.random.default_rng([bootstrap.seed, cell, size])
                one = apart(values[:, shown], covariance[np.ix_(shown, shown)], bootstrap.draws, rng)
                several += [] if one is None else [one]
            if several:
                found, by_chance = (np.concatenate(both, -1) for both in zip(*several, strict=True))
                difference[size], noise[size] = np.sqrt(np.mean(found**2)), np.sqrt(np.mean(by_chance**2))
                p_value[size] = largest_by_chance(several)
    return {
        "correlation_difference": ("n", difference),
        "correlation_noise": ("n", noise),
        "correlation_p_value": ("n", p_value),
    }


def _single(name: str, runs: xr.Dataset, predicted: xr.Dataset) -> xr.Dataset:
    """Test every run of every cell and size by itself."""
    axes = grid_axes(runs[name])
    order = [*axes, "n", "replicate", "iteration"]
    kept = [variable for variable in (name, "test_error_stderr") if variable in runs]
    target = name.removeprefix("estimated_")
    places = runs[name].isel(replicate=0, iteration=0, drop=True)  # theory may lack an axis that it does not depend on
    beside = predicted[[target, f"{target}_stderr", f"{name}_covariance"]].map(lambda one: one.broadcast_like(places))
    stacked, beside = (one.stack(cell=[*axes, "n"], create_index=False) for one in (runs[kept], beside))
    found = []
    for cell in range(stacked.sizes["cell"]):
        own, law = stacked.isel(cell=cell), beside.isel(cell=cell)
        own = own.assign_attrs(n=int(own["n"]))
        known = law[[f"{name}_covariance"]].rename({f"{name}_covariance": name})
        found.append(single_runs(own, law, known, observable=name)[["z", "p_value"]].drop_vars("n", errors="ignore"))
    whole = xr.concat(found, "cell", coords="minimal", compat="override", join="override")
    shape = [runs.sizes[dim] for dim in (*axes, "n")]
    result = xr.Dataset(
        {
            "z": (order, whole["z"].values.reshape(*shape, *whole["z"].shape[1:])),
            "p_value": (order[:-1], whole["p_value"].values.reshape(*shape, -1)),
        },
        {dim: runs[dim] for dim in order if dim in runs.coords},
    )
    result["z"] = result["z"].isel(iteration=slice(1, None))
    sizes = [result["p_value"].isel(n=size).values.ravel() for size in range(runs.sizes["n"])]
    finite = [values[np.isfinite(values)] for values in sizes]
    shares = [_share(values < ALPHA) for values in finite]
    result = result.assign(Interval(*map(np.array, zip(*shares, strict=True))).variables("refused", "n"))
    from scipy.stats import kstest  # of a library that takes longer to load than most measures take

    result["uniform"] = ("n", [kstest(values, "uniform").pvalue if values.size > 1 else np.nan for values in finite])
    away = abs(result["z"])
    inside = [(away <= normal_quantile((1 + nominal) / 2)).where(away.notnull()) for nominal in LEVELS]
    others = [dim for dim in away.dims if dim != "n"]
    result["coverage"] = xr.concat([one.mean(others) for one in inside], "nominal").transpose("n", "nominal")
    return result.assign_coords(nominal=list(LEVELS))


def _share(refused: np.ndarray) -> Interval:
    """The share of what is true, with Wilson's interval at 95 %."""
    if not refused.size:
        return Interval(np.nan, np.nan, np.nan)
    from scipy.stats import binomtest

    found = binomtest(int(refused.sum()), refused.size)
    return Interval(found.statistic, *found.proportion_ci(method="wilson"))
