"""The network on a batch of samples: output, and derivatives with respect to pre-activations and deeper weights.

Arrays are units first, samples last: pre-activations h are (q, N), so that a unit's values are contiguous. The deeper
weights are a tuple (W_2, ..., W_L), each fan_in x fan_out; without them the network is linear, f = h_1. Every array may
have the same further axes in front, replicates that are run together. What is here defines the derivatives; callers
take them from `sedyn.kernels.dispatch`, which may know a faster way.
"""

from __future__ import annotations

from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.functions import ACTIVATIONS, Activation, Loss, loss_named
from sedyn.model.problem import Problem

__all__ = ["DeepWeights", "Derivatives", "Network", "differentiate", "forward", "has_kink"]

DeepWeights = tuple[Array, ...]


class Derivatives(NamedTuple):
    """What one backward pass gives.

    Attributes
    ----------
    loss : array, shape (..., N)
        Loss of each sample, without sample weights.
    gradient : array, shape (..., q, N)
        G, the derivative of each sample's weighted loss in its pre-activations.
    deep_gradient : tuple of array
        Mean over samples of the derivative of the weighted loss in each deeper weight matrix.
    curvature : array, shape (..., q, q, N), or None
        D, the derivative of `gradient` in the pre-activations; symmetric in its two axes of units.
    """

    loss: Float[Array, "... N"]
    gradient: Float[Array, "... q N"]
    deep_gradient: DeepWeights
    curvature: Float[Array, "... q q N"] | None


def has_kink(problem: Problem) -> bool:
    """Whether the network's gradient jumps, so that D misses a point mass (docs/theory.md#kink-response)."""
    return problem.depth > 1 and ACTIVATIONS[problem.activation].kinked


class Network(NamedTuple):
    """All that turns pre-activations into losses and derivatives.

    Attributes
    ----------
    activation : Activation
    loss : Loss
    deep : tuple of array
        Deeper weights, (..., fan_in, fan_out) each.
    labels : array, shape (..., N)
        y.
    sample_weights : array, shape (..., N), or None
        Of the mini-batch, with mean 1; None for all ones.
    """

    activation: Activation
    loss: Loss
    deep: DeepWeights
    labels: Float[Array, "... N"]
    sample_weights: Float[Array, "... N"] | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        deep: DeepWeights,
        labels: Float[Array, "*replicates N"],
        sample_weights: Float[Array, "*replicates N"] | None = None,
    ) -> Network:
        """Take a problem's activation and loss.

        Parameters
        ----------
        problem : Problem
        deep : tuple of array
        labels : array, shape (..., N)
        sample_weights : array, shape (..., N), optional

        Returns
        -------
        Network
        """
        return cls(ACTIVATIONS[problem.activation], loss_named(problem.loss), deep, labels, sample_weights)

    def replicate(self, index: int) -> Network:
        """Take the network of one of several replicates."""
        return self._replace(
            deep=tuple(weights[index, ...] for weights in self.deep),
            labels=self.labels[index, ...],
            sample_weights=None if self.sample_weights is None else self.sample_weights[index, ...],
        )

    def losses(self, h: Float[Array, "... q N"]) -> Float[Array, "... N"]:
        """Loss of each sample at pre-activations h."""
        return self.loss.jet(forward(h, self.deep, self.activation), self.labels, 0)[0]


def forward(h: Float[Array, "... q N"], deep: DeepWeights, activation: Activation) -> Float[Array, "... N"]:
    """Network output F(h; V) of each sample.

    Parameters
    ----------
    h : array, shape (..., q, N)
        First-layer pre-activations.
    deep : tuple of array
        Deeper weights, (..., fan_in, fan_out) each.
    activation : Activation

    Returns
    -------
    array, shape (..., N)
    """
    xp = array_namespace(h)
    for weights in deep:
        h = xp.matmul(xp.matrix_transpose(weights), activation.jet(h, 0)[0])
    return h[..., 0, :]


def differentiate(h: Float[Array, "... q N"], network: Network, *, curvature: bool = True) -> Derivatives:
    """Run one forward and one backward pass (docs/theory.md#gradient, docs/theory.md#curvature).

    The second derivative of the output is exact (docs/theory.md#output-curvature): with P_l = d pre_l / dh carried
    forward and b_l = df / da_l carried backward, d2f/dh2 = sum over layers of P_l^T diag(act''(pre_l) b_l) P_l.

    Parameters
    ----------
    h : array, shape (..., q, N)
        First-layer pre-activations.
    network : Network
        Its sample weights multiply gradients and curvature.
    curvature : bool, optional
        Whether D is wanted.

    Returns
    -------
    Derivatives
    """
    activation, loss, deep, y, sample_weights = network
    xp = array_namespace(h)
    q, samples = h.shape[-2:]
    order = 2 if curvature else 1

    layers = []
    pre = h
    for weights in deep:
        layers.append(activation.jet(pre, order))
        pre = xp.matmul(xp.matrix_transpose(weights), layers[-1][0])
    value, slope, *bend = loss.jet(pre[..., 0, :], y, order)
    if sample_weights is not None:
        slope = slope * sample_weights

    # delta is the derivative of the output in the pre-activations of the layer at hand, from the last down to h.
    delta = xp.ones_like(pre[..., :1, :])
    deep_gradient: list[Array] = []
    bends: list[Array] = []
    for weights, (units, *derivatives) in zip(reversed(deep), reversed(layers), strict=True):
        deep_gradient.insert(0, xp.matmul(units * slope[..., None, :], xp.matrix_transpose(delta)) / samples)
        downstream = xp.matmul(weights, delta)
        delta = derivatives[0] * downstream
        if curvature:
            bends.insert(0, derivatives[1] * downstream)

    gradient = delta * slope[..., None, :]
    if not curvature:
        return Derivatives(value, gradient, tuple(deep_gradient), None)

    weight = bend[0] if sample_weights is None else bend[0] * sample_weights
    second = delta[..., :, None, :] * (delta * weight[..., None, :])[..., None, :, :]
    jacobian = xp.broadcast_to(xp.eye(q, dtype=h.dtype, device=h.device)[:, :, None], (*h.shape[:-2], q, q, samples))
    for layer, coefficient in enumerate(bends):
        if layer:
            slopes = layers[layer - 1][1]
            scaled = slopes[..., :, None, :] * jacobian
            flat = xp.reshape(scaled, (*scaled.shape[:-2], q * samples))
            carried = xp.matmul(xp.matrix_transpose(deep[layer - 1]), flat)
            jacobian = xp.reshape(carried, (*carried.shape[:-1], q, samples))
        coefficient = coefficient * slope[..., None, :]
        for unit in range(coefficient.shape[-2]):
            row = jacobian[..., unit, :, :]
            second = second + row[..., :, None, :] * (row * coefficient[..., unit, None, :])[..., None, :, :]
    return Derivatives(value, gradient, tuple(deep_gradient), second)
