"""Where training starts: signals, first layer, and the overlaps that the theory is told.

Where the deeper parameters start is for `sedyn.model.architecture` to say.
"""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.model.problem import Problem

__all__ = ["initial_overlaps", "initial_weights_and_signals", "mixing_of"]

# Features with neighbouring eigenvalues whose rows are made orthogonal together, in units of the number of columns.
ROWS_PER_COLUMN = 8


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


def initial_weights_and_signals(problem: Problem, rng: np.random.Generator) -> Float[np.ndarray, "qk d"]:
    """Draw the first layer's weights, one row for each unit, and the signals (docs/theory.md#exact-start).

    With ``initialization='exact'`` they are made of orthogonal vectors of norm sqrt(d), so that the overlaps hold
    exactly for every d. Where eigenvalues of the features differ, vectors are made orthogonal among the features with
    the same eigenvalue, or with neighbouring ones where these are too few, so that overlaps hold along the spectrum and
    not only in total.

    Parameters
    ----------
    problem : Problem
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, shape (q + k, d)
        W0^T above mu^T.
    """
    columns = problem.units + problem.signals
    normals = rng.standard_normal((problem.d, columns))
    if problem.initialization == "exact":
        changes = np.flatnonzero(np.diff(problem.eigenvalues)) + 1
        groups = np.split(normals, changes)
        if min(map(len, groups)) < columns:
            groups = np.array_split(normals, max(1, problem.d // (ROWS_PER_COLUMN * columns)))
        normals = np.concatenate([_orthogonal_columns(group) for group in groups])
    return mixing_of(problem).T @ normals.T


def _orthogonal_columns(normals: np.ndarray) -> np.ndarray:
    # A polar factor would do as well; the signs of the diagonal make this one uniform (Haar).
    q, r = np.linalg.qr(normals)
    return q * np.sign(np.diagonal(r)) * math.sqrt(normals.shape[0])
