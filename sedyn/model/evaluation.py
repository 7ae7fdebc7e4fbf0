"""What a network's outputs are worth on samples, as every dataset reports it (docs/theory.md#errors)."""

from __future__ import annotations

import math

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.architecture import layers_of
from sedyn.model.functions import loss_named
from sedyn.model.label_laws import LabelLaw
from sedyn.model.network import DeepWeights, forward
from sedyn.model.problem import Problem

__all__ = [
    "error_over_shifts",
    "mean_over_shifts",
    "mean_scores",
    "means_of_outputs",
    "sample_scores",
    "score_names",
    "scores_of_outputs",
    "silent_scores",
    "silent_weights",
]

# Scores whose variance is below this share of their mean square differ by rounding alone.
NEGLIGIBLE_SPREAD = 1e-12


def score_names(problem: Problem) -> tuple[str, ...]:
    """What is reported of a network on samples: ``error``, and with classes ``error_rate``."""
    return ("error", "error_rate") if problem.labels == "classes" else ("error",)


def sample_scores(
    problem: Problem, h: Float[Array, "*replicates q N"], labels: LabelLaw, deep: DeepWeights
) -> Float[Array, "scores *replicates N"]:
    """Scores of each sample.

    Parameters
    ----------
    problem : Problem
        Its layers and loss.
    h : array, shape (..., q, N)
        Pre-activations.
    labels : LabelLaw
        Labels, or their law given a sample's indices: scores are then averages over label noise.
    deep : tuple of array
        Deeper parameters.

    Returns
    -------
    array, shape (scores, ..., N)
        In the order of `score_names`: twice the loss, which for the squared loss is the squared error; and whether the
        largest output is another class's than the label (1 or 0), or how often it is.
    """
    return scores_of_outputs(problem, forward(h, deep, layers_of(problem)), labels)


def scores_of_outputs(
    problem: Problem, outputs: Float[Array, "*replicates C N"], labels: LabelLaw
) -> Float[Array, "scores *replicates N"]:
    """Scores of each sample from the network's outputs.

    Parameters
    ----------
    problem, labels
        As for `sample_scores`.
    outputs : array, shape (..., C, N)

    Returns
    -------
    array, shape (scores, ..., N)
    """
    scores = [2 * labels.mean_losses(loss_named(problem.loss), outputs)]
    if problem.labels == "classes":
        scores.append(labels.error_rates(outputs))
    return array_namespace(outputs).stack(scores)


def mean_scores(
    problem: Problem,
    h: Float[Array, "*replicates q N"],
    labels: LabelLaw,
    deep: DeepWeights,
    weights: Float[Array, "*replicates N"] | None = None,
) -> Float[Array, "scores ..."]:
    """Means over samples of `sample_scores`, one for each replicate.

    Parameters
    ----------
    problem, h, labels, deep
        As for `sample_scores`.
    weights : array, shape (..., N), optional
        Of the first score of each sample, see `silent_weights`; otherwise all count alike.

    Returns
    -------
    array, shape (scores, ...)
    """
    return means_of_outputs(problem, forward(h, deep, layers_of(problem)), labels, weights)


def means_of_outputs(
    problem: Problem,
    outputs: Float[Array, "*replicates C N"],
    labels: LabelLaw,
    weights: Float[Array, "*replicates N"] | None = None,
) -> Float[Array, "scores ..."]:
    """Means over samples of the scores of the network's outputs, one for each replicate.

    Parameters
    ----------
    problem, labels, weights
        As for `mean_scores`.
    outputs : array, shape (..., C, N)

    Returns
    -------
    array, shape (scores, ...)
    """
    xp, scores = array_namespace(outputs), scores_of_outputs(problem, outputs, labels)
    if weights is None:
        return xp.mean(scores, axis=-1)
    first = xp.sum(weights * scores[0, ...], axis=-1)[None, ...]
    others = scores[1:, ...]
    return xp.concat([first, xp.mean(others, axis=-1)], axis=0) if others.shape[0] else first


def silent_weights(
    problem: Problem, labels: LabelLaw, silent: float | None, like: Float[Array, "*replicates N"]
) -> Float[Array, "*replicates N"] | None:
    """Weights of samples for the mean of the first score, which know what a network that says 0 scores.

    As far as scores go along with those of that network, what these samples get wrong about it is taken out
    (docs/theory.md#silent-control): that is linear in the scores, and the same for every network.

    Parameters
    ----------
    problem : Problem
    labels : LabelLaw
    silent : float or None
        What the first score is on average for a network that says 0, where it is known (`silent_score`).
    like : array, shape (..., N)
        Gives the samples, library and device.

    Returns
    -------
    array, shape (..., N), or None
        With sum 1; None where nothing is known.
    """
    if silent is None:
        return None
    xp, control = array_namespace(like), silent_scores(problem, labels, like)
    mean = xp.mean(control, axis=-1, keepdims=True)
    off = control - mean
    own = xp.mean(off * off, axis=-1, keepdims=True)
    varies = own > NEGLIGIBLE_SPREAD * xp.mean(control * control, axis=-1, keepdims=True)
    share = xp.where(varies, (mean - silent) / xp.where(varies, own, 1.0), 0.0)
    return (1 - share * off) / like.shape[-1]


def silent_scores(problem: Problem, labels: LabelLaw, like: Float[Array, "*replicates N"]) -> Float[Array, "... N"]:
    """First of the scores of a network that says 0 of every sample.

    Parameters
    ----------
    problem : Problem
    labels : LabelLaw
    like : array, shape (..., N)
        Gives the samples, library and device.

    Returns
    -------
    array, shape (..., N)
    """
    xp = array_namespace(like)
    shape = (*like.shape[:-1], problem.outputs, like.shape[-1])
    nothing = xp.zeros(shape, dtype=like.dtype, device=like.device)
    return 2 * labels.mean_losses(loss_named(problem.loss), nothing)


def mean_over_shifts(
    of_shifts: Float[Array, "*leading shifts"],
) -> tuple[Float[Array, "*leading"], Float[Array, "*leading"]]:
    """Find the mean of independent randomizations of a quadrature.

    Parameters
    ----------
    of_shifts : array, shape (..., shifts)
        At least two.

    Returns
    -------
    means, standard_errors : array, shape (...)
    """
    xp = array_namespace(of_shifts)
    spread = xp.std(of_shifts, axis=-1, correction=1)
    return xp.mean(of_shifts, axis=-1), spread / math.sqrt(of_shifts.shape[-1])


def error_over_shifts(
    losses: Float[Array, "R iterations shifts"], more: float | Float[Array, " R"]
) -> tuple[Float[Array, "R iterations"], Float[Array, "R iterations"]]:
    """Find test errors, twice the mean losses, from those of each shift of a quadrature.

    Parameters
    ----------
    losses : array, shape (R, iterations, shifts)
    more : float or array, shape (R,)
        What losses are more than said, of each replicate.

    Returns
    -------
    errors, standard_errors : array, shape (R, iterations)
    """
    xp = array_namespace(losses)
    return mean_over_shifts(2 * (losses + xp.reshape(xp.asarray(more), (-1, 1, 1))))
