"""The test error at every iteration, estimated from training data alone (THEORY section 4).

No holdout and no retraining: what each training row remembers of its own gradients is subtracted from its
pre-activations, which are then distributed like those of a fresh row. Arrays may have the same further axes in front,
replicates that are run together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sedyn import gradient_descent
from sedyn.backend import Array, array_namespace, to_numpy
from sedyn.evaluation import mean_error
from sedyn.network import DeepWeights, Derivatives, has_kink
from sedyn.optimizer import update_of
from sedyn.problem import Problem
from sedyn.response import mean_response, remembered
from sedyn.spectral import SpectralMeasure
from sedyn.weight_side import Memory, averaged, init_memory, step_memory

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
    memory : Memory
        The empirical R_w.
    gradients : array, shape (..., T, q, n)
        G^s, filled for s < t.
    curvatures : array, shape (..., T, q, q, n)
        D^s, filled for s < t.
    """

    memory: Memory
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
        init_memory(spectrum, steps, q, replicates),
        xp.empty((*replicates, steps, q, n), **kind),
        xp.empty((*replicates, steps, q, q, n), **kind),
    )


def step_estimator(problem: Problem, estimator: Estimator, t: int, derivatives: Derivatives) -> Estimator:
    """Take in the derivatives at iteration t, which carry the memory to t + 1.

    Parameters
    ----------
    problem : Problem
    estimator : Estimator
        Up to t.
    t : int
    derivatives : Derivatives
        At h^t, with curvature.
    """
    estimator.gradients[..., t, :, :] = derivatives.gradient
    estimator.curvatures[..., t, :, :, :] = derivatives.curvature
    xp = array_namespace(estimator.gradients)
    delta = float(problem.aspect_ratio)
    memory = estimator.memory
    row = averaged(memory.spectrum, memory.responses[..., : t + 1, : t + 1, :, :, :])
    device_row = xp.asarray(row, dtype=estimator.gradients.dtype, device=estimator.gradients.device)
    responses = delta * to_numpy(mean_response(estimator.curvatures[..., : t + 1, :, :, :], device_row))
    return estimator._replace(memory=step_memory(memory, t, responses, update_of(problem, t), delta))


def fresh_like(estimator: Estimator, t: int, trained: Array) -> Array:
    """Pre-activations with the memory of their own gradients taken out: distributed like those of fresh rows.

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
    row = averaged(estimator.memory.spectrum, estimator.memory.responses[..., t, :t, :, :, :])
    return trained - remembered(row, estimator.gradients[..., :t, :, :])


def estimate_test_error(
    problem: Problem, estimator: Estimator, t: int, trained: Array, y: Array, deep: DeepWeights
) -> np.ndarray:
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
    batches: Iterator[Array | None],
) -> Iterator[tuple[gradient_descent.State, np.ndarray]]:
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
    batches : iterator of array or None
        Mini-batch weights of each step.

    Yields
    ------
    state : gradient_descent.State
        At iterations 0..T.
    estimate : ndarray, shape (...)
        Of the test error there; NaN without a spectrum.
    """
    estimator = None if spectrum is None else init_estimator(problem, spectrum, first)
    curvature = estimator is not None
    state = gradient_descent.init(problem, data, first, deep, next(batches), curvature=curvature)
    while True:
        t, estimate = state.iteration, np.full(first.shape[:-2], np.nan)
        if estimator is not None:
            estimate = estimate_test_error(problem, estimator, t, state.trained, data.responses, state.deep)
        yield state, estimate
        if state.derivatives is None:
            return
        if estimator is not None:
            estimator = step_estimator(problem, estimator, t, state.derivatives)
        state = gradient_descent.step(problem, data, state, next(batches, None), curvature=curvature)
