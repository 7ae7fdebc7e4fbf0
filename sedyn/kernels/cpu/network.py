"""The network for a few samples at a time, compiled: `sedyn.model.network.differentiate`.

A pass over a large matrix calls it between its two products, while the samples are in cache, without the interpreter.
Samples are innermost and exponentials are arithmetic, so that the compiler works on several at once. The entries of the
registries name the forms that are here; the activations and losses of users are Python and go another way.
"""

from __future__ import annotations

import math
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sedyn.arrays.compiling import compiled
from sedyn.arrays.shapes import Float, Integer, Shaped
from sedyn.kernels.program import Kind, Program

__all__ = [
    "ActivationForm",
    "CompiledNetwork",
    "LossForm",
    "differentiate_parts",
    "differentiate_samples",
    "forward_parts",
    "operations_of",
    "reached_by",
]

# A compiled form is a member here and a branch of `activate` or `lose`, where `sedyn.kernels.cpu.serving` looks for it.
ActivationForm = IntEnum("ActivationForm", "identity tanh erf sigmoid softplus gelu silu relu", start=0)
LossForm = IntEnum("LossForm", "squared logistic huber absolute softmax", start=0)

# exp(x) = 2^k exp(r), k an integer and |r| at most log(2) / 2: log(2) in two parts, the first with zeros at its end, so
# that k times it is exact; what, added to a number, leaves the nearest integer in its last bits; and, highest power
# first as everywhere, the terms of (exp(r) - 1 - r) / r^2 that are not below rounding.
LOG_2_HIGH, LOG_2_LOW = 0.6931467056274414, 4.7493250390316726e-07
SHIFTER = 1.5 * 2.0**52
EXPONENT_BIAS, FRACTION_BITS = 1023, 52
ROOT_OF_HALF = int(np.float64(math.sqrt(0.5)).view(np.int64))  # as bits
EXPONENTIAL_REST = tuple(1 / math.factorial(k) for k in range(13, 1, -1))

# Polynomials of least largest error, from the exchange algorithm of Remez in 60 digits, with errors relative to the
# function that is made of them, and rounded to double precision: in the first its leading terms one after another,
# lowest power first, with the others fitted again. The error left is that after rounding.
# erf(x) / x - 1 in x^2, for |x| up to 1; leaves 1.2e-17 of erf(x).
ERF_INSIDE = (
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
ERF_TAIL = (
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
ARTANH_REST = (
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


class CompiledNetwork(NamedTuple):
    """A network on its training samples, as compiled functions take it.

    Attributes
    ----------
    operations : ndarray of int64, shape (m, 6)
        Of its program (`sedyn.kernels.program.Operation`); the place of one that activates is an `ActivationForm`.
    rows, outputs : int
        How many rows there are, and the first of the outputs.
    parameters : ndarray, shape (P,)
        Packed.
    loss : int
        A `LossForm`.
    loss_numbers : ndarray, shape (_,)
        Of the loss's family.
    labels : ndarray, shape (C, n)
    sample_weights : ndarray, shape (n,) or (0,)
        Empty for all ones.
    reached : ndarray of bool, shape (rows, q)
        See `sedyn.kernels.program.Program`.
    """

    operations: Integer[np.ndarray, "m 6"]
    rows: int
    outputs: int
    parameters: Float[np.ndarray, " P"]
    loss: int
    loss_numbers: Float[np.ndarray, " _"]
    labels: Float[np.ndarray, "C n"]
    sample_weights: Float[np.ndarray, " _"]
    reached: Shaped[np.ndarray, "rows q"]


@lru_cache(maxsize=256)
def reached_by(program: Program) -> Shaped[np.ndarray, "rows q"]:
    """Bring what a program's rows depend on to the form that compiled functions take."""
    return np.array(program.reached)


@lru_cache(maxsize=256)
def operations_of(program: Program) -> Integer[np.ndarray, "m 6"]:
    """Bring a program's operations to the form that compiled functions take."""
    forms = [ActivationForm[str(each.compiled)] for each in program.activations]
    found = np.array(program.operations, np.int64).reshape(-1, 6)
    for row in found:
        if row[0] == Kind.activate:
            row[5] = forms[row[5]]
    return found


@_exact
def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
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
def _exp(x: float) -> float:
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
    small = _exp(-abs(x))
    return (small if x < 0 else 1.0) / (1 + small), small


@_exact
def _erf(x: float) -> tuple[float, float]:
    """Error function to 1.5 units of the last place, and exp(-x^2)."""
    square = x * x
    bell = _exp(-square)
    inside = x + x * _polynomial(ERF_INSIDE, square)
    outside = 1 - bell * _polynomial(ERF_TAIL, 1 / (abs(x) + TAIL_SHIFT))
    return inside if abs(x) < 1 else (-outside if x < 0 else outside), bell


@_exact
def _log1p_to_one(x: float) -> float:
    """Logarithm of 1 + x, for x from 0 to 1, to 1.5 units of the last place: 2 artanh(z), where 2 z = x - z x."""
    z = x / (2 + x)
    square = z * z
    return x - z * (x - square * _polynomial(ARTANH_REST, square))


@_exact
def _log(x: float) -> float:
    """Logarithm of a number of at least 1: a power of two's, and that of (1 + z) / (1 - z), which is 2 artanh(z)."""
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


# From here on functions take whole arrays, and rows by their numbers. A part of an array would be counted as one more
# user of its memory, and for a few samples that takes longer than the work on them.
@_compiled
def activate(activation: int, signals: np.ndarray, source: int, slopes: np.ndarray, target: int, units: int) -> None:
    """Set the values and derivatives of an activation.

    Parameters
    ----------
    activation : int
        An `ActivationForm`.
    signals, slopes : ndarray, shape (rows, m)
    source, target, units : int
        From so many rows of the signals on, of `signals` and of `slopes` as many rows are set, from the target on.
    """
    count = signals.shape[1]
    for a in range(units):
        x, f = source + a, target + a
        if activation == ActivationForm.identity:
            for i in range(count):
                signals[f, i], slopes[f, i] = signals[x, i], 1.0
        elif activation == ActivationForm.tanh:
            for i in range(count):
                value = _tanh(signals[x, i])
                signals[f, i], slopes[f, i] = value, 1 - value * value
        elif activation == ActivationForm.erf:
            for i in range(count):
                signals[f, i], bell = _erf(signals[x, i])
                slopes[f, i] = 2 / math.sqrt(math.pi) * bell
        elif activation == ActivationForm.relu:
            for i in range(count):
                slope = 1.0 if signals[x, i] > 0 else 0.0
                signals[f, i], slopes[f, i] = signals[x, i] * slope, slope
        elif activation == ActivationForm.gelu:
            for i in range(count):
                at = signals[x, i]
                erf, bell = _erf(at * math.sqrt(0.5))
                cdf = 0.5 * (1 + erf)
                signals[f, i], slopes[f, i] = at * cdf, cdf + at * (1 / math.sqrt(2 * math.pi)) * bell
        elif activation == ActivationForm.sigmoid:
            for i in range(count):
                value, _ = _sigmoid(signals[x, i])
                signals[f, i], slopes[f, i] = value, value * (1 - value)
        elif activation == ActivationForm.silu:
            for i in range(count):
                at = signals[x, i]
                value, _ = _sigmoid(at)
                signals[f, i], slopes[f, i] = at * value, value + at * value * (1 - value)
        elif activation == ActivationForm.softplus:
            for i in range(count):
                at = signals[x, i]
                slopes[f, i], small = _sigmoid(at)
                signals[f, i] = max(at, 0.0) + _log1p_to_one(small)


@_compiled
def lose(
    loss: int,
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    value: np.ndarray,
    pulls: np.ndarray,
) -> None:
    """Set the values of a loss, of all outputs together, and its derivatives in the network's outputs.

    Parameters
    ----------
    loss : int
        A `LossForm`.
    numbers : ndarray, shape (_,)
        Of its family.
    signals, pulls : ndarray, shape (rows, m)
        In the rows of the outputs they are read, and set.
    outputs : int
        The first of these rows.
    y, value : ndarray, shapes (C, n) and (n,)
        Labels, and what is set.
    start : int
        The sample that comes first.
    """
    count, labels, values = signals.shape[1], y[:, start:], value[start:]
    for i in range(count):
        values[i] = 0
    if loss == LossForm.squared:
        for c in range(y.shape[0]):
            for i in range(count):
                residual = signals[outputs + c, i] - labels[c, i]
                values[i] += 0.5 * residual * residual
                pulls[outputs + c, i] = residual
    elif loss == LossForm.huber:
        threshold = numbers[0]
        for c in range(y.shape[0]):
            for i in range(count):
                residual = signals[outputs + c, i] - labels[c, i]
                clipped = threshold if residual > threshold else (-threshold if residual < -threshold else residual)
                values[i] += clipped * (residual - 0.5 * clipped)
                pulls[outputs + c, i] = clipped  # NaN stays NaN
    elif loss == LossForm.absolute:
        width = numbers[0]
        for c in range(y.shape[0]):
            for i in range(count):
                residual = signals[outputs + c, i] - labels[c, i]
                radius = _hypotenuse(residual, width)
                values[i] += residual * (residual / (radius + width))
                pulls[outputs + c, i] = residual / radius
    elif loss == LossForm.logistic:
        for c in range(y.shape[0]):
            for i in range(count):
                excess = -labels[c, i] * signals[outputs + c, i]
                probability, small = _sigmoid(excess)
                values[i] += max(excess, 0.0) + _log1p_to_one(small)
                pulls[outputs + c, i] = -labels[c, i] * probability
    elif loss == LossForm.softmax:
        largest, total = np.empty(count), np.empty(count)
        for i in range(count):
            largest[i], total[i] = signals[outputs, i], 0
        for c in range(1, y.shape[0]):
            for i in range(count):
                f = signals[outputs + c, i]
                largest[i] = f if f > largest[i] else largest[i]
        for c in range(y.shape[0]):
            for i in range(count):
                power = _exp(signals[outputs + c, i] - largest[i])
                pulls[outputs + c, i] = power
                total[i] += power
                values[i] += signals[outputs + c, i] * labels[c, i]
        for i in range(count):
            values[i] = _log(total[i]) + largest[i] - values[i]
        for c in range(y.shape[0]):
            for i in range(count):
                pulls[outputs + c, i] = pulls[outputs + c, i] / total[i] - labels[c, i]


@_compiled
def bend_activation(
    activation: int, signals: np.ndarray, slopes: np.ndarray, source: int, target: int, bends: np.ndarray
) -> bool:
    """Set the second derivatives of an activation at one row, and say whether there are any.

    Parameters
    ----------
    activation : int
        An `ActivationForm`.
    signals, slopes : ndarray, shape (rows, m)
        As `activate` leaves them.
    source, target : int
        The row that was read, and the one that was set.
    bends : ndarray, shape (m,)
    """
    count = signals.shape[1]
    if activation == ActivationForm.tanh:
        for i in range(count):
            bends[i] = -2 * signals[target, i] * slopes[target, i]
    elif activation == ActivationForm.erf:
        for i in range(count):
            bends[i] = -2 * signals[source, i] * slopes[target, i]
    elif activation == ActivationForm.gelu:
        for i in range(count):
            at = signals[source, i]
            bends[i] = (2 - at * at) * (1 / math.sqrt(2 * math.pi)) * _exp(-0.5 * at * at)
    elif activation == ActivationForm.sigmoid:
        for i in range(count):
            bends[i] = slopes[target, i] * (1 - 2 * signals[target, i])
    elif activation == ActivationForm.silu:
        for i in range(count):
            at = signals[source, i]
            value, _ = _sigmoid(at)
            bends[i] = value * (1 - value) * (2 + at * (1 - 2 * value))
    elif activation == ActivationForm.softplus:
        for i in range(count):
            bends[i] = slopes[target, i] * (1 - slopes[target, i])
    else:
        return False
    return True


@_compiled
def bend_loss(
    loss: int,
    numbers: np.ndarray,
    signals: np.ndarray,
    outputs: int,
    y: np.ndarray,
    start: int,
    pulls: np.ndarray,
    one: int,
    other: int,
    bends: np.ndarray,
) -> bool:
    """Set the second derivatives of a loss in two of the outputs, and say whether there are any.

    Parameters
    ----------
    loss : int
        A `LossForm`.
    numbers : ndarray, shape (_,)
        Of its family.
    signals, pulls : ndarray, shape (rows, m)
        As `lose` leaves them.
    outputs : int
        The first row of the outputs.
    y : ndarray, shape (C, n)
        Labels.
    start : int
        The sample that comes first.
    one, other : int
        Two outputs.
    bends : ndarray, shape (m,)
    """
    count, labels = signals.shape[1], y[:, start:]
    if loss == LossForm.softmax:
        same = 1.0 if one == other else 0.0
        for i in range(count):
            p, q = pulls[outputs + one, i] + labels[one, i], pulls[outputs + other, i] + labels[other, i]
            bends[i] = p * (same - q)
        return True
    if one != other:
        return False
    if loss == LossForm.squared:
        for i in range(count):
            bends[i] = 1
    elif loss == LossForm.huber:
        for i in range(count):
            bends[i] = 1 if abs(signals[outputs + one, i] - labels[one, i]) < numbers[0] else 0
    elif loss == LossForm.absolute:
        width = numbers[0]
        for i in range(count):
            residual = signals[outputs + one, i] - labels[one, i]
            radius = _hypotenuse(residual, width)
            bends[i] = width / radius * (width / radius) / radius
    elif loss == LossForm.logistic:
        for i in range(count):
            probability = abs(pulls[outputs + one, i])  # labels are -1 or 1
            bends[i] = probability * (1 - probability)
    return True


@_compiled
def add_outer(
    tangents: np.ndarray,
    one: int,
    other: int,
    reached: np.ndarray,
    bends: np.ndarray,
    start: int,
    curvatures: np.ndarray,
) -> None:
    """Add the product of two rows' tangents and of bends to the lower triangle of curvatures.

    Parameters
    ----------
    tangents : ndarray, shape (rows, q, m)
        Derivatives of the signals in the pre-activations.
    reached : ndarray of bool, shape (rows, q)
        See `CompiledNetwork`.
    one, other : int
        Rows.
    bends : ndarray, shape (m,)
    start : int
        The sample that comes first.
    curvatures : ndarray, shape (q, q, n)
    """
    for a in range(curvatures.shape[0]):
        for b in range(a + 1):
            if reached[one, a] and reached[other, b]:
                found = curvatures[a, b, start:]
                for i in range(bends.size):
                    found[i] += tangents[one, a, i] * tangents[other, b, i] * bends[i]


@_compiled
def curve(
    network: CompiledNetwork,
    start: int,
    signals: np.ndarray,
    slopes: np.ndarray,
    pulls: np.ndarray,
    bends: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Set the second derivatives of a few samples' weighted losses in their pre-activations.

    Tangents, derivatives of the signals in the pre-activations, go forward, and each activation adds what it bends
    times its pull; at the outputs the loss adds what it bends.

    Parameters
    ----------
    network : CompiledNetwork
    start : int
        The sample that comes first.
    signals, slopes, pulls : ndarray, shape (rows, m)
        As `forward` and `backward` leave them, pulls weighted.
    bends : ndarray, shape (C, C, m)
        Second derivatives of the loss in the outputs, weighted.
    curvatures : ndarray, shape (q, q, n)
        Set for these samples.
    """
    operations, rows, outputs, parameters, loss, _, labels, _, reached = network
    count, q, classes, joint = signals.shape[1], curvatures.shape[0], labels.shape[0], loss == LossForm.softmax
    tangents, row = np.zeros((rows, q, count)), np.empty(count)
    for a in range(q):
        for i in range(count):
            tangents[a, a, i] = 1
        for b in range(a + 1):
            found = curvatures[a, b, start:]
            for i in range(count):
                found[i] = 0
    for step in range(operations.shape[0]):
        kind, source, given = operations[step, 0], operations[step, 1], operations[step, 2]
        target, units, place = operations[step, 3], operations[step, 4], operations[step, 5]
        for u in range(units):
            s, f = source + u, target + u
            if kind == Kind.activate:
                if bend_activation(place, signals, slopes, s, f, row):
                    for i in range(count):
                        row[i] *= pulls[f, i]
                    add_outer(tangents, s, s, reached, row, start, curvatures)
                for a in range(q):
                    if reached[s, a]:
                        for i in range(count):
                            tangents[f, a, i] = slopes[f, i] * tangents[s, a, i]
            elif kind == Kind.dense:
                for g in range(given):
                    weight = parameters[place + g * units + u]
                    for a in range(q):
                        if reached[source + g, a]:
                            for i in range(count):
                                tangents[f, a, i] += weight * tangents[source + g, a, i]
            else:
                for a in range(q):
                    for i in range(count):
                        tangents[f, a, i] = tangents[s, a, i]
                        if kind == Kind.add:
                            tangents[f, a, i] += tangents[place + u, a, i]
    for c in range(classes):
        for e in range(classes):
            if joint or c == e:
                add_outer(tangents, outputs + c, outputs + e, reached, bends[c, e], start, curvatures)
    for a in range(q):
        for b in range(a):
            lower, upper = curvatures[a, b, start:], curvatures[b, a, start:]
            for i in range(count):
                upper[i] = lower[i]


@_compiled
def forward(operations: np.ndarray, parameters: np.ndarray, signals: np.ndarray, slopes: np.ndarray) -> None:
    """Run a network's program.

    Parameters
    ----------
    operations, parameters : ndarray, shapes (m, 6) and (P,)
        As of `CompiledNetwork`.
    signals, slopes : ndarray, shape (rows, m)
        The first rows of the signals are pre-activations; the others are set, and the slopes of activations.
    """
    count = signals.shape[1]
    for step in range(operations.shape[0]):
        kind, source, given = operations[step, 0], operations[step, 1], operations[step, 2]
        target, units, place = operations[step, 3], operations[step, 4], operations[step, 5]
        if kind == Kind.activate:
            activate(place, signals, source, slopes, target, units)
        elif kind == Kind.bias:
            for a in range(units):
                bias = parameters[place + a]
                for i in range(count):
                    signals[target + a, i] = signals[source + a, i] + bias
        elif kind == Kind.dense:
            for b in range(units):
                for i in range(count):
                    signals[target + b, i] = 0
                for a in range(given):
                    weight = parameters[place + a * units + b]
                    for i in range(count):
                        signals[target + b, i] += weight * signals[source + a, i]
        elif kind == Kind.add:
            for a in range(units):
                for i in range(count):
                    signals[target + a, i] = signals[source + a, i] + signals[place + a, i]


@_compiled
def backward(
    operations: np.ndarray,
    parameters: np.ndarray,
    signals: np.ndarray,
    slopes: np.ndarray,
    pulls: np.ndarray,
    deep_gradient: np.ndarray,
) -> None:
    """Bring the loss's derivatives back through a network's program, from its last operation to its first.

    Parameters
    ----------
    operations, parameters : ndarray, shapes (m, 6) and (P,)
        As of `CompiledNetwork`.
    signals, slopes : ndarray, shape (rows, m)
        As `forward` leaves them.
    pulls : ndarray, shape (rows, m)
        Derivatives in the signals: those in the outputs, and zeros, to which the others are added.
    deep_gradient : ndarray, shape (P,)
        Derivatives in the parameters are added to it.
    """
    count = signals.shape[1]
    for step in range(operations.shape[0] - 1, -1, -1):
        kind, source, given = operations[step, 0], operations[step, 1], operations[step, 2]
        target, units, place = operations[step, 3], operations[step, 4], operations[step, 5]
        if kind == Kind.activate:
            for a in range(units):
                for i in range(count):
                    pulls[source + a, i] += pulls[target + a, i] * slopes[target + a, i]
        elif kind == Kind.bias:
            for a in range(units):
                total = 0.0
                for i in range(count):
                    pulls[source + a, i] += pulls[target + a, i]
                    total += pulls[target + a, i]
                deep_gradient[place + a] += total
        elif kind == Kind.dense:
            for a in range(given):
                for b in range(units):
                    weight, product = parameters[place + a * units + b], 0.0
                    for i in range(count):
                        pulls[source + a, i] += weight * pulls[target + b, i]
                        product += signals[source + a, i] * pulls[target + b, i]
                    deep_gradient[place + a * units + b] += product
        elif kind == Kind.add:
            for a in range(units):
                for i in range(count):
                    pulls[source + a, i] += pulls[target + a, i]
                    pulls[place + a, i] += pulls[target + a, i]


@_compiled
def differentiate_samples(
    network: CompiledNetwork,
    samples: tuple[int, int],
    pre_activations: np.ndarray,
    losses: np.ndarray,
    gradients: np.ndarray,
    deep_gradient: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Loss and derivatives of some of the training samples.

    Parameters
    ----------
    network : CompiledNetwork
    samples : tuple of int
        The first, and the one after the last.
    pre_activations : ndarray, shape (q, n)
    losses : ndarray, shape (n,)
        Set for these samples.
    gradients : ndarray, shape (q, n)
        Set for these samples: the derivative of each one's weighted loss in its pre-activations.
    deep_gradient : ndarray, shape (P,)
        To it is added the derivative of the samples' summed weighted losses in the parameters.
    curvatures : ndarray, shape (q, q, n), or (0, 0, 0) where they are not wanted
        Set for these samples: the second derivatives of each one's weighted loss.
    """
    operations, rows, outputs, parameters, loss, loss_numbers, labels, sample_weights, _ = network
    classes, curved = labels.shape[0], curvatures.shape[0] > 0
    start, count, q = samples[0], samples[1] - samples[0], pre_activations.shape[0]
    signals, slopes, pulls = np.empty((rows, count)), np.empty((rows, count)), np.zeros((rows, count))
    for a in range(q):
        given = pre_activations[a, start:]
        for i in range(count):
            signals[a, i] = given[i]
    forward(operations, parameters, signals, slopes)
    lose(loss, loss_numbers, signals, outputs, labels, start, losses, pulls)
    bends = np.zeros((classes, classes, count if curved else 0))
    if curved:
        for c in range(classes):
            for e in range(classes):
                bend_loss(loss, loss_numbers, signals, outputs, labels, start, pulls, c, e, bends[c, e])
    if sample_weights.size:
        weights = sample_weights[start:]
        for c in range(classes):
            for i in range(count):
                pulls[outputs + c, i] *= weights[i]
            if curved:
                for e in range(classes):
                    for i in range(count):
                        bends[c, e, i] *= weights[i]
    backward(operations, parameters, signals, slopes, pulls, deep_gradient)
    if curved:
        curve(network, start, signals, slopes, pulls, bends, curvatures)
    for a in range(q):
        found = gradients[a, start:]
        for i in range(count):
            found[i] = pulls[a, i]


@_compiled
def differentiate_parts(
    network: CompiledNetwork,
    parameters: np.ndarray,
    labels: np.ndarray,
    sample_weights: np.ndarray,
    parts: np.ndarray,
    together: int,
    pre_activations: np.ndarray,
    losses: np.ndarray,
    gradients: np.ndarray,
    sums: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Loss and derivatives of some samples of several replicates, a few at a time.

    Parameters
    ----------
    network : CompiledNetwork
        In which the replicates agree: all but parameters, labels and weights of samples.
    parameters, labels, sample_weights : ndarray, shapes (R, P), (R, C, N) and (R, N) or (R, 0)
        Of each replicate.
    parts : ndarray of int, shape (m, 3)
        Of each part the replicate, the first sample, and the one after the last.
    together : int
        How many samples are worked on at a time.
    pre_activations : ndarray, shape (R, q, N)
    losses, gradients, curvatures : ndarray, shapes (R, N), (R, q, N) and (R, q, q, N) or (R, 0, 0, 0)
        Set for these samples.
    sums : ndarray, shape (m, P)
        Set: the derivatives of the summed weighted losses of a part in the parameters.
    """
    operations, rows, outputs, _, loss, numbers, _, _, reached = network
    for number in range(parts.shape[0]):
        r, first, last = parts[number, 0], parts[number, 1], parts[number, 2]
        own = CompiledNetwork(
            operations, rows, outputs, parameters[r], loss, numbers, labels[r], sample_weights[r], reached
        )
        for place in range(sums.shape[1]):
            sums[number, place] = 0
        for start in range(first, last, together):
            some = (start, min(start + together, last))
            differentiate_samples(own, some, pre_activations[r], losses[r], gradients[r], sums[number], curvatures[r])


@_compiled
def forward_parts(
    operations: np.ndarray,
    rows: int,
    first_output: int,
    parameters: np.ndarray,
    parts: np.ndarray,
    together: int,
    pre_activations: np.ndarray,
    outputs: np.ndarray,
) -> None:
    """Outputs of some samples of several replicates, a few at a time.

    Parameters
    ----------
    operations : ndarray of int64, shape (m, 6)
        As of `CompiledNetwork`.
    rows, first_output : int
        How many rows there are, and the first of the outputs.
    parameters : ndarray, shape (R, P)
    parts : ndarray of int, shape (m, 3)
        As for `differentiate_parts`.
    together : int
        How many samples are worked on at a time.
    pre_activations, outputs : ndarray, shapes (R, q, N) and (R, C, N)
        The latter is set for these samples.
    """
    signals, slopes = np.zeros((rows, together)), np.empty((rows, together))
    for number in range(parts.shape[0]):
        r, first, last = parts[number, 0], parts[number, 1], parts[number, 2]
        for start in range(first, last, together):
            count = min(together, last - start)
            for a in range(pre_activations.shape[1]):
                given = pre_activations[r, a, start:]
                for i in range(count):
                    signals[a, i] = given[i]
            forward(operations, parameters[r], signals, slopes)
            for c in range(outputs.shape[1]):
                found = outputs[r, c, start:]
                for i in range(count):
                    found[i] = signals[first_output + c, i]
