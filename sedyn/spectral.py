"""A few nodes that stand for the whole spectrum of the feature covariance, exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal

from sedyn.backend import Array

__all__ = ["SpectralMeasure", "gauss_quadrature"]


class SpectralMeasure(NamedTuple):
    """Nodes and weights of a quadrature over eigenvalues.

    Attributes
    ----------
    nodes : array, shape (B,)
        Eigenvalues.
    weights : array, shape (B,)
        Positive, sum 1.
    """

    nodes: Array
    weights: Array


def gauss_quadrature(eigenvalues: np.ndarray, count: int) -> SpectralMeasure:
    """Gauss quadrature for averages over given eigenvalues, by the Lanczos process.

    `count` nodes give the average of every polynomial up to degree ``2 count - 1`` exactly. What the theory averages
    over the spectrum after T steps is a polynomial of degree at most 2T + 1, so T + 1 nodes lose nothing, however many
    eigenvalues there are. Where there are no more of them, they are the nodes.

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
    d = eigenvalues.shape[0]
    levels, times = np.unique(eigenvalues, return_counts=True)
    if levels.size <= count:  # to the last bit, so that problems of all d share their theory
        return SpectralMeasure(levels, times / d)
    scale = float(levels[-1])
    basis = np.full((1, d), 1 / np.sqrt(d))
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    while True:
        vector = eigenvalues * basis[-1]
        diagonal.append(float(vector @ basis[-1]))
        for _ in range(2):  # twice is enough to keep the basis orthogonal to rounding
            vector = vector - (basis @ vector) @ basis
        norm = float(np.linalg.norm(vector))
        if len(diagonal) == min(count, d) or norm < 1e-12 * scale:
            break
        off_diagonal.append(norm)
        basis = np.concatenate([basis, vector[None, :] / norm])
    nodes, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off_diagonal))
    return SpectralMeasure(nodes, vectors[0] ** 2)
