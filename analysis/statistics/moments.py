"""Mean squares of replicate minus theory, and their draws: the numbers that rates are made of.

Source: docs/theory.md#mean-squares.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.statistics.bootstrap import Bootstrap, means
from analysis.statistics.stack import Stack

__all__ = ["ROUNDING", "Moments", "moments"]

ROUNDING = 1e-12
"""Size below which a difference is rounding and not a finite-size effect, relative to theory or to 1 if that is more:
everything compared is of order one, and theory itself may be zero."""


class Moments(NamedTuple):
    """Mean squares over the entries, each an unbiased estimate; arrays of shape (cell, n, iteration).

    Attributes
    ----------
    distance_draws, fluctuation_draws : ndarray, shape (1 + draws, cell, n, iteration)
        `distance` and `fluctuation`, and their bootstrap draws; less what is in `taken_out`, they can be negative.
    bias : ndarray
        Square of mean minus theory, less the variance of the mean and of the solver; it can be negative.
    solver : ndarray
        Squared standard error of the solver.
    distance_stderr, fluctuation_stderr, bias_stderr : ndarray
        Standard errors of the squares: exact sample variance over replicates, and bootstrap for the other two.
    readout : ndarray
        Mean square of the standard error of each replicate's own observable; it is part of the fluctuation of what is
        stored.
    taken_out : ndarray
        What of `readout` is not in `distance` and `fluctuation`: all of it or nothing.
    predicted : ndarray
        Mean square of theory itself, the scale of rounding errors.
    replicates : ndarray of int
        Replicates that are finite.
    """

    distance_draws: np.ndarray
    fluctuation_draws: np.ndarray
    bias: np.ndarray
    solver: np.ndarray
    distance_stderr: np.ndarray
    fluctuation_stderr: np.ndarray
    bias_stderr: np.ndarray
    readout: np.ndarray
    taken_out: np.ndarray
    predicted: np.ndarray
    replicates: np.ndarray

    @property
    def distance(self) -> np.ndarray:
        """Mean square of replicate minus theory: fluctuation + bias + solver."""
        return self.distance_draws[0]

    @property
    def fluctuation(self) -> np.ndarray:
        """Variance over replicates."""
        return self.fluctuation_draws[0]


def moments(data: Stack, bootstrap: Bootstrap, *, without_readout: bool = False) -> Moments:
    """Estimate all mean squares and draw them again.

    A draw resamples the replicates of each cell and size, whole (all iterations together), and shifts each theory
    solution by an error of its solver, common to all sizes, cells and iterations that share it.

    Parameters
    ----------
    data : Stack
        One observable.
    bootstrap : Bootstrap
        Draws of replicates and of the solver's error.
    without_readout : bool
        Whether the mean square of each replicate's own standard error is taken out of distance and fluctuation.

    Returns
    -------
    Moments
    """
    cells, sizes, _, steps, width = data.simulated.shape
    points = (cells, sizes, steps)
    draws, found = np.full((2, 1 + bootstrap.draws, *points), np.nan), np.full((8, *points), np.nan)
    result = Moments._make([*draws, *found, np.zeros(points, dtype=np.int64)])
    solutions = data.solutions()
    for place in np.ndindex(cells, sizes):
        shift = bootstrap.shifts(width, data.freedom, int(solutions[place]))
        _fill(result, data, place, shift, bootstrap, without_readout)
    return result


def _fill(
    result: Moments,
    data: Stack,
    place: tuple[int, ...],
    shift: np.ndarray,
    bootstrap: Bootstrap,
    without_readout: bool,
) -> None:
    predicted = data.predicted[place]
    used = np.isfinite(predicted)  # padding is NaN in theory and simulation alike
    entries = used.sum(-1)
    deviation = data.simulated[place] - predicted
    finite = np.isfinite(np.where(used, deviation, 0.0)).all(-1) & (entries > 0)
    present = finite.any(-1)
    if not present.any():
        return
    deviation = np.where(used & finite[..., None], deviation, 0.0)
    per_entry = np.where(used, 1.0 / np.maximum(entries, 1)[:, None], 0.0)
    solver = np.nan_to_num(data.solver[place]) * used
    squares = np.einsum("rie,ie->ri", deviation**2, per_entry)
    doubt = np.where(used & finite[..., None], np.nan_to_num(data.readout[place]), 0.0)
    readouts = np.einsum("rie,ie->ri", doubt**2, per_entry)
    taken_out = readouts if without_readout else 0 * readouts

    counts, total = bootstrap.counts(present, *place), finite.sum(0)
    square = means(counts, np.where(finite, squares, np.nan))
    mean = means(counts, np.where(finite[..., None], deviation, np.nan))
    variance = np.maximum(square - np.einsum("bie,ie->bi", mean**2, per_entry), 0.0)
    less = means(counts, np.where(finite, taken_out, np.nan)) if without_readout else np.zeros_like(square)
    pull = 2 * np.einsum("bie,ie->bi", mean * shift[:, None], solver * per_entry)
    push = np.einsum("be,ie->bi", shift**2, solver**2 * per_entry)
    with np.errstate(invalid="ignore", divide="ignore"):
        unbiased = np.where(total > 1, total / (total - 1), np.nan)
        fluctuation = variance[0] * unbiased
        solver_square = (solver**2 * per_entry).sum(-1)
        apart = np.where(finite, (squares - taken_out - (square - less)[0]) ** 2, 0.0).sum(0)
        result.bias[place] = (square - variance)[0] - fluctuation / total - solver_square
        known = np.isfinite(data.solver[place]) | ~used
        result.solver[place] = np.where(known.all(-1) & (entries > 0), solver_square, np.nan)
        result.distance_stderr[place] = np.sqrt(apart / (total - 1) / total)
        result.fluctuation_stderr[place] = (variance - less / unbiased)[1:].std(0) * unbiased
        result.bias_stderr[place] = (square - variance - pull + push)[1:].std(0)
        result.readout[place], result.taken_out[place] = readouts.sum(0) / total, taken_out.sum(0) / total
        result.predicted[place] = (np.where(used, predicted, 0.0) ** 2 * per_entry).sum(-1)
        result.replicates[place] = total
    cell, size = place
    result.distance_draws[:, cell, size] = square - pull + push - less
    result.fluctuation_draws[:, cell, size] = np.stack([fluctuation, *variance[1:]]) - less
