"""Designs: the feature matrix as an operator; this one formed in memory, `sedyn.deferred` only as far as looked at.

Designs hold standardized features Z / sqrt(d), with independent entries of variance 1/d; the covariance of
correlated features is applied by the caller. Vectors are rows: a block of q vectors is (q, n) or (q, d).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from sedyn import backend
from sedyn.backend import Array, array_namespace
from sedyn.features import Draw
from sedyn.row_blocks import row_blocks
from sedyn.threads import run_each

__all__ = ["DenseDesign", "Design", "RowGradients", "dense_design"]

# The rows are cut into this many runs for threads, or more, so that sums in single precision stay short.
LANES, ROWS_PER_LANE = 16, 4096
# Entries that one random stream draws: few enough to stay in cache until they are stored.
ENTRIES_PER_STREAM = 2**17


RowGradients = Callable[[Array, slice], Array]


class Design(Protocol):
    """A feature matrix X, n x d, known by its products."""

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (q, d), to X w, (q, n)."""
        ...

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (q, n), to X^T g, (q, d)."""
        ...

    def descend(self, weights: Array, row_gradients: RowGradients) -> tuple[Array, Array]:
        """X w, and X^T g for gradients that depend on it row by row, in one pass over X.

        Parameters
        ----------
        weights : array, shape (q, d)
        row_gradients : callable
            From a block of X w, (q, r), and which rows these are, to g of these rows, (q, r). It is called once for
            each of the blocks that the rows are cut into, from several threads and in any order.

        Returns
        -------
        products : array, shape (q, n)
        drive : array, shape (q, d)
        """
        ...


class DenseDesign:
    """A design that holds its matrix.

    On a CPU each block of rows is used forward and backward while it is in cache, so that `descend` reads the matrix
    from memory once. Blocks and the order of sums depend on the shape alone: results are the same bit by bit
    whatever the number of threads.

    Parameters
    ----------
    matrix : array or scipy.sparse array, shape (n, d)
        Floats are multiplied in their own type; integers are kept as they are.
    scale : float, optional
        X is this times the matrix.
    dtype : dtype, optional
        Of the products of integers.
    """

    def __init__(self, matrix: Array, scale: float = 1.0, dtype: str | np.dtype = "float64") -> None:
        self.matrix, self.scale = matrix, scale
        self.rows = row_blocks(matrix, np.dtype(dtype))

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (q, d), to X w, (q, n)."""
        prepared = self.rows.prepare(weights * self.scale)
        products = self._empty_products(weights)

        def forward(rows: slice) -> None:
            products[:, rows] = self.rows.products(prepared, rows)[: weights.shape[0], :]

        run_each(forward, [rows for lane in self._lanes() for rows in lane])
        return products

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (q, n), to X^T g, (q, d)."""
        return self._summed(lambda rows: gradients[:, rows], gradients)

    def descend(self, weights: Array, row_gradients: RowGradients) -> tuple[Array, Array]:
        """X w, and X^T g for gradients that depend on it row by row; see `Design.descend`."""
        prepared = self.rows.prepare(weights * self.scale)
        products = self._empty_products(weights)

        def gradients(rows: slice) -> Array:
            products[:, rows] = self.rows.products(prepared, rows)[: weights.shape[0], :]
            return row_gradients(products[:, rows], rows)

        return products, self._summed(gradients, weights)

    def _summed(self, gradients: Callable[[slice], Array], like: Array) -> Array:
        """X^T g, each lane of blocks added up by itself and the lanes in their order."""
        lanes = self._lanes()
        totals: list[Array] = [None] * len(lanes)

        def work(lane: int) -> None:
            total = None
            for rows in lanes[lane]:
                total = self.rows.add_products(gradients(rows), rows, total)
            totals[lane] = total

        run_each(work, range(len(lanes)))
        drive = array_namespace(like).zeros((like.shape[0], self.rows.shape[1]), dtype=like.dtype, device=like.device)
        for total in totals:
            drive += total[: like.shape[0], :]
        return drive * self.scale

    def _empty_products(self, like: Array) -> Array:
        xp = array_namespace(like)
        return xp.empty((like.shape[0], self.rows.shape[0]), dtype=like.dtype, device=like.device)

    def _lanes(self) -> list[list[slice]]:
        """Blocks of rows in runs of neighbours, each the work of one thread."""
        n, size = self.rows.shape[0], self.rows.block_rows
        blocks = [slice(start, min(start + size, n)) for start in range(0, n, size)]
        lanes = min(len(blocks), max(LANES, -(-n // ROWS_PER_LANE)))
        cuts = [len(blocks) * lane // lanes for lane in range(lanes + 1)]
        return [blocks[start:stop] for start, stop in itertools.pairwise(cuts)]


def dense_design(
    n: int,
    d: int,
    sampler: Draw,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    dtype: str | np.dtype = "float64",
) -> DenseDesign:
    """Draw a dense design.

    Each block of rows has a random stream of its own, so that threads draw side by side and the entries do not
    depend on their number; nor, but for rounding, on `dtype`.

    Parameters
    ----------
    n, d : int
    sampler : callable
        Of standardized entries, see `sedyn.features.feature_sampler`. On a CPU integers and sparse arrays are kept as
        they are; on a GPU, whose library multiplies neither with floats, every matrix is one of floats.
    seed : SeedSequence
    device : {'cpu', 'gpu'}, optional
    dtype : dtype, optional
        That floats are stored in.
    """
    size = max(1, ENTRIES_PER_STREAM // d)
    starts = range(0, n, size)

    def draw(start: int) -> Any:
        stream = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, start // size))
        return sampler(np.random.Generator(np.random.SFC64(stream)), (min(size, n - start), d))

    first = draw(0)
    if sparse.issparse(first):
        pieces = {0: first}
        run_each(lambda start: pieces.__setitem__(start, draw(start)), starts[1:])
        matrix = sparse.vstack([pieces[start] for start in starts], format="csr", dtype=dtype)
        if device != "cpu":
            matrix = backend.asarray(matrix.toarray(), device)
    else:
        matrix = np.empty((n, d), first.dtype if first.dtype.kind == "i" and device == "cpu" else dtype)
        matrix[:size] = first

        def fill(start: int) -> None:
            matrix[start : start + size] = draw(start)

        run_each(fill, starts[1:])
        matrix = backend.asarray(matrix, device)
    return DenseDesign(matrix, 1 / math.sqrt(d), dtype)
