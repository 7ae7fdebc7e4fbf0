"""A feature matrix by blocks of rows, one the work of one thread, in the form its entries are stored in.

Each class answers the same questions about a block: weights in the form its products want, X w, X^T g, and, where
there is a compiled one, the pass that does both with the network between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.memory import aligned_empty
from sedyn.model.network import Derivatives, Network

if TYPE_CHECKING:
    from scipy import sparse

    from sedyn.kernels.cpu.network import CompiledNetwork

__all__ = ["Pass", "PlainRows", "RowBlocks", "SparseRows", "StoredRows", "row_blocks"]

# The rows are cut into this many blocks, or more, so that sums in single precision stay short.
BLOCKS, ROWS_PER_BLOCK = 16, 4096
# Bytes of the rows that go forward and backward together: they and the next ones fit in the second-level cache.
CACHED_BYTES = 3 * 2**17
# Units beyond which the library's products, made for square matrices, are faster than ours (benchmarks, `widths`).
WIDE = 32


class Pass(Protocol):
    """One pass over a matrix X, forward, through the network and backward; it holds what the pass finds.

    Attributes
    ----------
    trained : array, shape (q, n)
        X w.
    """

    trained: Array

    def run(self) -> None:
        """Pass over blocks of rows until none is left; threads that call this at once share them out."""
        ...

    def derivatives(self) -> Derivatives:
        """Losses and derivatives of all rows, without curvature, when every block has been passed over."""
        ...

    def products(self) -> Array:
        """X^T g, (q, d), when every block has been passed over."""
        ...


class RowBlocks(Protocol):
    """Products with blocks of rows of an n x d matrix.

    Attributes
    ----------
    shape : tuple of int
        (n, d).
    blocks : list of slice
        The rows, cut by the shape alone.
    """

    shape: tuple[int, int]
    blocks: list[slice]

    def prepare(self, weights: Array) -> Array:
        """Bring weights, (q, d), to the form that `products` takes."""
        ...

    def products(self, weights: Array, rows: slice) -> Array:
        """Prepared weights to X w on a block of r rows, (q' >= q, r)."""
        ...

    def transposed_products(self, gradients: Array, rows: slice) -> Array:
        """X^T g of a block, (q' >= q, d), from gradients (q, r)."""
        ...

    def begin_pass(self, weights: Array, network: Network, scale: float) -> Pass | None:
        """Begin a compiled pass over X, the matrix times `scale`, with weights (q, d).

        None if there is none for this matrix and this network.
        """
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
        from sedyn.kernels.cpu import network as compiled_network  # load a compiler, which only dense designs need
        from sedyn.kernels.cpu import passes as kernels  # load a compiler, which only dense designs need

        self.kernels, self.compile = kernels, compiled_network.compiled_network
        self.dtype = matrix.dtype if matrix.dtype.kind == "f" else dtype
        self.matrix = np.ascontiguousarray(matrix)
        self.shape = matrix.shape
        tile_bytes = kernels.ROWS * matrix.dtype.itemsize * matrix.shape[1]
        self.rows_together = kernels.ROWS * max(1, CACHED_BYTES // tile_bytes)
        self.blocks = _cut(matrix.shape[0], kernels.ROWS)
        self.starts = np.array([*(rows.start for rows in self.blocks), matrix.shape[0]])

    def prepare(self, weights: np.ndarray) -> np.ndarray:
        """Pad to whole tiles of units and round to the type of the products."""
        return self.kernels.padded(weights, self.dtype)

    def products(self, weights: np.ndarray, rows: slice) -> np.ndarray:
        """Prepared weights to X w on a block, padded units included."""
        block = self.matrix[rows]
        if weights.shape[0] > WIDE:
            return weights @ block.astype(self.dtype, copy=False).T
        out = np.empty((weights.shape[0], block.shape[0]), self.dtype)
        self.kernels.products(block, 0, weights, out)
        return out

    def transposed_products(self, gradients: np.ndarray, rows: slice) -> np.ndarray:
        """X^T g of a block, padded units included."""
        block = self.matrix[rows]
        if gradients.shape[0] > WIDE:
            return gradients.astype(self.dtype, copy=False) @ block.astype(self.dtype, copy=False)
        padded = self.kernels.padded(gradients, self.dtype)
        out = np.zeros((padded.shape[0], self.shape[1]), self.dtype)
        self.kernels.add_products(block, 0, padded, out)
        return out

    def begin_pass(self, weights: np.ndarray, network: Network, scale: float) -> CompiledPass | None:
        """Begin a compiled pass, unless the network is wide or has functions of a user's own."""
        if weights.shape[0] > WIDE:
            return None
        compiled = self.compile(network, weights.shape[0])
        return None if compiled is None else CompiledPass(self, weights, network, compiled, scale)


class CompiledPass:
    """One pass over stored rows without the interpreter, each read from memory once; see `Pass`.

    Parameters
    ----------
    stored : StoredRows
    weights : ndarray, shape (q, d)
    network : Network
    compiled : CompiledNetwork
        The same, as the kernels take it.
    scale : float
        X is this times the rows.
    """

    def __init__(
        self, stored: StoredRows, weights: np.ndarray, network: Network, compiled: CompiledNetwork, scale: float
    ) -> None:
        q, n, blocks = weights.shape[0], stored.shape[0], len(stored.blocks)
        self.stored, self.network, self.compiled, self.scale = stored, network, compiled, scale
        self.weights = stored.kernels.padded(weights, stored.dtype, scale)
        self.trained, self.gradients, self.losses = np.empty((q, n)), np.empty((q, n)), np.empty(n)
        self.deep_gradient, self.drive = np.empty(compiled.deep.shape), np.empty(weights.shape)
        # What threads know of each other's blocks, and the sums of blocks.
        self.counters, self.places = np.zeros(blocks + 1, np.int64), np.empty(blocks, np.int64)
        self.parts = aligned_empty((blocks, *self.weights.shape), self.weights.dtype)
        self.deep_parts = np.empty((blocks, *compiled.deep.shape))

    def run(self) -> None:
        """Pass over blocks of rows until none is left; see `Pass`."""
        self.stored.kernels.descend(
            self.stored.matrix,
            self.stored.starts,
            self.counters,
            self.places,
            self.stored.rows_together,
            self.weights,
            self.compiled,
            self.scale,
            self.parts,
            self.deep_parts,
            self.trained,
            self.losses,
            self.gradients,
            self.deep_gradient,
            self.drive,
        )

    def derivatives(self) -> Derivatives:
        """Losses and derivatives of all rows, without curvature."""
        layers = zip(self.deep_gradient, self.network.deep, strict=True)
        deep = tuple(gradient[:, : weights.shape[1]] for gradient, weights in layers)
        return Derivatives(self.losses, self.gradients, deep, None)

    def products(self) -> np.ndarray:
        """X^T g, (q, d)."""
        return self.drive


class SparseRows:
    """Rows held by scipy in compressed sparse form.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n, d)
    """

    def __init__(self, matrix: sparse.csr_array) -> None:
        self.shape = matrix.shape
        self.blocks = _cut(matrix.shape[0], 1)
        self.parts = {rows.start: matrix[rows] for rows in self.blocks}

    def prepare(self, weights: np.ndarray) -> np.ndarray:
        """Weights of one feature beside each other, as the sparse product reads them."""
        return np.ascontiguousarray(weights.T)

    def products(self, weights: np.ndarray, rows: slice) -> np.ndarray:
        """Prepared weights to X w on a block."""
        return (self.parts[rows.start] @ weights).T

    def transposed_products(self, gradients: np.ndarray, rows: slice) -> np.ndarray:
        """X^T g of a block."""
        return (self.parts[rows.start].T @ np.ascontiguousarray(gradients.T)).T

    def begin_pass(self, weights: Array, network: Network, scale: float) -> None:
        """Nothing compiled: what sparse rows take is arithmetic, not reading them twice."""


class PlainRows:
    """Rows of any array library, all in one block, multiplied by the library.

    Parameters
    ----------
    matrix : array, shape (n, d)
    """

    def __init__(self, matrix: Array) -> None:
        self.matrix, self.shape, self.blocks = matrix, matrix.shape, [slice(0, matrix.shape[0])]

    def prepare(self, weights: Array) -> Array:
        """Weights in the type of the matrix."""
        return array_namespace(weights).astype(weights, self.matrix.dtype, copy=False)

    def products(self, weights: Array, rows: slice) -> Array:
        """Prepared weights to X w on a block."""
        return array_namespace(weights).matmul(weights, self.matrix[rows, :].T)

    def transposed_products(self, gradients: Array, rows: slice) -> Array:
        """X^T g of a block."""
        return array_namespace(gradients).matmul(self.prepare(gradients), self.matrix[rows, :])

    def begin_pass(self, weights: Array, network: Network, scale: float) -> None:
        """Nothing compiled: the library's two products are what there is."""


def row_blocks(matrix: Array, dtype: np.dtype) -> RowBlocks:
    """Choose the products that fit how a matrix is stored; `dtype` is that of products of integers."""
    if isinstance(matrix, np.ndarray):
        return StoredRows(matrix, dtype)
    from scipy import sparse

    if sparse.issparse(matrix):
        return SparseRows(sparse.csr_array(matrix))
    return PlainRows(matrix)


def _cut(n: int, multiple: int) -> list[slice]:
    """Cut rows into blocks of equal size but for the last, a multiple of some number."""
    count = max(BLOCKS, -(-n // ROWS_PER_BLOCK))
    size = multiple * max(1, -(-n // (count * multiple)))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
