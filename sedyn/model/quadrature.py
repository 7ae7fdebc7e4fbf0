"""A few nodes that stand for the whole spectrum of the feature covariance, exactly (docs/theory.md#spectral-nodes)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.arrays.backend import Array
from sedyn.arrays.shapes import Float

__all__ = ["SpectralMeasure", "gauss_quadrature", "interpolation"]


class SpectralMeasure(NamedTuple):
    """Nodes and weights of a quadrature over eigenvalues.

    Attributes
    ----------
    nodes : array, shape (B,)
        Eigenvalues.
    weights : array, shape (B,)
        Positive, sum 1.
    """

    nodes: Float[Array, " B"]
    weights: Float[Array, " B"]


def gauss_quadrature(eigenvalues: Float[np.ndarray, " d"], count: int) -> SpectralMeasure:
    """Gauss quadrature for averages over given eigenvalues, by the Lanczos process.

    `count` nodes give the average of every polynomial up to degree ``2 count - 1`` exactly. Where there are no more
    distinct eigenvalues than that, they are the nodes.

    Parameters
    ----------
    eigenvalues : ndarray, shape (d,)
        Not negative.
    count : int
        Nodes wanted; fewer are returned if there are fewer distinct eigenvalues.

    Returns
    -------
    SpectralMeasure

    References
    ----------
    Golub and Welsch (1969), Calculation of Gauss quadrature rules.
    """
    return _quadrature(eigenvalues, count)[0]


def interpolation(eigenvalues: Float[np.ndarray, " d"], count: int) -> Float[np.ndarray, "levels B"]:
    """Values of polynomials at each distinct eigenvalue from those at the nodes of `gauss_quadrature`.

    Exact up to degree ``count - 1`` (docs/theory.md#eigenvalue-interpolation). Gauss nodes make this stable: it keeps
    the mean square over the spectrum, so an error at an eigenvalue is at most the root of d times that of the values at
    the nodes.

    Parameters
    ----------
    eigenvalues : ndarray, shape (d,)
        Not negative.
    count : int
        As for `gauss_quadrature`.

    Returns
    -------
    ndarray, shape (distinct eigenvalues, nodes)
        Eigenvalues in increasing order.
    """
    return _quadrature(eigenvalues, count)[1]


def _quadrature(eigenvalues: np.ndarray, count: int) -> tuple[SpectralMeasure, np.ndarray]:
    levels, times = np.unique(eigenvalues, return_counts=True)
    shares = times / eigenvalues.size
    if levels.size <= count:  # to the last bit, so that problems of all d share their theory
        return SpectralMeasure(levels, shares), np.eye(levels.size)
    scale = float(levels[-1])
    basis = np.sqrt(shares)[None, :]
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    while True:
        vector = levels * basis[-1]
        diagonal.append(float(vector @ basis[-1]))
        for _ in range(2):  # twice is enough to keep the basis orthogonal to rounding
            vector = vector - (basis @ vector) @ basis
        norm = float(np.linalg.norm(vector))
        if len(diagonal) == count or norm < 1e-12 * scale:
            break
        off_diagonal.append(norm)
        basis = np.concatenate([basis, vector[None, :] / norm])
    from scipy.linalg import eigh_tridiagonal  # which spectra of few eigenvalues do not need

    nodes, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off_diagonal))
    # Orthonormal polynomials are the basis over the root of the shares, and at the nodes the vectors over their first.
    return SpectralMeasure(nodes, vectors[0] ** 2), (basis / basis[0]).T @ (vectors * vectors[0])
