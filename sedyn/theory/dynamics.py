"""State evolution, the deterministic limit of gradient descent, by iteration (docs/theory.md#trained-pre-activations).

`State`, `init`, `step` and `observe` mirror those of `sedyn.descent.dynamics`, which do to a data set what these do to
a representative sample and a representative first-layer row. Draws of several randomizations are solved side by side:
all arrays then have their axis first. Each has products and sums of its own, so that its numbers do not depend on those
beside it, and one that is no longer finite goes on as NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, asarray_like
from sedyn.arrays.history import History
from sedyn.arrays.shapes import Float
from sedyn.kernels.dispatch import differentiate, forward
from sedyn.model.adjoint import onsager_term
from sedyn.model.algorithm import require_step, step_deep_weights
from sedyn.model.architecture import initial_deep_weights, layers_of
from sedyn.model.batching import limit_weights
from sedyn.model.evaluation import means_of_outputs, score_names
from sedyn.model.initialization import initial_overlaps
from sedyn.model.label_laws import DrawnLabels
from sedyn.model.network import DeepWeights, Network, has_kink
from sedyn.model.observables import pad_deep_weights, quantiles
from sedyn.model.problem import Problem
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.row_averages import ROW_FUNCTIONS, normal_averages
from sedyn.model.update import Update
from sedyn.theory.causal_factor import CausalFactor
from sedyn.theory.inputs import Draws, index_factor
from sedyn.theory.response import gradient_moments
from sedyn.theory.weight_side import (
    EffectiveSignal,
    Pushes,
    WeightResponse,
    averaged,
    fresh_covariances,
    init_effective_signal,
    init_weight_response,
    row_covariances,
    spectral_nodes,
    step_effective_signal,
    step_weight_response,
)

__all__ = ["State", "init", "observe", "scores", "step"]


class State(NamedTuple):
    """State evolution at one iteration t.

    Attributes
    ----------
    iteration : int
        t.
    trained : array, shape (..., q, N)
        h^t, the pre-activations of training samples.
    fresh : array, shape (..., q, N)
        z^t, the pre-activations of fresh samples.
    deep_weights, previous_deep_weights : tuple of array
        V^t, and what its momentum is the difference from: V^{t-1}, or in Nesterov's form from where V^t looks ahead.
    effective_signal : EffectiveSignal
        P and m up to t.
    weight_response : WeightResponse
        R_w up to t.
    fresh_covariance : ndarray, shape (..., q, q)
        Cov(z^t, z^t), the Gram matrix of the weights.
    factor : CausalFactor
        Of the covariance of z_*, z^0..z^t.
    gradients : History, shape (..., t, q, N)
        g^s for s < t.
    curvatures : History, shape (..., t, q, q, N), or None
        D^s for s < t; None where responses come from Stein's identity.
    pushes : Pushes
        C_u(a, b), and gradient noise, at the steps before t.
    gradient_response : History, shape (..., t, T, q, q)
        R_g(a, b) for b <= a; zero elsewhere.
    """

    iteration: int
    trained: Float[Array, "... q N"]
    fresh: Float[Array, "... q N"]
    deep_weights: DeepWeights
    previous_deep_weights: DeepWeights
    effective_signal: EffectiveSignal
    weight_response: WeightResponse
    fresh_covariance: Float[np.ndarray, "... q q"]
    factor: CausalFactor
    gradients: History
    curvatures: History | None
    pushes: Pushes
    gradient_response: History


def init(problem: Problem, inputs: Draws) -> State:
    """State evolution at iteration 0, where P_0 = I, m_0 = 0 and h^0 = z^0.

    Parameters
    ----------
    problem : Problem
    inputs : Draws

    Returns
    -------
    State
    """
    q, steps, like = problem.units, problem.steps, inputs.innovations
    *axes, _, samples = like.shape
    leading, xp = tuple(axes), array_namespace(like)
    measure = gauss_quadrature(problem.eigenvalues, spectral_nodes(steps))
    overlaps = initial_overlaps(problem)
    deep_weights = tuple(
        xp.broadcast_to(asarray_like(weights, like), (*leading, *weights.shape))
        for weights in initial_deep_weights(problem)
    )
    effective_signal = init_effective_signal(measure, steps, overlaps, q, leading)
    weight_response = init_weight_response(measure, steps, q, np.empty((*leading, q, q)))
    pushes = Pushes.none(leading)
    covariances = fresh_covariances(effective_signal, weight_response, pushes)
    factor = index_factor(problem).append(covariances)
    fresh = _fresh(inputs, factor)
    return State(
        iteration=0,
        trained=fresh,
        fresh=fresh,
        deep_weights=deep_weights,
        previous_deep_weights=deep_weights,
        effective_signal=effective_signal,
        weight_response=weight_response,
        fresh_covariance=covariances[..., -q:],
        factor=factor,
        gradients=History.empty(steps, (q, samples), like, leading),
        curvatures=None if has_kink(problem) else History.empty(steps, (q, q, samples), like, leading),
        pushes=pushes,
        gradient_response=History.empty(steps, (steps, q, q), overlaps, leading),
    )


def step(problem: Problem, inputs: Draws, state: State, update: Update) -> State:
    """Advance from iteration t to t + 1.

    Parameters
    ----------
    problem : Problem
    inputs : Draws
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
    t, delta = state.iteration, float(problem.aspect_ratio)

    # Sample side: g^t = dl/dh (h^t; y, V^t), D^t and E[dl/dV].
    network = Network.of(problem, state.deep_weights, inputs.labels, limit_weights(problem, t, inputs.batches))
    derivatives = differentiate(state.trained, network, curvature=state.curvatures is not None)
    gradients = state.gradients.append(derivatives.gradient)
    curvatures = None if state.curvatures is None else state.curvatures.append(derivatives.curvature)

    # C_u(t, s), R_g(t, s) and R_g(t, *).
    effective_signal, weight_response, factor = state.effective_signal, state.weight_response, state.factor
    moments = gradient_moments(
        problem,
        inputs.innovations,
        derivatives.gradient,
        gradients,
        curvatures,
        weight_response,
        effective_signal,
        factor,
    )
    pushes = state.pushes.append(moments.covariance, update, delta)

    # Weight side and deeper layers.
    effective_signal = step_effective_signal(effective_signal, moments.response, moments.signal_response, update, delta)
    weight_response = step_weight_response(weight_response, moments.response, update, delta)
    deep_weights, previous_deep_weights = step_deep_weights(problem, state, derivatives.deep_gradient, update)

    # Sample side at t + 1: z conditionally on the past draws, h = z + sum over s of R_w(t + 1, s) g^s.
    covariances = fresh_covariances(effective_signal, weight_response, pushes)
    factor = factor.append(covariances)
    fresh = _fresh(inputs, factor)
    answers = asarray_like(weight_response.mean.values[..., t + 1, : t + 1, :, :], fresh)
    return State(
        iteration=t + 1,
        trained=fresh + onsager_term(answers, gradients.values),
        fresh=fresh,
        deep_weights=deep_weights,
        previous_deep_weights=previous_deep_weights,
        effective_signal=effective_signal,
        weight_response=weight_response,
        fresh_covariance=covariances[..., -problem.units :],
        factor=factor,
        gradients=gradients,
        curvatures=curvatures,
        pushes=pushes,
        gradient_response=state.gradient_response.append(moments.response),
    )


def observe(problem: Problem, inputs: Draws, state: State) -> dict[str, Float[Array, "..."]]:
    """What the theory predicts at the state's iteration (docs/theory.md#predicted-overlaps).

    Parameters
    ----------
    problem : Problem
    inputs : Draws
    state : State

    Returns
    -------
    dict of str to array
        What `sedyn.model.observables.predicted` names, without the iteration axis, standard errors apart; and
        the law of first-layer rows at each spectral node, `row_coefficients` and `row_covariances` of
        `sedyn.model.observables.INCLUDED`. Each has the axes of the draws in front.
    """
    q = problem.units
    effective_signal, weight_response = state.effective_signal, state.weight_response
    coefficients = effective_signal.coefficients.values[..., -1, :, :, :]
    carried = averaged(effective_signal.spectrum, coefficients)
    overlap = effective_signal.with_start.values[..., -1, :, :]
    covariances = row_covariances(weight_response, state.pushes)
    return {
        **scores(problem, inputs, state),
        "initial_overlap": overlap[..., :q],
        "signal_overlap": overlap[..., q:],
        "weight_gram": state.fresh_covariance,
        "row_average": _row_averages(problem, effective_signal, covariances),
        **pad_deep_weights(problem, state.deep_weights, state.trained),
        "init_coefficient": carried[..., :q],
        "signal_coefficient": carried[..., q:],
        "noise_covariance": averaged(weight_response.spectrum, covariances),
        "pre_activation_quantiles": quantiles(state.trained),
        "row_coefficients": coefficients,
        "row_covariances": covariances,
    }


def scores(problem: Problem, inputs: Draws, state: State) -> dict[str, Float[Array, "..."]]:
    """Scores on training samples and on fresh ones at the state's iteration (docs/theory.md#predicted-errors).

    Parameters
    ----------
    problem : Problem
    inputs : Draws
    state : State

    Returns
    -------
    dict of str to array, shape (...)
        ``train_`` and ``test_`` before each of `sedyn.model.evaluation.score_names`.
    """
    found: dict[str, Array] = {}
    kinds = (
        ("train", state.trained, DrawnLabels(inputs.labels), inputs.weights),
        ("test", state.fresh, inputs.fresh_labels, inputs.fresh_weights),
    )
    for kind, h, labels, weights in kinds:
        outputs = forward(h, state.deep_weights, layers_of(problem))
        means = means_of_outputs(problem, outputs, labels, weights)
        found |= {f"{kind}_{name}": means[i, ...] for i, name in enumerate(score_names(problem))}
    return found


def _fresh(inputs: Draws, factor: CausalFactor) -> Float[Array, "... q N"]:
    """z^t conditionally on z_*, z^0, ..., z^{t-1}, by the last rows of the factor."""
    rows = asarray_like(factor.rows[-1], inputs.innovations)
    return array_namespace(rows).matmul(rows, inputs.innovations[..., : rows.shape[-1], :])


def _row_averages(
    problem: Problem, effective_signal: EffectiveSignal, covariances: Float[np.ndarray, "*leading B q q"]
) -> Float[np.ndarray, "*leading functions q"]:
    """Averages of test functions over first-layer rows (docs/theory.md#row-averages).

    NaN where the spectrum changes with d: rows with few neighbours of their eigenvalue start as no normal vectors, see
    `sedyn.model.initialization.initial_weights_and_signals`.
    """
    if problem.spectrum_law.changes_with_d:
        return np.full((*covariances.shape[:-3], len(ROW_FUNCTIONS), covariances.shape[-1]), np.nan)
    overlaps = effective_signal.overlaps / effective_signal.spectrum.nodes[:, None, None]
    averages = normal_averages(effective_signal.coefficients.values[..., -1, :, :, :], overlaps, covariances)
    return averaged(effective_signal.spectrum, averages)
