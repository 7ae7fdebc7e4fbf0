"""The network for a few samples at a time, compiled: `sedyn.model.network.differentiate` without curvature.

A pass over a large matrix calls it between its two products, while the samples are in cache, without the interpreter.
Samples are innermost and exponentials are arithmetic, so that the compiler works on several at once. The entries of the
registries name the forms that are here; the activations and losses of users are Python and go another way.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from sedyn.arrays.compiling import compiled
from sedyn.arrays.shapes import Float
from sedyn.kernels.plain import plain_activation
from sedyn.model.network import Network

__all__ = ["ActivationForm", "CompiledNetwork", "LossForm", "compiled_network", "differentiate_samples"]

# A compiled form is a member here and a branch of `activate` or `lose`, where `sedyn.kernels.cpu.serving` looks for it.
ActivationForm = IntEnum("ActivationForm", "identity tanh erf sigmoid softplus gelu silu relu", start=0)
LossForm = IntEnum("LossForm", "squared logistic huber absolute", start=0)

# exp(x) = 2^k exp(r), k an integer and |r| at most log(2) / 2: log(2) in two parts, the first with zeros at its end, so
# that k times it is exact; what, added to a number, leaves the nearest integer in its last bits; and, highest power
# first as everywhere, the terms of (exp(r) - 1 - r) / r^2 that are not below rounding.
LOG_2_HIGH, LOG_2_LOW = 0.6931467056274414, 4.7493250390316726e-07
SHIFTER = 1.5 * 2.0**52
EXPONENT_BIAS, FRACTION_BITS = 1023, 52
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
    activation, loss : int
        An `ActivationForm` and a `LossForm`.
    loss_numbers : ndarray, shape (_,)
        Of the loss's family.
    deep : ndarray, shape (L - 1, q, q)
        Deeper weights, zero where the last layer has none.
    labels : ndarray, shape (n,)
    sample_weights : ndarray, shape (n,) or (0,)
        Empty for all ones.
    """

    activation: int
    loss: int
    loss_numbers: Float[np.ndarray, " _"]
    deep: Float[np.ndarray, "L-1 q q"]
    labels: Float[np.ndarray, " n"]
    sample_weights: Float[np.ndarray, " _"]


def compiled_network(network: Network, width: int) -> CompiledNetwork | None:
    """Bring a network to the form that compiled functions take.

    Parameters
    ----------
    network : Network
        Of n samples.
    width : int
        q.

    Returns
    -------
    CompiledNetwork or None
        None if the network is not plain, or its activation or loss has no compiled form.
    """
    plain, loss = plain_activation(network), network.loss.compiled
    if plain is None or plain.compiled is None or loss is None:
        return None
    deep = np.zeros((len(network.deep), width, width))
    for layer, weights in enumerate(network.deep):
        deep[layer, :, : weights.shape[1]] = weights
    sample_weights = np.empty(0) if network.sample_weights is None else network.sample_weights
    return CompiledNetwork(
        int(ActivationForm[plain.compiled]),
        int(LossForm[loss]),
        np.array(network.loss.numbers, dtype=np.float64),
        deep,
        *(np.ascontiguousarray(array, dtype=np.float64) for array in (network.labels[0, :], sample_weights)),
    )


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


@_compiled
def activate(activation: int, x: np.ndarray, value: np.ndarray, slope: np.ndarray) -> None:
    """Set the values and derivatives of an activation at each x.

    Parameters
    ----------
    activation : int
        An `ActivationForm`.
    x : ndarray, shape (m,)
    value, slope : ndarray, shape (m,)
        Set.
    """
    if activation == ActivationForm.identity:
        for i in range(x.size):
            value[i], slope[i] = x[i], 1.0
    elif activation == ActivationForm.tanh:
        for i in range(x.size):
            value[i] = _tanh(x[i])
            slope[i] = 1 - value[i] * value[i]
    elif activation == ActivationForm.erf:
        for i in range(x.size):
            value[i], bell = _erf(x[i])
            slope[i] = 2 / math.sqrt(math.pi) * bell
    elif activation == ActivationForm.relu:
        for i in range(x.size):
            slope[i] = 1.0 if x[i] > 0 else 0.0
            value[i] = x[i] * slope[i]
    elif activation == ActivationForm.gelu:
        for i in range(x.size):
            erf, bell = _erf(x[i] * math.sqrt(0.5))
            cdf = 0.5 * (1 + erf)
            value[i], slope[i] = x[i] * cdf, cdf + x[i] * (1 / math.sqrt(2 * math.pi)) * bell
    elif activation == ActivationForm.sigmoid:
        for i in range(x.size):
            s, _ = _sigmoid(x[i])
            value[i], slope[i] = s, s * (1 - s)
    elif activation == ActivationForm.silu:
        for i in range(x.size):
            s, _ = _sigmoid(x[i])
            value[i], slope[i] = x[i] * s, s + x[i] * s * (1 - s)
    elif activation == ActivationForm.softplus:
        for i in range(x.size):
            slope[i], small = _sigmoid(x[i])
            value[i] = max(x[i], 0.0) + _log1p_to_one(small)


@_compiled
def lose(loss: int, numbers: np.ndarray, f: np.ndarray, y: np.ndarray, value: np.ndarray, slope: np.ndarray) -> None:
    """Set the values of a loss and its derivatives in the network's output.

    Parameters
    ----------
    loss : int
        A `LossForm`.
    numbers : ndarray, shape (_,)
        Of its family.
    f, y : ndarray, shape (m,)
        Outputs and labels.
    value, slope : ndarray, shape (m,)
        Set.
    """
    if loss == LossForm.squared:
        for i in range(f.size):
            residual = f[i] - y[i]
            value[i], slope[i] = 0.5 * residual * residual, residual
    elif loss == LossForm.huber:
        threshold = numbers[0]
        for i in range(f.size):
            residual = f[i] - y[i]
            clipped = threshold if residual > threshold else (-threshold if residual < -threshold else residual)
            value[i], slope[i] = clipped * (residual - 0.5 * clipped), clipped  # NaN stays NaN
    elif loss == LossForm.absolute:
        width = numbers[0]
        for i in range(f.size):
            residual = f[i] - y[i]
            longer = max(width, abs(residual))  # whose square may be too large for a number, as a ratio's is not
            part, rest = residual / longer, width / longer
            radius = longer * math.sqrt(part * part + rest * rest)
            value[i], slope[i] = residual * (residual / (radius + width)), residual / radius
    elif loss == LossForm.logistic:
        for i in range(f.size):
            excess = -y[i] * f[i]
            probability, small = _sigmoid(excess)
            value[i], slope[i] = max(excess, 0.0) + _log1p_to_one(small), -y[i] * probability


@_compiled
def differentiate_samples(
    network: CompiledNetwork,
    samples: tuple[int, int],
    pre_activations: np.ndarray,
    losses: np.ndarray,
    gradients: np.ndarray,
    deep_gradient: np.ndarray,
) -> None:
    """Loss and gradients of some of the training samples.

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
    deep_gradient : ndarray, shape (L - 1, q, q)
        To it is added the derivative of the samples' summed weighted losses in the deeper weights.
    """
    start, stop = samples
    q, layers, count = pre_activations.shape[0], network.deep.shape[0], stop - start
    units, slopes = np.empty((layers, q, count)), np.empty((layers, q, count))
    # Of a layer's input going forward, of the loss's derivative in it going backward. They do not change places, or the
    # compiler would fear that they overlap, and work on one sample at a time.
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
    lose(network.loss, network.loss_numbers, current[0], network.labels[start:stop], losses[start:stop], following[0])
    for i in range(count):
        current[0, i] = following[0, i]
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
        for a in range(q):
            for i in range(count):
                current[a, i] = following[a, i] * slopes[layer, a, i]
    for a in range(q):
        for i in range(count):
            gradients[a, start + i] = current[a, i]
