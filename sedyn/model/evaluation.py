"""The error of a network on samples, as every dataset reports it."""

from __future__ import annotations

from sedyn.arrays.backend import Array, array_namespace
from sedyn.model.functions import ACTIVATIONS, LOSSES
from sedyn.model.network import DeepWeights, forward
from sedyn.model.problem import Problem

__all__ = ["mean_error", "sample_errors"]


def sample_errors(problem: Problem, h: Array, y: Array, deep: DeepWeights) -> Array:
    """Twice the loss of each sample: the squared error for the squared loss.

    Parameters
    ----------
    problem : Problem
        Its activation and loss.
    h : array, shape (..., q, N)
        Pre-activations.
    y : array, shape (..., N)
        Responses.
    deep : tuple of array
        Deeper weights.

    Returns
    -------
    array, shape (..., N)
    """
    output = forward(h, deep, ACTIVATIONS[problem.activation])
    return 2 * LOSSES[problem.loss].jet(output, y, 0)[0]


def mean_error(problem: Problem, h: Array, y: Array, deep: DeepWeights) -> Array:
    """Mean of `sample_errors`, one for each replicate."""
    errors = sample_errors(problem, h, y, deep)
    return array_namespace(errors).mean(errors, axis=-1)
