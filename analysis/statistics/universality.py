"""How far each law of the features is from the theory of Gaussian ones (docs/theory.md#universality).

A law that follows has the same limit: the middle of its runs approaches theory faster than single runs do. What remains
between the two is its shift. It is measured with medians, since laws without a fourth moment let single runs go astray,
and against the distance at which a single data set of Gaussian features finds itself from theory: a shift below that
cannot be seen in one run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.bootstrap import Bootstrap, means, medians
from analysis.statistics.datasets import LEAST_SIZES, by_observable, in_both, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.intervals import Interval, spread, student, student_reach
from analysis.statistics.loglog import line_fit, weights
from analysis.statistics.stack import Stack, stack
from sedyn.errors import InvalidInput

__all__ = ["CONTROL", "OBSERVABLES", "universality"]

CONTROL = "gaussian"
OBSERVABLES = ("train_error", "test_error", "signal_overlap")


@measure("features")
def universality(
    simulation: xr.Dataset,
    theory: xr.Dataset,
    *,
    observables: Sequence[str] = OBSERVABLES,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Compare every feature law with theory, Gaussian features being the control.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axes ``features``, among them ``gaussian``, and ``n``, and no other.
    observables : sequence of str
        Stored names to compare.
    draws, seed : int
        Of the bootstrap (`analysis.statistics.bootstrap`).
    level : float
        Coverage of the intervals.

    Returns
    -------
    Dataset
        On (observable, features, n): ``shift_size``, the root mean square, over iterations after the first and entries,
        of the median over replicates minus theory, less what the error of the medians and of the solver put into it;
        ``standard_errors``, the root mean square of the same in units of its standard errors, about 1 where there is no
        shift; ``resolution``, the part of ``share`` that the error of a simulation's own average over fresh samples
        hides; ``share`` with ``share_low``, ``share_high``: the shift over ``yardstick``. On (observable, n):
        ``yardstick``, the root-mean-square distance of a run of the control from theory. On (observable, features):
        ``exponent`` of the shift in n with interval, NaN where fewer than 3 sizes have a shift that stands out.

    Raises
    ------
    InvalidInput
        If the control is missing, or every observable.
    """
    if CONTROL not in simulation.features.values.tolist():
        raise InvalidInput(
            "simulation", f"a dataset without features={CONTROL!r}", "this law is the control; run it too"
        )
    runs, predicted, bootstrap = without_diverged(simulation), without_diverged(theory), Bootstrap(draws, seed)
    names = in_both(observables, runs, predicted)
    result = by_observable(names, lambda name: _measure(stack(name, runs, predicted), bootstrap, level))
    return worded(result, _WORDS, draws=draws, level=level, bootstrap_seed=seed)


def _measure(data: Stack, bootstrap: Bootstrap, level: float) -> xr.Dataset:
    deviation = (data.simulated - data.predicted[:, :, None])[..., 1:, :]
    solver = np.nan_to_num(data.solver[..., 1:, :])
    laws, sizes, replicates, *ends = deviation.shape
    control = data.axes["features"].tolist().index(CONTROL)
    drawn = np.empty((1 + bootstrap.draws, laws, sizes, *ends))
    yardsticks = np.empty((1 + bootstrap.draws, sizes))
    for place in np.ndindex(laws, sizes):
        present = np.isfinite(deviation[place]).any((1, 2))
        counts = bootstrap.counts(present, *place)
        drawn[:, *place] = medians(counts, deviation[place])
        if place[0] == control:
            squares = np.full(replicates, np.nan)
            squares[present] = np.nanmean(deviation[place][present] ** 2, axis=(1, 2))
            yardsticks[:, place[1]] = np.sqrt(means(counts, squares))
    error = np.hypot(drawn[1:].std(0), solver)
    # One draw of the solver's error for all: the laws share a theory.
    again = drawn + bootstrap.shifts(ends[-1], data.freedom)[:, None, None, None] * solver
    # A draw has the error of the medians and of the solver twice, the second time as large as draws have it.
    taken = np.where(np.arange(len(again)) > 0, 1.0, 0.0)[:, None, None, None, None] * again[1:].var(0) + error**2
    square = np.nanmean(again**2 - taken, axis=(-2, -1))
    share = student(square / yardsticks[0] ** 2, replicates, level)
    # The yardstick's own error acts on the logarithm of every share alike.
    quantile = student_reach(replicates, level)
    stretch = np.exp(quantile * spread(np.log(yardsticks), replicates))
    readout = np.sqrt(np.nanmean(data.readout[..., 1:, :] ** 2, axis=(2, 3, 4)))
    with np.errstate(invalid="ignore", divide="ignore"):
        standard_errors = np.sqrt(np.nanmean((drawn[0] / error) ** 2, axis=(-2, -1)))
    root = Interval(*(np.sqrt(end.clip(0)) for end in share))
    dims = ("features", "n")
    return xr.Dataset(
        {
            "shift_size": (dims, np.sqrt(square[0].clip(0))),
            "standard_errors": (dims, standard_errors),
            "resolution": (dims, quantile * np.sqrt(np.pi / 2 / replicates) * readout / yardsticks[0]),
            **Interval(root.value, root.low / stretch, root.high * stretch).variables("share", *dims),
            **_exponents(data.n, square, replicates, level).variables("exponent", "features"),
            "yardstick": ("n", yardsticks[0]),
        },
        coords={"features": data.axes["features"], "n": data.n},
    )


def _exponents(n: np.ndarray, square: np.ndarray, replicates: int, level: float) -> Interval:
    """Slope of log shift against log n of each law over the sizes where the shift stands out from its error."""
    square = np.swapaxes(square, -1, -2)  # (1 + draws, n, features)
    error = spread(square, replicates)
    valid = square[0] > student_reach(replicates, level) * error
    valid &= valid.sum(0) >= LEAST_SIZES
    y = 0.5 * np.log(np.where(valid, square.clip(1e-3 * square[0].clip(1e-300)), 1.0))
    relative = np.divide(error, 2 * square[0], out=np.ones_like(error), where=valid)
    return student(line_fit(np.log(n), y, weights(relative**2, valid)).slope, replicates, level)


_WORDS = {
    "shift_size": "median over replicates minus theory, root mean square over iterations",
    "standard_errors": "the same in standard errors, before its error is taken out",
    "yardstick": "root-mean-square distance of a run with Gaussian features from theory",
    "resolution": "half the interval of share that averages over fresh rows alone would give it",
    "share": "shift over the distance of a run with Gaussian features",
    "exponent": "exponent of the shift in n",
}
