"""The gradient noise of a training run (Langevin): normal kicks of every weight at every step."""

from __future__ import annotations

import math

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.network import DeepWeights
from sedyn.model.problem import Problem
from sedyn.model.seeds import Stream

__all__ = ["GradientNoise"]


class GradientNoise:
    """Kicks by step, each drawn when it is asked for, from a stream of its own (docs/theory.md#gradient-noise).

    The optimizer scales them by the learning rate and the temperature, see `sedyn.model.update.Update`.

    Parameters
    ----------
    stream : Stream
        Of the replicates that are run together.
    arrays : int
        How many arrays of weights there are, that of the first layer among them.
    device : {'cpu', 'gpu'}, optional
    """

    def __init__(self, stream: Stream, arrays: int, device: str = "cpu") -> None:
        self._stream, self._arrays, self._device = stream, arrays, device

    def repeated(self, times: int) -> GradientNoise:
        """The same kicks for so many replicates of one."""
        return GradientNoise(self._stream.repeated(times), self._arrays, self._device)

    def of_first_weights(self, step: int, weights: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Kicks of the first layer.

        Parameters
        ----------
        step : int
        weights : array, shape (..., q, d)
            Gives shape, library and device.

        Returns
        -------
        array, shape (..., q, d)
            Independent N(0, 1).
        """
        return self._normals(step, 0, weights)

    def of_deep_weights(self, problem: Problem, step: int, weights: DeepWeights) -> DeepWeights:
        """Kicks of the deeper layers, whose weights are of order one where a first-layer weight is over sqrt(d).

        Parameters
        ----------
        problem : Problem
        step : int
        weights : tuple of array
            Give shapes, library and device.

        Returns
        -------
        tuple of array
            Independent N(0, 1/d), of the shapes of the weights.
        """
        scale = 1 / math.sqrt(problem.d)
        return tuple(scale * self._normals(step, layer, each) for layer, each in enumerate(weights, 1))

    def _normals(self, step: int, layer: int, like: Array) -> Array:
        each = math.prod(like.shape) // self._stream.keys.size
        normals = self._stream.normals(each, part=step * self._arrays + layer, device=self._device)
        return array_namespace(like).reshape(normals, like.shape)
