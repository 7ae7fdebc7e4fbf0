"""The network on a batch of samples: outputs, and derivatives with respect to pre-activations and deeper parameters.

Arrays are units first, samples last: pre-activations h are (q, N), so that a unit's values are contiguous, outputs and
labels (C, N). The deeper parameters V are a tuple, of a plain network W_2, ..., W_L, each fan_in x fan_out; without
layers the network is linear, f = h. Every array may have the same further axes in front, replicates that are run
together. What is here defines the derivatives; callers take them from `sedyn.kernels.dispatch`, which may know a faster
way.
"""

from __future__ import annotations

from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.architecture import layers_of
from sedyn.model.functions import Loss, loss_named
from sedyn.model.layers import Forward, Parameters, Stack, has_kinks
from sedyn.model.problem import Problem

__all__ = [
    "DeepWeights",
    "Derivatives",
    "Network",
    "differentiate",
    "forward",
    "has_kink",
    "losses",
    "numbers_of_further_outputs",
]

DeepWeights = Parameters


class Derivatives(NamedTuple):
    """What one backward pass gives.

    Attributes
    ----------
    loss : array, shape (..., N)
        Loss of each sample, without sample weights.
    gradient : array, shape (..., q, N)
        G, the derivative of each sample's weighted loss in its pre-activations.
    deep_gradient : tuple of array
        Mean over samples of the derivative of the weighted loss in each deeper parameter.
    curvature : array, shape (..., q, q, N), or None
        D, the derivative of `gradient` in the pre-activations; symmetric in its two axes of units.
    """

    loss: Float[Array, "... N"]
    gradient: Float[Array, "... q N"]
    deep_gradient: DeepWeights
    curvature: Float[Array, "... q q N"] | None


def has_kink(problem: Problem) -> bool:
    """Whether the network's gradient jumps, so that D misses a point mass (docs/theory.md#kink-response)."""
    return has_kinks(layers_of(problem))


def numbers_of_further_outputs(problem: Problem) -> int:
    """Numbers that `differentiate` works with at a time for each sample, for all outputs beyond the first."""
    if problem.outputs == 1:  # as of most cells of large sweeps, whose cost is asked for one by one
        return 0
    joint = loss_named(problem.loss).joint
    return (problem.outputs - 1) * (4 * problem.units + 2 * problem.outputs * joint)


class Network(NamedTuple):
    """All that turns pre-activations into losses and derivatives.

    Attributes
    ----------
    layers : Stack
        From the pre-activations to the outputs.
    loss : Loss
    deep : tuple of array
        Parameters V of the layers.
    labels : array, shape (..., C, N)
        y.
    sample_weights : array, shape (..., N), or None
        Of the mini-batch, with mean 1; None for all ones.
    """

    layers: Stack
    loss: Loss
    deep: DeepWeights
    labels: Float[Array, "... C N"]
    sample_weights: Float[Array, "... N"] | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        deep: DeepWeights,
        labels: Float[Array, "*replicates C N"],
        sample_weights: Float[Array, "*replicates N"] | None = None,
    ) -> Network:
        """Take a problem's layers and loss.

        Parameters
        ----------
        problem : Problem
        deep : tuple of array
        labels : array, shape (..., C, N)
        sample_weights : array, shape (..., N), optional

        Returns
        -------
        Network
        """
        return cls(layers_of(problem), loss_named(problem.loss), deep, labels, sample_weights)

    def replicate(self, index: int) -> Network:
        """Take the network of one of several replicates."""
        return self._replace(
            deep=tuple(weights[index, ...] for weights in self.deep),
            labels=self.labels[index, ...],
            sample_weights=None if self.sample_weights is None else self.sample_weights[index, ...],
        )

    def losses(self, h: Float[Array, "... q N"]) -> Float[Array, "... N"]:
        """Loss of each sample at pre-activations h."""
        return losses(self.loss, forward(h, self.deep, self.layers), self.labels)


def losses(loss: Loss, outputs: Float[Array, "*any C N"], labels: Float[Array, "*any C N"]) -> Float[Array, "*any N"]:
    """Loss of each sample, of all its outputs together (docs/theory.md#loss).

    Parameters
    ----------
    loss : Loss
    outputs, labels : array, shape (..., C, N)

    Returns
    -------
    array, shape (..., N)
    """
    value = loss.jet(outputs, labels, 0)[0]
    return value if loss.joint else _over_outputs(value)


def forward(h: Float[Array, "... q N"], deep: DeepWeights, layers: Stack) -> Float[Array, "... C N"]:
    """Network outputs F(h; V) of each sample.

    Parameters
    ----------
    h : array, shape (..., q, N)
        First-layer pre-activations.
    deep : tuple of array
        V.
    layers : Stack

    Returns
    -------
    array, shape (..., C, N)
    """
    return layers.forward(deep, Forward(h, None), 0).signals


def differentiate(h: Float[Array, "... q N"], network: Network, *, curvature: bool = True) -> Derivatives:
    """Run one forward and one backward pass (docs/theory.md#gradient, docs/theory.md#curvature).

    The second derivative of the loss is exact (docs/theory.md#output-curvature): tangents d/dh go forward beside the
    signals, and each layer that is not linear adds what it bends.

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
    layers, loss, deep, labels, sample_weights = network
    tangents = _identity_like(h) if curvature else None
    outputs, tangents, memo, _ = layers.forward(deep, Forward(h, tangents, inputs=True), 2 if curvature else 1)
    value, pull, *bend = loss.jet(outputs, labels, 2 if curvature else 1)
    if sample_weights is not None:
        pull = pull * sample_weights[..., None, :]
    found = layers.backward(deep, memo, pull)
    losses = value if loss.joint else _over_outputs(value)
    if tangents is None:
        return Derivatives(losses, found.pull, found.gradient, None)
    second = _through_outputs(bend[0], tangents, loss, sample_weights)
    if found.bend is not None:
        second = second + found.bend
    return Derivatives(losses, found.pull, found.gradient, second)


def _over_outputs(values: Float[Array, "... C N"]) -> Float[Array, "... N"]:
    """Sum over outputs; of one, without adding anything."""
    return values[..., 0, :] if values.shape[-2] == 1 else array_namespace(values).sum(values, axis=-2)


def _identity_like(h: Float[Array, "... q N"]) -> Float[Array, "... q q N"]:
    """Derivative of each sample's pre-activations in themselves."""
    xp, q = array_namespace(h), h.shape[-2]
    return xp.broadcast_to(xp.eye(q, dtype=h.dtype, device=h.device)[:, :, None], (*h.shape[:-1], q, h.shape[-1]))


def _through_outputs(
    bend: Array, tangents: Float[Array, "... C q N"], loss: Loss, sample_weights: Float[Array, "... N"] | None
) -> Float[Array, "... q q N"]:
    """Part of D that the loss's second derivative in the outputs makes, weighted."""
    if sample_weights is not None:
        bend = bend * (sample_weights[..., None, None, :] if loss.joint else sample_weights[..., None, :])
    if loss.joint:  # each output with each other one: by products, a sample's at a time
        xp = array_namespace(tangents)
        of_samples = xp.moveaxis(tangents, -1, -3)
        bent = xp.matmul(xp.moveaxis(bend, -1, -3), of_samples)
        return xp.moveaxis(xp.matmul(xp.matrix_transpose(of_samples), bent), -3, -1)
    bent = bend[..., :, None, :] * tangents
    total = tangents[..., 0, :, None, :] * bent[..., 0, None, :, :]
    for output in range(1, tangents.shape[-3]):
        total = total + tangents[..., output, :, None, :] * bent[..., output, None, :, :]
    return total
