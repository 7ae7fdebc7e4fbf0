"""What samples keep of their own gradients, from the spectrum of the features (docs/theory.md#estimated-test-error).

The responses are those of state evolution with averages over the training samples, exact in the limit for features
that are independent but for their covariance. Rows of unequal length carry their scales.
"""

from __future__ import annotations

from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.history import History
from sedyn.arrays.shapes import Float
from sedyn.kernels.dispatch import mean_response
from sedyn.model.adjoint import onsager_term
from sedyn.model.network import Derivatives
from sedyn.model.problem import Problem
from sedyn.model.quadrature import SpectralMeasure
from sedyn.model.update import Update
from sedyn.theory.weight_side import WeightResponse, init_weight_response, step_weight_response

__all__ = ["BySpectrum"]


class BySpectrum(NamedTuple):
    """Gradients and curvatures of all steps, and the weight response they make (docs/theory.md#empirical-responses).

    Attributes
    ----------
    aspect_ratio : array, shape ()
        n / d.
    weight_response : WeightResponse
        The empirical R_w up to t.
    gradients : History, shape (..., t, q, n)
        G^s for s < t, times the row scales.
    curvatures : History, shape (..., t, q, q, n)
        D^s for s < t, likewise.
    row_scales : array, shape (n,), or None
        tau_i, see `sedyn.estimate.rows.row_scales`; None where all are 1 (docs/theory.md#row-scales).
    """

    aspect_ratio: Float[Array, ""]
    weight_response: WeightResponse
    gradients: History
    curvatures: History
    row_scales: Float[Array, " n"] | None

    @classmethod
    def begin(
        cls,
        problem: Problem,
        spectrum: SpectralMeasure,
        like: Float[Array, "... q d"],
        row_scales: Float[Array, " n"] | None = None,
    ) -> BySpectrum:
        """Estimate before the first step.

        Parameters
        ----------
        problem : Problem
            With n the number of training samples.
        spectrum : SpectralMeasure
            Of the feature covariance.
        like : array, shape (..., q, d)
            Gives library, dtype, device and the axes in front.
        row_scales : array, shape (n,), optional

        Returns
        -------
        BySpectrum
        """
        q, steps, n, replicates = problem.units, problem.steps, problem.n, like.shape[:-2]
        aspect_ratio = array_namespace(like).asarray(float(problem.aspect_ratio), dtype=like.dtype, device=like.device)
        return cls(
            aspect_ratio,
            init_weight_response(spectrum, steps, q, like),
            History.empty(steps, (q, n), like, replicates),
            History.empty(steps, (q, q, n), like, replicates),
            row_scales,
        )

    def step(self, derivatives: Derivatives, update: Update) -> BySpectrum:
        """Take in the derivatives at iteration t; see `Estimate.step`."""
        gradient, curvature = derivatives.gradient, derivatives.curvature
        if self.row_scales is not None:
            gradient, curvature = gradient * self.row_scales, curvature * self.row_scales
        gradients, curvatures = self.gradients.append(gradient), self.curvatures.append(curvature)
        known = self.weight_response.mean.values[..., : len(gradients), :, :]
        gradient_response = self.aspect_ratio * mean_response(curvatures.values, known)
        return self._replace(
            weight_response=step_weight_response(self.weight_response, gradient_response, update, self.aspect_ratio),
            gradients=gradients,
            curvatures=curvatures,
        )

    def fresh_like(self, trained: Float[Array, "*replicates q n"]) -> Float[Array, "*replicates q n"]:
        """h^t - tau_i times the sum over s < t of R_w(t, s) G^s; see `Estimate.fresh_like`."""
        t = len(self.gradients)
        if t == 0:
            return trained
        answers = self.weight_response.mean.values[..., t, :t, :, :]
        return trained - onsager_term(answers, self.gradients.values)
