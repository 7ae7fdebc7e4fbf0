"""Where training starts: signals, first layer, and the overlaps that the theory is told.

Where the deeper parameters start is for `sedyn.model.architecture` to say.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace, asarray_like
from sedyn.arrays.shapes import Float
from sedyn.model.problem import Problem

__all__ = ["bounds_of_groups", "initial_overlaps", "initial_weights_and_signals", "mixing_of"]

# Features with neighbouring eigenvalues among which rows are made orthogonal, in units of the number of rows.
FEATURES_PER_ROW = 8


def mixing_of(problem: Problem) -> Float[np.ndarray, "qk qk"]:
    """Make the matrix T with [W0, mu] = [Z, M] T for standardized columns Z and M (docs/theory.md#exact-start).

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    ndarray, shape (q + k, q + k)
    """
    q, k = problem.units, problem.signals
    mixing = np.diag(np.r_[np.ones(q), np.full(k, problem.signal_norm)])
    mixing[q + np.arange(q) % k, np.arange(q)] = problem.init_overlap
    return mixing


def initial_overlaps(problem: Problem) -> Float[np.ndarray, "qk qk"]:
    """Gram matrix of [W0, mu] over d, as the theory is told it (docs/theory.md#starting-overlaps).

    With ``initialization='exact'`` every replicate has it; with ``'random'`` it is the limit.

    Returns
    -------
    ndarray, shape (q + k, q + k)
    """
    mixing = mixing_of(problem)
    return mixing.T @ mixing


def initial_weights_and_signals(problem: Problem, normals: Float[Array, "... qk d"]) -> Float[Array, "... qk d"]:
    """Make the first layer's weights, one row for each unit, and the signals (docs/theory.md#exact-start).

    With ``initialization='exact'`` they are made of orthogonal vectors of norm sqrt(d), so that the overlaps hold
    exactly for every d. Where eigenvalues of the features differ, vectors are made orthogonal among the features with
    the same eigenvalue, or with neighbouring ones where these are too few, so that overlaps hold along the spectrum and
    not only in total.

    Parameters
    ----------
    problem : Problem
    normals : array, shape (..., q + k, d)
        Independent and standard.

    Returns
    -------
    array, shape (..., q + k, d)
        W0^T above mu^T.
    """
    xp = array_namespace(normals)
    if problem.initialization == "exact":
        groups = [normals[..., start:stop] for start, stop in itertools.pairwise(bounds_of_groups(problem))]
        normals = xp.concat([_orthogonal_rows(group) for group in groups], axis=-1)
    return xp.matmul(asarray_like(mixing_of(problem).T, normals), normals)


@lru_cache(maxsize=256)
def bounds_of_groups(problem: Problem) -> tuple[int, ...]:
    """Where groups of features begin among which rows are made orthogonal, and where the last one ends.

    Parameters
    ----------
    problem : Problem
    """
    rows = problem.units + problem.signals
    ends = [*np.flatnonzero(np.diff(problem.eigenvalues)) + 1, problem.d]
    if min(np.diff([0, *ends])) < rows:
        pieces = max(1, problem.d // (FEATURES_PER_ROW * rows))
        ends = np.cumsum([len(each) for each in np.array_split(np.arange(problem.d), pieces)]).tolist()
    return (0, *map(int, ends))


def _orthogonal_rows(normals: Array) -> Array:
    # A polar factor would do as well; the signs of the factor make this one uniform (Haar).
    return backend.orthonormal_rows(normals) * math.sqrt(normals.shape[-1])
