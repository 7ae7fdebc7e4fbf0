"""The test error at every iteration, estimated from training data alone (docs/theory.md#estimated-test-error).

No holdout and no retraining: what each training sample keeps of its own gradients, the Onsager term, is subtracted from
its pre-activations, which are then distributed like those of a fresh sample. Arrays may have the same further axes in
front, replicates that are run together.
"""

from __future__ import annotations

from typing import NamedTuple

from sedyn.arrays.backend import Array
from sedyn.arrays.history import History
from sedyn.arrays.shapes import Float
from sedyn.kernels.dispatch import mean_response
from sedyn.model.adjoint import onsager_term
from sedyn.model.functions import ACTIVATIONS
from sedyn.model.network import Derivatives, has_kink
from sedyn.model.problem import Problem
from sedyn.model.quadrature import SpectralMeasure
from sedyn.model.update import Update
from sedyn.theory.weight_side import WeightResponse, init_weight_response, step_weight_response

__all__ = [
    "Estimate",
    "fresh_like",
    "init_estimate",
    "no_estimate_because",
    "step_estimate",
]


def no_estimate_because(problem: Problem) -> str | None:
    """Say why the data-driven estimate cannot be had for a problem, or None if it can."""
    if has_kink(problem):
        kinked = ACTIVATIONS[problem.activation].kinked
        what = f"activation {problem.activation!r}" if kinked else f"hidden layer {problem.hidden!r}"
        return (
            f"{what} has a kink, whose point mass in the second derivative no training "
            "sample shows; use a smooth one, for example softplus or gelu"
        )
    return None


class Estimate(NamedTuple):
    """What the estimate of the test error rests on, up to one iteration t (docs/theory.md#empirical-responses).

    Attributes
    ----------
    weight_response : WeightResponse
        The empirical R_w up to t.
    gradients : History, shape (..., t, q, n)
        G^s for s < t.
    curvatures : History, shape (..., t, q, q, n)
        D^s for s < t.
    """

    weight_response: WeightResponse
    gradients: History
    curvatures: History


def init_estimate(problem: Problem, spectrum: SpectralMeasure, like: Float[Array, "... q d"]) -> Estimate:
    """Estimate before the first step.

    Parameters
    ----------
    problem : Problem
        With n the number of training samples.
    spectrum : SpectralMeasure
        Of the feature covariance.
    like : array, shape (..., q, d)
        Gives library, dtype, device and the axes in front.

    Returns
    -------
    Estimate
    """
    q, steps, n, replicates = problem.units, problem.steps, problem.n, like.shape[:-2]
    return Estimate(
        init_weight_response(spectrum, steps, q, like),
        History.empty(steps, (q, n), like, replicates),
        History.empty(steps, (q, q, n), like, replicates),
    )


def step_estimate(problem: Problem, estimate: Estimate, derivatives: Derivatives, update: Update) -> Estimate:
    """Take in the derivatives at iteration t, which carry the weight response to t + 1.

    Parameters
    ----------
    problem : Problem
    estimate : Estimate
        Up to t.
    derivatives : Derivatives
        At h^t, with curvature.
    update : Update
        Of step t.

    Returns
    -------
    Estimate
        Up to t + 1.
    """
    weight_response, gradients, curvatures = estimate
    gradients, curvatures = gradients.append(derivatives.gradient), curvatures.append(derivatives.curvature)
    delta, known = float(problem.aspect_ratio), weight_response.mean.values[..., : len(gradients), :, :]
    gradient_response = delta * mean_response(curvatures.values, known)
    return Estimate(step_weight_response(weight_response, gradient_response, update, delta), gradients, curvatures)


def fresh_like(estimate: Estimate, trained: Float[Array, "*replicates q n"]) -> Float[Array, "*replicates q n"]:
    """Pre-activations without what they keep of their own gradients: distributed like those of fresh samples.

    Parameters
    ----------
    estimate : Estimate
        Up to t.
    trained : array, shape (..., q, n)
        h^t.

    Returns
    -------
    array, shape (..., q, n)
        zhat^t = h^t - sum over s < t of R_w(t, s) G^s (docs/theory.md#own-gradients-removed).
    """
    t = len(estimate.gradients)
    if t == 0:
        return trained
    answers = estimate.weight_response.mean.values[..., t, :t, :, :]
    return trained - onsager_term(answers, estimate.gradients.values)
