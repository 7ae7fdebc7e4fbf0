"""A feature matrix by blocks of samples, one the work of one thread, in the form that its entries are stored in.

Each class answers the same questions: weights in the form its products want, X w and X^T g of a block, and, where there
is one, the pass over all blocks that does both with the network between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.blocks import row_blocks
from sedyn.arrays.shapes import Float, Shaped
from sedyn.kernels import dispatch
from sedyn.model.network import Derivatives, Network

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["LibrarySamples", "SampleBlocks", "SparseSamples", "sample_blocks"]


class SampleBlocks(Protocol):
    """Products with blocks of samples, the rows of an n x d matrix.

    Attributes
    ----------
    shape : tuple of int
        (n, d).
    blocks : list of slice
        The samples, cut by the shape alone.
    """

    shape: tuple[int, int]
    blocks: list[slice]

    def prepare(self, weights: Float[Array, "q d"]) -> Float[Array, "_ _"]:
        """Bring weights, (q, d), to the form that `products` takes."""
        ...

    def products(self, weights: Float[Array, "_ _"], samples: slice) -> Float[Array, "units r"]:
        """X w on a block of r samples.

        Parameters
        ----------
        weights : array
            As `prepare` gives them.
        samples : slice
            One of `blocks`.

        Returns
        -------
        array, shape (q' >= q, r)
            What is beyond q is of no meaning.
        """
        ...

    def transposed_products(self, gradients: Float[Array, "q r"], samples: slice) -> Float[Array, "units d"]:
        """X^T g of a block of r samples.

        Parameters
        ----------
        gradients : array, shape (q, r)
        samples : slice
            One of `blocks`.

        Returns
        -------
        array, shape (q' >= q, d)
            What is beyond q is of no meaning.
        """
        ...

    def descend(
        self, weights: Float[Array, "q d"], network: Network, scale: float, *, curvature: bool
    ) -> tuple[Float[Array, "q n"], Derivatives, Float[Array, "q d"]] | None:
        """X w, the network's derivatives there and X^T g, in one pass over all samples.

        Parameters
        ----------
        weights : array, shape (q, d)
        network : Network
            Of all n samples.
        scale : float
            X is this times the matrix.
        curvature : bool
            Whether D is wanted.

        Returns
        -------
        trained : array, shape (q, n)
        derivatives : Derivatives
        products : array, shape (q, d)
            In place of the three, None where there is no such pass for this matrix and this network.
        """
        return None


class LibrarySamples(SampleBlocks):
    """Samples held and multiplied by any array library; outside numpy all are one block.

    Parameters
    ----------
    matrix : array, shape (n, d)
    dtype : dtype
        Of the products of integers; floats are multiplied in their own type.
    """

    def __init__(self, matrix: Shaped[Array, "n d"], dtype: np.dtype) -> None:
        integers = isinstance(matrix, np.ndarray) and matrix.dtype.kind != "f"
        self.matrix, self.dtype, self.shape = matrix, dtype if integers else matrix.dtype, matrix.shape
        n = matrix.shape[0]
        self.blocks = row_blocks(n) if isinstance(matrix, np.ndarray) else [slice(0, n)]

    def prepare(self, weights: Shaped[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Bring weights, (q, d), or the matrix itself to the type of the products."""
        return array_namespace(weights).astype(weights, self.dtype, copy=False)

    def products(self, weights: Float[Array, "q d"], samples: slice) -> Float[Array, "q r"]:
        """Prepared weights to X w on a block.

        Parameters
        ----------
        weights : array, shape (q, d)
        samples : slice

        Returns
        -------
        array, shape (q, r)
        """
        return array_namespace(weights).matmul(weights, self.prepare(self.matrix[samples, :]).T)

    def transposed_products(self, gradients: Float[Array, "q r"], samples: slice) -> Float[Array, "q d"]:
        """X^T g of a block.

        Parameters
        ----------
        gradients : array, shape (q, r)
        samples : slice

        Returns
        -------
        array, shape (q, d)
        """
        return array_namespace(gradients).matmul(self.prepare(gradients), self.prepare(self.matrix[samples, :]))


class SparseSamples(SampleBlocks):
    """Samples held by scipy in compressed sparse form; what they take is arithmetic, not reading them twice.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n, d)
    """

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.shape = matrix.shape
        self.blocks = row_blocks(matrix.shape[0])
        self.parts = {samples.start: matrix[samples] for samples in self.blocks}

    def prepare(self, weights: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "d q"]:
        """Weights of one feature beside each other, as the sparse product reads them."""
        return np.ascontiguousarray(weights.T)

    def products(self, weights: Float[np.ndarray, "d q"], samples: slice) -> Float[np.ndarray, "q r"]:
        """Prepared weights to X w on a block.

        Parameters
        ----------
        weights : ndarray, shape (d, q)
        samples : slice

        Returns
        -------
        ndarray, shape (q, r)
        """
        return (self.parts[samples.start] @ weights).T

    def transposed_products(self, gradients: Float[np.ndarray, "q r"], samples: slice) -> Float[np.ndarray, "q d"]:
        """X^T g of a block.

        Parameters
        ----------
        gradients : ndarray, shape (q, r)
        samples : slice

        Returns
        -------
        ndarray, shape (q, d)
        """
        return (self.parts[samples.start].T @ np.ascontiguousarray(gradients.T)).T


def sample_blocks(matrix: Shaped[Array, "n d"], dtype: np.dtype) -> SampleBlocks:
    """Choose the products that fit how a matrix is stored.

    Parameters
    ----------
    matrix : array or scipy.sparse array, shape (n, d)
    dtype : dtype
        Of the products of integers; floats are multiplied in their own type.

    Returns
    -------
    SampleBlocks
    """
    stored = dispatch.stored_samples(matrix, dtype)
    if stored is not None:
        return stored
    from scipy import sparse

    return SparseSamples(sparse.csr_array(matrix)) if sparse.issparse(matrix) else LibrarySamples(matrix, dtype)
