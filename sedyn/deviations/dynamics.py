"""Gradient descent as a function of weights of its samples and features (docs/theory.md#weighted-run).

A run on Gaussian features that are drawn only as far as products reveal them (docs/theory.md#deferred-product), where
every scalar product is an average over samples or features with given weights. `State`, `init`, `step` and `observe`
mirror those of `sedyn.descent.dynamics`; what they work on are nodes of a tape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.deviations.estimate import Estimate, curvature, estimated_error, init_estimate, step_estimate
from sedyn.deviations.inputs import Innovations
from sedyn.deviations.network import Signals, Trained, lengthened, test_error, train
from sedyn.deviations.tape import Adjoints, Node, Tape
from sedyn.model.algorithm import require_step, step_deep_weights
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import limit_weights
from sedyn.model.functions import loss_named
from sedyn.model.initialization import mixing_of
from sedyn.model.problem import Problem
from sedyn.model.row_averages import ROW_FUNCTIONS
from sedyn.model.update import Update

__all__ = ["KICKS", "Revealed", "Start", "State", "init", "observe", "step"]

# The gradient noise of deeper parameters, beside the two sides of a tape.
KICKS = "kicks"
# A vector of which less than this share is new is in the span of the others.
NEGLIGIBLE_SHARE = 1e-6


class Revealed(NamedTuple):
    """Orthonormal directions on one side, and their images on the other (docs/theory.md#revealed).

    Attributes
    ----------
    basis : Node, shape (K, own side)
    images : Node, shape (K, other side)
    """

    basis: Node
    images: Node


class Start(NamedTuple):
    """Columns [M, Z^0]^T that signals and first layer are made of, times the roots of the eigenvalues.

    Attributes
    ----------
    rows : Node, shape (k + q, M)
    coefficients : Node, shape (k + q, k + q)
        Of the rows in the basis that they begin; the identity where they are orthonormal.
    signals : Signals
        What the lengths of signals have to do with samples.
    """

    rows: Node
    coefficients: Node
    signals: Signals


class State(NamedTuple):
    """A weighted run at one iteration t.

    Attributes
    ----------
    iteration : int
        t.
    start : Start
        What signals and first layer are made of.
    first_weights, previous_first_weights : Node, shape (q, M)
        W~^t, in the coordinates in which features are white, and what its momentum is the difference from.
    deep_weights, previous_deep_weights : tuple of Node
        V^t, and likewise.
    weights, gradients : Revealed
        What is known of X from products with weights and with gradients.
    coefficients : Node, shape (q, K)
        Of W~^t in the basis of the weights.
    trained : Trained
        What training samples show at t.
    estimate : Estimate or None
        Of the test error, up to t; None where its derivatives cannot be had.
    """

    iteration: int
    start: Start
    first_weights: Node
    previous_first_weights: Node
    deep_weights: tuple[Node, ...]
    previous_deep_weights: tuple[Node, ...]
    weights: Revealed
    gradients: Revealed
    coefficients: Node
    trained: Trained
    estimate: Estimate | None


def init(problem: Problem, inputs: Innovations, tape: Tape) -> State:
    """Gradient descent at iteration 0.

    Parameters
    ----------
    problem : Problem
    inputs : Innovations
    tape : Tape

    Returns
    -------
    State
    """
    q = problem.units
    start, known = _start(problem, inputs, tape)
    deep = tuple(tape.node(np.atleast_2d(each), _nothing) for each in initial_deep_weights(problem))
    none = Revealed(Node(np.empty((0, known.images.shape[1]))), Node(np.empty((0, known.basis.shape[1]))))
    first = Node(_of_start(problem)[:q]) @ start.rows
    estimate = None if loss_named(problem.loss).bends_abruptly else init_estimate(problem)
    return _look(problem, inputs, tape, 0, start, (first, first), (deep, deep), known, none, estimate)


def step(problem: Problem, inputs: Innovations, tape: Tape, state: State, update: Update) -> State:
    """Advance from iteration t to t + 1.

    Parameters
    ----------
    problem : Problem
    inputs : Innovations
    tape : Tape
    state : State
        At t < T.
    update : Update
        Of step t.

    Returns
    -------
    State
    """
    require_step(problem, state)
    delta, t = float(problem.aspect_ratio), state.iteration
    split = _split(tape, state.trained.gradient, state.gradients.basis, "samples")
    known, gradients = state.weights, state.gradients
    if split.directions is not None:
        fresh = math.sqrt(delta) * inputs.of_gradients[t, split.kept]
        with_images = delta * tape.gram(split.directions, known.images, "samples")
        fixed = with_images - tape.gram(Node(fresh), known.basis, "features")
        gradients = _longer(tape, gradients, split.directions, Node(fresh) + fixed @ known.basis)
    products = split.coefficients @ gradients.images
    drive = (inputs.eigenvalues / delta) * products
    kicks = Node(np.sqrt(inputs.eigenvalues) * inputs.of_kicks[t]) if problem.temperature else None
    first = update(state.first_weights, state.previous_first_weights, drive, kicks)
    deep = step_deep_weights(problem, state, state.trained.deep_gradient, update, _deep_kicks(tape, state))
    estimate = state.estimate
    if estimate is not None:
        batch = limit_weights(problem, t, inputs.samples.batches)
        bent = curvature(problem, tape, state.trained.h, state.deep_weights, inputs.samples.labels, batch)
        estimate = step_estimate(problem, tape, estimate, state.trained.gradient, bent, update)
    return _look(problem, inputs, tape, t + 1, state.start, first, deep, known, gradients, estimate)


def observe(problem: Problem, inputs: Innovations, tape: Tape, state: State) -> dict[str, Node]:
    """What the run shows at the state's iteration, of `sedyn.model.observables.simulated`.

    Parameters
    ----------
    problem : Problem
    inputs : Innovations
    tape : Tape
    state : State

    Returns
    -------
    dict of str to Node
        `deep_weights` as many as there are deeper parameters, under their place in V.
    """
    q, k = problem.units, problem.signals
    start = state.start.coefficients.T @ Node(_of_start(problem).T)
    with_start = state.coefficients[:, : k + q] @ start
    deep = {f"deep_weights {place}": node for place, node in enumerate(state.deep_weights)}
    test = test_error(problem, tape, state.coefficients, state.deep_weights, inputs.samples, state.start.signals)
    estimated = {}
    if state.estimate is not None:
        found = estimated_error(
            problem, tape, state.estimate, state.trained.h, state.deep_weights, inputs.samples.labels
        )
        estimated = {"estimated_test_error": found, "estimate_minus_test_error": found - test}
    return {
        "train_error": state.trained.error,
        "test_error": test,
        **estimated,
        "initial_overlap": with_start[:, :q],
        "signal_overlap": with_start[:, q:],
        "weight_gram": state.coefficients @ state.coefficients.T,
        "row_average": _row_averages(problem, inputs, tape, state),
        **deep,
    }


class _Split(NamedTuple):
    """A block of vectors in an orthonormal basis and in directions that are new.

    Attributes
    ----------
    coefficients : Node, shape (q, K + r)
    directions : Node, shape (r, side), or None
    kept : list of int
        Of the q vectors, those that the new directions are made of.
    """

    coefficients: Node
    directions: Node | None
    kept: list[int]


def _split(tape: Tape, block: Node, basis: Node, side: str) -> _Split:
    """Split a block of vectors; those that are (almost) in the span of others bring no direction."""
    known = tape.gram(block, basis, side)
    remainder = block - known @ basis
    gram = tape.gram(remainder, remainder, side)
    total = np.einsum("ij,ij->i", known.value, known.value) + np.diagonal(gram.value)
    kept = _independent(gram.value, total.max(initial=0.0) * NEGLIGIBLE_SHARE**2)
    if not kept:
        return _Split(known, None, kept)
    directions = tape.whitening(gram[kept, :][:, kept]) @ remainder[kept, :]
    new = tape.gram(remainder, directions, side)
    return _Split(tape.stack([known.T, new.T]).T, directions, kept)


def _independent(gram: Float[np.ndarray, "q q"], negligible: float) -> list[int]:
    """Vectors that are not in the span of those before them, from their Gram matrix."""
    kept: list[int] = []
    for number in range(len(gram)):
        own = gram[number, number]
        if kept:
            across = gram[kept, number]
            own = own - across @ np.linalg.solve(gram[np.ix_(kept, kept)], across)
        if own > negligible:
            kept.append(number)
    return kept


def _longer(tape: Tape, known: Revealed, directions: Node, images: Node) -> Revealed:
    return Revealed(tape.stack([known.basis, directions]), tape.stack([known.images, images]))


def _look(
    problem: Problem,
    inputs: Innovations,
    tape: Tape,
    t: int,
    start: Start,
    first: tuple[Node, Node],
    deep: tuple[tuple[Node, ...], tuple[Node, ...]],
    known: Revealed,
    gradients: Revealed,
    estimate: Estimate | None,
) -> State:
    """State at t from the weights there and before, with what the samples show of them."""
    delta, q, k, draws = float(problem.aspect_ratio), problem.units, problem.signals, inputs.samples
    split = _split(tape, first[0], known.basis, "features")
    if split.directions is not None:
        place = k + q * t
        fresh = draws.innovations[place : place + q][split.kept]
        with_images = (1 / delta) * tape.gram(split.directions, gradients.images, "features")
        fixed = with_images - tape.gram(Node(fresh), gradients.basis, "samples")
        known = _longer(tape, known, split.directions, Node(fresh) + fixed @ gradients.basis)
    h = split.coefficients @ known.images
    batch = None if t == problem.steps else limit_weights(problem, t, draws.batches)
    trained = train(problem, tape, h, deep[0], draws.labels, batch)
    return State(t, start, *first, *deep, known, gradients, split.coefficients, trained, estimate)


def _start(problem: Problem, inputs: Innovations, tape: Tape) -> tuple[Start, Revealed]:
    """What training starts from, and what is known of X with it.

    A start that is random has a Gram matrix of its own, and so have the signals. Samples keep their indices, the
    products with signals, and have the law that such signals give these (docs/theory.md#random-start).
    """
    q, k = problem.units, problem.signals
    drawn = inputs.samples.innovations
    if problem.initialization == "exact":
        rows, ones = _whitened(inputs, tape), Node(np.eye(k + q))
        signals = Signals(ones[:k, :k], ones[:k, :k])
        return Start(rows, ones, signals), Revealed(rows, Node(drawn[: k + q]))
    rows = Node(np.sqrt(inputs.eigenvalues) * inputs.of_start)
    gram = lengthened(tape, tape.gram(rows, rows, "features"), drawn[:k])
    whitening = tape.whitening(gram)
    basis = whitening @ rows
    signals = Signals(gram[:k, :k], whitening[:k, :k])
    images = tape.stack([signals.whitening @ Node(drawn[:k]), Node(drawn[k : k + q])])
    return Start(rows, tape.gram(rows, basis, "features"), signals), Revealed(basis, images)


def _whitened(inputs: Innovations, tape: Tape) -> Node:
    """[M, Z^0]^T, orthonormal among the features of each eigenvalue (docs/theory.md#exact-start), times its root."""
    found: Node | None = None
    for level, share in enumerate(inputs.shares):
        own = inputs.levels == level
        raw = Node(inputs.of_start * own)
        gram = tape.gram(raw, raw, "features", own / share)
        part = np.sqrt(inputs.eigenvalues) * (tape.whitening(gram) @ raw)
        found = part if found is None else found + part
    assert found is not None
    return found


def _of_start(problem: Problem) -> Float[np.ndarray, "qk kq"]:
    """Rows of [W0, mu]^T as combinations of [M, Z^0]^T."""
    q = problem.units
    mixing = mixing_of(problem).T
    return np.concatenate([mixing[:, q:], mixing[:, :q]], axis=1)


def _row_averages(problem: Problem, inputs: Innovations, tape: Tape, state: State) -> Node:
    """Averages of test functions over first-layer rows (docs/theory.md#row-averages)."""
    unscaled, q, weights = 1 / np.sqrt(inputs.eigenvalues), problem.units, tape.weights["features"]
    whole = Node(_of_start(problem)) @ state.start.rows
    rows = []
    for function in ROW_FUNCTIONS.values():
        reference = function.reference(q)
        difference = state.first_weights
        if reference is not None:
            own = whole[reference, :]
            difference = difference - (own if own.shape[0] == q else Node(np.ones((q, 1))) @ own)
        rows.append(_average(tape, unscaled * difference, function.apply, weights))
    return tape.stack(rows)


def _average(tape: Tape, values: Node, apply: Callable[..., np.ndarray], weights: Float[np.ndarray, " M"]) -> Node:
    """Weighted averages of a function over each row's entries, shape (1, q)."""
    step, at = 1e-6, apply(np, values.value)

    def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
        slope = (apply(np, values.value + step) - apply(np, values.value - step)) / (2 * step)
        adjoints.add(values, np.swapaxes(adjoint, 1, 2) * (slope * weights))
        adjoints.of_weights["features"] += adjoint[:, 0] @ at

    return tape.node((at @ weights)[None, :], pull)


def _deep_kicks(tape: Tape, state: State) -> tuple[Node, ...] | None:
    """Gradient noise of the deeper parameters, which is gone from the limit: zeros whose derivatives are kept."""
    if KICKS not in tape.weights:
        return None
    ends = np.cumsum([0, *(node.value.size for node in state.deep_weights)])
    first = state.iteration * ends[-1]

    def kick(start: int, like: Node) -> Node:
        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            own = slice(first + start, first + start + like.value.size)
            adjoints.of_weights[KICKS][:, own] += adjoint.reshape(len(adjoint), -1)

        return tape.node(np.zeros(like.shape), pull)

    return tuple(kick(start, node) for start, node in zip(ends.tolist(), state.deep_weights, strict=False))


def _nothing(adjoints: Adjoints, adjoint: np.ndarray) -> None:
    """Where training starts depends on no weight of samples or features."""
