"""What a network's outputs are worth on samples, as every dataset reports it (docs/theory.md#errors)."""

from __future__ import annotations

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.architecture import layers_of
from sedyn.model.functions import loss_named
from sedyn.model.network import DeepWeights, forward, losses
from sedyn.model.problem import Problem

__all__ = ["mean_scores", "sample_scores", "score_names"]


def score_names(problem: Problem) -> tuple[str, ...]:
    """What is reported of a network on samples: ``error``, and with classes ``error_rate``."""
    return ("error", "error_rate") if problem.labels == "classes" else ("error",)


def sample_scores(
    problem: Problem, h: Float[Array, "*replicates q N"], y: Float[Array, "*replicates C N"], deep: DeepWeights
) -> Float[Array, "scores *replicates N"]:
    """Scores of each sample.

    Parameters
    ----------
    problem : Problem
        Its layers and loss.
    h : array, shape (..., q, N)
        Pre-activations.
    y : array, shape (..., C, N)
        Labels.
    deep : tuple of array
        Deeper parameters.

    Returns
    -------
    array, shape (scores, ..., N)
        In the order of `score_names`: twice the loss, which for the squared loss is the squared error; and whether the
        largest output is another class's than the label (1 or 0).
    """
    xp, outputs = array_namespace(h), forward(h, deep, layers_of(problem))
    scores = [2 * losses(loss_named(problem.loss), outputs, y)]
    if problem.labels == "classes":
        scores.append(xp.astype(xp.argmax(outputs, axis=-2) != xp.argmax(y, axis=-2), outputs.dtype))
    return xp.stack(scores)


def mean_scores(
    problem: Problem, h: Float[Array, "*replicates q N"], y: Float[Array, "*replicates C N"], deep: DeepWeights
) -> Float[Array, "scores ..."]:
    """Means over samples of `sample_scores`, one for each replicate.

    Parameters
    ----------
    problem, h, y, deep
        As for `sample_scores`.

    Returns
    -------
    array, shape (scores, ...)
    """
    scores = sample_scores(problem, h, y, deep)
    return array_namespace(scores).mean(scores, axis=-1)
