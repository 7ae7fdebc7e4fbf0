"""A feature matrix by blocks of rows that stay in cache, in the form its entries are stored in.

Each class answers the same three questions about a block: weights in the form its products want, X w, and X^T g.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy import sparse

from sedyn.backend import Array, array_namespace

__all__ = ["PlainRows", "RowBlocks", "SparseRows", "StoredRows", "row_blocks"]

# Bytes of a block. Its second reading comes from the cache, not from memory; smaller blocks would fit the second-level
# cache too, but each costs a call of the network, about 60 microseconds, which weighs more than the slower cache.
BLOCK_BYTES = 2**22
LEAST_ROWS = 8
# Sparse rows are not blocked for the cache, only cut for threads.
SPARSE_BLOCKS = 16


class RowBlocks(Protocol):
    """Products with blocks of rows of an n x d matrix.

    Attributes
    ----------
    shape : tuple of int
        (n, d).
    block_rows : int
        Rows that a block should have; every block but the last must begin and end at a multiple of it.
    """

    shape: tuple[int, int]
    block_rows: int

    def prepare(self, weights: Array) -> Array:
        """Bring weights, (q, d), to the form that `products` takes."""
        ...

    def products(self, weights: Array, rows: slice) -> Array:
        """Prepared weights to X w on a block of r rows, (q, r)."""
        ...

    def add_products(self, gradients: Array, rows: slice, total: Array | None) -> Array:
        """Add X^T g of a block, gradients (q, r), to a total, (q, d); None stands for zero."""
        ...


class StoredRows:
    """Rows held by numpy as floats or small integers, multiplied by compiled kernels.

    Parameters
    ----------
    matrix : ndarray, shape (n, d)
    dtype : dtype
        Of the products of integers; floats are multiplied in their own type.
    """

    def __init__(self, matrix: np.ndarray, dtype: np.dtype) -> None:
        from sedyn import kernels  # loads a compiler, which processes without a dense design can do without

        self.kernels = kernels
        self.dtype = matrix.dtype if matrix.dtype.kind == "f" else dtype
        self.matrix = np.ascontiguousarray(matrix)
        self.shape = matrix.shape
        tiles = BLOCK_BYTES // (matrix.dtype.itemsize * matrix.shape[1] * kernels.TILE)
        self.block_rows = max(LEAST_ROWS, kernels.TILE * tiles)

    def prepare(self, weights: np.ndarray) -> np.ndarray:
        """Pad to whole tiles of units and round to the type of the products."""
        return self.kernels.padded(weights, self.dtype)

    def products(self, weights: np.ndarray, rows: slice) -> np.ndarray:
        """Prepared weights to X w on a block, padded units included."""
        block = self.matrix[rows]
        out = np.empty((weights.shape[0], block.shape[0]), self.dtype)
        self.kernels.products(block, 0, weights, out)
        return out

    def add_products(self, gradients: np.ndarray, rows: slice, total: np.ndarray | None) -> np.ndarray:
        """Add X^T g of a block, padded units included, to a total."""
        block = self.matrix[rows]
        tile = self.kernels.TILE
        padded = self.kernels.padded(gradients, self.dtype, -(-block.shape[0] // tile) * tile)
        if total is None:
            total = np.zeros((padded.shape[0], self.shape[1]), self.dtype)
        self.kernels.add_products(block, 0, padded, total)
        return total


class SparseRows:
    """Rows held by scipy in compressed sparse form.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n, d)
    """

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.shape = matrix.shape
        self.block_rows = -(-matrix.shape[0] // SPARSE_BLOCKS)
        starts = range(0, matrix.shape[0], self.block_rows)
        self.blocks = {start: matrix[start : start + self.block_rows] for start in starts}

    def prepare(self, weights: np.ndarray) -> np.ndarray:
        """Weights of one feature beside each other, as the sparse product reads them."""
        return np.ascontiguousarray(weights.T)

    def products(self, weights: np.ndarray, rows: slice) -> np.ndarray:
        """Prepared weights to X w on a block."""
        return (self.blocks[rows.start] @ weights).T

    def add_products(self, gradients: np.ndarray, rows: slice, total: np.ndarray | None) -> np.ndarray:
        """Add X^T g of a block to a total."""
        products = (self.blocks[rows.start].T @ np.ascontiguousarray(gradients.T)).T
        return products if total is None else total + products


class PlainRows:
    """Rows of any array library, all in one block, multiplied by the library.

    Parameters
    ----------
    matrix : array, shape (n, d)
    """

    def __init__(self, matrix: Array) -> None:
        self.matrix, self.shape, self.block_rows = matrix, matrix.shape, matrix.shape[0]

    def prepare(self, weights: Array) -> Array:
        """Weights in the type of the matrix."""
        return array_namespace(weights).astype(weights, self.matrix.dtype, copy=False)

    def products(self, weights: Array, rows: slice) -> Array:
        """Prepared weights to X w on a block."""
        return array_namespace(weights).matmul(weights, self.matrix[rows, :].T)

    def add_products(self, gradients: Array, rows: slice, total: Array | None) -> Array:
        """Add X^T g of a block to a total."""
        products = array_namespace(gradients).matmul(self.prepare(gradients), self.matrix[rows, :])
        return products if total is None else total + products


def row_blocks(matrix: Array, dtype: np.dtype) -> RowBlocks:
    """Choose the products that fit how a matrix is stored; `dtype` is that of products of integers."""
    if sparse.issparse(matrix):
        return SparseRows(sparse.csr_array(matrix))
    if isinstance(matrix, np.ndarray):
        return StoredRows(matrix, dtype)
    return PlainRows(matrix)
