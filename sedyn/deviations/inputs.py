"""What a weighted run is made of: the innovations of representative samples and features, drawn ahead."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.arrays.points import matched_normals, sobol_uniforms
from sedyn.arrays.shapes import Float, Shaped
from sedyn.model.problem import Problem
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.seeds import substream
from sedyn.theory.inputs import Draws, draw
from sedyn.theory.weight_side import spectral_nodes

__all__ = ["Innovations", "draw_innovations", "features_of_each_level"]


class Innovations(NamedTuple):
    """Representative samples and representative features.

    Attributes
    ----------
    samples : Draws
        N samples, whose innovations are what products with new directions of weights reveal.
    of_start : ndarray, shape (k + q, M)
        Standard normals that signals and first layer are made of, of each feature.
    of_gradients : ndarray, shape (T, q, M)
        Standard normals: what products with new directions of gradients reveal.
    of_kicks : ndarray, shape (T, q, M)
        Standard normals of the gradient noise; without any, (0, q, M).
    eigenvalues : ndarray, shape (M,)
        Of the feature covariance.
    levels : ndarray, shape (M,)
        Which of its distinct eigenvalues each feature has.
    shares : ndarray, shape (levels,)
        Of the features with each eigenvalue, sum 1.
    """

    samples: Draws
    of_start: Float[np.ndarray, "k+q M"]
    of_gradients: Float[np.ndarray, "T q M"]
    of_kicks: Float[np.ndarray, "kicks q M"]
    eigenvalues: Float[np.ndarray, " M"]
    levels: Shaped[np.ndarray, " M"]
    shares: Float[np.ndarray, " levels"]

    @property
    def weights(self) -> dict[str, Float[np.ndarray, " _"]]:
        """Of samples and features in the limit's place: samples alike, and features of each eigenvalue alike."""
        samples, counts = self.samples.labels.shape[-1], np.bincount(self.levels)
        return {"samples": np.full(samples, 1 / samples), "features": (self.shares / counts)[self.levels]}


def features_of_each_level(problem: Problem, samples: int) -> tuple[int, int]:
    """Distinct eigenvalues that stand for the spectrum, and representative features with each of them.

    Parameters
    ----------
    problem : Problem
    samples : int
        Representative samples, a power of two.

    Returns
    -------
    levels, features : int
    """
    levels = gauss_quadrature(problem.eigenvalues, spectral_nodes(problem.steps)).nodes.size
    least = 2 ** (_dimensions(problem) + 1).bit_length()
    return levels, max(least, 2 ** ((samples // levels).bit_length() - 1))


def draw_innovations(problem: Problem, samples: int, seed: np.random.SeedSequence) -> Innovations:
    """Draw scrambled Sobol points with matched moments for both sides (docs/theory.md#matched-moments).

    Parameters
    ----------
    problem : Problem
    samples : int
        A power of two; of features there are about as many.
    seed : SeedSequence

    Returns
    -------
    Innovations
    """
    measure = gauss_quadrature(problem.eigenvalues, spectral_nodes(problem.steps))
    levels, features = features_of_each_level(problem, samples)
    dimensions = _dimensions(problem)
    normals = np.concatenate(
        [
            matched_normals(sobol_uniforms(substream(seed, level), dimensions, features))
            for level in range(1, levels + 1)
        ],
        axis=1,
    )
    q, columns = problem.units, problem.signals + problem.units
    later = normals[columns:].reshape(-1, q, normals.shape[1])
    return Innovations(
        draw(problem, samples, seed),
        normals[:columns],
        later[: problem.steps],
        later[problem.steps :],
        np.repeat(measure.nodes, features),
        np.repeat(np.arange(levels), features),
        measure.weights,
    )


def _dimensions(problem: Problem) -> int:
    """Count the normal variables of a feature."""
    each_step = 2 if problem.temperature else 1
    return problem.signals + problem.units * (each_step * problem.steps + 1)
