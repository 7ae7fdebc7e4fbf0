"""Averages of test functions over the rows of the first layer: what the theorem on the law of rows says converges.

Row j belongs to feature j and is (w_j^t, w_j^0, mu_j). Each test function looks at a unit's weight through its
difference from something else in the row. In the limit that difference is a centred normal variable, so the average
has a closed form in its variance (docs/theory.md#row-averages).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float

__all__ = ["ROW_FUNCTIONS", "RowFunction", "normal_averages", "row_moments", "row_sums"]


class RowFunction(NamedTuple):
    """A test function: Lipschitz, of the difference between a weight and its reference in the same row.

    Attributes
    ----------
    apply : callable
        Function of an array, by names of the namespace given first.
    normal_average : callable
        Its mean under N(0, variance), as a function of variances.
    reference : callable
        From the width q to the rows of [W^0, mu]^T that are the reference, one for each unit or one for all; None is
        zero.
    """

    apply: Callable[[Any, Array], Array]
    normal_average: Callable[[np.ndarray], np.ndarray]
    reference: Callable[[int], slice | None]


def _absolute(reference: Callable[[int], slice | None]) -> RowFunction:
    return RowFunction(lambda xp, x: xp.abs(x), lambda variance: np.sqrt(2 / math.pi * variance), reference)


ROW_FUNCTIONS: dict[str, RowFunction] = {
    "abs": _absolute(lambda width: None),
    "bump": RowFunction(
        lambda xp, x: xp.exp(-0.5 * x * x), lambda variance: 1 / np.sqrt(1 + variance), lambda width: None
    ),
    "distance_to_signal": _absolute(lambda width: slice(width, width + 1)),
    "distance_to_initialization": _absolute(lambda width: slice(0, width)),
}
"""Test functions by name: |w|, exp(-w^2/2), |w - mu| to the first signal, and |w - w^0| of the same unit."""


def row_sums(
    weights: Float[Array, "*replicates q d"], start: Float[Array, "... qk d"]
) -> Float[Array, "*replicates functions q"]:
    """Sum every test function over the rows.

    Parameters
    ----------
    weights : array, shape (..., q, d)
        Transpose of W^t: d weights of each unit.
    start : array, shape (..., q + k, d)
        [W^0, mu]^T.

    Returns
    -------
    array, shape (..., functions, q)
    """
    xp = array_namespace(weights)
    sums = []
    for function in ROW_FUNCTIONS.values():
        reference = function.reference(weights.shape[-2])
        difference = weights if reference is None else weights - start[..., reference, :]
        sums.append(xp.sum(function.apply(xp, difference), axis=-1))
    return xp.stack(sums, axis=-2)


def row_moments(
    weights: Float[Array, "*replicates q d"], start: Float[Array, "... qk d"], scales: Float[Array, " d"]
) -> Float[Array, "*replicates q _"]:
    """Sum over the rows all that is observed of them (docs/theory.md#overlaps).

    Parameters
    ----------
    weights : array, shape (..., q, d)
        Transpose of W^t.
    start : array, shape (..., q + k, d)
        [W^0, mu]^T; of the axes in front some may have length 1, the last ones, and stand for all.
    scales : array, shape (d,)
        Square roots of the eigenvalues of the feature covariance.

    Returns
    -------
    array, shape (..., q, 2 q + k + functions)
        Of each unit the products with all units, then with W^0 and mu, in the features' covariance, and `row_sums`.
    """
    xp = array_namespace(weights)
    scaled = weights * scales
    gram = xp.matmul(scaled, xp.matrix_transpose(scaled))
    with_start = xp.matmul(scaled * scales, xp.matrix_transpose(start))
    return xp.concat([gram, with_start, xp.matrix_transpose(row_sums(weights, start))], axis=-1)


def normal_averages(
    coefficients: Float[np.ndarray, "*leading q qk"],
    overlaps: Float[np.ndarray, "... qk qk"],
    noise: Float[np.ndarray, "*leading q q"],
) -> Float[np.ndarray, "*leading functions q"]:
    """Average every test function over rows with their predicted law (docs/theory.md#law-of-rows), at one eigenvalue.

    Parameters
    ----------
    coefficients : ndarray, shape (..., q, q + k)
        [P_t, m_t]; laws may stand side by side in the axes in front, as those at several eigenvalues do.
    overlaps : ndarray, shape (..., q + k, q + k)
        Gram matrix of [W0, mu] over d.
    noise : ndarray, shape (..., q, q)
        Conditional covariance of a row.

    Returns
    -------
    ndarray, shape (..., functions, q)
    """
    width, columns = coefficients.shape[-2:]
    own = np.diagonal(noise, axis1=-2, axis2=-1)
    averages = []
    for function in ROW_FUNCTIONS.values():
        reference = function.reference(width)
        # Taken off before squaring: the distance to the initialization must begin at exactly zero.
        carried = coefficients if reference is None else coefficients - np.eye(columns)[reference]
        variance = np.sum((carried @ overlaps) * carried, axis=-1) + own
        averages.append(function.normal_average(np.maximum(variance, 0.0)))
    return np.stack(averages, axis=-2)
