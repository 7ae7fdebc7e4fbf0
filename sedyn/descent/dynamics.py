"""Gradient descent on a data set, iteration by iteration (docs/theory.md#descent).

`State`, `init`, `step` and `observe` mirror those of `sedyn.theory.dynamics`. Arrays may have the same further axes in
front, replicates that are run together.
"""

from __future__ import annotations

from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.blocks import summed
from sedyn.arrays.shapes import Float
from sedyn.descent.inputs import Data
from sedyn.estimate.protocol import Estimate
from sedyn.kernels.dispatch import forward, row_moments
from sedyn.model.algorithm import require_step, step_deep_weights
from sedyn.model.architecture import layers_of
from sedyn.model.evaluation import score_names, scores_of_outputs
from sedyn.model.label_laws import DrawnLabels
from sedyn.model.network import DeepWeights, Derivatives, Network
from sedyn.model.observables import pad_deep_weights
from sedyn.model.problem import Problem
from sedyn.model.update import Update

__all__ = ["State", "init", "observe", "scores", "step"]


class State(NamedTuple):
    """Gradient descent at one iteration t, and what one pass over the data shows there.

    The pass goes forward and, while the data are at hand, backward: derivatives at t are found with h^t, before the
    step that follows them.

    Attributes
    ----------
    iteration : int
        t.
    trained : array, shape (..., q, n)
        h^t = X W^t, the pre-activations of training samples.
    losses : array, shape (..., n)
        Of training samples at h^t.
    first_weights, previous_first_weights : array, shape (..., q, d)
        W^t, one row for each unit, and what its momentum is the difference from: W^{t-1}, or in Nesterov's form from
        where W^t looks ahead.
    deep_weights, previous_deep_weights : tuple of array
        V^t, and likewise.
    derivatives : Derivatives or None
        At h^t, with the weights of the mini-batch; None at the last iteration, which no step follows.
    drive : array, shape (..., q, d), or None
        Gradient of the mean loss in W^t, X^T G^t / delta.
    estimate : Estimate or None
        Of the test error, up to t; None where there is no estimate.
    """

    iteration: int
    trained: Float[Array, "... q n"]
    losses: Float[Array, "... n"]
    first_weights: Float[Array, "... q d"]
    previous_first_weights: Float[Array, "... q d"]
    deep_weights: DeepWeights
    previous_deep_weights: DeepWeights
    derivatives: Derivatives | None
    drive: Float[Array, "... q d"] | None
    estimate: Estimate | None


def init(problem: Problem, inputs: Data) -> State:
    """Gradient descent at iteration 0.

    Parameters
    ----------
    problem : Problem
    inputs : Data

    Returns
    -------
    State
    """
    first_weights, deep_weights = inputs.start[..., : problem.units, :], inputs.deep_weights
    return _look(problem, inputs, 0, (first_weights, first_weights), (deep_weights, deep_weights), inputs.estimate)


def step(problem: Problem, inputs: Data, state: State, update: Update) -> State:
    """Advance from iteration t to t + 1.

    Parameters
    ----------
    problem : Problem
    inputs : Data
    state : State
        At t < T.
    update : Update
        Of step t.

    Returns
    -------
    State
        At t + 1; the one given stays as it is.

    Raises
    ------
    ValueError
        If t = T.
    """
    require_step(problem, state)
    derivatives, estimate = state.derivatives, state.estimate
    assert derivatives is not None  # missing at the last iteration only
    if estimate is not None:
        estimate = estimate.step(derivatives, update)
    kicks, deep_kicks = None, None
    if inputs.gradient_noise is not None:
        kicks = inputs.gradient_noise.of_first_weights(state.iteration, state.first_weights)
        deep_kicks = inputs.gradient_noise.of_deep_weights(problem, state.iteration, state.deep_weights)
    first_weights = update(state.first_weights, state.previous_first_weights, state.drive, kicks)
    deep_weights = step_deep_weights(problem, state, derivatives.deep_gradient, update, deep_kicks)
    return _look(problem, inputs, state.iteration + 1, first_weights, deep_weights, estimate)


def observe(problem: Problem, inputs: Data, state: State) -> dict[str, Float[Array, "..."]]:
    """What the training run shows at the state's iteration (docs/theory.md#errors, docs/theory.md#overlaps).

    Parameters
    ----------
    problem : Problem
    inputs : Data
        With the signals.
    state : State

    Returns
    -------
    dict of str to array
        What `sedyn.model.observables.simulated` names, without the iteration axis, but for test errors and their
        standard errors, which are averages over fresh data.
    """
    xp = array_namespace(state.first_weights)
    q, d = state.first_weights.shape[-2:]

    def sums(columns: slice) -> Array:
        weights, known = state.first_weights[..., columns], inputs.start[..., columns]
        return row_moments(weights, known, inputs.scales[columns])

    averages, start_of_functions = summed(sums, state.first_weights) / d, 2 * q + problem.signals
    return {
        **scores(problem, inputs, state),
        "initial_overlap": averages[..., q : 2 * q],
        "signal_overlap": averages[..., 2 * q : start_of_functions],
        "weight_gram": averages[..., :q],
        "row_average": xp.matrix_transpose(averages[..., start_of_functions:]),
        **pad_deep_weights(problem, state.deep_weights, state.first_weights),
    }


def scores(problem: Problem, inputs: Data, state: State) -> dict[str, Float[Array, "*replicates"]]:
    """Scores on the training set, and those on fresh samples estimated from it (docs/theory.md#estimated-test-error).

    Parameters
    ----------
    problem : Problem
    inputs : Data
    state : State

    Returns
    -------
    dict of str to array, shape (...)
        ``train_`` and ``estimated_test_`` before each of `sedyn.model.evaluation.score_names`; estimates are NaN where
        there is none.
    """
    xp, names, fresh = array_namespace(state.losses), score_names(problem), None
    labels = DrawnLabels(inputs.labels)

    def means(h: Array) -> Array:
        outputs = forward(h, state.deep_weights, layers_of(problem))
        return xp.mean(scores_of_outputs(problem, outputs, labels), axis=-1)

    if state.estimate is not None:
        fresh = means(state.estimate.fresh_like(state.trained))
    known_already = names == ("error",)
    training = 2 * xp.mean(state.losses, axis=-1)[None, ...] if known_already else means(state.trained)
    fresh = xp.full_like(training, xp.nan) if fresh is None else fresh
    return {f"train_{name}": training[i, ...] for i, name in enumerate(names)} | {
        f"estimated_test_{name}": fresh[i, ...] for i, name in enumerate(names)
    }


def _look(
    problem: Problem,
    inputs: Data,
    t: int,
    first_weights: tuple[Array, Array],
    deep_weights: tuple[DeepWeights, DeepWeights],
    estimate: Estimate | None,
) -> State:
    """State at t from the weights there and at t - 1, in one pass over the design."""
    scaled, last = first_weights[0] * inputs.scales, t == problem.steps
    batch = None if last or inputs.batches is None else inputs.batches[t]
    network = Network.of(problem, deep_weights[0], inputs.labels, batch)
    if last:
        trained = inputs.design.matmul(scaled)
        return State(t, trained, network.losses(trained), *first_weights, *deep_weights, None, None, estimate)
    trained, derivatives, drive = inputs.design.descend(scaled, network, curvature=estimate is not None)
    drive *= inputs.scales / float(problem.aspect_ratio)
    return State(t, trained, derivatives.loss, *first_weights, *deep_weights, derivatives, drive, estimate)
