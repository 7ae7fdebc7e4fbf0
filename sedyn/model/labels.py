"""What a sample's label is, given its indices and its noise (docs/theory.md#labels)."""

from __future__ import annotations

import math

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.functions import LINKS
from sedyn.model.problem import Problem

__all__ = ["clean_labels", "labels_of"]


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
        With standard deviation `Problem.noise`.

    Returns
    -------
    array, shape (..., N)
        Additive: ``phi(z_*) + noise``; binary: its sign.
    """
    labels = clean_labels(problem, indices) + noise
    return array_namespace(indices).sign(labels) if problem.labels == "binary" else labels
