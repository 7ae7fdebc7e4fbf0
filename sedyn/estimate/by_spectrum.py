"""What samples keep of their own gradients, from the spectrum of the features (docs/theory.md#estimated-test-error).

The responses are those of state evolution with averages over the training samples, exact in the limit for features
that are independent but for their covariance. Rows of unequal length carry their scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.history import History
from sedyn.arrays.shapes import Float
from sedyn.kernels.dispatch import mean_response, remove_own_gradients
from sedyn.model.adjoint import onsager_term
from sedyn.model.algorithm import Path
from sedyn.model.network import Derivatives
from sedyn.model.problem import Problem
from sedyn.model.quadrature import SpectralMeasure
from sedyn.model.update import Update
from sedyn.theory.weight_side import WeightResponse, init_weight_response, step_weight_response

__all__ = ["BySpectrum", "WholePath"]


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

    def along(self, path: Path, updates: Sequence[Update]) -> WholePath:
        """Estimate all along a path, from before its first step.

        Parameters
        ----------
        path : Path
            With gradients and curvatures.
        updates : sequence of Update

        Returns
        -------
        WholePath
        """
        spectrum, delta = self.weight_response.spectrum, float(self.aspect_ratio)
        fresh = None
        if self.row_scales is None:
            fresh = remove_own_gradients(path, spectrum.nodes, spectrum.weights, delta, updates)
        return WholePath(self._fresh_along(path, updates) if fresh is None else fresh)

    def _fresh_along(self, path: Path, updates: Sequence[Update]) -> Float[Array, "R iterations q n"]:
        gradients, curvatures, trained, response = path.gradients, path.curvatures, path.trained, self.weight_response
        assert gradients is not None
        assert curvatures is not None
        if self.row_scales is not None:
            gradients, curvatures = gradients * self.row_scales, curvatures * self.row_scales
        for t, update in enumerate(updates):
            known = response.mean.values[..., : t + 1, :, :]
            of_gradients = self.aspect_ratio * mean_response(curvatures[:, : t + 1, ...], known)
            response = step_weight_response(response, of_gradients, update, self.aspect_ratio)
        xp, (replicates, steps, q, _) = array_namespace(trained), gradients.shape
        answers = xp.moveaxis(response.mean.values[..., :steps, :, :], 1, 2)
        answers = xp.reshape(answers, (replicates, steps, (steps + 1) * q, q))
        return trained - xp.reshape(onsager_term(answers, gradients), trained.shape)


class WholePath(NamedTuple):
    """The estimate at all iterations at once; no step follows.

    Attributes
    ----------
    fresh : array, shape (R, T + 1, q, n)
    """

    fresh: Float[Array, "R iterations q n"]

    def step(self, derivatives: Derivatives, update: Update) -> WholePath:
        """Refuse; see `Estimate.step`."""
        raise ValueError("the estimate of a whole path has no further step")

    def fresh_like(self, trained: Float[Array, "R iterations q n"]) -> Float[Array, "R iterations q n"]:
        """What was found along the path; see `Estimate.fresh_like`."""
        return self.fresh
