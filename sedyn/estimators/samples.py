"""What a user's samples become: one of each, with its weight, and labels that the kernels train on."""

from __future__ import annotations

from numbers import Number
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from sedyn.arrays.shapes import Float, Shaped
from sedyn.checks import POSITIVE
from sedyn.errors import InvalidInput

__all__ = ["Samples", "distinct", "read_weights"]


class Samples(NamedTuple):
    """Samples that differ, each with its weight.

    Attributes
    ----------
    X : ndarray, shape (n, columns)
    y : ndarray, shape (n, ...)
    weights : ndarray, shape (n,)
        With mean 1.
    repeated : float
        Share of the given samples that repeat others.
    """

    X: Float[np.ndarray, "n columns"]
    y: Shaped[np.ndarray, "n ..."]
    weights: Float[np.ndarray, " n"]
    repeated: float


def read_weights(sample_weight: Any, X: Float[np.ndarray, "n columns"]) -> Float[np.ndarray, " n"]:
    """Check what samples weigh; refusals are in this project's words.

    Parameters
    ----------
    sample_weight : None, number or array-like, shape (n,)
    X : ndarray, shape (n, columns)

    Returns
    -------
    ndarray, shape (n,)
        Ones, if nothing is given.

    Raises
    ------
    InvalidInput
        If they are not finite, negative, all zero, or of another number.
    """
    if isinstance(sample_weight, Number):
        sample_weight = POSITIVE("sample_weight", sample_weight)
    try:
        return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    except (ValueError, TypeError) as error:
        raise InvalidInput("sample_weight", sample_weight, str(error)) from None


def distinct(
    X: Float[np.ndarray, "n columns"], y: Shaped[np.ndarray, "n ..."], weights: Float[np.ndarray, " n"]
) -> Samples:
    """Put equal samples together, and leave those of no weight out (docs/theory.md#equal-samples).

    A sample that is there k times weighs k times as much. What it taught is taken out of it with all copies, which
    otherwise would go on to tell of it.

    Parameters
    ----------
    X : ndarray, shape (n, columns)
    y : ndarray, shape (n,) or (n, outputs)
        Numbers.
    weights : ndarray, shape (n,)

    Returns
    -------
    Samples
        In the order of the rows as numbers, so that it does not depend on how often a sample is there.
    """
    there = weights > 0
    rows = np.column_stack([X[there], y[there]])
    _, first, group = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    total = np.bincount(group.reshape(-1), weights[there])
    kept = np.flatnonzero(there)[first]
    return Samples(X[kept], y[kept], total * (total.size / total.sum()), 1 - first.size / there.sum())
