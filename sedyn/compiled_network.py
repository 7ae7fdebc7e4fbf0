"""The network for one row at a time, compiled: what `sedyn.network.differentiate` does without curvature.

A pass over a large matrix calls it between its two products, while the rows are in cache, without the interpreter.
It knows the built-in activations and losses; those that users register are Python and go another way.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from sedyn.network import Network

__all__ = ["CompiledNetwork", "compiled_network", "differentiate_rows"]

# Their places are the codes that the compiled functions tell them apart by. Tests hold them against the registries.
ACTIVATIONS = ("identity", "tanh", "erf", "sigmoid", "softplus", "gelu", "silu", "relu")
LOSSES = ("squared", "logistic", "huber")
IDENTITY, TANH, ERF, SIGMOID, SOFTPLUS, GELU, SILU, RELU = range(len(ACTIVATIONS))
SQUARED, LOGISTIC, HUBER = range(len(LOSSES))

_compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})


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


@_compiled
def activate(code: int, x: float) -> tuple[float, float]:
    """Value and derivative of an activation."""
    if code == TANH:
        f = math.tanh(x)
        return f, 1 - f * f
    if code == ERF:
        return math.erf(x), 2 / math.sqrt(math.pi) * math.exp(-x * x)
    if code == RELU:
        on = 1.0 if x > 0 else 0.0
        return x * on, on
    if code == GELU:
        cdf = 0.5 * (1 + math.erf(x / math.sqrt(2.0)))
        return x * cdf, cdf + x * math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    if code == IDENTITY:
        return x, 1.0
    s = 0.5 * (1 + math.tanh(0.5 * x))
    if code == SIGMOID:
        return s, s * (1 - s)
    if code == SILU:
        return x * s, s + x * s * (1 - s)
    return max(x, 0.0) + math.log1p(math.exp(-abs(x))), s  # softplus


@_compiled
def lose(code: int, f: float, y: float) -> tuple[float, float]:
    """Value of a loss and its derivative in the network's output."""
    if code == LOGISTIC:
        margin = y * f
        value = max(-margin, 0.0) + math.log1p(math.exp(-abs(margin)))
        return value, -y * 0.5 * (1 + math.tanh(-0.5 * margin))
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
    q, layers, deep = pre_activations.shape[0], network.deep.shape[0], network.deep
    units, slopes = np.empty((layers, q)), np.empty((layers, q))
    # Of a layer's input going forward, of the output's derivative in it going backward.
    current, following = np.empty(q), np.empty(q)
    for i in range(rows[0], rows[1]):
        for a in range(q):
            current[a] = pre_activations[a, i]
        for layer in range(layers):
            for a in range(q):
                units[layer, a], slopes[layer, a] = activate(network.activation, current[a])
            for b in range(q):
                current[b] = 0
                for a in range(q):
                    current[b] += deep[layer, a, b] * units[layer, a]
        losses[i], slope = lose(network.loss, current[0], network.responses[i])
        if network.sample_weights.size:
            slope *= network.sample_weights[i]
        for a in range(q):
            current[a] = slope if a == 0 else 0.0
        for layer in range(layers - 1, -1, -1):
            for a in range(q):
                downstream = 0.0
                for b in range(q):
                    downstream += deep[layer, a, b] * current[b]
                    deep_gradient[layer, a, b] += units[layer, a] * current[b]
                following[a] = slopes[layer, a] * downstream
            current, following = following, current
        for a in range(q):
            gradients[a, i] = current[a]
