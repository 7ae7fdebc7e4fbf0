"""What a sample's labels are, given its indices and its noise (docs/theory.md#labels)."""

from __future__ import annotations

import math

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.errors import InvalidInput
from sedyn.model.functions import LINKS
from sedyn.model.problem import Problem

__all__ = ["clean_labels", "label_noise", "labels_of"]


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
        One row for each output. Several have an index each, the first C of the k, or share a single one; further
        indices play no part.
    """
    xp = array_namespace(indices)
    *replicates, k, samples = indices.shape
    links = [LINKS[name] for name in problem.links]
    if links[0].joint:  # a user's function of (k, samples): replicates become more samples
        values = links[0].f(xp.reshape(xp.moveaxis(indices, -2, 0), (k, -1)))
        rows = values.shape[0] if values.ndim > 1 else 1
        if rows != problem.outputs:
            raise InvalidInput(
                "link", problem.link, f"gives {rows} labels of a sample; the network has {problem.outputs}"
            )
        return xp.moveaxis(xp.reshape(values, (problem.outputs, *replicates, samples)), 0, -2)
    if problem.outputs > 1:
        rows = range(problem.outputs) if k > 1 else [0] * problem.outputs
        return xp.stack([link.f(indices[..., row, :]) for link, row in zip(links, rows, strict=True)], axis=-2)
    values = links[0].f(indices)
    if k == 1:
        return values
    if problem.combine == "product":
        return xp.prod(values, axis=-2, keepdims=True)
    return xp.sum(values, axis=-2, keepdims=True) / math.sqrt(problem.signals)


def label_noise(
    problem: Problem, normals: Float[Array, "*shape"], deviation: Float[Array, "..."] | None = None
) -> Float[Array, "*shape"]:
    """Label noise of a problem (docs/theory.md#noise-law), elementwise.

    Parameters
    ----------
    problem : Problem
        Its noise and law of the noise.
    normals : array, any shape
        Standard normals.
    deviation : array, optional
        In place of `Problem.noise`, of replicates that differ in it: of a shape that broadcasts with the normals.

    Returns
    -------
    array, of the same shape
        With standard deviation `Problem.noise`; of a law that flips, which labels are replaced.
    """
    law = problem.label_noise_law
    values = law.of_normal(normals)
    if law.flips:
        return values
    return (problem.noise if deviation is None else deviation) * values


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
        See `label_noise`.

    Returns
    -------
    array, shape (..., C, N)
        Additive: ``phi(z_*) + noise``; binary: its sign; classes: 1 for the largest, 0 for the others. Where noise
        flips, those of phi(z_*) or, instead, the opposite sign or another class.
    """
    xp, labels, flips = array_namespace(indices), clean_labels(problem, indices), problem.label_noise_law.flips
    if not flips:
        labels = labels + noise
    if problem.labels == "binary":
        signs = xp.sign(labels)
        return xp.where(noise > 0, -signs, signs) if flips else signs
    if problem.labels == "classes":
        of_sample, classes = xp.argmax(labels, axis=-2), problem.outputs
        if flips:  # to one of the others, each as often
            further = xp.ceil(noise[..., 0, :] * (classes - 1))
            of_sample = (of_sample + xp.astype(further, of_sample.dtype)) % classes
        each = xp.arange(classes, device=labels.device)[:, None]
        return xp.astype(of_sample[..., None, :] == each, labels.dtype)
    return labels
