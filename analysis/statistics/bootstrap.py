"""The bootstrap of every measure: replicates drawn whole and with replacement, theory shifted by its solver's error.

What is drawn for a cell and a size depends on the seed and on their place alone. So all observables of a store, and
all measures of it, see the same draws, whichever of them are asked for and in whatever order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from analysis.statistics.solver_error import solver_shifts

__all__ = ["Bootstrap", "means", "medians", "variances"]

AT_ONCE = 2**24
"""Numbers that `medians` sorts at once."""
MOST_KEPT = 2**22
"""Numbers of the draws of one place up to which these are kept for the next observable; they take up to 8 MiB."""


class Bootstrap(NamedTuple):
    """How many draws, and their seed.

    In all arrays of draws entry 0 is no draw: every replicate once, and theory as it is. A statistic computed of them
    has the estimate there, and its draws after.
    """

    draws: int
    seed: int = 0

    def counts(self, present: np.ndarray, *place: int) -> np.ndarray:
        """Draw replicates.

        Parameters
        ----------
        present : ndarray of bool, shape (replicate,)
            Replicates that there are; the others are never drawn.
        *place : int
            Positions of the cell and the size: other places have independent draws.

        Returns
        -------
        ndarray, shape (1 + draws, replicate)
            How often a draw takes a replicate.
        """
        count = int(present.sum())
        drawn = np.zeros((1 + self.draws, len(present)))
        drawn[0, present] = 1
        if count:
            kept = self.draws * count <= MOST_KEPT
            # Replicates that are there are mostly the first ones, and a slice is written faster than places by a mask.
            where = slice(count) if present[:count].all() else present
            drawn[1:, where] = (_kept_counts if kept else _counts)(self.draws, self.seed, count, place)
        return drawn

    def shifts(self, entries: int, freedom: float, solution: int = 0) -> np.ndarray:
        """Draw errors of theory's solver, one for each entry of an observable.

        Parameters
        ----------
        entries : int
            Entries of the observable.
        freedom : float
            Degrees of freedom of the stated standard error (`analysis.statistics.solver_error.freedom`).
        solution : int
            Which solution of the theory: others have independent errors.

        Returns
        -------
        ndarray, shape (1 + draws, entries)
            In units of the stated standard error.
        """
        return _shifts(self.draws, self.seed, entries, freedom, solution)


def _counts(draws: int, seed: int, count: int, place: tuple[int, ...]) -> np.ndarray:
    drawn = _generator(seed, 0, *place).multinomial(count, np.full(count, 1 / count), draws)
    drawn = drawn.astype(np.min_scalar_type(count))
    drawn.flags.writeable = False
    return drawn


_kept_counts = lru_cache(maxsize=64)(_counts)  # observables share draws, and they take most of the time to make


@lru_cache(maxsize=64)  # sizes and cells share solutions
def _shifts(draws: int, seed: int, entries: int, freedom: float, solution: int) -> np.ndarray:
    drawn = np.zeros((1 + draws, entries))
    drawn[1:] = solver_shifts(_generator(seed, 1, solution), (draws, entries), freedom)
    drawn.flags.writeable = False
    return drawn


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def means(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average over the replicates of each draw.

    Parameters
    ----------
    counts : ndarray, shape (1 + draws, replicate)
        From `Bootstrap.counts`.
    values : ndarray, shape (replicate, ...)
        NaN where a replicate has none: it is left out.

    Returns
    -------
    ndarray, shape (1 + draws, ...)
        NaN where no replicate has a value. A draw that happens to take none of those that have one stands at the
        estimate.
    """
    # Replicates that are missing are mostly the last ones: what no draw takes is not multiplied.
    drawn = int(np.flatnonzero(counts[0]).max(initial=-1)) + 1
    counts, values = counts[:, :drawn], values[:drawn]
    finite = np.isfinite(values)
    total = np.tensordot(counts, np.where(finite, values, 0.0), 1)
    if finite.all():
        number = counts.sum(1).reshape(-1, *[1] * (values.ndim - 1))
    else:
        number = np.tensordot(counts, finite.astype(float), 1)
    mean = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return np.where(number > 0, mean, mean[0])


def variances(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Estimate the variance over replicates, in each draw.

    Parameters
    ----------
    counts : ndarray, shape (1 + draws, replicate)
        From `Bootstrap.counts`.
    values : ndarray, shape (replicate, ...)
        NaN where a replicate has none: it is left out.

    Returns
    -------
    ndarray, shape (1 + draws, ...)
        Without bias, as far as the replicates that have a value go; NaN where fewer than two have one.
    """
    number = np.isfinite(values).sum(0)
    centre = np.where(np.isfinite(values), values, 0.0).sum(0) / np.maximum(number, 1)
    variance = means(counts, (values - centre) ** 2) - means(counts, values - centre) ** 2
    # A draw has the variance of the replicates at hand, which is less than that of all by one of them.
    factor = np.where(number > 1, number / np.maximum(number - 1, 1), np.nan)
    variance[0] *= factor
    variance[1:] *= factor**2
    return variance


def medians(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Median over the replicates of each draw.

    Parameters
    ----------
    counts : ndarray, shape (1 + draws, replicate)
        From `Bootstrap.counts`.
    values : ndarray, shape (replicate, ...)
        NaN where a replicate has none: it is left out.

    Returns
    -------
    ndarray, shape (1 + draws, ...)
        As `means`.
    """
    order = values.reshape(len(values), -1).argsort(0)  # NaN come last
    ordered = np.take_along_axis(values.reshape(len(values), -1), order, 0)
    found = np.full((len(counts), ordered.shape[1]), np.nan)
    for columns in np.array_split(np.arange(ordered.shape[1]), -(-counts.size * ordered.shape[1] // AT_ONCE)):
        below = (counts[:, order[:, columns]] * np.isfinite(ordered[:, columns])).cumsum(1)
        half = below[:, -1:] / 2
        # The middle one of an odd number of values, and the mean of the middle two of an even number.
        places = [np.minimum(short.sum(1), len(values) - 1) for short in (below < half, below <= half)]
        middle = sum(ordered[place, columns] for place in places) / 2
        found[:, columns] = np.where(half[:, 0] > 0, middle, np.nan)
    return np.where(np.isfinite(found), found, found[0]).reshape(-1, *values.shape[1:])
