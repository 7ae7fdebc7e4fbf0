"""What a network makes of its samples, on a tape: gradients, their averages and errors (docs/theory.md#influence).

All derivatives that the way back needs come from `sedyn.model.network.differentiate`, whatever the layers are: the
curvature of each sample, and differences of gradients between deeper parameters a little apart.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.deviations.tape import Adjoints, Node, Tape
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.network import DeepWeights, Derivatives, Network, differentiate
from sedyn.model.problem import Problem
from sedyn.theory.inputs import Draws

__all__ = [
    "STEP",
    "Signals",
    "Trained",
    "add_deep",
    "flat_of",
    "lengthened",
    "parameters_of",
    "shaped",
    "test_error",
    "train",
]

# Central differences of this step have an error of about its square, and rounding over it.
STEP = 1e-5


class Trained(NamedTuple):
    """What the training samples show at one iteration.

    Attributes
    ----------
    h : Node, shape (q, N)
        Pre-activations.
    error : Node, shape (1, 1)
        Training error.
    gradient : Node, shape (q, N)
        G.
    deep_gradient : tuple of Node
        Average of the derivative of the loss in each deeper parameter, each shaped as its node.
    """

    h: Node
    error: Node
    gradient: Node
    deep_gradient: tuple[Node, ...]


def train(
    problem: Problem,
    tape: Tape,
    h: Node,
    deep: tuple[Node, ...],
    labels: Float[np.ndarray, "C N"],
    batch: Float[np.ndarray, " N"] | None,
) -> Trained:
    """Take training samples through the network and back.

    Parameters
    ----------
    problem : Problem
    tape : Tape
    h : Node, shape (q, N)
        Pre-activations.
    deep : tuple of Node
        Deeper parameters; vectors are rows.
    labels : ndarray, shape (C, N)
    batch : ndarray, shape (N,), or None
        Weights of the mini-batch.

    Returns
    -------
    Trained
    """
    values = parameters_of(problem, deep)
    samples = labels.shape[-1]
    weights = tape.weights["samples"]
    chosen = np.ones(samples) if batch is None else batch
    found = differentiate(h.value, Network.of(problem, values, labels))
    curvature = found.curvature
    assert curvature is not None  # it is there unless it is left out
    each = _of_each_sample(problem, h.value, values, labels)
    counted = [(each * weights).sum(-1), (each * (weights * chosen)).sum(-1)]
    # Filled when somebody goes back: who only looks does not wait for it.
    mixed: list[np.ndarray] = []

    def through_deep() -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of G, (P, q, N), and of the averaged deep gradient, (P, P), in the P deeper parameters."""
        if not mixed:
            mixed.extend(_in_deep(problem, h.value, values, labels, samples * weights * chosen))
            mixed[0] *= chosen
        return mixed[0], mixed[1]

    def pull_error(adjoints: Adjoints, adjoint: np.ndarray) -> None:
        adjoints.add(h, adjoint * (2 * weights * found.gradient))
        add_deep(adjoints, deep, 2 * adjoint[:, 0] * counted[0])
        adjoints.of_weights["samples"] += 2 * adjoint[:, 0] * found.loss

    def pull_gradient(adjoints: Adjoints, adjoint: np.ndarray) -> None:
        curved = curvature * chosen
        adjoints.add(h, sum(curved[:, r] * adjoint[:, None, r] for r in range(h.shape[0])))
        if deep:
            cross, _ = through_deep()
            flat = adjoint.reshape(len(adjoint), -1)
            add_deep(adjoints, deep, flat @ cross.reshape(len(cross), -1).T)

    def pull_deep(adjoints: Adjoints, adjoint: np.ndarray) -> None:
        cross, bent = through_deep()
        onto = adjoint[:, 0] @ (cross * weights).reshape(len(cross), -1)
        adjoints.add(h, onto.reshape(-1, *h.shape))
        add_deep(adjoints, deep, adjoint[:, 0] @ bent)
        adjoints.of_weights["samples"] += adjoint[:, 0] @ (each * chosen)

    error = tape.node(np.array([[2 * found.loss @ weights]]), pull_error)
    gradient = tape.node(found.gradient * chosen, pull_gradient)
    if not deep:
        return Trained(h, error, gradient, ())
    return Trained(h, error, gradient, _split(tape, tape.node(counted[1][None, :], pull_deep), deep))


class Signals(NamedTuple):
    """Lengths of the signals and angles between them, of signals with the Gram matrix that theory is told: identities.

    Attributes
    ----------
    gram : Node, shape (k, k)
        Of what signals are made of.
    whitening : Node, shape (k, k)
        Inverse of its Cholesky factor: from indices to products with orthonormal directions.
    """

    gram: Node
    whitening: Node


def lengthened(tape: Tape, gram: Node, indices: Float[np.ndarray, "k N"]) -> Node:
    """Let samples follow the lengths of the signals: the way back adds what the law of their indices does.

    Parameters
    ----------
    tape : Tape
        On which no average over samples has been taken.
    gram : Node, shape (K, K)
        Of directions that begin with the signals.
    indices : ndarray, shape (k, N)

    Returns
    -------
    Node, shape (K, K)
        The same.
    """
    k, weights = len(indices), tape.weights["samples"]

    def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
        own = adjoint.copy()
        own[:, :k, :k] += _by_law(gram.value[:k, :k], indices, adjoints.of_weights["samples"] * weights)
        adjoints.add(gram, own)

    return tape.node(gram.value, pull)


def _by_law(
    gram: Float[np.ndarray, "k k"], indices: Float[np.ndarray, "k N"], counted: Float[np.ndarray, "B N"]
) -> Float[np.ndarray, "B k k"]:
    """Derivative in a covariance of averages over normal indices, by the derivative of their density."""
    inverse = np.linalg.inv(gram)
    scaled = inverse @ indices
    return 0.5 * (np.einsum("bn,in,jn->bij", counted, scaled, scaled) - counted.sum(1)[:, None, None] * inverse)


def test_error(
    problem: Problem,
    tape: Tape,
    coefficients: Node,
    deep: tuple[Node, ...],
    draws: Draws,
    signals: Signals,
) -> Node:
    """Average over fresh samples (docs/theory.md#test-error-quadrature).

    Parameters
    ----------
    problem : Problem
    tape : Tape
    coefficients : Node, shape (q, K)
        Of the weights in an orthonormal basis that begins with the signals.
    deep : tuple of Node
    draws : Draws
        Points to average over.
    signals : Signals

    Returns
    -------
    Node, shape (1, 1)
    """
    q, k = problem.units, problem.signals
    index, others = coefficients.value[:, :k], coefficients.value[:, k:]
    drawn, own = draws.innovations[:k], draws.innovations[k : k + q]
    indices = signals.whitening.value @ drawn
    root, vectors, deviations = _root(others @ others.T)
    found = differentiate(
        index @ indices + root @ own, Network.of(problem, parameters_of(problem, deep), draws.labels), curvature=False
    )
    samples = indices.shape[1]
    of_index, of_root = (2 * found.gradient @ points.T / samples for points in (indices, own))
    # The root of a covariance in its axes moves by the covariance over sums of deviations.
    sums = deviations[:, None] + deviations
    turned = np.divide(vectors.T @ of_root @ vectors, sums, out=np.zeros_like(sums), where=sums > 0)
    of_covariance = vectors @ (turned + turned.T) @ vectors.T
    through = np.concatenate([of_index, of_covariance @ others], axis=1)
    of_deep = 2 * flat_of(found.deep_gradient)
    of_whitening = 2 * index.T @ found.gradient @ drawn.T / samples
    of_gram = _by_law(signals.gram.value, drawn, 2 * found.loss[None] / samples)

    def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
        adjoints.add(coefficients, adjoint * through)
        add_deep(adjoints, deep, adjoint[:, 0] * of_deep)
        adjoints.add(signals.whitening, adjoint * of_whitening)
        adjoints.add(signals.gram, adjoint * of_gram)

    return tape.node(np.array([[2 * found.loss.mean()]]), pull)


def _root(
    covariance: Float[np.ndarray, "q q"],
) -> tuple[Float[np.ndarray, "q q"], Float[np.ndarray, "q q"], Float[np.ndarray, " q"]]:
    """Symmetric root of a covariance, its axes, and the deviations along them."""
    values, vectors = np.linalg.eigh(covariance)
    deviations = np.sqrt(values.clip(0))
    return (vectors * deviations) @ vectors.T, vectors, deviations


test_error.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


def parameters_of(problem: Problem, deep: tuple[Node, ...]) -> DeepWeights:
    """Take the values of deeper parameters, in the shapes that layers want.

    Parameters
    ----------
    problem : Problem
    deep : tuple of Node
        Vectors are rows.

    Returns
    -------
    tuple of ndarray
    """
    return shaped(problem, flat_of(tuple(node.value for node in deep)))


def shaped(problem: Problem, flat: Float[np.ndarray, " P"]) -> DeepWeights:
    """Take a row of numbers apart into deeper parameters.

    Parameters
    ----------
    problem : Problem
    flat : ndarray, shape (P,)

    Returns
    -------
    tuple of ndarray
    """
    found, start = [], 0
    for like in initial_deep_weights(problem):
        found.append(flat[start : start + like.size].reshape(like.shape))
        start += like.size
    return tuple(found)


def flat_of(parameters: DeepWeights) -> Float[np.ndarray, " P"]:
    """Put all deeper parameters of one network one after another.

    Parameters
    ----------
    parameters : tuple of ndarray

    Returns
    -------
    ndarray, shape (P,)
    """
    return np.concatenate([np.zeros(0), *(np.ravel(each) for each in parameters)])


def add_deep(adjoints: Adjoints, deep: tuple[Node, ...], flat: Float[np.ndarray, "B P"]) -> None:
    """Add derivatives in all deeper parameters.

    Parameters
    ----------
    adjoints : Adjoints
    deep : tuple of Node
    flat : ndarray, shape (B, P)
        Of all parameters, one after another.
    """
    ends = np.cumsum([0, *(node.value.size for node in deep)])
    for node, start, stop in zip(deep, ends, ends[1:], strict=False):
        adjoints.add(node, flat[:, start:stop].reshape(-1, *node.shape))


def _split(tape: Tape, flat: Node, deep: tuple[Node, ...]) -> tuple[Node, ...]:
    """Take a row of numbers apart into the shapes of the deeper parameters."""

    def part(start: int, like: Node) -> Node:
        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            whole = np.zeros((len(adjoint), *flat.shape))
            whole[:, 0, start : start + like.value.size] = adjoint.reshape(len(adjoint), -1)
            adjoints.add(flat, whole)

        return tape.node(flat.value[0, start : start + like.value.size].reshape(like.shape), pull)

    ends = np.cumsum([0, *(node.value.size for node in deep)])
    return tuple(part(int(start), node) for start, node in zip(ends, deep, strict=False))


def _of_each_sample(
    problem: Problem, h: Float[np.ndarray, "q N"], deep: DeepWeights, labels: Float[np.ndarray, "C N"]
) -> Float[np.ndarray, "P N"]:
    """Derivative of each sample's loss in the deeper parameters: samples as replicates of one sample each."""
    if not deep:
        return np.zeros((0, h.shape[1]))
    network = Network.of(problem, deep, labels.T[:, :, None])
    found = differentiate(h.T[:, :, None], network, curvature=False).deep_gradient
    return np.concatenate([each.reshape(len(each), -1) for each in found], axis=1).T


def _in_deep(
    problem: Problem,
    h: Float[np.ndarray, "q N"],
    deep: DeepWeights,
    labels: Float[np.ndarray, "C N"],
    weights: Float[np.ndarray, " N"],
) -> list[np.ndarray]:
    """Derivatives in each deeper parameter of every sample's G, (P, q, N), and of the average deep gradient, (P, P)."""
    flat = flat_of(deep)
    gradients, averages = [], []
    for number in range(flat.size):
        step = STEP * max(1.0, math.fabs(flat[number]))
        ends: list[tuple[Derivatives, Derivatives]] = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[number] += sign * step
            plain = Network.of(problem, shaped(problem, moved), labels)
            counted = plain._replace(sample_weights=weights)
            ends.append((differentiate(h, plain, curvature=False), differentiate(h, counted, curvature=False)))
        (above, counted_above), (below, counted_below) = ends
        gradients.append((above.gradient - below.gradient) / (2 * step))
        averages.append((flat_of(counted_above.deep_gradient) - flat_of(counted_below.deep_gradient)) / (2 * step))
    return [np.stack(gradients), np.stack(averages)]
