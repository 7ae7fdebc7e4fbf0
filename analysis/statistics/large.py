"""Single runs at up to a million samples: how far their mean is from theory, in standard errors."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from analysis.statistics.arguments import measure
from analysis.statistics.bootstrap import Bootstrap
from analysis.statistics.datasets import by_observable, in_both, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.moments import moments
from analysis.statistics.solver_error import combined_freedom
from analysis.statistics.stack import stack

__all__ = ["OBSERVABLES", "large"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap", "deep_weights")


@measure("n")
def large(simulation: xr.Dataset, theory: xr.Dataset, *, level: float = 0.95) -> xr.Dataset:
    """Compare the mean over runs with theory, in standard errors, at every n.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axis ``n``, and no other.
    level : float
        Probability with which every single comparison stays below ``limit`` if theory is exact.

    Returns
    -------
    Dataset
        On (observable, n), over iterations after the first and entries: ``distance`` and ``fluctuation``, root mean
        squares of run minus theory and of the standard deviation over runs; ``relative_distance``, over the root mean
        square of theory; ``solver_error`` likewise; ``solver_ratio``, the largest solver error over the standard error
        of the mean over runs; ``worst``, the largest distance of that mean from theory in standard errors of their
        difference, measured by what each may be; ``limit``, what this one may be: Student's quantile for the largest of
        so many comparisons, with the degrees of freedom of runs and solver together.
    """
    runs, predicted = without_diverged(simulation), without_diverged(theory)
    result = by_observable(in_both(OBSERVABLES, runs, predicted), lambda name: _measure(name, runs, predicted, level))
    return worded(result, _WORDS, level=level, replicates=simulation.sizes["replicate"])


def _measure(name: str, simulation: xr.Dataset, theory: xr.Dataset, level: float) -> xr.Dataset:
    data = stack(name, simulation, theory)
    squares = moments(data, Bootstrap(draws=1))
    runs, curves, solver = data.simulated[0, :, :, 1:], data.predicted[0, :, 1:], data.solver[0, :, 1:]
    count = np.isfinite(runs).sum(1)
    used = count > 1
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(used, np.nansum(runs, axis=1) / count, np.nan)
        spread = np.sqrt(np.nansum((runs - mean[:, None]) ** 2, axis=1) / (count - 1) / count)
        known = np.nan_to_num(solver)
        excess = np.abs(mean - curves) / np.hypot(spread, known)
        ratio = solver / spread
        degrees = combined_freedom(spread, count, known, data.freedom)
    tail = (1 - level) / 2 / np.maximum(used.sum((1, 2)), 1)
    limits = np.where(used, stats.t.isf(tail[:, None, None], np.where(used, degrees, 1.0)), np.nan)
    sizes = np.arange(len(data.n))
    beyond = (excess / limits).reshape(len(sizes), -1)
    place = np.where(np.isfinite(beyond), beyond, -np.inf).argmax(1)

    def root(values: np.ndarray) -> np.ndarray:
        return np.sqrt(np.nanmean(values[0, :, 1:], axis=-1))

    values = {
        "distance": root(squares.distance),
        "fluctuation": root(squares.fluctuation),
        "solver_error": root(squares.solver),
        "relative_distance": root(squares.distance) / root(squares.predicted),
        "solver_ratio": np.where(np.isfinite(ratio), ratio, -np.inf).max((1, 2)),
        "worst": excess.reshape(len(sizes), -1)[sizes, place],
        "limit": limits.reshape(len(sizes), -1)[sizes, place],
    }
    return xr.Dataset({key: ("n", array) for key, array in values.items()}, coords={"n": data.n})


_WORDS = {
    "distance": "root mean square of run minus theory",
    "fluctuation": "standard deviation over runs",
    "solver_error": "standard error of the theory's solver",
    "relative_distance": "distance over the size of theory",
    "solver_ratio": "largest solver error over the standard error of the mean over runs",
    "worst": "largest distance of the mean over runs from theory, in standard errors",
    "limit": "quantile of the largest of so many comparisons",
}
