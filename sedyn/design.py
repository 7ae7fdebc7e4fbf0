"""Designs: the feature matrix as an operator, formed in memory or only as far as it has been looked at.

Both designs hold standardized features Z / sqrt(d), with independent entries of variance 1/d; the covariance of
correlated features is applied by the caller. Vectors are rows: a block of q vectors is (q, n) or (q, d).
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from sedyn import backend
from sedyn.backend import Array, array_namespace
from sedyn.features import Draw

__all__ = ["DeferredDesign", "DenseDesign", "Design", "dense_design"]


class Design(Protocol):
    """A feature matrix X, n x d, known by its products."""

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (q, d), to X w, (q, n)."""
        ...

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (q, n), to X^T g, (q, d)."""
        ...


class DenseDesign:
    """A design that holds its matrix.

    Parameters
    ----------
    matrix : array, shape (n, d)
    """

    def __init__(self, matrix: Array) -> None:
        self.matrix = matrix

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (q, d), to X w, (q, n)."""
        return array_namespace(weights).matmul(weights, self.matrix.T)

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (q, n), to X^T g, (q, d)."""
        return array_namespace(gradients).matmul(gradients, self.matrix)


def dense_design(n: int, d: int, sampler: Draw, rng: np.random.Generator, device: str = "cpu") -> DenseDesign:
    """Draw a dense design.

    Parameters
    ----------
    n, d : int
    sampler : callable
        Of standardized entries, see `sedyn.features.feature_sampler`.
    rng : numpy.random.Generator
    device : {'cpu', 'gpu'}, optional
    """
    matrix = sampler(rng, (n, d))
    matrix /= math.sqrt(d)
    return DenseDesign(backend.asarray(matrix, device))


class DeferredDesign:
    """A Gaussian design that draws only what its products reveal, exactly in law (THEORY section 5).

    After k weight directions and l gradient directions have been asked for, all that is known of X is its action on
    them: orthonormal ``weight_basis`` Q_w with images B = X Q_w, orthonormal ``gradient_basis`` Q_g with
    images C = X^T Q_g. A product with a new direction draws fresh normals orthogonal to what is known.
    Time is O((n + d) k q) a product and memory O((n + d)(k + l)), instead of O(n d).

    Parameters
    ----------
    n, d : int
    rng : numpy.random.Generator
    device : {'cpu', 'gpu'}, optional

    References
    ----------
    Lu (arXiv 2101.07464), Householder dice.
    """

    def __init__(self, n: int, d: int, rng: np.random.Generator, device: str = "cpu") -> None:
        self.scale = 1 / math.sqrt(d)
        self.rng = rng
        self.device = device
        self.weight_basis, self.gradient_images = (backend.asarray(np.empty((0, d)), device) for _ in range(2))
        self.gradient_basis, self.weight_images = (backend.asarray(np.empty((0, n)), device) for _ in range(2))

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (q, d), to X w, (q, n)."""
        known, fresh, directions = _split(weights, self.weight_basis)
        images = self._reveal(directions, self.gradient_basis, self.gradient_images)
        xp = array_namespace(directions)
        self.weight_basis = xp.concat([self.weight_basis, directions], axis=0)
        self.weight_images = xp.concat([self.weight_images, images], axis=0)
        return xp.concat([known, fresh], axis=1) @ self.weight_images

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (q, n), to X^T g, (q, d)."""
        known, fresh, directions = _split(gradients, self.gradient_basis)
        images = self._reveal(directions, self.weight_basis, self.weight_images)
        xp = array_namespace(directions)
        self.gradient_basis = xp.concat([self.gradient_basis, directions], axis=0)
        self.gradient_images = xp.concat([self.gradient_images, images], axis=0)
        return xp.concat([known, fresh], axis=1) @ self.gradient_images

    def _reveal(self, directions: Array, other_basis: Array, other_images: Array) -> Array:
        """Images of new directions: what the other side's products fix, and fresh normals orthogonal to it."""
        normals = self.rng.standard_normal((directions.shape[0], other_basis.shape[1])) * self.scale
        normals = backend.asarray(normals, self.device)
        fixed = directions @ other_images.T - normals @ other_basis.T
        return normals + fixed @ other_basis

    def complete(self, rng: np.random.Generator) -> DenseDesign:
        """Draw what is still unknown of X: the dense design that would have given the same products.

        Parameters
        ----------
        rng : numpy.random.Generator
        """
        q_w, b, q_g, c = self.weight_basis, self.weight_images, self.gradient_basis, self.gradient_images
        rest = rng.standard_normal((q_g.shape[1], q_w.shape[1])) * self.scale
        rest = backend.asarray(rest, self.device)
        rest = rest - q_g.T @ (q_g @ rest)
        rest = rest - (rest @ q_w.T) @ q_w
        return DenseDesign(b.T @ q_w + q_g.T @ (c - (c @ q_w.T) @ q_w) + rest)


# A direction that adds less than this share of its block's norm is rounding, not new.
NEGLIGIBLE_SHARE = 1e-12


def _split(block: Array, basis: Array) -> tuple[Array, Array, Array]:
    """Coefficients of a block in a basis and in new orthonormal directions, and these directions.

    Returns
    -------
    known : array, shape (q, k)
    fresh : array, shape (q, r)
    directions : array, shape (r, d)
        Orthonormal and orthogonal to the basis, r <= q.
    """
    xp = array_namespace(block)
    remainder = block - (block @ basis.T) @ basis
    remainder -= (remainder @ basis.T) @ basis
    _, sizes, directions = xp.linalg.svd(remainder, full_matrices=False)
    directions = directions[sizes > NEGLIGIBLE_SHARE * xp.linalg.vector_norm(block), :]
    # Directions of small remainders come with rounding of the large parts that were taken away: clean them again.
    directions = directions - (directions @ basis.T) @ basis
    directions = xp.linalg.qr(directions.T)[0].T
    return block @ basis.T, block @ directions.T, directions
