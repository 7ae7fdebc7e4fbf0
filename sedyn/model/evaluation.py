"""What a network's outputs are worth on samples, as every dataset reports it (docs/theory.md#errors)."""

from __future__ import annotations

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.architecture import layers_of
from sedyn.model.functions import loss_named
from sedyn.model.label_laws import DrawnLabels, LabelLaw
from sedyn.model.network import DeepWeights, forward
from sedyn.model.problem import Problem

__all__ = ["mean_scores", "sample_scores", "score_names", "scores_of_outputs"]


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
    """Scores of each sample, see `sample_scores`, from the network's outputs, (..., C, N)."""
    scores = [2 * labels.mean_losses(loss_named(problem.loss), outputs)]
    if problem.labels == "classes":
        scores.append(labels.error_rates(outputs))
    return array_namespace(outputs).stack(scores)


def mean_scores(
    problem: Problem, h: Float[Array, "*replicates q N"], y: Float[Array, "*replicates C N"], deep: DeepWeights
) -> Float[Array, "scores ..."]:
    """Means of `sample_scores` over samples with given labels, one for each replicate.

    Parameters
    ----------
    problem, h, deep
        As for `sample_scores`.
    y : array, shape (..., C, N)
        Labels.

    Returns
    -------
    array, shape (scores, ...)
    """
    scores = sample_scores(problem, h, DrawnLabels(y), deep)
    return array_namespace(scores).mean(scores, axis=-1)
