"""Single runs at up to a million samples: how far their mean is from theory, in standard errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.bootstrap import Bootstrap
from analysis.statistics.datasets import by_observable, in_both, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.laws import student_quantile
from analysis.statistics.moments import moments
from analysis.statistics.solver_error import combined_freedom
from analysis.statistics.stack import stack

__all__ = ["OBSERVABLES", "REFUTING", "large"]

REFUTING = 0.999
"""Probability with which a comparison stays below what refutes an exact theory: a page has many."""
OBSERVABLES = ("train_error", "test_error", "signal_overlap", "deep_weights")


@measure("n")
def large(
    simulation: xr.Dataset, theory: xr.Dataset, *, observables: Sequence[str] = OBSERVABLES, level: float = 0.95
) -> xr.Dataset:
    """Compare the mean over runs with theory, in standard errors, at every n.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store on (grid axes..., n).
    observables : sequence of str
        Names to compare; those that are not in both datasets are left out.
    level : float
        Probability with which every single comparison stays below ``limit`` if theory is exact.

    Returns
    -------
    Dataset
        On (observable, grid axes, n), over iterations after the first and entries: ``distance`` and ``fluctuation``,
        root mean squares of run minus theory and of the standard deviation over runs; ``relative_distance``, over the
        root mean square of theory; ``solver_error`` likewise; ``solver_ratio``, the largest solver error over the
        standard error of the mean over runs; ``worst``, the largest distance of that mean from theory in standard
        errors of their difference, measured by what each may be; ``limit``, what this one may be: Student's quantile
        for the largest of so many comparisons, with the degrees of freedom of runs and solver together; and
        ``refuting``, the same with `REFUTING` in the place of the level.
    """
    runs, predicted = without_diverged(simulation), without_diverged(theory)
    result = by_observable(in_both(observables, runs, predicted), lambda name: _measure(name, runs, predicted, level))
    return worded(result, _WORDS, level=level, replicates=simulation.sizes["replicate"])


def _measure(name: str, simulation: xr.Dataset, theory: xr.Dataset, level: float) -> xr.Dataset:
    data = stack(name, simulation, theory)
    squares = moments(data, Bootstrap(draws=1))
    runs, curves, solver = data.simulated[..., 1:, :], data.predicted[..., 1:, :], data.solver[..., 1:, :]
    count = np.isfinite(runs).sum(2)
    used = count > 1
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(used, np.nansum(runs, axis=2) / count, np.nan)
        spread = np.sqrt(np.nansum((runs - mean[:, :, None]) ** 2, axis=2) / (count - 1) / count)
        known = np.nan_to_num(solver)
        excess = np.abs(mean - curves) / np.hypot(spread, known)
        ratio = solver / spread
        degrees = combined_freedom(spread, count, known, data.freedom)
    tail = (1 - level) / 2 / np.maximum(used.sum((2, 3), keepdims=True), 1)
    limits, refuting = (
        np.where(used, -student_quantile(share * tail, np.where(used, degrees, 1.0)), np.nan)
        for share in (1.0, (1 - REFUTING) / (1 - level))
    )
    beyond = np.where(np.isfinite(excess / limits), excess / limits, -np.inf).reshape(*count.shape[:2], -1)
    place = beyond.argmax(-1)[..., None]

    def root(values: np.ndarray) -> np.ndarray:
        return np.sqrt(np.nanmean(values[..., 1:], axis=-1))

    def there(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values.reshape(beyond.shape), place, axis=-1)[..., 0]

    values = {
        "distance": root(squares.distance),
        "fluctuation": root(squares.fluctuation),
        "solver_error": root(squares.solver),
        "relative_distance": root(squares.distance) / root(squares.predicted),
        "solver_ratio": np.where(np.isfinite(ratio), ratio, -np.inf).max((2, 3)),
        "worst": there(excess),
        "limit": there(limits),
        "refuting": there(refuting),
    }
    variables = {key: data.on_grid(array, "cell", "n") for key, array in values.items()}
    return xr.Dataset(variables, coords={**data.axes, "n": data.n})


_WORDS = {
    "distance": "root mean square of run minus theory",
    "fluctuation": "standard deviation over runs",
    "solver_error": "standard error of the theory's solver",
    "relative_distance": "distance over the size of theory",
    "solver_ratio": "largest solver error over the standard error of the mean over runs",
    "worst": "largest distance of the mean over runs from theory, in standard errors",
    "limit": "quantile of the largest of so many comparisons",
    "refuting": "quantile of the largest that refutes a theory",
}
