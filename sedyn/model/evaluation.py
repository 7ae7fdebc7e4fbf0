"""The error of a network on samples, as every dataset reports it (docs/theory.md#errors)."""

from __future__ import annotations

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.functions import ACTIVATIONS, loss_named
from sedyn.model.network import DeepWeights, forward
from sedyn.model.problem import Problem

__all__ = ["mean_error", "sample_errors"]


def sample_errors(
    problem: Problem, h: Float[Array, "*replicates q N"], y: Float[Array, "*replicates N"], deep: DeepWeights
) -> Float[Array, "*replicates N"]:
    """Twice the loss of each sample: the squared error for the squared loss.

    Parameters
    ----------
    problem : Problem
        Its activation and loss.
    h : array, shape (..., q, N)
        Pre-activations.
    y : array, shape (..., N)
        Labels.
    deep : tuple of array
        Deeper weights.

    Returns
    -------
    array, shape (..., N)
    """
    output = forward(h, deep, ACTIVATIONS[problem.activation])
    return 2 * loss_named(problem.loss).jet(output, y, 0)[0]


def mean_error(
    problem: Problem, h: Float[Array, "*replicates q N"], y: Float[Array, "*replicates N"], deep: DeepWeights
) -> Float[Array, "*replicates"]:
    """Mean of `sample_errors`, one for each replicate.

    Parameters
    ----------
    problem, h, y, deep
        As for `sample_errors`.

    Returns
    -------
    array, shape (...)
    """
    errors = sample_errors(problem, h, y, deep)
    return array_namespace(errors).mean(errors, axis=-1)
