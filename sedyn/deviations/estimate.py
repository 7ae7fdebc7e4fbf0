"""The estimate of the test error from training data, on a tape (docs/theory.md#estimated-test-error).

`Estimate`, `init_estimate`, `step_estimate` and `estimated_error` mirror `sedyn.estimate.by_spectrum`. The way back
needs how curvatures move, third derivatives of the loss, which are differences of curvatures a little apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.deviations.network import STEP, add_deep, flat_of, parameters_of, shaped
from sedyn.deviations.tape import Adjoints, Node, Tape
from sedyn.model.network import Network, differentiate
from sedyn.model.problem import Problem
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.update import Update

__all__ = ["Estimate", "curvature", "estimated_error", "init_estimate", "step_estimate"]


class Estimate(NamedTuple):
    """What the estimate rests on, up to one iteration t (docs/theory.md#empirical-responses).

    Columns are (s, node, unit), for all s < T and the B spectral nodes.

    Attributes
    ----------
    eigenvalues : ndarray, shape (columns,)
        Of the node of each column.
    average : Node, shape (columns, T q)
        Constant: takes responses at nodes to their average over the spectrum.
    at_nodes : tuple of Node, shape (q, columns)
        r(r, s) for r = 0..t.
    mean : tuple of Node, shape (q, T q)
        R_w(r, s) for r = 0..t.
    previous : Node, shape (q, columns)
        What the momentum of r(t, s) is the difference from.
    gradients, curvatures : tuple of Node, shapes (q, N) and (q q, N)
        G^s and D^s for s < t.
    """

    eigenvalues: Float[np.ndarray, " columns"]
    average: Node
    at_nodes: tuple[Node, ...]
    mean: tuple[Node, ...]
    previous: Node
    gradients: tuple[Node, ...]
    curvatures: tuple[Node, ...]


def init_estimate(problem: Problem) -> Estimate:
    """Estimate before the first step.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    Estimate
    """
    q, steps = problem.units, problem.steps
    nodes, weights = gauss_quadrature(problem.eigenvalues, steps + 1)
    average = np.kron(np.eye(steps), np.kron(weights[:, None], np.eye(q)))
    nothing = Node(np.zeros((q, len(average))))
    none = Node(np.zeros((q, steps * q)))
    return Estimate(np.tile(np.repeat(nodes, q), steps), Node(average), (nothing,), (none,), nothing, (), ())


def step_estimate(
    problem: Problem, tape: Tape, estimate: Estimate, gradient: Node, bent: Node, update: Update
) -> Estimate:
    """Take in the derivatives at iteration t, which carry the weight response to t + 1.

    Parameters
    ----------
    problem : Problem
    tape : Tape
    estimate : Estimate
        Up to t.
    gradient, bent : Node, shapes (q, N) and (q q, N)
        G^t and D^t, with the weights of the mini-batch.
    update : Update
        Of step t.

    Returns
    -------
    Estimate
        Up to t + 1.
    """
    delta, q, t = float(problem.aspect_ratio), problem.units, len(estimate.gradients)
    curvatures = (*estimate.curvatures, bent)
    response = delta * _mean_response(tape, curvatures, estimate.mean, q)
    own = np.zeros((q, len(estimate.eigenvalues)))
    width = own.shape[1] // problem.steps
    own[:, t * width : (t + 1) * width] = np.tile(np.eye(q), width // q)
    pushed = response @ tape.stack(estimate.at_nodes) + Node(own)
    following, previous = update(estimate.at_nodes[-1], estimate.previous, (estimate.eigenvalues / delta) * pushed)
    return estimate._replace(
        at_nodes=(*estimate.at_nodes, following),
        mean=(*estimate.mean, following @ estimate.average),
        previous=previous,
        gradients=(*estimate.gradients, gradient),
        curvatures=curvatures,
    )


def estimated_error(
    problem: Problem, tape: Tape, estimate: Estimate, h: Node, deep: tuple[Node, ...], labels: Float[np.ndarray, "C N"]
) -> Node:
    """Average over training samples without what they keep of their own gradients.

    Parameters
    ----------
    problem : Problem
    tape : Tape
    estimate : Estimate
        Up to t.
    h : Node, shape (q, N)
        Pre-activations at t.
    deep : tuple of Node
        V^t.
    labels : ndarray, shape (C, N)

    Returns
    -------
    Node, shape (1, 1)
    """
    fresh, q = h, problem.units
    for s, gradient in enumerate(estimate.gradients):
        fresh = fresh - estimate.mean[-1][:, s * q : (s + 1) * q] @ gradient
    found = differentiate(fresh.value, Network.of(problem, parameters_of(problem, deep), labels), curvature=False)
    weights, samples = tape.weights["samples"], labels.shape[-1]
    counted = Network.of(problem, parameters_of(problem, deep), labels, samples * weights)
    of_deep = flat_of(differentiate(fresh.value, counted, curvature=False).deep_gradient)

    def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
        adjoints.add(fresh, adjoint * (2 * weights * found.gradient))
        add_deep(adjoints, deep, 2 * adjoint[:, 0] * of_deep)
        adjoints.of_weights["samples"] += 2 * adjoint[:, 0] * found.loss

    return tape.node(np.array([[2 * found.loss @ weights]]), pull)


def curvature(
    problem: Problem,
    tape: Tape,
    h: Node,
    deep: tuple[Node, ...],
    labels: Float[np.ndarray, "C N"],
    batch: Float[np.ndarray, " N"] | None,
) -> Node:
    """D of each sample, with the weights of the mini-batch.

    Parameters
    ----------
    problem, tape, h, deep, labels, batch
        As for `sedyn.deviations.network.train`.

    Returns
    -------
    Node, shape (q q, N)
    """
    q, samples = h.shape
    flat = flat_of(parameters_of(problem, deep))

    def at(values: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        network = Network.of(problem, shaped(problem, parameters), labels, batch)
        found = differentiate(values, network).curvature
        assert found is not None  # it is there unless it is left out
        return np.reshape(found, (q * q, samples))

    def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
        of_h = np.empty((len(adjoint), q, samples))
        for unit in range(q):
            moved = STEP * np.eye(q)[:, [unit]]
            slope = (at(h.value + moved, flat) - at(h.value - moved, flat)) / (2 * STEP)
            of_h[:, unit] = (adjoint * slope).sum(axis=1)
        adjoints.add(h, of_h)
        of_deep = np.empty((len(adjoint), flat.size))
        for number in range(flat.size):
            moved = STEP * np.eye(flat.size)[number]
            slope = (at(h.value, flat + moved) - at(h.value, flat - moved)) / (2 * STEP)
            of_deep[:, number] = np.einsum("ban,an->b", adjoint, slope)
        add_deep(adjoints, deep, of_deep)

    return tape.node(at(h.value, flat), pull)


def _mean_response(tape: Tape, curvatures: tuple[Node, ...], response: tuple[Node, ...], q: int) -> Node:
    """Weighted average of dg^t/dz^s (docs/theory.md#adjoint-response), for s = 0..t side by side: (q, (t + 1) q)."""
    last, weights = len(curvatures) - 1, tape.weights["samples"]

    def between(r: int, s: int) -> np.ndarray:
        return response[r].value[:, s * q : (s + 1) * q]

    bent = [node.value.reshape(q, q, -1) for node in curvatures]
    pushes: list[np.ndarray] = [np.zeros_like(bent[0])] * last
    adjoint_of: list[np.ndarray] = [bent[last]] * (last + 1)  # Lambda_s
    for s in reversed(range(last)):
        pushes[s] = sum(np.einsum("abn,bc->acn", adjoint_of[r], between(r, s)) for r in range(s + 1, last + 1))
        adjoint_of[s] = np.einsum("abn,bcn->acn", pushes[s], bent[s])
    value = np.concatenate([own @ weights for own in adjoint_of], axis=1)

    def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
        given = [adjoint[:, :, s * q : (s + 1) * q] for s in range(last + 1)]
        adjoints.of_weights["samples"] += sum(
            np.einsum("bac,acn->bn", each, own) for each, own in zip(given, adjoint_of, strict=True)
        )
        pulled = [each[..., None] * weights for each in given]
        of_response = [np.zeros((len(adjoint), *node.shape)) for node in response]
        for s in range(last):
            of_push = np.einsum("xacn,bcn->xabn", pulled[s], bent[s])
            of_bent = np.einsum("abn,xacn->xbcn", pushes[s], pulled[s])
            adjoints.add(curvatures[s], of_bent.reshape(len(adjoint), q * q, -1))
            for r in range(s + 1, last + 1):
                pulled[r] = pulled[r] + np.einsum("xacn,bc->xabn", of_push, between(r, s))
                of_response[r][:, :, s * q : (s + 1) * q] += np.einsum("abn,xacn->xbc", adjoint_of[r], of_push)
        adjoints.add(curvatures[last], pulled[last].reshape(len(adjoint), q * q, -1))
        for node, own in zip(response, of_response, strict=True):
            adjoints.add(node, own)

    return tape.node(value, pull)
