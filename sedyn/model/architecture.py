"""Which layers a problem's network has above the first layer's pre-activations, and where their parameters start.

The parameters are one flat tuple V, in the order of the layers from the lowest up: of a plain network the matrices
W_2, ..., W_L, and with biases each layer's after its matrix (docs/theory.md#layers).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.model.functions import ACTIVATIONS, Activation
from sedyn.model.layers import Beside, Bias, Dense, Elementwise, Layer, Residual, Stack
from sedyn.model.registry import Registry

if TYPE_CHECKING:
    from sedyn.model.problem import Problem

__all__ = ["HIDDEN", "initial_deep_weights", "layers_of", "places", "plain_layers", "register_hidden"]


def normal_matrix(fan_in: int, fan_out: int, rng: np.random.Generator) -> Float[np.ndarray, "{fan_in} {fan_out}"]:
    """Draw entries of variance 1 / fan_in."""
    return rng.standard_normal((fan_in, fan_out)) / math.sqrt(fan_in)


def identity_matrix(fan_in: int, fan_out: int, rng: np.random.Generator) -> Float[np.ndarray, "{fan_in} {fan_out}"]:
    """Draw nothing: every unit begins as the one below it."""
    return np.eye(fan_in, fan_out)


def sign_matrix(fan_in: int, fan_out: int, rng: np.random.Generator) -> Float[np.ndarray, "{fan_in} {fan_out}"]:
    """Draw nothing: signs over sqrt(fan_in) that change every unit for the first output, every second for the next."""
    runs = np.arange(fan_in)[:, None] >> np.arange(fan_out)
    return (-1.0) ** runs / math.sqrt(fan_in)


# How matrices of hidden layers and of the last one are drawn, by `Problem.deep_init`.
_DRAWS = {"gaussian": (normal_matrix, normal_matrix), "signs": (identity_matrix, sign_matrix)}


def _biases(problem: Problem, *where: str) -> tuple[Layer, ...]:
    """A layer of biases, if the problem wants one there."""
    return (Bias(problem.bias_init),) if problem.bias in where else ()


def dense(problem: Problem) -> Layer:
    """Make a hidden layer: the activation of a product with a matrix, and of biases where there are any."""
    hidden, _ = _DRAWS[problem.deep_init]
    return Stack((Dense(problem.width, hidden), *_biases(problem, "all"), Elementwise(ACTIVATIONS[problem.activation])))


HIDDEN: Registry[Callable[[Problem], Layer]] = Registry("hidden", {"dense": dense})


def register_hidden(name: str, build: Callable[[Problem], Layer]) -> None:
    """Make a kind of hidden layer known under a name, for `Problem` and for configurations.

    Parameters
    ----------
    name : str
        A new name.
    build : callable
        ``build(problem)`` gives a layer from ``problem.width`` units to as many, see `sedyn.model.layers.Layer`; a
        network of depth L has L - 2 of them, each with parameters of its own.

    Raises
    ------
    InvalidInput
        If the name is taken or no identifier.

    Notes
    -----
    It has no form in the kernels: the network runs through the array library's operations.
    """
    HIDDEN.register(name, build)


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
    hidden = [HIDDEN[problem.hidden](problem) for _ in range(problem.depth - 2)]
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


def plain_layers(activation: Activation, width: int, depth: int, outputs: int = 1) -> Stack:
    """Put a plain network together, as `layers_of` does, from parts that no problem names.

    Parameters
    ----------
    activation : Activation
    width, depth : int
    outputs : int, optional

    Returns
    -------
    Stack
    """
    hidden = [layer for _ in range(depth - 2) for layer in (Dense(width, normal_matrix), Elementwise(activation))]
    return Stack((Elementwise(activation), *hidden, Dense(outputs, normal_matrix)) if depth > 1 else ())


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
    counts = [len(_biases(problem, "all")), *([HIDDEN[problem.hidden](problem).parameters] * (problem.depth - 2))]
    ends = np.cumsum([0, *counts]).tolist()
    starts = [*ends, None]
    return {layer: slice(starts[layer - 1], starts[layer]) for layer in range(1, problem.depth + 1)}
