"""The network for a few rows at a time, compiled: what `sedyn.network.differentiate` does without curvature.

A pass over a large matrix calls it between its two products, while the rows are in cache, without the interpreter.
Rows are innermost and exponentials are arithmetic, so that the compiler works on several rows at once. It knows the
built-in activations and losses; those that users register are Python and go another way.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sedyn.compiling import compiled
from sedyn.network import Network

__all__ = ["CompiledNetwork", "compiled_network", "differentiate_rows"]

# Their places are the codes that the compiled functions tell them apart by. Tests hold them against the registries.
ACTIVATIONS = ("identity", "tanh", "erf", "sigmoid", "softplus", "gelu", "silu", "relu")
LOSSES = ("squared", "logistic", "huber")
IDENTITY, TANH, ERF, SIGMOID, SOFTPLUS, GELU, SILU, RELU = range(len(ACTIVATIONS))
SQUARED, LOGISTIC, HUBER = range(len(LOSSES))

# exp(x) = 2^k exp(r), k an integer and |r| at most log(2) / 2: log(2) in two parts, the first with zeros at its end, so
# that k times it is exact; what, added to a number, leaves the nearest integer in its last bits; and from which term
# on the series of exp(r) - 1 is below rounding.
LOG_2_HIGH, LOG_2_LOW = 0.6931467056274414, 4.7493250390316726e-07
SHIFTER = 1.5 * 2.0**52
EXPONENT_BIAS, FRACTION_BITS = 1023, 52
TERMS = 13

_exact = compiled({"contract"}, error_model="numpy")
_compiled = compiled({"reassoc", "contract", "nsz"}, error_model="numpy")


class CompiledNetwork(NamedTuple):
    """A network and its training rows, as compiled functions take them.

    Attributes
    ----------
    activation, loss : int
        Codes.
    deep : ndarray, shape (L - 1, q, q)
        Deeper weights, zero where the last layer has none.
    responses : ndarray, shape (n,)
    sample_weights : ndarray, shape (n,) or (0,)
        Empty for all ones.
    """

    activation: int
    loss: int
    deep: np.ndarray
    responses: np.ndarray
    sample_weights: np.ndarray


def compiled_network(network: Network, width: int) -> CompiledNetwork | None:
    """Bring a network to compiled form, or None if its activation or loss is a user's own."""
    if network.activation not in ACTIVATIONS or network.loss not in LOSSES:
        return None
    deep = np.zeros((len(network.deep), width, width))
    for layer, weights in enumerate(network.deep):
        deep[layer, :, : weights.shape[1]] = weights
    sample_weights = np.empty(0) if network.sample_weights is None else network.sample_weights
    return CompiledNetwork(
        ACTIVATIONS.index(network.activation),
        LOSSES.index(network.loss),
        deep,
        *(np.ascontiguousarray(array, dtype=np.float64) for array in (network.responses, sample_weights)),
    )


@_exact
def _exponential_parts(x: float) -> tuple[float, float]:
    """Parts p, a power of two, and e = expm1(r) of exp(x) = p + p e, for |x| at most 700."""
    shifted = x * (1 / math.log(2)) + SHIFTER
    count = shifted - SHIFTER
    r = x - count * LOG_2_HIGH - count * LOG_2_LOW
    bits = np.float64(shifted).view(np.int64)
    power = np.int64((bits + EXPONENT_BIAS) << FRACTION_BITS).view(np.float64)
    series = 0.0
    for k in range(TERMS, 1, -1):
        series = (1 + series) * r * (1 / k)
    return power, r + r * series


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


@_compiled
def activate(code: int, x: np.ndarray, value: np.ndarray, slope: np.ndarray) -> None:
    """Set the values and derivatives of an activation at each x."""
    if code == IDENTITY:
        for i in range(x.size):
            value[i], slope[i] = x[i], 1.0
    elif code == TANH:
        for i in range(x.size):
            value[i] = _tanh(x[i])
            slope[i] = 1 - value[i] * value[i]
    elif code == ERF:
        for i in range(x.size):
            value[i], slope[i] = math.erf(x[i]), 2 / math.sqrt(math.pi) * _exp(-x[i] * x[i])
    elif code == RELU:
        for i in range(x.size):
            slope[i] = 1.0 if x[i] > 0 else 0.0
            value[i] = x[i] * slope[i]
    elif code == GELU:
        for i in range(x.size):
            cdf = 0.5 * (1 + math.erf(x[i] / math.sqrt(2.0)))
            value[i] = x[i] * cdf
            slope[i] = cdf + x[i] / math.sqrt(2 * math.pi) * _exp(-0.5 * x[i] * x[i])
    else:
        for i in range(x.size):
            s, small = _sigmoid(x[i])
            if code == SIGMOID:
                value[i], slope[i] = s, s * (1 - s)
            elif code == SILU:
                value[i], slope[i] = x[i] * s, s + x[i] * s * (1 - s)
            else:  # softplus
                value[i], slope[i] = max(x[i], 0.0) + math.log1p(small), s


@_compiled
def lose(code: int, f: float, y: float) -> tuple[float, float]:
    """Value of a loss and its derivative in the network's output."""
    if code == LOGISTIC:
        margin = y * f
        probability, small = _sigmoid(-margin)
        return max(-margin, 0.0) + math.log1p(small), -y * probability
    residual = f - y
    if code == HUBER and abs(residual) > 1:
        return abs(residual) - 0.5, math.copysign(1.0, residual)
    return 0.5 * residual * residual, residual


@_compiled
def differentiate_rows(
    network: CompiledNetwork,
    rows: tuple[int, int],
    pre_activations: np.ndarray,
    losses: np.ndarray,
    gradients: np.ndarray,
    deep_gradient: np.ndarray,
) -> None:
    """Loss and gradients of some of the training rows.

    Parameters
    ----------
    network : CompiledNetwork
    rows : tuple of int
        The first, and the one after the last.
    pre_activations : ndarray, shape (q, n)
    losses : ndarray, shape (n,)
        Set on these rows.
    gradients : ndarray, shape (q, n)
        Set on these rows: the derivative of each row's weighted loss in its pre-activations.
    deep_gradient : ndarray, shape (L - 1, q, q)
        To it is added the derivative of the rows' summed weighted losses in the deeper weights.
    """
    start, stop = rows
    q, layers, count = pre_activations.shape[0], network.deep.shape[0], stop - start
    units, slopes = np.empty((layers, q, count)), np.empty((layers, q, count))
    # Of a layer's input going forward, of the loss's derivative in it going backward.
    current, following = np.empty((q, count)), np.empty((q, count))
    for a in range(q):
        for i in range(count):
            current[a, i] = pre_activations[a, start + i]
    for layer in range(layers):
        activate(network.activation, current.reshape(-1), units[layer].reshape(-1), slopes[layer].reshape(-1))
        for b in range(q if layer < layers - 1 else 1):
            for i in range(count):
                current[b, i] = 0
            for a in range(q):
                weight = network.deep[layer, a, b]
                for i in range(count):
                    current[b, i] += weight * units[layer, a, i]
    for i in range(count):
        losses[start + i], current[0, i] = lose(network.loss, current[0, i], network.responses[start + i])
    if network.sample_weights.size:
        for i in range(count):
            current[0, i] *= network.sample_weights[start + i]
    for layer in range(layers - 1, -1, -1):
        for a in range(q):
            for i in range(count):
                following[a, i] = 0
            for b in range(q if layer < layers - 1 else 1):
                weight, product = network.deep[layer, a, b], 0.0
                for i in range(count):
                    following[a, i] += weight * current[b, i]
                    product += units[layer, a, i] * current[b, i]
                deep_gradient[layer, a, b] += product
            for i in range(count):
                following[a, i] *= slopes[layer, a, i]
        current, following = following, current
    for a in range(q):
        for i in range(count):
            gradients[a, start + i] = current[a, i]
