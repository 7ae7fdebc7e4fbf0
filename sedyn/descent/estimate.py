"""The test error at every iteration, estimated from training data alone (THEORY section 4).

No holdout and no retraining: what each training sample keeps of its own gradients, the Onsager term, is subtracted from
its pre-activations, which are then distributed like those of a fresh row. Arrays may have the same further axes in
front, replicates that are run together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.descent import dynamics as gradient_descent
from sedyn.kernels.dispatch import mean_response
from sedyn.model.adjoint import onsager_term
from sedyn.model.evaluation import mean_error
from sedyn.model.network import DeepWeights, Derivatives, has_kink
from sedyn.model.problem import Problem
from sedyn.model.quadrature import SpectralMeasure
from sedyn.model.update import Update
from sedyn.theory.weight_side import WeightResponse, init_weight_response, step_weight_response

__all__ = [
    "Estimator",
    "estimate_test_error",
    "estimated_descent",
    "fresh_like",
    "init_estimator",
    "no_estimate_because",
    "step_estimator",
]


def no_estimate_because(problem: Problem) -> str | None:
    """Say why the data-driven estimate cannot be had for a problem, or None if it can."""
    if has_kink(problem):
        return (
            f"activation {problem.activation!r} has a kink, whose point mass in the second derivative no training "
            "sample shows; use a smooth one, for example softplus or gelu"
        )
    return None


class Estimator(NamedTuple):
    """The data-driven estimate of the test error, up to one iteration (THEORY section 4).

    Attributes
    ----------
    weight_response : WeightResponse
        The empirical R_w.
    gradients : array, shape (..., T, q, n)
        G^s, filled for s < t.
    curvatures : array, shape (..., T, q, q, n)
        D^s, filled for s < t.
    """

    weight_response: WeightResponse
    gradients: Array
    curvatures: Array


def init_estimator(problem: Problem, spectrum: SpectralMeasure, first: Array) -> Estimator:
    """Estimate before the first step.

    Parameters
    ----------
    problem : Problem
        With n the number of training samples.
    spectrum : SpectralMeasure
        Of the feature covariance.
    first : array, shape (..., q, d)
        W^0; gives dtype, device and the axes in front.
    """
    xp = array_namespace(first)
    q, steps, n, replicates = problem.width, problem.steps, problem.n, first.shape[:-2]
    kind = {"dtype": first.dtype, "device": first.device}
    return Estimator(
        init_weight_response(spectrum, steps, q, first),
        xp.empty((*replicates, steps, q, n), **kind),
        xp.empty((*replicates, steps, q, q, n), **kind),
    )


def step_estimator(
    problem: Problem, estimator: Estimator, t: int, derivatives: Derivatives, update: Update
) -> Estimator:
    """Take in the derivatives at iteration t, which carry the weight response to t + 1.

    Parameters
    ----------
    problem : Problem
    estimator : Estimator
        Up to t.
    t : int
    derivatives : Derivatives
        At h^t, with curvature.
    update : Update
        Of step t.
    """
    estimator.gradients[..., t, :, :] = derivatives.gradient
    estimator.curvatures[..., t, :, :, :] = derivatives.curvature
    delta, weight_response = float(problem.aspect_ratio), estimator.weight_response
    known = weight_response.mean[..., : t + 1, : t + 1, :, :]
    responses = delta * mean_response(estimator.curvatures[..., : t + 1, :, :, :], known)
    return estimator._replace(weight_response=step_weight_response(weight_response, t, responses, update, delta))


def fresh_like(estimator: Estimator, t: int, trained: Array) -> Array:
    """Pre-activations with what they keep of their own gradients taken out: distributed like those of fresh rows.

    Parameters
    ----------
    estimator : Estimator
        Up to t.
    t : int
    trained : array, shape (..., q, n)
        h^t.

    Returns
    -------
    array, shape (..., q, n)
        zhat^t = h^t - sum over s < t of G^s R_w(t, s)^T.
    """
    if t == 0:
        return trained
    return trained - onsager_term(estimator.weight_response.mean[..., t, :t, :, :], estimator.gradients[..., :t, :, :])


def estimate_test_error(
    problem: Problem, estimator: Estimator, t: int, trained: Array, y: Array, deep: DeepWeights
) -> Array:
    """Estimate of the test error at iteration t from training data alone (THEORY section 4).

    Parameters
    ----------
    problem : Problem
    estimator : Estimator
        Up to t.
    t : int
    trained : array, shape (..., q, n)
        h^t.
    y : array, shape (..., n)
    deep : tuple of array
        V^t.
    """
    return mean_error(problem, fresh_like(estimator, t, trained), y, deep)


def estimated_descent(
    problem: Problem,
    data: gradient_descent.Data,
    first: Array,
    deep: DeepWeights,
    spectrum: SpectralMeasure | None,
    updates: Sequence[Update],
    batches: Iterator[Array | None],
) -> Iterator[tuple[gradient_descent.State, Array]]:
    """Run gradient descent and estimate its test error along the way; whoever iterates may stop at any time.

    Parameters
    ----------
    problem : Problem
    data : gradient_descent.Data
    first : array, shape (..., q, d)
        W^0.
    deep : tuple of array
        V^0.
    spectrum : SpectralMeasure or None
        Of the feature covariance; None for no estimate.
    updates : sequence of Update
        Of each step.
    batches : iterator of array or None
        Mini-batch weights of each step.

    Yields
    ------
    state : gradient_descent.State
        At iterations 0..T.
    estimate : array, shape (...)
        Of the test error there; NaN without a spectrum.
    """
    xp, estimator = array_namespace(first), None if spectrum is None else init_estimator(problem, spectrum, first)
    curvature = estimator is not None
    estimate = xp.full(first.shape[:-2], xp.nan, dtype=first.dtype, device=first.device)
    state = gradient_descent.init(problem, data, first, deep, next(batches), curvature=curvature)
    while True:
        t = state.iteration
        if estimator is not None:
            estimate = estimate_test_error(problem, estimator, t, state.trained, data.labels, state.deep)
        yield state, estimate
        if state.derivatives is None:
            return
        if estimator is not None:
            estimator = step_estimator(problem, estimator, t, state.derivatives, updates[t])
        state = gradient_descent.step(problem, data, state, updates[t], next(batches, None), curvature=curvature)
