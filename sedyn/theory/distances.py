"""Exact distances between laws on the line, of empirical laws by their sorted values; nothing is binned.

Kolmogorov's is the largest gap between the distribution functions (docs/theory.md#kolmogorov-distance), Wasserstein's
the area between them (docs/theory.md#wasserstein-distance).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace, ndtr, ndtri
from sedyn.arrays.shapes import Float

__all__ = ["Distances", "from_normal", "from_sample"]


class Distances(NamedTuple):
    """Distances between two laws, NaN if one of them has no values.

    Attributes
    ----------
    kolmogorov : array
        In [0, 1].
    wasserstein : array
        In the unit of the values.
    """

    kolmogorov: Float[Array, "..."]
    wasserstein: Float[Array, "..."]


def from_normal(values: Float[Array, "... N"]) -> Distances:
    """Distances of empirical laws from N(0, 1).

    Parameters
    ----------
    values : array, shape (..., N)
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
    xp = array_namespace(values)
    levels = xp.linspace(0, 1, values.shape[-1] + 1, dtype=values.dtype, device=values.device)
    below, above = levels[:-1], levels[1:]
    cdf = ndtr(values)
    gaps = xp.maximum(above - cdf, cdf - below)
    quantiles = ndtri(levels)
    ends = _density(quantiles)
    turn = xp.minimum(xp.maximum(cdf, below), above)
    at_turn = _density(xp.minimum(xp.maximum(values, quantiles[:-1]), quantiles[1:]))
    areas = values * (2 * turn - below - above) + 2 * at_turn - ends[:-1] - ends[1:]
    return Distances(xp.max(gaps, axis=-1), xp.sum(areas, axis=-1))


def from_sample(values: Float[Array, "*leading N"], others: Float[Array, "*leading M"]) -> Distances:
    """Distances between pairs of empirical laws.

    Parameters
    ----------
    values : array, shape (..., N)
    others : array, shape (..., M)

    Returns
    -------
    Distances
        Of shape (...).
    """
    xp = array_namespace(values)
    both = xp.concat([values, others], axis=-1)
    # Where both are sorted a stable sort finds that out: it merges them.
    order = xp.argsort(both, axis=-1, stable=True)
    merged = xp.take_along_axis(both, order, axis=-1)
    ours = xp.cumulative_sum(xp.astype(order < values.shape[-1], values.dtype), axis=-1)[..., :-1]
    theirs = xp.arange(1, both.shape[-1], dtype=values.dtype, device=values.device) - ours
    steps = merged[..., 1:] - merged[..., :-1]
    # Between equal values there is nothing of the line.
    gaps = xp.where(steps == 0, 0.0, xp.abs(ours / values.shape[-1] - theirs / others.shape[-1]))
    known = ~xp.isnan(merged[..., -1])
    found = xp.max(gaps, axis=-1), xp.sum(gaps * steps, axis=-1)
    return Distances(*(xp.where(known, distance, xp.nan) for distance in found))


def _density(x: Array) -> Array:
    return array_namespace(x).exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
