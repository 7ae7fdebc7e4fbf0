"""What a sample's labels are, given its indices and its noise (docs/theory.md#labels)."""

from __future__ import annotations

import math

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.functions import LINKS
from sedyn.model.problem import Problem

__all__ = ["clean_labels", "labels_of"]


def clean_labels(problem: Problem, indices: Float[Array, "*replicates k N"]) -> Float[Array, "*replicates C N"]:
    """Labels without noise, phi(z_*).

    Parameters
    ----------
    problem : Problem
        Its links, and how several signals combine.
    indices : array, shape (..., k, N)
        z_*, the projections on the k signals.

    Returns
    -------
    array, shape (..., C, N)
        One row for each output; several have an index each, or share a single one.
    """
    xp = array_namespace(indices)
    *replicates, k, samples = indices.shape
    links = [LINKS[name] for name in problem.links]
    if links[0].joint:  # a user's function of (k, samples): replicates become more samples
        values = links[0].f(xp.reshape(xp.moveaxis(indices, -2, 0), (k, -1)))
        return xp.moveaxis(xp.reshape(values, (problem.outputs, *replicates, samples)), 0, -2)
    if problem.outputs > 1:
        rows = range(k) if k > 1 else [0] * problem.outputs
        return xp.stack([link.f(indices[..., row, :]) for link, row in zip(links, rows, strict=True)], axis=-2)
    values = links[0].f(indices)
    if problem.combine == "product":
        return xp.prod(values, axis=-2, keepdims=True)
    return xp.sum(values, axis=-2, keepdims=True) / math.sqrt(problem.signals)


def labels_of(
    problem: Problem, indices: Float[Array, "*replicates k N"], noise: Float[Array, "*replicates C N"]
) -> Float[Array, "*replicates C N"]:
    """Labels y of samples with given indices and noise.

    Parameters
    ----------
    problem : Problem
    indices : array, shape (..., k, N)
        z_*.
    noise : array, shape (..., C, N)
        With standard deviation `Problem.noise`.

    Returns
    -------
    array, shape (..., C, N)
        Additive: ``phi(z_*) + noise``; binary: its sign; classes: 1 for the largest, 0 for the others.
    """
    xp, labels = array_namespace(indices), clean_labels(problem, indices) + noise
    if problem.labels == "binary":
        return xp.sign(labels)
    if problem.labels == "classes":
        each = xp.arange(problem.outputs, device=labels.device)[:, None]
        return xp.astype(xp.argmax(labels, axis=-2)[..., None, :] == each, labels.dtype)
    return labels
