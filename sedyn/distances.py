"""Exact distances between laws on the line, of empirical laws by their sorted values; nothing is binned.

Kolmogorov's is the largest gap between the distribution functions, Wasserstein's the area between them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import special

__all__ = ["Distances", "from_normal", "from_sample"]


class Distances(NamedTuple):
    """Distances between two laws, NaN if one of them has no values.

    Attributes
    ----------
    kolmogorov : ndarray
        In [0, 1].
    wasserstein : ndarray
        In the unit of the values.
    """

    kolmogorov: np.ndarray
    wasserstein: np.ndarray


def from_normal(values: np.ndarray) -> Distances:
    """Distances of empirical laws from N(0, 1).

    Parameters
    ----------
    values : ndarray, shape (..., N)
        Sorted along the last axis.

    Returns
    -------
    Distances
        Of shape (...).

    Notes
    -----
    The i-th of N sorted values stands for the levels u between (i - 1)/N and i/N, so the Wasserstein distance is a sum
    of integrals of ``|x_i - quantile(u)|``. The quantile function has the antiderivative ``-density(quantile(u))``, and
    the sign changes at most once, where u is ``cdf(x_i)``.
    """
    levels = np.linspace(0, 1, values.shape[-1] + 1)
    below, above = levels[:-1], levels[1:]
    cdf = special.ndtr(values)
    gaps = np.maximum(above - cdf, cdf - below)
    quantiles = special.ndtri(levels)
    ends = _density(quantiles)
    turn = np.clip(cdf, below, above)
    at_turn = _density(np.clip(values, quantiles[:-1], quantiles[1:]))
    areas = values * (2 * turn - below - above) + 2 * at_turn - ends[:-1] - ends[1:]
    return Distances(np.max(gaps, axis=-1), np.sum(areas, axis=-1))


def from_sample(values: np.ndarray, others: np.ndarray) -> Distances:
    """Distances between two empirical laws.

    Parameters
    ----------
    values : ndarray, shape (N,)
        Sorted.
    others : ndarray, shape (M,)
        Sorted.

    Returns
    -------
    Distances
        Two numbers.
    """
    # Both are sorted, which a stable sort finds out: it merges them.
    merged = np.sort(np.concatenate([values, others]), kind="stable")
    if np.isnan(merged[-1]):
        return Distances(np.asarray(math.nan), np.asarray(math.nan))
    steps = [np.searchsorted(part, merged[:-1], side="right") / part.size for part in (values, others)]
    gaps = np.abs(steps[0] - steps[1])
    return Distances(np.max(gaps), gaps @ np.diff(merged))


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
