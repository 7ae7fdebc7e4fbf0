"""What state evolution runs on: representative samples, all their randomness drawn ahead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.checks import whole
from sedyn.errors import InvalidInput, require_whole
from sedyn.model.batching import limit_dimensions
from sedyn.model.initialization import initial_overlaps
from sedyn.model.label_laws import LabelLaw, label_law
from sedyn.model.labels import label_noise, labels_of
from sedyn.model.problem import Problem
from sedyn.theory.sampling import MOST_DIMENSIONS, CausalFactor, matched_normals, sobol_uniforms

__all__ = [
    "RANDOMIZATIONS",
    "Draws",
    "draw",
    "draws_of",
    "index_factor",
    "least_samples",
    "normal_dimensions",
    "randomizations_together",
    "require_samples",
]


# Samples that are put together, if they are of more than two randomizations.
MOST_TOGETHER = 2**17
RANDOMIZATIONS = whole(2, 2**20, condition="at least 2, since the standard error is their spread")


class Draws(NamedTuple):
    """N representative samples, all iterations at once.

    Attributes
    ----------
    innovations : array, shape (k + q (T + 1), N)
        Standard normals that z_*, z^0, ..., z^T are made of, in this order.
    labels : array, shape (C, N)
        y.
    batches : array, shape (draws of batches, N)
        Uniforms that decide on mini-batches, see `sedyn.model.batching.limit_weights`.
    fresh_labels : LabelLaw
        Of fresh samples with the same indices, which no training has seen.
    """

    innovations: Float[Array, "k+q*(T+1) N"]
    labels: Float[Array, "C N"]
    batches: Float[Array, "draws N"]
    fresh_labels: LabelLaw


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
    dimensions = normal_dimensions(problem)
    scrambles = [sobol_uniforms(seed, dimensions + limit_dimensions(problem), samples) for seed in seeds]
    uniforms = backend.asarray(np.concatenate(scrambles, axis=1), device)
    return draws_of(problem, matched_normals(uniforms[:dimensions, :]), uniforms[dimensions:, :])


def draws_of(problem: Problem, normals: Float[Array, "normals N"], batches: Float[Array, "draws N"]) -> Draws:
    """Make samples of their normal and uniform variables.

    Parameters
    ----------
    problem : Problem
    normals : array, shape (k + C + q (T + 1), N)
        For z_*, label noise and z^0, ..., z^T. The noise comes second, so that its Sobol coordinates are among the
        evenest.
    batches : array, shape (draws of batches, N)

    Returns
    -------
    Draws
    """
    xp, k, outputs = array_namespace(normals), problem.signals, problem.outputs
    indices = xp.matmul(backend.asarray_like(index_factor(problem).rows[0], normals), normals[:k, :])
    innovations = xp.concat([normals[:k, :], normals[k + outputs :, :]], axis=0)
    of_noise = normals[k : k + outputs, :]
    labels = labels_of(problem, indices, label_noise(problem, of_noise))
    return Draws(innovations, labels, batches, label_law(problem, indices, of_noise))


def randomizations_together(samples: int, randomizations: int) -> int:
    """Randomizations whose samples are put together, to be solved as one: 2 at least, and as memory is for.

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
    return CausalFactor().append([initial_overlaps(problem)[q:, q:]])


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
