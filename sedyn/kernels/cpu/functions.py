"""Compiled activations and losses, each a function by itself: a run compiles those that it meets, and no others.

Samples are innermost and exponentials are arithmetic, so that the compiler works on several at once. The entries of the
registries name the forms that are here; the activations and losses of users are Python and go another way.

A form is found by its name: `_activate_<form>` and `_bend_<form>` are an activation, `_lose_<form>` and
`_bend_loss_<form>` a loss. `ACTIVATE`, `BEND`, `LOSE` and `BEND_LOSS` say what they take, which is the same for every
form, and what they do. A form without second derivatives has no function for them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from sedyn.arrays.compiling import MATRIX, VECTOR, address_of, compiled

__all__ = ["ACTIVATE", "BEND", "BEND_LOSS", "LOSE", "activation_addresses", "exp", "log", "loss_addresses", "normal"]

INT = types.int64
ACTIVATE = types.void(MATRIX, MATRIX, INT, INT, INT)
"""How compiled code calls `_activate_<form>`: values and slopes of as many rows as there are units.

Parameters
----------
signals : ndarray, shape (rows, m)
    Of m samples. The rows from `source` on are read; the values are set in those from `target` on.
slopes : ndarray, shape (rows, m)
    The first derivatives are set in the rows from `target` on.
source, target : int
    The first row that is read, and the first that is set.
units : int
    How many rows there are of each.
"""
BEND = types.void(MATRIX, MATRIX, INT, INT, VECTOR)
"""How compiled code calls `_bend_<form>`: second derivatives of one row.

Parameters
----------
signals, slopes : ndarray, shape (rows, m)
    As `_activate_<form>` leaves them.
source, target : int
    The row that it read, and the row that it set.
bends : ndarray, shape (m,)
    Set.
"""
LOSE = types.void(VECTOR, MATRIX, INT, MATRIX, INT, VECTOR, MATRIX)
"""How compiled code calls `_lose_<form>`: losses of all C outputs together, and their derivatives.

Parameters
----------
numbers : ndarray, shape (_,)
    Of the loss's family.
signals : ndarray, shape (rows, m)
    Of m samples.
outputs : int
    The row of the first output.
y : ndarray, shape (C, at least start + m)
    Labels of all samples.
start : int
    The sample that comes first.
value : ndarray, shape (at least start + m,)
    Set for these samples.
pulls : ndarray, shape (rows, m)
    The first derivatives are set in the rows of the outputs.
"""
BEND_LOSS = types.void(VECTOR, MATRIX, INT, MATRIX, INT, MATRIX, INT, INT, VECTOR)
"""How compiled code calls `_bend_loss_<form>`: second derivatives in two outputs.

Parameters
----------
numbers, signals, outputs, y, start
    As for `LOSE`.
pulls : ndarray, shape (rows, m)
    As `_lose_<form>` leaves them.
one, other : int
    The two outputs, counted from the first.
bends : ndarray, shape (m,)
    Set.
"""

# exp(x) = 2^k exp(r), k an integer and |r| at most log(2) / 2: log(2) in two parts, the first with zeros at its end, so
# that k times it is exact; and what, added to a number, leaves the nearest integer in its last bits.
LOG_2_HIGH, LOG_2_LOW = 0.6931467056274414, 4.7493250390316726e-07
SHIFTER = 1.5 * 2.0**52
EXPONENT_BIAS, FRACTION_BITS = 1023, 52
# Samples of a quarter, whose numbers meet constants together with those of three others: some whole vectors.
QUARTER = 16
ROOT_OF_HALF = int(np.float64(math.sqrt(0.5)).view(np.int64))  # as bits


def _in_pairs(*coefficients: float) -> tuple[tuple[float, float], ...]:
    """Coefficients of a polynomial, highest power first as everywhere, as `_polynomial` takes them."""
    even = (*[0.0] * (len(coefficients) % 2), *coefficients)
    return tuple(zip(even[::2], even[1::2], strict=True))


# Polynomials of least largest error, from the exchange algorithm of Remez in 60 digits, with errors relative to the
# function that is made of them, and rounded to double precision: in the second its leading terms one after another,
# lowest power first, with the others fitted again. The error left is that after rounding. The first is of least squares
# at Chebyshev's nodes, in extended precision, with its two leading terms given.
# (exp(r) - 1 - r) / r^2; leaves 2.9e-17 of exp(r) - 1.
EXPONENTIAL_REST = _in_pairs(
    2.5072052873319865e-08,
    2.7622492097131965e-07,
    2.755734282444148e-06,
    2.4801515650897607e-05,
    0.0001984126980074805,
    0.001388888892109061,
    0.008333333333346678,
    0.04166666666661847,
    0.16666666666666666,
    0.5,
)
# erf(x) / x - 1 in x^2, for |x| up to 1; leaves 1.2e-17 of erf(x).
ERF_INSIDE = _in_pairs(
    -7.90159678053035e-10,
    1.378064077768686e-08,
    -1.6223554805464882e-07,
    1.6449557296269062e-06,
    -1.4924925783080056e-05,
    0.00012055305759225564,
    -0.0008548326381254444,
    0.005223977616745055,
    -0.026866170644603796,
    0.11283791670955326,
    -0.37612638903183865,
    0.1283791670955126,
)
# exp(x^2) erfc(x) in 1 / (x + TAIL_SHIFT), for x from 1 to 6.1; leaves 8e-18 of erf(x), which is 1 to rounding beyond.
TAIL_SHIFT = 1.5
ERF_TAIL = _in_pairs(
    24.043748224142067,
    -104.17289625464544,
    201.47597083532233,
    -224.77983301224333,
    154.69652620018826,
    -64.69263609913754,
    16.32544373268961,
    -4.413479514265185,
    1.2291930322624993,
    0.9227778867673412,
    0.8510135291929605,
    0.563979673357172,
    4.2666171031312866e-06,
)
# (2 artanh(z) - 2 z) / z^3 in z^2, for |z| up to 1 / 3; leaves 3e-18 of artanh(z).
ARTANH_REST = _in_pairs(
    0.17009758858542268,
    0.08344970746330496,
    0.1210494496698806,
    0.13301121385585737,
    0.1538654839106539,
    0.18181744479202747,
    0.22222223953641326,
    0.2857142854811811,
    0.40000000000155117,
    0.6666666666666631,
)

_exact = compiled({"contract"}, error_model="numpy", forceinline=True)
_compiled = compiled({"reassoc", "contract", "nsz"}, error_model="numpy")


@_exact
def _polynomial(coefficients: tuple[tuple[float, float], ...], x: float) -> float:
    """Value of a polynomial, pair by pair: steps that wait for one another are half of what they are term by term."""
    square = x * x
    odd, even = coefficients[0]
    value = odd * x + even
    for odd, even in coefficients[1:]:
        value = value * square + (odd * x + even)
    return value


@_exact
def _exponential_parts(x: float) -> tuple[float, float]:
    """Parts p, a power of two, and e = expm1(r) of exp(x) = p + p e, for |x| at most 700."""
    shifted = x * (1 / math.log(2)) + SHIFTER
    count = shifted - SHIFTER
    r = x - count * LOG_2_HIGH - count * LOG_2_LOW
    bits = np.float64(shifted).view(np.int64)
    power = np.int64((bits + EXPONENT_BIAS) << FRACTION_BITS).view(np.float64)
    return power, r + r * (r * _polynomial(EXPONENTIAL_REST, r))


@_exact
def exp(x: float) -> float:
    """Exponential of a number up to 700; zero below -700."""
    vanishes = x < -700
    power, rest = _exponential_parts(-700.0 if vanishes else x)
    return 0.0 if vanishes else power + power * rest


@_exact
def _tanh(x: float) -> float:
    """Hyperbolic tangent, from exp(2 x) - 1; beyond 20 it is 1 to rounding."""
    inside = 20.0 if x > 20 else (-20.0 if x < -20 else x)  # NaN stays NaN
    power, rest = _exponential_parts(2 * inside)
    less_one = power * rest + (power - 1)
    return less_one / (less_one + 2)


@_exact
def _sigmoid(x: float) -> tuple[float, float]:
    """Logistic function, and exp(-|x|)."""
    small = exp(-abs(x))
    return (small if x < 0 else 1.0) / (1 + small), small


@_exact
def _erf(x: float) -> tuple[float, float]:
    """Error function to 1.5 units of the last place, and exp(-x^2)."""
    square = x * x
    bell = exp(-square)
    inside = x + x * _polynomial(ERF_INSIDE, square)
    outside = 1 - bell * _polynomial(ERF_TAIL, 1 / (abs(x) + TAIL_SHIFT))
    return inside if abs(x) < 1 else (-outside if x < 0 else outside), bell


@_exact
def normal(x: float) -> tuple[float, float]:
    """Distribution function of the standard normal law, to two units of rounding of 1, and exp(-x^2 / 2)."""
    small = math.sqrt(0.5) * x
    bell = exp(-0.5 * x * x)
    inside = 0.5 + 0.5 * (small + small * _polynomial(ERF_INSIDE, small * small))
    beyond = 0.5 * bell * _polynomial(ERF_TAIL, 1 / (abs(small) + TAIL_SHIFT))
    return inside if abs(small) < 1 else (beyond if x < 0 else 1 - beyond), bell


@_exact
def _log1p_to_one(x: float) -> float:
    """Logarithm of 1 + x, for x from 0 to 1, to 1.5 units of the last place: 2 artanh(z), where 2 z = x - z x."""
    z = x / (2 + x)
    square = z * z
    return x - z * (x - square * _polynomial(ARTANH_REST, square))


@_exact
def log(x: float) -> float:
    """Logarithm of a positive number: a power of two's, and that of (1 + z) / (1 - z), which is 2 artanh(z)."""
    bits = np.float64(x).view(np.int64)
    count = (bits - ROOT_OF_HALF) >> FRACTION_BITS
    rest = np.int64(bits - (count << FRACTION_BITS)).view(np.float64)
    z = (rest - 1) / (rest + 1)
    square = z * z
    power = np.float64(count)
    value = power * LOG_2_HIGH + (2 * z + (z * square * _polynomial(ARTANH_REST, square) + power * LOG_2_LOW))
    return value if x < math.inf else x  # NaN stays NaN


@_exact
def _hypotenuse(x: float, width: float) -> float:
    """Root of the sum of squares; the width is positive."""
    longer = max(width, abs(x))  # whose square may be too large for a number, as a ratio's is not
    part, rest = x / longer, width / longer
    return longer * math.sqrt(part * part + rest * rest)


# Activations: `ACTIVATE` and `BEND` say what these take.
@_compiled
def _activate_identity(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, units: int) -> None:
    for a in range(units):
        for i in range(signals.shape[1]):
            signals[target + a, i], slopes[target + a, i] = signals[source + a, i], 1.0


@_compiled
def _activate_tanh(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, units: int) -> None:
    count = signals.shape[1]
    whole = count - count % (4 * QUARTER)
    for a in range(units):
        given, found, slope = signals[source + a], signals[target + a], slopes[target + a]
        for start in range(0, whole, 4 * QUARTER):
            # All four in one turn: a turn reads each constant from memory once.
            for i in range(start, start + QUARTER):
                j, k, m = i + QUARTER, i + 2 * QUARTER, i + 3 * QUARTER
                first, second, third, fourth = _tanh(given[i]), _tanh(given[j]), _tanh(given[k]), _tanh(given[m])
                found[i], slope[i] = first, 1 - first * first
                found[j], slope[j] = second, 1 - second * second
                found[k], slope[k] = third, 1 - third * third
                found[m], slope[m] = fourth, 1 - fourth * fourth
        # Rows of what is left: of entries whose index may be negative for all it knows, the compiler makes no vector.
        rest, found_rest, slope_rest = given[whole:], found[whole:], slope[whole:]
        for i in range(rest.size):
            value = _tanh(rest[i])
            found_rest[i], slope_rest[i] = value, 1 - value * value


@_compiled
def _bend_tanh(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, bends: np.ndarray) -> None:
    for i in range(bends.size):
        bends[i] = -2 * signals[target, i] * slopes[target, i]


@_compiled
def _activate_erf(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, units: int) -> None:
    for a in range(units):
        for i in range(signals.shape[1]):
            signals[target + a, i], bell = _erf(signals[source + a, i])
            slopes[target + a, i] = 2 / math.sqrt(math.pi) * bell


@_compiled
def _bend_erf(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, bends: np.ndarray) -> None:
    for i in range(bends.size):
        bends[i] = -2 * signals[source, i] * slopes[target, i]


@_compiled
def _activate_relu(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, units: int) -> None:
    for a in range(units):
        for i in range(signals.shape[1]):
            slope = 1.0 if signals[source + a, i] > 0 else 0.0
            signals[target + a, i], slopes[target + a, i] = signals[source + a, i] * slope, slope


@_compiled
def _activate_gelu(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, units: int) -> None:
    for a in range(units):
        for i in range(signals.shape[1]):
            at = signals[source + a, i]
            erf, bell = _erf(at * math.sqrt(0.5))
            cdf = 0.5 * (1 + erf)
            signals[target + a, i] = at * cdf
            slopes[target + a, i] = cdf + at * (1 / math.sqrt(2 * math.pi)) * bell


@_compiled
def _bend_gelu(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, bends: np.ndarray) -> None:
    for i in range(bends.size):
        at = signals[source, i]
        bends[i] = (2 - at * at) * (1 / math.sqrt(2 * math.pi)) * exp(-0.5 * at * at)


@_compiled
def _activate_sigmoid(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, units: int) -> None:
    for a in range(units):
        for i in range(signals.shape[1]):
            value, _ = _sigmoid(signals[source + a, i])
            signals[target + a, i], slopes[target + a, i] = value, value * (1 - value)


@_compiled
def _bend_sigmoid(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, bends: np.ndarray) -> None:
    for i in range(bends.size):
        bends[i] = slopes[target, i] * (1 - 2 * signals[target, i])


@_compiled
def _activate_silu(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, units: int) -> None:
    for a in range(units):
        for i in range(signals.shape[1]):
            at = signals[source + a, i]
            value, _ = _sigmoid(at)
            signals[target + a, i], slopes[target + a, i] = at * value, value + at * value * (1 - value)


@_compiled
def _bend_silu(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, bends: np.ndarray) -> None:
    for i in range(bends.size):
        at = signals[source, i]
        value, _ = _sigmoid(at)
        bends[i] = value * (1 - value) * (2 + at * (1 - 2 * value))


@_compiled
def _activate_softplus(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, units: int) -> None:
    for a in range(units):
        for i in range(signals.shape[1]):
            at = signals[source + a, i]
            slopes[target + a, i], small = _sigmoid(at)
            signals[target + a, i] = max(at, 0.0) + _log1p_to_one(small)


@_compiled
def _bend_softplus(signals: np.ndarray, slopes: np.ndarray, source: int, target: int, bends: np.ndarray) -> None:
    for i in range(bends.size):
        bends[i] = slopes[target, i] * (1 - slopes[target, i])


# Losses: `LOSE` and `BEND_LOSS` say what these take.
@_compiled
def _lose_squared(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    value: np.ndarray,
    pulls: np.ndarray,
) -> None:
    labels, values = y[:, start:], value[start:]
    for c in range(y.shape[0]):
        for i in range(signals.shape[1]):
            residual = signals[outputs + c, i] - labels[c, i]
            values[i] = (values[i] if c else 0.0) + 0.5 * residual * residual
            pulls[outputs + c, i] = residual


@_compiled
def _bend_loss_squared(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    pulls: np.ndarray,
    one: int,
    other: int,
    bends: np.ndarray,
) -> None:
    for i in range(bends.size):
        bends[i] = 1


@_compiled
def _lose_huber(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    value: np.ndarray,
    pulls: np.ndarray,
) -> None:
    labels, values, threshold = y[:, start:], value[start:], numbers[0]
    for c in range(y.shape[0]):
        for i in range(signals.shape[1]):
            residual = signals[outputs + c, i] - labels[c, i]
            clipped = threshold if residual > threshold else (-threshold if residual < -threshold else residual)
            values[i] = (values[i] if c else 0.0) + clipped * (residual - 0.5 * clipped)
            pulls[outputs + c, i] = clipped  # NaN stays NaN


@_compiled
def _bend_loss_huber(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    pulls: np.ndarray,
    one: int,
    other: int,
    bends: np.ndarray,
) -> None:
    labels = y[:, start:]
    for i in range(bends.size):
        bends[i] = 1 if abs(signals[outputs + one, i] - labels[one, i]) < numbers[0] else 0


@_compiled
def _lose_absolute(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    value: np.ndarray,
    pulls: np.ndarray,
) -> None:
    labels, values, width = y[:, start:], value[start:], numbers[0]
    for c in range(y.shape[0]):
        for i in range(signals.shape[1]):
            residual = signals[outputs + c, i] - labels[c, i]
            radius = _hypotenuse(residual, width)
            values[i] = (values[i] if c else 0.0) + residual * (residual / (radius + width))
            pulls[outputs + c, i] = residual / radius


@_compiled
def _bend_loss_absolute(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    pulls: np.ndarray,
    one: int,
    other: int,
    bends: np.ndarray,
) -> None:
    labels, width = y[:, start:], numbers[0]
    for i in range(bends.size):
        residual = signals[outputs + one, i] - labels[one, i]
        radius = _hypotenuse(residual, width)
        bends[i] = width / radius * (width / radius) / radius


@_compiled
def _lose_logistic(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    value: np.ndarray,
    pulls: np.ndarray,
) -> None:
    labels, values = y[:, start:], value[start:]
    for c in range(y.shape[0]):
        for i in range(signals.shape[1]):
            excess = -labels[c, i] * signals[outputs + c, i]
            probability, small = _sigmoid(excess)
            values[i] = (values[i] if c else 0.0) + (max(excess, 0.0) + _log1p_to_one(small))
            pulls[outputs + c, i] = -labels[c, i] * probability


@_compiled
def _bend_loss_logistic(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    pulls: np.ndarray,
    one: int,
    other: int,
    bends: np.ndarray,
) -> None:
    for i in range(bends.size):
        probability = abs(pulls[outputs + one, i])  # labels are -1 or 1
        bends[i] = probability * (1 - probability)


@_compiled
def _lose_softmax(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    value: np.ndarray,
    pulls: np.ndarray,
) -> None:
    count, labels, values = signals.shape[1], y[:, start:], value[start:]
    largest, total = np.empty(count), np.empty(count)
    for i in range(count):
        largest[i], total[i], values[i] = signals[outputs, i], 0, 0
    for c in range(1, y.shape[0]):
        for i in range(count):
            f = signals[outputs + c, i]
            largest[i] = f if f > largest[i] else largest[i]
    for c in range(y.shape[0]):
        for i in range(count):
            power = exp(signals[outputs + c, i] - largest[i])
            pulls[outputs + c, i] = power
            total[i] += power
            values[i] += signals[outputs + c, i] * labels[c, i]
    for i in range(count):
        values[i] = log(total[i]) + largest[i] - values[i]
    for c in range(y.shape[0]):
        for i in range(count):
            pulls[outputs + c, i] = pulls[outputs + c, i] / total[i] - labels[c, i]


@_compiled
def _bend_loss_softmax(
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    pulls: np.ndarray,
    one: int,
    other: int,
    bends: np.ndarray,
) -> None:
    labels, same = y[:, start:], 1.0 if one == other else 0.0
    for i in range(bends.size):
        p, q = pulls[outputs + one, i] + labels[one, i], pulls[outputs + other, i] + labels[other, i]
        bends[i] = p * (same - q)


def _addresses_of(names: tuple[str, str], signatures: tuple[Any, Any]) -> tuple[int, int]:
    """Compile a function and that of its second derivatives, and say where they are; 0 where there is none."""
    first, second = (globals().get(name) for name in names)
    return address_of(first, signatures[0]), 0 if second is None else address_of(second, signatures[1])


def activation_addresses(form: str) -> tuple[int, int]:
    """Where the compiled functions of an activation are: its values, and its second derivatives or 0."""
    return _addresses_of((f"_activate_{form}", f"_bend_{form}"), (ACTIVATE, BEND))


def loss_addresses(form: str) -> tuple[int, int]:
    """Where the compiled functions of a loss are: its values, and its second derivatives."""
    return _addresses_of((f"_lose_{form}", f"_bend_loss_{form}"), (LOSE, BEND_LOSS))
