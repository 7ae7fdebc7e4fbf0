"""What state evolution runs on: representative samples, all their randomness drawn ahead.

Randomizations that are solved side by side have an axis of their own, the first; without it there is one solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.points import matched_moments, sobol_uniforms
from sedyn.arrays.shapes import Float
from sedyn.arrays.sobol import MOST_DIMENSIONS
from sedyn.checks import whole
from sedyn.errors import InvalidInput, require_whole
from sedyn.kernels.dispatch import label_law
from sedyn.model.batching import limit_dimensions
from sedyn.model.evaluation import silent_weights
from sedyn.model.initialization import initial_overlaps
from sedyn.model.label_laws import DrawnLabels, LabelLaw
from sedyn.model.labels import label_noise, labels_of
from sedyn.model.problem import Problem
from sedyn.theory.causal_factor import CausalFactor
from sedyn.theory.silence import silent_score

__all__ = [
    "RANDOMIZATIONS",
    "Draws",
    "Points",
    "draw",
    "draw_points",
    "draws_of",
    "draws_of_points",
    "index_factor",
    "least_samples",
    "normal_dimensions",
    "randomizations_together",
    "require_samples",
]


# Samples that are put together, and solved side by side, if they are of more than two randomizations.
MOST_TOGETHER = 2**17
RANDOMIZATIONS = whole(2, 2**20, condition="at least 2, since the standard error is their spread")


class Draws(NamedTuple):
    """N representative samples, all iterations at once.

    Attributes
    ----------
    innovations : array, shape (..., k + q (T + 1), N)
        Standard normals that z_*, z^0, ..., z^T are made of, in this order.
    labels : array, shape (..., C, N)
        y.
    batches : array, shape (..., draws of batches, N)
        Uniforms that decide on mini-batches, see `sedyn.model.batching.limit_weights`.
    fresh_labels : LabelLaw
        Of fresh samples with the same indices, which no training has seen.
    weights, fresh_weights : array, shape (..., N), or None
        Of the scores of training samples and of fresh ones, see `sedyn.model.evaluation.silent_weights`.
    """

    innovations: Float[Array, "... k+q*(T+1) N"]
    labels: Float[Array, "... C N"]
    batches: Float[Array, "... draws N"]
    fresh_labels: LabelLaw
    weights: Float[Array, "... N"] | None
    fresh_weights: Float[Array, "... N"] | None


class Points(NamedTuple):
    """Scrambled Sobol points of some randomizations, whose moments nobody has matched yet.

    Attributes
    ----------
    normals : array, shape (R, k + C + q (T + 1), N)
    batches : array, shape (R, draws of batches, N)
        Uniform. Of randomizations that are put together, neither has the first axis.
    """

    normals: Float[Array, "... normals N"]
    batches: Float[Array, "... draws N"]

    def together(self) -> Points:
        """Put the samples of all randomizations together, one after another, in one solution without an axis."""

        def joined(each: Array) -> Array:
            xp = array_namespace(each)
            return xp.reshape(xp.moveaxis(each, 0, 1), (each.shape[1], each.shape[0] * each.shape[2]))

        return Points(*map(joined, self))


def draw(problem: Problem, samples: int, *seeds: np.random.SeedSequence, device: str = "cpu") -> Draws:
    """Draw representative samples: scrambled Sobol points with matched moments (docs/theory.md#matched-moments).

    Parameters
    ----------
    problem : Problem
    samples : int
        Of each scramble, a power of two, more than the k + q (T + 1) + C normal variables of a sample.
    *seeds : SeedSequence
        One for each scramble. The samples of several are put together, and their moments matched.
    device : {'cpu', 'gpu'}, optional
        Where the draws go.

    Returns
    -------
    Draws
    """
    return draws_of_points(problem, draw_points(problem, samples, seeds, device).together())


def draw_points(problem: Problem, samples: int, seeds: Sequence[np.random.SeedSequence], device: str = "cpu") -> Points:
    """Draw the scrambled Sobol points of some randomizations.

    Parameters
    ----------
    problem : Problem
    samples : int
        As for `draw`.
    seeds : sequence of SeedSequence
        One for each.
    device : {'cpu', 'gpu'}, optional
        Where the points go.

    Returns
    -------
    Points
    """
    dimensions = normal_dimensions(problem)
    scrambles = np.empty((len(seeds), dimensions + limit_dimensions(problem), samples))
    for own, seed in zip(scrambles, seeds, strict=True):
        own[...] = sobol_uniforms(seed, *own.shape)
    uniforms = backend.asarray(scrambles, device)
    batches = array_namespace(uniforms).asarray(uniforms[:, dimensions:, :], copy=True)
    return Points(backend.ndtri(uniforms[:, :dimensions, :]), batches)


def draws_of_points(problem: Problem, points: Points, *, copy: bool = False) -> Draws:
    """Make samples of points, and match their moments (docs/theory.md#matched-moments).

    Parameters
    ----------
    problem : Problem
    points : Points
        Of randomizations side by side, or put together.
    copy : bool, optional
        Whether the points are wanted afterwards; otherwise they are used up.

    Returns
    -------
    Draws
    """
    xp = array_namespace(points.normals)
    return draws_of(problem, matched_moments(xp.asarray(points.normals, copy=copy or None)), points.batches)


def draws_of(
    problem: Problem, normals: Float[Array, "*randomizations _ N"], batches: Float[Array, "*randomizations draws N"]
) -> Draws:
    """Make samples of their normal and uniform variables.

    Parameters
    ----------
    problem : Problem
    normals : array, shape (..., k + C + q (T + 1), N)
        For z_*, label noise and z^0, ..., z^T. The noise comes second, so that its Sobol coordinates are among the
        evenest.
    batches : array, shape (..., draws of batches, N)

    Returns
    -------
    Draws
    """
    xp, k, outputs, silent = array_namespace(normals), problem.signals, problem.outputs, silent_score(problem)
    indices = xp.matmul(backend.asarray_like(index_factor(problem).rows[0], normals), normals[..., :k, :])
    innovations = xp.concat([normals[..., :k, :], normals[..., k + outputs :, :]], axis=-2)
    of_noise = normals[..., k : k + outputs, :]
    labels = labels_of(problem, indices, label_noise(problem, of_noise))
    fresh_labels = label_law(problem, indices, of_noise)
    weights, fresh_weights = (
        silent_weights(problem, law, silent, indices[..., 0, :]) for law in (DrawnLabels(labels), fresh_labels)
    )
    return Draws(innovations, labels, batches, fresh_labels, weights, fresh_weights)


def randomizations_together(samples: int, randomizations: int) -> int:
    """Randomizations that are solved side by side, and then as one: 2 at least, and as memory is for.

    Parameters
    ----------
    samples : int
        Of each.
    randomizations : int

    Returns
    -------
    int
    """
    return min(randomizations, max(2, MOST_TOGETHER // samples))


def index_factor(problem: Problem) -> CausalFactor:
    """Factor of the covariance of the indices z_* alone."""
    q = problem.units
    return CausalFactor().append(initial_overlaps(problem)[q:, q:])


def least_samples(problem: Problem) -> int:
    """Fewest samples that a problem can be solved with: the power of two above its normal variables and one more."""
    return 2 ** (normal_dimensions(problem) + 1).bit_length()


def require_samples(problem: Problem, samples: int, field: str = "samples") -> int:
    """Refuse a number of quadrature points that a problem cannot be solved with.

    Parameters
    ----------
    problem : Problem
    samples : int
    field : str, optional
        What the message calls the number.

    Returns
    -------
    int

    Raises
    ------
    InvalidInput
        If it is no power of two, or not larger than the normal variables of a sample; or if these are more than Sobol
        points have dimensions.
    """
    dimensions = normal_dimensions(problem) + limit_dimensions(problem)
    if dimensions > MOST_DIMENSIONS:
        words = f"with width={problem.width} a sample of the theory has {dimensions} variables, of which"
        raise InvalidInput("steps", problem.steps, f"{words} {MOST_DIMENSIONS} can be drawn; shrink steps or width")
    least = least_samples(problem)
    condition = f"a power of two, at least {least} for this width and number of steps"
    whole = require_whole(field, samples, least, condition=condition)
    if whole & (whole - 1):
        raise InvalidInput(field, samples, condition)
    return whole


def normal_dimensions(problem: Problem) -> int:
    """Count the normal variables of a sample: indices, label noise, and the fresh pre-activations of all iterations."""
    return problem.signals + problem.outputs + problem.units * (problem.steps + 1)
