"""What every design does: products with X and with its transpose, and both with the network between them.

Designs hold standardized features Z / sqrt(d), with independent entries of variance 1/d; the covariance of
correlated features is applied by the caller. Vectors are rows: a block of q vectors is (q, n) or (q, d).
"""

from __future__ import annotations

from typing import Protocol

from sedyn.arrays.backend import Array
from sedyn.arrays.threads import one_blas_thread
from sedyn.model.network import Derivatives, Network

__all__ = ["Design", "two_products"]


class Design(Protocol):
    """A feature matrix X, n x d, known by its products."""

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (q, d), to X w, (q, n)."""
        ...

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (q, n), to X^T g, (q, d)."""
        ...

    def descend(self, weights: Array, network: Network, *, curvature: bool) -> tuple[Array, Derivatives, Array]:
        """X w, what the network makes of it, and X^T g for the gradients found there.

        Parameters
        ----------
        weights : array, shape (q, d)
        network : Network
            Of all n rows.
        curvature : bool
            Whether D is wanted.

        Returns
        -------
        trained : array, shape (q, n)
        derivatives : Derivatives
        products : array, shape (q, d)
        """
        ...


def two_products(
    design: Design, weights: Array, network: Network, *, curvature: bool
) -> tuple[Array, Derivatives, Array]:
    """Do what `Design.descend` does by a product forward and another one backward."""
    trained = design.matmul(weights)
    with one_blas_thread():
        derivatives = network.differentiate(trained, curvature=curvature)
    return trained, derivatives, design.rmatmul(derivatives.gradient)
