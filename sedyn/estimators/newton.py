"""Minima of mean losses with a penalty, of many linear models side by side, by Newton's method without its matrix.

Steps come from conjugate gradients: products with the rows are all that they take, few of them where what is near the
curvature's inverse is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.model.functions import Loss

__all__ = ["Inverse", "Objectives", "Point", "minimum"]

NEWTON_STEPS, HALVINGS = 50, 30
# Steps of conjugate gradients at most, and the share of a slope that they leave, by what it could gain.
CONJUGATE_STEPS, LEFT_OF_SLOPE = 40, 0.03
ROUNDING = 1e-14

Inverse = Callable[[np.ndarray], np.ndarray]
"""From slopes, shape (..., C, M), about what the inverse of the curvature makes of them, symmetric and positive."""


class Point(NamedTuple):
    """Parameters, what they make of the samples, and the derivatives of the losses in that, without weights.

    Attributes
    ----------
    parameters : ndarray, shape (..., C, M)
    outputs, gradients : ndarray, shape (..., C, n)
    curvatures : ndarray, shape (..., C, C, n)
    value : ndarray, shape (...)
        Of the objectives.
    """

    parameters: Float[np.ndarray, "... C M"]
    outputs: Float[np.ndarray, "... C n"]
    gradients: Float[np.ndarray, "... C n"]
    curvatures: Float[np.ndarray, "... C C n"]
    value: Float[np.ndarray, "..."]


class Objectives(NamedTuple):
    """Mean losses of linear models and half the penalties times the squares of their parameters, along leading axes.

    Attributes
    ----------
    rows : ndarray, shape (n, M)
        Of the samples.
    labels : ndarray, shape (..., C, n)
    weights : ndarray, shape (..., n)
        Of the samples; the mean is over n, whatever they add up to.
    loss : Loss
        Of C outputs at once, or of one.
    penalties : ndarray, shape (..., M)
    shifts : ndarray, shape (..., M), optional
        What is added to all rows.
    """

    rows: Float[np.ndarray, "n M"]
    labels: Float[np.ndarray, "... C n"]
    weights: Float[np.ndarray, "... n"]
    loss: Loss
    penalties: Float[np.ndarray, "... M"]
    shifts: Float[np.ndarray, "... M"] | None = None

    def at(self, parameters: Float[np.ndarray, "... C M"]) -> Point:
        """Look at outputs, values and derivatives.

        Parameters
        ----------
        parameters : ndarray, shape (..., C, M)

        Returns
        -------
        Point
        """
        outputs = self._outputs(parameters)
        values, gradients, curvatures = self.loss.jet(outputs, np.broadcast_to(self.labels, outputs.shape), 2)
        if not self.loss.joint:
            values, curvatures = values[..., 0, :], curvatures[..., None, :]
        squares = (self.penalties[..., None, :] * parameters**2).sum(axis=(-2, -1))
        value = (values * self.weights).sum(axis=-1) / len(self.rows) + squares / 2
        return Point(parameters, outputs, gradients, curvatures, value)

    def slope(self, point: Point) -> Float[np.ndarray, "... C M"]:
        """Derivative of the values in the parameters.

        Parameters
        ----------
        point : Point

        Returns
        -------
        ndarray, shape (..., C, M)
        """
        pulls = self._pulls(point.gradients * self.weights[..., None, :])
        return pulls + self.penalties[..., None, :] * point.parameters

    def bend(self, point: Point, direction: Float[np.ndarray, "... C M"]) -> Float[np.ndarray, "... C M"]:
        """Product of the second derivative with a direction.

        Parameters
        ----------
        point : Point
        direction : ndarray, shape (..., C, M)

        Returns
        -------
        ndarray, shape (..., C, M)
        """
        pushes = np.einsum("...cen,...en->...cn", point.curvatures, self._outputs(direction))
        return self._pulls(pushes * self.weights[..., None, :]) + self.penalties[..., None, :] * direction

    def _outputs(self, parameters: np.ndarray) -> Float[np.ndarray, "... C n"]:
        found = parameters @ self.rows.T
        return found if self.shifts is None else found + (parameters @ self.shifts[..., None])

    def _pulls(self, pushes: np.ndarray) -> Float[np.ndarray, "... C M"]:
        """Mean of the rows, each times its push: the transpose of outputs, over n."""
        found = pushes @ self.rows
        if self.shifts is not None:
            found = found + pushes.sum(axis=-1, keepdims=True) * self.shifts[..., None, :]
        return found / len(self.rows)


def minimum(objectives: Objectives, start: Float[np.ndarray, "... C M"], inverse: Inverse, tolerance: float) -> Point:
    """Find the minimum of each objective.

    Parameters
    ----------
    objectives : Objectives
    start : ndarray, shape (..., C, M)
    inverse : callable
        See `Inverse`; the nearer, the fewer products with the rows.
    tolerance : float
        Share of an objective that is left to gain, about.

    Returns
    -------
    Point
    """
    point = objectives.at(start)
    moving = np.ones(point.value.shape, dtype=bool)
    for _ in range(NEWTON_STEPS):
        slope = objectives.slope(point)
        towards = inverse(slope)
        gain = (slope * towards).sum(axis=(-2, -1))
        moving = moving & (gain > tolerance * np.maximum(point.value, np.finfo(float).tiny))
        if not moving.any():
            break
        change = _newton_step(objectives, point, slope, towards, gain, inverse)
        shares = 1.0 * moving
        for halving in range(HALVINGS):
            there = objectives.at(point.parameters - shares[..., None, None] * change)
            worse = ~(there.value <= point.value * (1 + ROUNDING)) & moving
            if not worse.any():
                break
            moving = moving & ~(worse & (halving == HALVINGS - 2))
            shares[worse] /= 2
            shares *= moving
        point = there
    return point


def _newton_step(
    objectives: Objectives, point: Point, slope: np.ndarray, towards: np.ndarray, gain: np.ndarray, inverse: Inverse
) -> Float[np.ndarray, "... C M"]:
    """Solve for the step of each objective by conjugate gradients, of which the first direction is known."""
    step, left, direction, size = np.zeros_like(slope), slope, towards, gain
    for _ in range(CONJUGATE_STEPS):
        bent = objectives.bend(point, direction)
        length = _quotient(size, (direction * bent).sum(axis=(-2, -1)))
        step = step + length * direction
        left = left - length * bent
        towards = inverse(left)
        size, before = (left * towards).sum(axis=(-2, -1)), size
        if not (size > LEFT_OF_SLOPE**2 * gain).any():
            break
        direction = towards + _quotient(size, before) * direction
    return step


def _quotient(top: Float[np.ndarray, "..."], bottom: Float[np.ndarray, "..."]) -> Float[np.ndarray, "... 1 1"]:
    """Ratios, zero where there is nothing to divide by."""
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)[..., None, None]
