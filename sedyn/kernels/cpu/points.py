"""Points of the readouts of replicates, compiled: `sedyn.arrays.points.stretched_points`.

Quantiles are those of Wichura (1988, AS 241), to a few units of the last place: rational functions of the distance to
the median, or of the root of the logarithm of what is left in the tail, whose coefficients are chosen number by number,
so that the compiler works on several at once.
"""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays.compiling import compiled, widest_vectors
from sedyn.arrays.points import BITS, point_digits
from sedyn.arrays.shapes import Float, Integer
from sedyn.arrays.threads import run_each
from sedyn.kernels.cpu.functions import exp, log
from sedyn.kernels.cpu.network import call_combine
from sedyn.kernels.cpu.passes import UNITS, call_products
from sedyn.kernels.cpu.several import shares

__all__ = ["fill_quantiles", "stretched_points"]

# Within so much of the median the first ratio of polynomials serves; in the tails the second, in the root less a
# number, up to a root of so much, and beyond it the third, less another number. Highest powers first.
CENTRE, FAR = 0.425, 5.0
NEAR_TAIL, FAR_TAIL = 1.6, 5.0
CENTRAL = (
    (
        2509.0809287301226727,
        33430.575583588128105,
        67265.770927008700853,
        45921.953931549871457,
        13731.693765509461125,
        1971.5909503065514427,
        133.14166789178437745,
        3.3871328727963666080,
    ),
    (
        5226.4952788528545610,
        28729.085735721942674,
        39307.895800092710610,
        21213.794301586595867,
        5394.1960214247511077,
        687.18700749205790830,
        42.313330701600911252,
        1.0,
    ),
)
NEAR = (
    (
        7.7454501427834140764e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258,
        3.64784832476320460504,
        5.76949722146069140550,
        4.63033784615654529590,
        1.42343711074968357734,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940,
        2.05319162663775882187,
        1.0,
    ),
)
BEYOND = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580,
        5.46378491116411436990,
        6.65790464350110377720,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)

_compiled = compiled({"reassoc", "contract", "nsz"}, error_model="numpy")
_exact = compiled({"contract"}, error_model="numpy", forceinline=True)


@_exact
def _ratio(polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: float) -> float:
    """Ratio of two polynomials."""
    numerator = denominator = 0.0
    for coefficient in polynomials[0]:
        numerator = numerator * x + coefficient
    for coefficient in polynomials[1]:
        denominator = denominator * x + coefficient
    return numerator / denominator


@_exact
def _in_tail(p: float) -> float:
    """Quantile of a probability so far from 1/2 as `CENTRE`, and farther."""
    root = math.sqrt(-log(p if p < 0.5 else 1 - p))
    ratio = _ratio(NEAR, root - NEAR_TAIL) if root <= FAR else _ratio(BEYOND, root - FAR_TAIL)
    return -ratio if p < 0.5 else ratio


@_exact
def fill_quantiles(least: float, step: float, out: np.ndarray) -> None:
    """Set quantiles of the standard normal law.

    Parameters
    ----------
    least, step : float
        The first of the probabilities, which are from 2^-1000 to 1 - 2^-53, and what each is above the one before.
    out : ndarray, shape (N,)
        Set.
    """
    before = after = 0
    for k in range(out.size):
        out[k] = least + k * step
        before += out[k] < 0.5 - CENTRE
        after += out[k] > 0.5 + CENTRE
    lower, central, upper = out[:before], out[before : out.size - after], out[out.size - after :]
    for k in range(central.size):
        from_median = central[k] - 0.5
        central[k] = from_median * _ratio(CENTRAL, CENTRE * CENTRE - from_median * from_median)
    for k in range(lower.size):
        lower[k] = _in_tail(lower[k])
    for k in range(upper.size):
        upper[k] = _in_tail(upper[k])


@_compiled
def fill_points(
    words: np.ndarray,
    beyond: int,
    digits: np.ndarray,
    stretched: int,
    factor: float,
    normals: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Set the points of several replicates.

    Parameters
    ----------
    words : ndarray of uint64, shape (R, shifts, D)
    beyond : int
        Binary digits that points have beyond those that number them.
    digits : ndarray of uint64, shape (D, N)
    stretched : int
    factor : float
    normals : ndarray, shape (R, D, shifts, N)
        Set.
    weights : ndarray, shape (R, shifts, N)
        Set.
    """
    widest_vectors()
    dimensions, count = digits.shape
    units, ordered = -(-dimensions // UNITS) * UNITS, np.empty(count)
    rest, below = np.uint64(beyond), (np.uint64(1) << np.uint64(beyond)) - np.uint64(1)
    points, weighted, matched = np.empty((dimensions, count)), np.zeros((units, count)), np.empty((dimensions, count))
    covariance, inverse = np.empty((dimensions, dimensions)), np.empty((dimensions, dimensions))
    moments = np.empty((units, dimensions))
    for r in range(words.shape[0]):
        for shift in range(words.shape[1]):
            of_points = weights[r, shift]
            for a in range(dimensions):
                # Of each coordinate the points are equally spaced: quantiles are found in their order.
                own = words[r, shift, a] >> np.uint64(64 - BITS)
                fill_quantiles((np.int64(own & below) + 0.5) * 0.5**BITS, 1 / count, ordered)
                for i in range(count):
                    points[a, i] = ordered[(digits[a, i] ^ own) >> rest]
            for i in range(count):
                of_points[i] = 0
            for a in range(stretched):
                for i in range(count):
                    of_points[i] += (1 - factor * factor) / 2 * (points[a, i] * points[a, i])
            total = 0.0
            for i in range(count):
                of_points[i] = exp(of_points[i])
                total += of_points[i]
            for i in range(count):
                of_points[i] /= total
            for a in range(dimensions):
                stretch, mean = factor if a < stretched else 1.0, 0.0
                for i in range(count):
                    points[a, i] *= stretch
                    mean += of_points[i] * points[a, i]
                for i in range(count):
                    points[a, i] -= mean
                    weighted[a, i] = of_points[i] * points[a, i]
            # Moments are matched causally, each coordinate by those before it: by the inverse of a triangular root.
            call_products(points, 0, weighted, moments, None)
            for a in range(dimensions):
                for b in range(a + 1):
                    entry = moments[a, b]
                    for c in range(b):
                        entry -= covariance[a, c] * covariance[b, c]
                    covariance[a, b] = math.sqrt(entry) if a == b else entry / covariance[b, b]
            for a in range(dimensions):
                for b in range(dimensions):
                    entry = 1.0 if a == b else 0.0
                    for c in range(b, a):
                        entry -= covariance[a, c] * inverse[c, b]
                    inverse[a, b] = entry / covariance[a, a] if b <= a else 0.0
                for i in range(count):
                    matched[a, i] = 0
            rows = inverse.reshape(dimensions * dimensions)
            for a in range(0, dimensions, UNITS):
                tile = a, min(UNITS, dimensions - a)
                call_combine(rows, a * dimensions, (1, dimensions), (0, a + tile[1]), points, tile, matched)
            for a in range(dimensions):
                for i in range(count):
                    normals[r, a, shift, i] = matched[a, i]


def stretched_points(
    words: Integer[np.ndarray, "R shifts dimensions"], samples: int, stretched: int, factor: float
) -> tuple[Float[np.ndarray, "R shifts dimensions samples"], Float[np.ndarray, "R shifts samples"]]:
    """Shift and stretch points, see `sedyn.arrays.points.stretched_points`.

    Parameters
    ----------
    words : ndarray of uint64, shape (R, shifts, D)
    samples : int
        A power of two.
    stretched : int
    factor : float

    Returns
    -------
    normals : ndarray, shape (R, shifts, D, samples)
    weights : ndarray, shape (R, shifts, samples)
    """
    replicates, shifts, dimensions = words.shape
    normals, weights = np.empty((replicates, dimensions, shifts, samples)), np.empty((replicates, shifts, samples))
    words, digits = np.ascontiguousarray(words), point_digits(dimensions, samples)
    beyond = BITS - (samples.bit_length() - 1)

    def fill(some: slice) -> None:
        fill_points(words[some], beyond, digits, stretched, factor, normals[some], weights[some])

    run_each(fill, shares(replicates))
    return np.moveaxis(normals, 1, 2), weights
