"""A design that is formed in memory; see `sedyn.designs.deferred` for one that is drawn only as far as looked at."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.threads import run_each, run_together, thread_count
from sedyn.designs.entries import draw_entries
from sedyn.designs.protocol import two_products
from sedyn.designs.row_storage import row_blocks
from sedyn.model.features import FeatureLaw
from sedyn.model.network import Derivatives, Network

__all__ = ["DenseDesign", "dense_design"]


class DenseDesign:
    """A design that holds its matrix.

    On a CPU a few rows at a time go forward, through the network and backward while they are in cache, so that
    `descend` reads the matrix from memory once. Blocks and the order of sums depend on the shape alone: results are
    the same bit by bit whatever the number of threads.

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
        xp = array_namespace(weights)
        products = xp.empty((weights.shape[0], self.rows.shape[0]), dtype=weights.dtype, device=weights.device)

        def forward(rows: slice) -> None:
            products[:, rows] = self.rows.products(prepared, rows)[: weights.shape[0], :]

        run_each(forward, self.rows.blocks)
        return products

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (q, n), to X^T g, (q, d)."""
        return self._summed(lambda rows: self.rows.transposed_products(gradients[:, rows], rows), gradients)

    def descend(self, weights: Array, network: Network, *, curvature: bool) -> tuple[Array, Derivatives, Array]:
        """X w, the derivatives there and X^T g; see `Design.descend`."""
        pass_over = self.rows.begin_pass(weights, network, self.scale)
        if pass_over is None:
            return two_products(self, weights, network, curvature=curvature)
        run_together(pass_over.run, min(thread_count(), len(self.rows.blocks)))
        derivatives = pass_over.derivatives()
        if curvature:  # which the compiled network leaves out
            found = network.differentiate(pass_over.trained, curvature=True)
            derivatives = derivatives._replace(curvature=found.curvature)
        return pass_over.trained, derivatives, pass_over.products()

    def _summed(self, part: Callable[[slice], Array], like: Array) -> Array:
        """X^T g from its parts, one for each block of rows, added up in their order."""
        parts: dict[int, Array] = {}
        run_each(lambda rows: parts.__setitem__(rows.start, part(rows)), self.rows.blocks)
        total = array_namespace(like).zeros((like.shape[0], self.rows.shape[1]), dtype=like.dtype, device=like.device)
        for rows in self.rows.blocks:
            total += parts[rows.start][: like.shape[0], :]
        return total * self.scale


def dense_design(
    n: int,
    d: int,
    law: FeatureLaw,
    seed: np.random.SeedSequence,
    device: str = "cpu",
    dtype: str | np.dtype = "float64",
) -> DenseDesign:
    """Draw a dense design.

    Each block of rows has a random stream of its own, so that threads draw side by side and the entries do not
    depend on their number; nor, but for rounding, on `dtype`. A GPU draws with one generator of its own where it can:
    the same law, other numbers.

    Parameters
    ----------
    n, d : int
    law : FeatureLaw
        Of standardized entries, see `sedyn.model.features.feature_law`. On a CPU integers and sparse arrays are
        kept as they are; on a GPU, whose library multiplies neither with floats, every matrix is one of floats.
    seed : SeedSequence
    device : {'cpu', 'gpu'}, optional
    dtype : dtype, optional
        That floats are stored in.
    """
    return DenseDesign(draw_entries(n, d, law, seed, device, dtype), 1 / math.sqrt(d), dtype)
