"""What a sample's label is, given its indices and its noise (docs/theory.md#labels)."""

from __future__ import annotations

import math

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.functions import LINKS
from sedyn.model.problem import Problem

__all__ = ["clean_labels", "label_noise", "labels_of"]


def clean_labels(problem: Problem, indices: Float[Array, "*replicates k N"]) -> Float[Array, "*replicates N"]:
    """Labels without noise, phi(z_*).

    Parameters
    ----------
    problem : Problem
        Its link, and how several signals combine.
    indices : array, shape (..., k, N)
        z_*, the projections on the k signals.

    Returns
    -------
    array, shape (..., N)
    """
    xp = array_namespace(indices)
    link = LINKS[problem.link]
    if link.joint:  # a user's function of (k, samples): replicates become more samples
        together = xp.reshape(xp.moveaxis(indices, -2, 0), (indices.shape[-2], -1))
        return xp.reshape(link.f(together), (*indices.shape[:-2], indices.shape[-1]))
    values = link.f(indices)
    if problem.combine == "product":
        return xp.prod(values, axis=-2)
    return xp.sum(values, axis=-2) / math.sqrt(problem.signals)


def label_noise(problem: Problem, normals: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Label noise of a problem (docs/theory.md#noise-law), elementwise.

    Parameters
    ----------
    problem : Problem
        Its noise and law of the noise.
    normals : array, any shape
        Standard normals.

    Returns
    -------
    array, of the same shape
        With standard deviation `Problem.noise`; of a law that flips, which labels are replaced.
    """
    law = problem.label_noise_law
    values = law.of_normal(normals)
    return values if law.flips else problem.noise * values


def labels_of(
    problem: Problem, indices: Float[Array, "*replicates k N"], noise: Float[Array, "*replicates N"]
) -> Float[Array, "*replicates N"]:
    """Labels y of samples with given indices and noise.

    Parameters
    ----------
    problem : Problem
    indices : array, shape (..., k, N)
        z_*.
    noise : array, shape (..., N)
        See `label_noise`.

    Returns
    -------
    array, shape (..., N)
        Additive: ``phi(z_*) + noise``; binary: its sign, or where noise flips, the sign of phi(z_*) or its opposite.
    """
    xp, clean = array_namespace(indices), clean_labels(problem, indices)
    if problem.label_noise_law.flips:
        signs = xp.sign(clean)
        return xp.where(noise > 0, -signs, signs)
    return xp.sign(clean + noise) if problem.labels == "binary" else clean + noise
