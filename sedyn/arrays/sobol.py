"""Sobol points, digit by digit: the numbers of `scipy.stats.qmc.Sobol`, without loading what takes longer than a run.

The first points of each coordinate are sums, digit by digit without carry, of a few directions, which a recurrence
gives from a table (Joe and Kuo 2008). The table is the one that scipy keeps; where a scipy keeps it elsewhere, its own
points tell the directions.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from sedyn.arrays.shapes import Integer

__all__ = ["BITS", "MOST_DIMENSIONS", "sobol_directions", "sobol_points"]

BITS = 52
"""Binary digits of a point."""
MOST_DIMENSIONS = 21201
"""Coordinates for which the table has numbers."""
MOST_AT_ONCE = 2**12  # points
_TABLE = "_sobol_direction_numbers.npz"


@lru_cache(maxsize=16)
def sobol_directions(dimensions: int, digits: int) -> Integer[np.ndarray, "{dimensions} {digits}"]:
    """Directions that points are sums of, those that change the points of the coarsest grid first.

    Parameters
    ----------
    dimensions : int
        At most `MOST_DIMENSIONS`.
    digits : int
        At most `BITS`; there are two to its power points.

    Returns
    -------
    ndarray of uint64, shape (dimensions, digits)
        Whole numbers of `BITS` binary digits. Not to be written to.

    Raises
    ------
    ValueError
        If there are no direction numbers of so many coordinates.
    """
    if dimensions > MOST_DIMENSIONS:
        raise ValueError(f"dimensions={dimensions}: Sobol points have at most {MOST_DIMENSIONS}")
    package = find_spec("scipy")
    table = Path(package.origin if package is not None and package.origin else "").parent / "stats" / _TABLE
    try:
        found = _by_recurrence(table, dimensions, digits)
    except (OSError, KeyError, ValueError):  # another scipy
        found = _by_points(dimensions, digits)
    found.flags.writeable = False
    return found


def _by_recurrence(table: Path, dimensions: int, digits: int) -> np.ndarray:
    """From primitive polynomials, one a coordinate, and the first numbers of their recurrences."""
    with np.load(table) as numbers:
        polynomials, first = (numbers[name][:dimensions].astype(np.uint64) for name in ("poly", "vinit"))
    found = np.ones((dimensions, digits), np.uint64)
    degrees = np.array([int(polynomial).bit_length() - 1 for polynomial in polynomials])
    for degree in {*degrees.tolist()} - {0}:  # the first coordinate has none, and is all ones
        here = degrees == degree
        polynomial, own = polynomials[here], np.zeros((int(here.sum()), digits), np.uint64)
        own[:, :degree] = first[here, : min(degree, digits)]
        for digit in range(degree, digits):
            own[:, digit] = own[:, digit - degree]
            for back in range(1, degree + 1):
                taken = (polynomial >> np.uint64(degree - back)) & np.uint64(1)
                own[:, digit] ^= taken * (own[:, digit - back] << np.uint64(back))
        found[here] = own
    return found << np.arange(BITS - 1, BITS - 1 - digits, -1).astype(np.uint64)


def _by_points(dimensions: int, digits: int) -> np.ndarray:
    """In Gray's order the last point before the next power of two is one direction alone."""
    from scipy.stats import qmc  # as slow to load as all of sedyn

    engine, found = qmc.Sobol(dimensions, scramble=False, bits=BITS), np.empty((dimensions, digits))
    engine.random(1)
    for digit in range(digits):
        for _ in range(max(1, 2**digit // MOST_AT_ONCE)):
            latest = engine.random(min(2**digit, MOST_AT_ONCE))
        found[:, digit] = latest[-1]
    return (found * 2.0**BITS).astype(np.uint64)


def sobol_points(
    start: Integer[np.ndarray, " dimensions"], directions: Integer[np.ndarray, "dimensions digits"]
) -> Integer[np.ndarray, "dimensions samples"]:
    """Make as many points as the directions have sums, in the order in which scipy draws them.

    Parameters
    ----------
    start : ndarray of uint64, shape (dimensions,)
        The first point, which all others are turned over by.
    directions : ndarray of uint64, shape (dimensions, digits)

    Returns
    -------
    ndarray of uint64, shape (dimensions, 2^digits)
    """
    dimensions, digits = directions.shape
    points = np.empty((dimensions, 1 << digits), np.uint64)
    points[:, 0] = start
    for j in range(digits):  # the second half goes back through the first, a direction further
        half = 1 << j
        np.bitwise_xor(points[:, half - 1 :: -1], directions[:, j, None], out=points[:, half : 2 * half])
    return points
