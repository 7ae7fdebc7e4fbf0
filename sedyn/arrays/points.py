"""Points to average over: scrambled or shifted Sobol normals with exact first and second moments.

Independent scrambles, or shifts, are independent randomizations of the same quadrature, so their spread is its standard
error (Owen 1997); matching moments makes every average of a quadratic function exact.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace, asarray_like
from sedyn.arrays.shapes import Float, Integer
from sedyn.arrays.sobol import BITS, sobol_directions, sobol_points

__all__ = [
    "matched_moments",
    "matched_normals",
    "point_digits",
    "shifted_points",
    "sobol_uniforms",
    "stretched_normals",
    "stretched_points",
]


def sobol_uniforms(
    seed: np.random.SeedSequence, dimensions: int, samples: int
) -> Float[np.ndarray, "{dimensions} {samples}"]:
    """Scrambled Sobol points in the open unit cube, coordinates first.

    The scramble is that of `scipy.stats.qmc.Sobol`, number by number: of each coordinate the digits are multiplied by a
    random lower triangular matrix, and some are turned over (Matousek 1998). Points are sums of a few directions, of
    which alone the product is taken here.

    Parameters
    ----------
    seed : SeedSequence
        Of the scramble.
    dimensions : int
        At most `sedyn.arrays.sobol.MOST_DIMENSIONS`.
    samples : int
        A power of two.

    Returns
    -------
    ndarray, shape (dimensions, samples)
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=seed.spawn_key).spawn(1)[0])
    turned = rng.integers(2, size=(dimensions, BITS), dtype=np.uint64)
    matrices = np.tril(rng.integers(2, size=(dimensions, BITS, BITS), dtype=np.uint64), -1).astype(float)
    matrices[:, range(BITS), range(BITS)] = 1
    count = samples.bit_length() - 1
    places = np.arange(BITS - 1, -1, -1, dtype=np.uint64)
    unscrambled = (sobol_directions(dimensions, count)[:, None, :] >> places[:, None]) & np.uint64(1)
    digits = (matrices @ unscrambled.astype(float)) % 2
    directions = (2.0 ** np.arange(BITS - 1, -1, -1) @ digits).astype(np.uint64)  # exact: of fewer digits than floats
    points = sobol_points(turned @ (1 << np.arange(BITS, dtype=np.uint64)), directions)
    return (points * 2.0**-BITS).clip(2.0**-53, 1 - 2.0**-53)


def shifted_points(
    words: Integer[Array, "*leading dimensions"], samples: int
) -> Float[Array, "*leading dimensions samples"]:
    """Shift one set of Sobol points digit by digit, at a small part of the cost of as many scrambles.

    Each shift makes every point uniform by itself, so averages are unbiased and independent between shifts. The points
    are Sobol's as they are: those of each coordinate stay equally spaced, and averages of functions of one coordinate
    have the error of such a rule.

    Parameters
    ----------
    words : array of uint64, shape (..., dimensions)
        Random, a shift of each coordinate.
    samples : int
        A power of two.

    Returns
    -------
    array, shape (..., dimensions, samples)
    """
    xp = array_namespace(words)
    digits = asarray_like(point_digits(words.shape[-1], samples), words)
    shifts = words[..., None] >> (64 - BITS)
    return xp.astype(digits ^ shifts, xp.float64) * 2.0**-BITS + 2.0 ** -(BITS + 1)


@lru_cache(maxsize=16)
def point_digits(dimensions: int, samples: int) -> Integer[np.ndarray, "{dimensions} {samples}"]:
    """Binary digits of Sobol points as they are, before any shift.

    Parameters
    ----------
    dimensions : int
    samples : int
        A power of two.

    Returns
    -------
    ndarray of uint64, shape (dimensions, samples)
        Whole numbers of `BITS` digits, not to be written to (nothing holds it: compiled code takes arrays that can be).
    """
    points = sobol_points(np.zeros(dimensions, np.uint64), sobol_directions(dimensions, samples.bit_length() - 1))
    return np.asfortranarray(points)  # point by point, as kernels take them


def matched_normals(
    uniforms: Float[Array, "*leading dimensions samples"],
) -> Float[Array, "*leading dimensions samples"]:
    """Turn uniform points into normal ones with mean exactly 0 and covariance exactly the identity.

    Parameters
    ----------
    uniforms : array, shape (..., dimensions, samples)
        Points in the open unit cube, more of them than dimensions.

    Returns
    -------
    array, shape (..., dimensions, samples)
    """
    return matched_moments(backend.ndtri(uniforms))


def matched_moments(
    normals: Float[Array, "*leading dimensions samples"],
) -> Float[Array, "*leading dimensions samples"]:
    """Give normal points mean exactly 0 and covariance exactly the identity.

    Parameters
    ----------
    normals : array, shape (..., dimensions, samples)
        More points than dimensions; they are used up.

    Returns
    -------
    array, shape (..., dimensions, samples)
    """
    return _matched(normals, 1 / normals.shape[-1])


def stretched_normals(
    uniforms: Float[Array, "*leading dimensions samples"], stretched: int, factor: float
) -> tuple[Float[Array, "*leading dimensions samples"], Float[Array, "*leading samples"]]:
    """Turn uniform points into normal ones, some coordinates of which reach further into the tails than their law.

    Each point weighs less by as much as it is drawn more often (docs/theory.md#stretched-points). A function of a
    stretched coordinate, times its weight, falls off smoothly towards both ends of the uniform variable: the average
    over equally spaced points is then exact to rounding from few of them on, however fast the function grows.

    Parameters
    ----------
    uniforms : array, shape (..., dimensions, samples)
        Points in the open unit cube, more of them than dimensions.
    stretched : int
        The first so many coordinates are.
    factor : float
        By which: at least 1.

    Returns
    -------
    normals : array, shape (..., dimensions, samples)
        Of weighted mean 0 and weighted covariance the identity.
    weights : array, shape (..., samples)
        Of sum 1.
    """
    xp, normals = array_namespace(uniforms), backend.ndtri(uniforms)
    known = normals[..., :stretched, :]
    weights = xp.exp((1 - factor * factor) / 2 * xp.sum(known * known, axis=-2))
    weights = weights / xp.sum(weights, axis=-1, keepdims=True)
    normals[..., :stretched, :] = factor * known
    return _matched(normals, weights[..., None, :]), weights


def stretched_points(
    words: Integer[Array, "R shifts dimensions"], samples: int, stretched: int, factor: float
) -> tuple[Float[Array, "R shifts dimensions samples"], Float[Array, "R shifts samples"]]:
    """Shift points as `shifted_points` does, and stretch them as `stretched_normals`.

    Parameters
    ----------
    words : array of uint64, shape (R, shifts, dimensions)
    samples : int
        A power of two.
    stretched : int
    factor : float

    Returns
    -------
    normals : array, shape (R, shifts, dimensions, samples)
    weights : array, shape (R, shifts, samples)
    """
    return stretched_normals(shifted_points(words, samples), stretched, factor)


def _matched(normals: Float[Array, "... dimensions N"], weights: Float[Array, "... 1 N"] | float) -> Array:
    """Match weighted moments, in place (docs/theory.md#matched-moments).

    Causally, each coordinate using only those before it, so the first coordinates do not depend on how many follow.
    """
    xp = array_namespace(normals)
    normals -= xp.sum(weights * normals, axis=-1, keepdims=True)
    covariance = xp.matmul(weights * normals, xp.matrix_transpose(normals))
    # Near the identity, so that nothing is lost by inverting its factor.
    return xp.matmul(xp.linalg.inv(xp.linalg.cholesky(covariance)), normals)
