"""What the labels of fresh samples are, given their indices, so that label noise need not be averaged over points.

Given a sample's indices its labels have a law, and whatever is asked of them on average over the noise is known where
that law has few values, or the loss is quadratic in pieces and the noise has known moments below a bound
(docs/theory.md#noise-average). Elsewhere labels are drawn.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, asarray_like
from sedyn.arrays.shapes import Float
from sedyn.model.functions import Loss, loss_named
from sedyn.model.labels import clean_labels, label_noise, labels_of
from sedyn.model.network import losses
from sedyn.model.noise import Moments, NoiseLaw
from sedyn.model.problem import Problem

__all__ = [
    "AdditiveLabels",
    "DrawnLabels",
    "FewLabels",
    "LabelLaw",
    "SomeLabels",
    "label_law",
    "labels_of_classes",
    "means_of_classes",
    "noise_variables",
]

# In place of no noise, which what is below is not to be divided by: nothing beside any other number.
LEAST_NOISE = 1e-100


class SomeLabels(NamedTuple):
    """Labels that stand for a law: the mean loss is an average over them, up to a number that outputs do not change.

    Attributes
    ----------
    labels : array, shape (..., M, C, N)
    probabilities : array, shape (..., M, N)
    """

    labels: Float[Array, "... M C N"]
    probabilities: Float[Array, "... M N"]


class LabelLaw(Protocol):
    """Labels of samples, or their law: what losses of given outputs are on average over what is not known."""

    def as_some(self, loss: Loss) -> tuple[SomeLabels, float | Float[Array, "..."]] | None:
        """Labels that stand for the law, and what the mean loss is more than the average over them.

        Parameters
        ----------
        loss : Loss

        Returns
        -------
        labels : SomeLabels
        more : float or array, shape (...)
            One number for each replicate. In place of both, None where no labels stand for the law.
        """
        ...

    def mean_losses(self, loss: Loss, outputs: Float[Array, "... C N"]) -> Float[Array, "... N"]:
        """Losses of each sample, of all outputs together.

        Parameters
        ----------
        loss : Loss
        outputs : array, shape (..., C, N)

        Returns
        -------
        array, shape (..., N)
        """
        ...

    def error_rates(self, outputs: Float[Array, "... C N"]) -> Float[Array, "... N"]:
        """How often each sample's class is not the one of the largest output.

        Parameters
        ----------
        outputs : array, shape (..., C, N)

        Returns
        -------
        array, shape (..., N)
        """
        ...


class DrawnLabels(NamedTuple):
    """Labels themselves.

    Attributes
    ----------
    labels : array, shape (..., C, N)
    """

    labels: Float[Array, "... C N"]

    def as_some(self, loss: Loss) -> tuple[SomeLabels, float | Float[Array, "..."]] | None:
        """Themselves; see `LabelLaw.as_some`."""
        xp, labels = array_namespace(self.labels), self.labels[..., None, :, :]
        return SomeLabels(labels, xp.ones_like(labels[..., 0, :])), 0.0

    def mean_losses(self, loss: Loss, outputs: Float[Array, "... C N"]) -> Float[Array, "... N"]:
        """Losses with these labels; see `LabelLaw.mean_losses`."""
        return losses(loss, outputs, self.labels)

    def error_rates(self, outputs: Float[Array, "... C N"]) -> Float[Array, "... N"]:
        """1 or 0; see `LabelLaw.error_rates`."""
        xp = array_namespace(outputs)
        return xp.astype(xp.argmax(outputs, axis=-2) != xp.argmax(self.labels, axis=-2), outputs.dtype)


class FewLabels(NamedTuple):
    """Labels that have few values.

    Attributes
    ----------
    values : array, shape (m, C)
        What they can be; of classes the m = C unit vectors.
    probabilities : array, shape (..., m, N)
        Of each, given a sample's indices.
    """

    values: Float[Array, "m C"]
    probabilities: Float[Array, "... m N"]

    @property
    def mean(self) -> Float[Array, "... C N"]:
        """Of the labels, given a sample's indices."""
        xp = array_namespace(self.values)
        return xp.matmul(xp.matrix_transpose(self.values), self.probabilities)

    def as_some(self, loss: Loss) -> tuple[SomeLabels, float | Float[Array, "..."]] | None:
        """All of them, or their mean if it says all; see `LabelLaw.as_some`."""
        if loss.linear_in_labels:
            return DrawnLabels(self.mean).as_some(loss)
        *leading, count, samples = self.probabilities.shape
        shape = (*leading, count, self.values.shape[-1], samples)
        labels = array_namespace(self.values).broadcast_to(self.values[:, :, None], shape)
        return SomeLabels(labels, self.probabilities), 0.0

    def mean_losses(self, loss: Loss, outputs: Float[Array, "... C N"]) -> Float[Array, "... N"]:
        """Losses with every label, by its probability; see `LabelLaw.mean_losses`."""
        if loss.linear_in_labels:
            return losses(loss, outputs, self.mean)
        xp, found = array_namespace(outputs), 0.0
        for m in range(self.values.shape[0]):
            labels = xp.broadcast_to(self.values[m, :, None], outputs.shape)
            found = found + self.probabilities[..., m, :] * losses(loss, outputs, labels)
        return found

    def error_rates(self, outputs: Float[Array, "... C N"]) -> Float[Array, "... N"]:
        """Probability of the others; see `LabelLaw.error_rates`."""
        xp = array_namespace(outputs)
        largest = xp.argmax(outputs, axis=-2)[..., None, :]
        return 1 - xp.take_along_axis(self.probabilities, largest, axis=-2)[..., 0, :]


class AdditiveLabels(NamedTuple):
    """Labels with additive noise.

    Attributes
    ----------
    clean : array, shape (..., C, N)
        phi(z_*).
    deviation : array, shape (..., 1, 1)
        Of the noise.
    law : NoiseLaw
    """

    clean: Float[Array, "... C N"]
    deviation: Float[Array, "... 1 1"]
    law: NoiseLaw

    def as_some(self, loss: Loss) -> tuple[SomeLabels, float | Float[Array, "..."]] | None:
        """Those without noise, if the loss is quadratic; see `LabelLaw.as_some`."""
        if len(loss.pieces) != 1:
            return None
        xp, labels = array_namespace(self.clean), self.clean[..., None, :, :]
        more = labels.shape[-2] * loss.pieces[0].quadratic * self.deviation[..., 0, 0] ** 2
        return SomeLabels(labels, xp.ones_like(labels[..., 0, :])), more

    def mean_losses(self, loss: Loss, outputs: Float[Array, "... C N"]) -> Float[Array, "... N"]:
        """Losses piece by piece of the residual (docs/theory.md#noise-average); see `LabelLaw.mean_losses`."""
        xp, deviation = array_namespace(outputs), self.deviation
        residual, found, above = outputs - self.clean, 0.0, Moments(1.0, 0.0, 1.0)
        for piece in loss.pieces:
            # The residual is at most the piece's end where the noise is at least this.
            end = piece.end
            below = Moments(0.0, 0.0, 0.0) if end == math.inf else self.law.moments_below((residual - end) / deviation)
            probability, mean, square = (a - b for a, b in zip(above, below, strict=True))
            found = found + piece.constant * probability
            if piece.linear:
                found = found + piece.linear * (residual * probability - deviation * mean)
            if piece.quadratic:
                squares = (residual * probability - 2 * deviation * mean) * residual + deviation * deviation * square
                found = found + piece.quadratic * squares
            above = below
        return xp.sum(found, axis=-2)

    def error_rates(self, outputs: Float[Array, "... C N"]) -> Float[Array, "... N"]:
        """Nothing: additive labels are no classes; see `LabelLaw.error_rates`."""
        raise NotImplementedError


def noise_variables(problem: Problem) -> int:
    """Count the normals of a sample's label noise that have to be drawn: none where it is averaged out exactly.

    The same for all problems with one `Problem.stack_key`.
    """
    law, loss = problem.label_noise_law, loss_named(problem.loss)
    known = {
        "additive": bool(loss.pieces) and (len(loss.pieces) == 1 or law.family.moments_below is not None),
        "binary": law.flips or law.family.moments_below is not None,
        "classes": law.flips or law.family.largest is not None,
    }
    return 0 if known[problem.labels] else problem.outputs


def label_law(
    problem: Problem,
    indices: Float[Array, "*replicates k N"],
    normals: Float[Array, "*replicates _ N"],
    deviation: Float[Array, "*replicates 1 1"] | None = None,
) -> LabelLaw:
    """Law of the labels of samples with given indices.

    Parameters
    ----------
    problem : Problem
        For all in which replicates agree.
    indices : array, shape (..., k, N)
        z_*.
    normals : array, shape (..., `noise_variables`, N)
        What noise is made of, where it has to be drawn.
    deviation : array, shape (..., 1, 1), optional
        `Problem.noise` of each replicate, where they differ in it.

    Returns
    -------
    LabelLaw
    """
    law, xp = problem.label_noise_law, array_namespace(indices)
    if noise_variables(problem):
        noise = label_noise(problem, normals, _deviation(problem, indices, deviation))
        return DrawnLabels(labels_of(problem, indices, noise))
    if problem.labels == "classes" and not law.flips:
        return labels_of_classes(law.largest(means_of_classes(problem, indices, deviation)))
    clean, deviation = clean_labels(problem, indices), _divisor(problem, indices, deviation)
    if problem.labels == "additive":
        return AdditiveLabels(clean, deviation, law)
    if problem.labels == "binary":
        if law.flips:
            (probability,) = law.numbers
            positive = probability + (1 - 2 * probability) * xp.astype(clean > 0, clean.dtype)
        else:
            positive = 1 - law.moments_below(-clean / deviation).probability
        values = asarray_like(np.array([[1.0], [-1.0]]), clean)
        return FewLabels(values, xp.concat([positive, 1 - positive], axis=-2))
    (probability,) = law.numbers
    of_others = probability / (problem.outputs - 1)
    largest = xp.argmax(clean, axis=-2)[..., None, :] == xp.arange(problem.outputs, device=clean.device)[:, None]
    return labels_of_classes(of_others + (1 - probability - of_others) * xp.astype(largest, clean.dtype))


def means_of_classes(
    problem: Problem,
    indices: Float[Array, "*replicates k N"],
    deviation: Float[Array, "*replicates 1 1"] | None = None,
) -> Float[Array, "*replicates C N"]:
    """What the largest of decides the class once it has noise, in standard deviations of the noise.

    Parameters
    ----------
    problem, indices, deviation
        As for `label_law`.

    Returns
    -------
    array, shape (..., C, N)
    """
    return clean_labels(problem, indices) / _divisor(problem, indices, deviation)


def _deviation(problem: Problem, indices: Array, given: Array | None) -> Array:
    if given is not None:
        return given
    return array_namespace(indices).full((1, 1), float(problem.noise), dtype=indices.dtype, device=indices.device)


def _divisor(problem: Problem, indices: Array, given: Array | None) -> Array:
    return array_namespace(indices).maximum(_deviation(problem, indices, given), LEAST_NOISE)


def labels_of_classes(probabilities: Float[Array, "... C N"]) -> FewLabels:
    """Labels that are a unit vector for each of C classes.

    Parameters
    ----------
    probabilities : array, shape (..., C, N)
        Of the classes.

    Returns
    -------
    FewLabels
    """
    values = asarray_like(np.eye(probabilities.shape[-2]), probabilities)
    return FewLabels(values, probabilities)
