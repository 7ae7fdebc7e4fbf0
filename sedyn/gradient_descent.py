"""Gradient descent on a data set, iteration by iteration (THEORY section 1).

`init`, `step` and `observe` mirror those of `sedyn.state_evolution`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.backend import Array, array_namespace, to_numpy
from sedyn.design import Design
from sedyn.evaluation import mean_error
from sedyn.functions import ACTIVATIONS, LOSSES
from sedyn.network import DeepWeights, Derivatives, differentiate
from sedyn.observables import pad_deep_weights
from sedyn.optimizer import update_of
from sedyn.problem import Problem

__all__ = ["Data", "State", "init", "observe", "step"]


class Data(NamedTuple):
    """A training set.

    Attributes
    ----------
    design : Design
        Standardized features Z / sqrt(d).
    scales : array, shape (d,)
        Square roots of the eigenvalues of the feature covariance: X = Z diag(scales) / sqrt(d).
    responses : array, shape (n,)
        y.
    """

    design: Design
    scales: Array
    responses: Array


class State(NamedTuple):
    """Gradient descent at one iteration t.

    Attributes
    ----------
    iteration : int
    trained : array, shape (q, n)
        h^t = X W^t, the pre-activations of the training rows.
    first, previous_first : array, shape (q, d)
        W^t and W^{t-1}, one row for each unit.
    deep, previous_deep : tuple of array
        V^t and V^{t-1}.
    """

    iteration: int
    trained: Array
    first: Array
    previous_first: Array
    deep: DeepWeights
    previous_deep: DeepWeights


def init(data: Data, first: Array, deep: DeepWeights) -> State:
    """Gradient descent at iteration 0.

    Parameters
    ----------
    data : Data
    first : array, shape (q, d)
        W^0.
    deep : tuple of array
        V^0.
    """
    return State(0, data.design.matmul(first * data.scales), first, first, deep, deep)


def step(
    problem: Problem, data: Data, state: State, batch: Array | None = None, *, curvature: bool = False
) -> tuple[State, Derivatives]:
    """Advance from iteration t to t + 1.

    Parameters
    ----------
    problem : Problem
    data : Data
    state : State
        At t < T.
    batch : array, shape (n,), optional
        Mini-batch weights of the samples; all ones if left out.
    curvature : bool, optional
        Whether D^t is wanted.

    Returns
    -------
    state : State
    derivatives : Derivatives
        At h^t: what the step was made of.
    """
    t = state.iteration
    update = update_of(problem, t)
    derivatives = differentiate(
        state.trained,
        data.responses,
        state.deep,
        ACTIVATIONS[problem.activation],
        LOSSES[problem.loss],
        sample_weights=batch,
        curvature=curvature,
    )
    drive = data.design.rmatmul(derivatives.gradient) * data.scales / float(problem.aspect_ratio)
    first = update(state.first, state.previous_first, drive)
    deep = state.deep
    if problem.train == "all":
        deep = tuple(
            update(*weights) for weights in zip(state.deep, state.previous_deep, derivatives.deep_gradient, strict=True)
        )
    trained = data.design.matmul(first * data.scales)
    return State(t + 1, trained, first, state.first, deep, state.deep), derivatives


def observe(problem: Problem, data: Data, signals: Array, state: State) -> dict[str, np.ndarray]:
    """What the training run shows at the state's iteration.

    Parameters
    ----------
    problem : Problem
    data : Data
    signals : array, shape (k, d)
        mu^T.
    state : State

    Returns
    -------
    dict of str to ndarray
        `train_error`, `signal_overlap`, `weight_gram`, `deep_weights` of `sedyn.observables.SIMULATED`, without their
        iteration axis.
    """
    xp = array_namespace(state.first)
    scaled = state.first * data.scales
    d = scaled.shape[1]
    return {
        "train_error": mean_error(problem, state.trained, data.responses, state.deep),
        "signal_overlap": to_numpy(xp.matmul(scaled, (signals * data.scales).T)) / d,
        "weight_gram": to_numpy(xp.matmul(scaled, scaled.T)) / d,
        "deep_weights": pad_deep_weights(problem, state.deep),
    }
