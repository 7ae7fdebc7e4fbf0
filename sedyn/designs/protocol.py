"""What every design does: products with X and with its transpose, and both with the network between them.

Designs hold standardized features Z / sqrt(d), with independent entries of variance 1/d; the covariance of
correlated features is applied by the caller. A block of q vectors is (q, n) or (q, d).
"""

from __future__ import annotations

from typing import Protocol

from sedyn.arrays.backend import Array
from sedyn.arrays.shapes import Float
from sedyn.arrays.threads import one_blas_thread
from sedyn.kernels import dispatch
from sedyn.model.network import Derivatives, Network

__all__ = ["Design"]


class Design(Protocol):
    """A feature matrix X, n x d, known by its products; replicates side by side have an axis in front."""

    def matmul(self, weights: Float[Array, "... q d"]) -> Float[Array, "... q n"]:
        """X w, one product for each of the weights."""
        ...

    def rmatmul(self, gradients: Float[Array, "... q n"]) -> Float[Array, "... q d"]:
        """X^T g, one product for each of the gradients."""
        ...

    def descend(
        self, weights: Float[Array, "... q d"], network: Network, *, curvature: bool
    ) -> tuple[Float[Array, "... q n"], Derivatives, Float[Array, "... q d"]]:
        """X w, what the network makes of it, and X^T g for the gradients found there.

        By a product forward and another one backward, where a design knows no better way.

        Parameters
        ----------
        weights : array, shape (..., q, d)
        network : Network
            Of all n samples.
        curvature : bool
            Whether D is wanted.

        Returns
        -------
        trained : array, shape (..., q, n)
        derivatives : Derivatives
        products : array, shape (..., q, d)
        """
        trained = self.matmul(weights)
        with one_blas_thread():
            derivatives = dispatch.differentiate(trained, network, curvature=curvature)
        return trained, derivatives, self.rmatmul(derivatives.gradient)
