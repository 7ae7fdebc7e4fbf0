"""Gradient descent on a data set, iteration by iteration (THEORY section 1).

`init`, `step` and `observe` mirror those of `sedyn.state_evolution`. Arrays may have the same further axes in front,
replicates that are run together.
"""

from __future__ import annotations

from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.blocks import summed
from sedyn.designs.protocol import Design
from sedyn.model.network import DeepWeights, Derivatives, Network
from sedyn.model.observables import pad_deep_weights
from sedyn.model.problem import Problem
from sedyn.model.row_averages import row_sums
from sedyn.model.update import Update

__all__ = ["Data", "State", "init", "observe", "step", "train_error"]


class Data(NamedTuple):
    """A training set.

    Attributes
    ----------
    design : Design
        Standardized features Z / sqrt(d).
    scales : array, shape (d,)
        Square roots of the eigenvalues of the feature covariance: X = Z diag(scales) / sqrt(d).
    labels : array, shape (..., n)
        y.
    """

    design: Design
    scales: Array
    labels: Array


class State(NamedTuple):
    """Gradient descent at one iteration t, and what one pass over the data shows there.

    Attributes
    ----------
    iteration : int
    first, previous_first : array, shape (..., q, d)
        W^t and W^{t-1}, one row for each unit.
    deep, previous_deep : tuple of array
        V^t and V^{t-1}.
    trained : array, shape (..., q, n)
        h^t = X W^t, the pre-activations of the training rows.
    losses : array, shape (..., n)
        Of the training rows at h^t.
    derivatives : Derivatives or None
        At h^t, with the weights of the mini-batch; None at the last iteration, which no step follows.
    drive : array, shape (..., q, d), or None
        Gradient of the mean loss in W^t, X^T G^t / delta.
    """

    iteration: int
    first: Array
    previous_first: Array
    deep: DeepWeights
    previous_deep: DeepWeights
    trained: Array
    losses: Array
    derivatives: Derivatives | None
    drive: Array | None


def init(
    problem: Problem,
    data: Data,
    first: Array,
    deep: DeepWeights,
    batch: Array | None = None,
    *,
    curvature: bool = False,
) -> State:
    """Gradient descent at iteration 0.

    Parameters
    ----------
    problem : Problem
    data : Data
    first : array, shape (..., q, d)
        W^0.
    deep : tuple of array
        V^0.
    batch : array, shape (..., n), optional
        Mini-batch weights of the samples in the gradient at iteration 0; all ones if left out.
    curvature : bool, optional
        Whether D^0 is wanted.
    """
    return _look(problem, data, 0, (first, first), (deep, deep), batch, curvature)


def step(
    problem: Problem, data: Data, state: State, update: Update, batch: Array | None = None, *, curvature: bool = False
) -> State:
    """Advance from iteration t to t + 1.

    Parameters
    ----------
    problem : Problem
    data : Data
    state : State
        At t < T.
    update : Update
        Of step t.
    batch : array, shape (..., n), optional
        Mini-batch weights of the samples in the gradient at t + 1; all ones if left out.
    curvature : bool, optional
        Whether D^{t+1} is wanted.
    """
    if state.derivatives is None:
        raise ValueError(f"iteration {state.iteration} is the last of the problem's {problem.steps} steps")
    first = update(state.first, state.previous_first, state.drive)
    deep = state.deep
    if problem.train == "all":
        gradients = state.derivatives.deep_gradient
        deep = tuple(update(*each) for each in zip(state.deep, state.previous_deep, gradients, strict=True))
    t = state.iteration + 1
    return _look(problem, data, t, (first, state.first), (deep, state.deep), batch, curvature)


def _look(
    problem: Problem,
    data: Data,
    t: int,
    first: tuple[Array, Array],
    deep: tuple[DeepWeights, DeepWeights],
    batch: Array | None,
    curvature: bool,
) -> State:
    """State at t from the weights there and at t - 1, in one pass over the design."""
    weights = first[0] * data.scales
    network = Network.of(problem, deep[0], data.labels, batch)
    if t == problem.steps:
        trained = data.design.matmul(weights)
        return State(t, *first, *deep, trained, network.losses(trained), None, None)
    trained, derivatives, drive = data.design.descend(weights, network, curvature=curvature)
    drive *= data.scales / float(problem.aspect_ratio)
    return State(t, *first, *deep, trained, derivatives.loss, derivatives, drive)


def train_error(state: State) -> Array:
    """Twice the mean loss of the training rows: the mean squared error for the squared loss."""
    return 2 * array_namespace(state.losses).mean(state.losses, axis=-1)


def observe(problem: Problem, data: Data, start: Array, state: State) -> dict[str, Array]:
    """What the training run shows at the state's iteration.

    Parameters
    ----------
    problem : Problem
    data : Data
    start : array, shape (..., q + k, d)
        [W^0, mu]^T.
    state : State

    Returns
    -------
    dict of str to array
        `train_error`, `initial_overlap`, `signal_overlap`, `weight_gram`, `row_average`, `deep_weights` of
        `sedyn.model.observables.SIMULATED`, without their iteration axis.
    """
    xp = array_namespace(state.first)
    q, d = state.first.shape[-2:]

    def sums(columns: slice) -> Array:
        weights, known, scales = state.first[..., columns], start[..., columns], data.scales[columns]
        scaled = weights * scales
        gram = xp.matmul(scaled, xp.matrix_transpose(scaled))
        with_start = xp.matmul(scaled * scales, xp.matrix_transpose(known))
        return xp.concat([gram, with_start, xp.matrix_transpose(row_sums(weights, known))], axis=-1)

    averages, start_of_functions = summed(sums, state.first) / d, 2 * q + problem.signals
    return {
        "train_error": train_error(state),
        "initial_overlap": averages[..., q : 2 * q],
        "signal_overlap": averages[..., 2 * q : start_of_functions],
        "weight_gram": averages[..., :q],
        "row_average": xp.matrix_transpose(averages[..., start_of_functions:]),
        "deep_weights": pad_deep_weights(problem, state.deep, state.first),
    }
