"""Weighted straight lines in log-log coordinates: one slope for each group of points, or one shared by many groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["PRECISION_FLOOR", "LineFit", "half_log", "line_fit", "power_line", "weights"]

PRECISION_FLOOR = 0.01
"""No point claims a relative precision better than this: a power law in n is not exact to a percent, and a point
without fluctuation would otherwise outvote all others."""


class LineFit(NamedTuple):
    """Normal equations of a weighted line, kept apart so that groups with one common slope just add them.

    Attributes
    ----------
    covariance : ndarray, shape (..., groups)
        sum_n w (x - xbar) y; x - xbar less what corrections explain of it, if the line has any.
    variance : ndarray, shape (groups,)
        sum_n w (x - xbar)^2, likewise.
    x_mean : ndarray, shape (groups,)
        Weighted mean of x.
    y_mean : ndarray, shape (..., groups)
        Weighted mean of y.
    y : ndarray, shape (..., n, groups)
        The ordinates, 0 where the weight is.
    weight, direction : ndarray, shape (n, groups)
        Weights; x - xbar less what corrections explain of it.
    bends : ndarray, shape (corrections, n, groups)
        Each correction less its mean and what those before it explain.
    """

    covariance: np.ndarray
    variance: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    direction: np.ndarray
    bends: np.ndarray

    @property
    def slope(self) -> np.ndarray:
        """Slope of each group; NaN where its points do not spread in x."""
        return _ratio(self.covariance, self.variance)

    @property
    def common_slope(self) -> np.ndarray:
        """One slope for all groups, each with an intercept of its own."""
        return _ratio(self.covariance.sum(-1), self.variance.sum(-1))

    @property
    def common_residual(self) -> np.ndarray:
        """Weighted sum, over the groups with one slope, of what the fit leaves at each x; shape (..., n).

        It is orthogonal to the constant, to x and to the corrections.
        """
        pools, count = self.weight.shape[1:-1], len(self.weight)
        leading = self.y_mean.shape[: self.y_mean.ndim - len(pools) - 1]
        weight = self.weight.reshape(count, -1, self.weight.shape[-1])
        y, mean = self.y.reshape(*leading, *weight.shape), self.y_mean.reshape(*leading, *weight.shape[1:])
        left = np.einsum("npg,...npg->...pn", weight, y) - np.einsum("npg,...pg->...pn", weight, mean)
        for bend in self.bends:
            bend = bend.reshape(weight.shape)
            bent = weight * bend
            amplitude = np.nan_to_num(_ratio(np.einsum("npg,...npg->...pg", bent, y), (bent * bend).sum(0)))
            left -= np.einsum("npg,...pg->...pn", bent, amplitude)
        along = (weight * self.direction.reshape(weight.shape)).sum(-1).T
        left -= self.common_slope.reshape(*leading, -1)[..., None] * along
        return left.reshape(*leading, *pools, count)

    def reshape(self, shape: tuple[int, ...]) -> LineFit:
        """Give the groups a shape; a common slope then pools the last axis."""
        return LineFit(*(array.reshape(*array.shape[:-1], *shape) for array in self))

    @property
    def intercept(self) -> np.ndarray:
        """Value of each group's line at x = 0."""
        return self.y_mean - self.slope * self.x_mean


def weights(variance: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Inverse variances of log distance, zero where a point is not valid.

    Parameters
    ----------
    variance : ndarray, any shape
        Of log distance; by the delta method, the squared standard error of the distance over its square.
    valid : ndarray of bool
        Points that take part; of the same shape.

    Returns
    -------
    ndarray
        Of the same shape.
    """
    floored = np.where(valid, np.maximum(variance, PRECISION_FLOOR**2), 1.0)
    return np.where(valid, 1.0 / floored, 0.0)


def line_fit(x: np.ndarray, y: np.ndarray, weight: np.ndarray, corrections: Sequence[np.ndarray] = ()) -> LineFit:
    """Fit weighted lines y = a + b x, or y = a + b x + c z + ... with corrections z of unknown amplitudes.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Abscissae.
    y : ndarray, shape (..., n, groups)
        Ordinates; finite wherever the weight is positive.
    weight : ndarray, shape (n, groups)
        Weights, zero for points left out.
    corrections : sequence of ndarray, each of shape (n,)
        Corrections, whose amplitudes every group has for itself.

    Returns
    -------
    LineFit
        Its slope is b; means and intercept are those of the line without corrections.
    """
    total = weight.sum(0)
    share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    x_mean = x @ share
    y = np.where(weight > 0, y, 0.0)
    bends: list[np.ndarray] = []
    for correction in corrections:
        bends.append(_apart(correction[:, None] - correction @ share, bends, weight))
    centred = _apart(x[:, None] - x_mean, bends, weight)
    if bends:  # As many points as terms leave nothing of x that is not among the others.
        centred = np.where((weight > 0).sum(0) > 1 + len(bends), centred, 0.0)
    return LineFit(
        covariance=np.einsum("ng,...ng->...g", weight * centred, y),
        variance=(weight * centred**2).sum(0),
        x_mean=x_mean,
        y_mean=np.einsum("ng,...ng->...g", share, y),
        y=y,
        weight=weight,
        direction=centred,
        bends=np.array(bends).reshape(len(bends), *weight.shape),
    )


def half_log(square: np.ndarray) -> np.ndarray:
    """Logarithm of the root of a square; 0 where the square is not positive, a point that takes part in no fit."""
    return 0.5 * np.log(np.where(square > 0, square, 1.0))


def power_line(x: np.ndarray, level: np.ndarray, exponent: float, weight: np.ndarray | None = None) -> np.ndarray:
    """Put a power of x through the middle, in logarithms, of points at the same x.

    Parameters
    ----------
    x, level : ndarray, shape (points,)
        The points; those whose level is not a positive number are left out.
    exponent : float
        The power.
    weight : ndarray, shape (points,), optional
        Of the points, none of it negative; equal weights unless given, or if all are zero.

    Returns
    -------
    ndarray, shape (points,)
        The line at every x; NaN if no point is left.
    """
    seen = np.isfinite(level) & (level > 0)
    share = seen * (1.0 if weight is None else weight)
    share = share if share.sum() > 0 else seen * 1.0
    if not seen.any():
        return np.full(x.shape, np.nan)
    return np.exp(np.average(np.log(level[seen] / x[seen] ** exponent), weights=share[seen])) * x**exponent


def _apart(column: np.ndarray, from_: Sequence[np.ndarray], weight: np.ndarray) -> np.ndarray:
    """Take out of a column what others, orthogonal to each other, explain of it."""
    for other in from_:
        column = column - other * np.nan_to_num(_ratio((weight * other * column).sum(0), (weight * other**2).sum(0)))
    return column


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
