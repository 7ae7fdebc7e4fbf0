"""Which layers a problem's network has above the first layer's pre-activations, and where their parameters start.

The parameters are one flat tuple V, in the order of the layers from the lowest up: of a plain network the matrices
W_2, ..., W_L, and with biases each layer's after its matrix (docs/theory.md#layers).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.model.functions import ACTIVATIONS
from sedyn.model.layers import HIDDEN, Beside, Bias, Dense, Elementwise, HiddenParts, Layer, Residual, Stack
from sedyn.model.problem import Problem

__all__ = ["initial_deep_weights", "layers_of", "places"]


def _normal_matrix(fan_in: int, fan_out: int, rng: np.random.Generator) -> Float[np.ndarray, "{fan_in} {fan_out}"]:
    """Draw entries of variance 1 / fan_in."""
    return rng.standard_normal((fan_in, fan_out)) / math.sqrt(fan_in)


def _identity_matrix(fan_in: int, fan_out: int, rng: np.random.Generator) -> Float[np.ndarray, "{fan_in} {fan_out}"]:
    """Draw nothing: every unit begins as the one below it."""
    return np.eye(fan_in, fan_out)


def _sign_matrix(fan_in: int, fan_out: int, rng: np.random.Generator) -> Float[np.ndarray, "{fan_in} {fan_out}"]:
    """Draw nothing: signs over sqrt(fan_in) that change every unit for the first output, every second for the next."""
    runs = np.arange(fan_in)[:, None] >> np.arange(fan_out)
    return (-1.0) ** runs / math.sqrt(fan_in)


def _zero_matrix(fan_in: int, fan_out: int, rng: np.random.Generator) -> Float[np.ndarray, "{fan_in} {fan_out}"]:
    """Draw nothing: the network begins as the function 0."""
    return np.zeros((fan_in, fan_out))


# How matrices of hidden layers and of the last one are drawn, by `Problem.deep_init`.
_DRAWS = {
    "gaussian": (_normal_matrix, _normal_matrix),
    "signs": (_identity_matrix, _sign_matrix),
    "zero": (_normal_matrix, _zero_matrix),
}


def _biases(problem: Problem, *where: str) -> tuple[Layer, ...]:
    """A layer of biases, if the problem wants one there."""
    return (Bias(problem.bias_init),) if problem.bias in where else ()


def _hidden(problem: Problem) -> Layer:
    """Make a hidden layer above the first, of the kind that the problem names."""
    draw, _ = _DRAWS[problem.deep_init]
    parts = HiddenParts(problem.width, ACTIVATIONS[problem.activation], _biases(problem, "all"), draw)
    return HIDDEN[problem.hidden](parts)


@lru_cache(maxsize=256)
def layers_of(problem: Problem) -> Stack:
    """Put a problem's network together, from the pre-activations h of the first layer to its outputs.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    Stack
    """
    if problem.depth == 1:
        return Stack(_biases(problem, "all", "output"))
    _, last = _DRAWS[problem.deep_init]
    hidden = [_hidden(problem) for _ in range(problem.depth - 2)]
    network = Stack(
        (
            *_biases(problem, "all"),
            Elementwise(ACTIVATIONS[problem.activation]),
            *(map(Residual, hidden) if problem.residual else hidden),
            Dense(problem.outputs, last),
            *_biases(problem, "all", "output"),
        )
    )
    return Stack((Beside(network, problem.width),)) if problem.skip else network


def initial_deep_weights(problem: Problem) -> tuple[Float[np.ndarray, "..."], ...]:
    """Parameters V^0, a function of the network's shape and of ``init_seed`` alone.

    Returns
    -------
    tuple of ndarray
        Of a plain network W_2, ..., W_L, each (q, q) but the last (q, outputs).
    """
    return layers_of(problem).start(problem.units, np.random.default_rng(problem.init_seed))


def places(problem: Problem) -> dict[int, slice]:
    """Where in V the parameters of each weight layer are, from layer 1, whose matrix is no part of V, to L."""
    if problem.depth == 1:
        return {1: slice(0, None)}
    counts = [len(_biases(problem, "all")), *([_hidden(problem).parameters] * max(0, problem.depth - 2))]
    ends = np.cumsum([0, *counts]).tolist()
    starts = [*ends, None]
    return {layer: slice(starts[layer - 1], starts[layer]) for layer in range(1, problem.depth + 1)}
