"""A design that is formed in memory; see `sedyn.designs.deferred` for one that is drawn only as far as looked at."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float, Shaped
from sedyn.arrays.threads import run_each
from sedyn.designs.entries import draw_entries
from sedyn.designs.protocol import Design
from sedyn.designs.storage import sample_blocks
from sedyn.model.features import FeatureLaw
from sedyn.model.network import Derivatives, Network
from sedyn.model.seeds import Stream

__all__ = ["DenseDesign", "dense_design"]


class DenseDesign(Design):
    """A design that holds its matrix.

    On a CPU a few samples at a time go forward, through the network and backward while they are in cache, so that
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

    def __init__(self, matrix: Shaped[Array, "n d"], scale: float = 1.0, dtype: str | np.dtype = "float64") -> None:
        self.matrix, self.scale = matrix, scale
        self.samples = sample_blocks(matrix, np.dtype(dtype))

    def matmul(self, weights: Float[Array, "q d"]) -> Float[Array, "q n"]:
        """X w, one product for each of the weights."""
        prepared = self.samples.prepare(weights * self.scale)
        xp = array_namespace(weights)
        products = xp.empty((weights.shape[0], self.samples.shape[0]), dtype=weights.dtype, device=weights.device)

        def forward(block: slice) -> None:
            products[:, block] = self.samples.products(prepared, block)[: weights.shape[0], :]

        run_each(forward, self.samples.blocks)
        return products

    def rmatmul(self, gradients: Float[Array, "q n"]) -> Float[Array, "q d"]:
        """X^T g, one product for each of the gradients."""
        return self._summed(lambda block: self.samples.transposed_products(gradients[:, block], block), gradients)

    def descend(
        self, weights: Float[Array, "q d"], network: Network, *, curvature: bool
    ) -> tuple[Float[Array, "q n"], Derivatives, Float[Array, "q d"]]:
        """X w, the derivatives there and X^T g, in one pass over the matrix where there is one.

        Parameters
        ----------
        weights : array, shape (q, d)
        network : Network
            Of all n samples.
        curvature : bool
            Whether D is wanted.

        Returns
        -------
        trained : array, shape (q, n)
        derivatives : Derivatives
        products : array, shape (q, d)
        """
        found = self.samples.descend(weights, network, self.scale, curvature=curvature)
        return super().descend(weights, network, curvature=curvature) if found is None else found

    def _summed(self, part: Callable[[slice], Array], like: Array) -> Array:
        """X^T g from its parts, one for each block of samples, added up in their order."""
        parts: dict[int, Array] = {}
        run_each(lambda block: parts.__setitem__(block.start, part(block)), self.samples.blocks)
        shape = like.shape[0], self.samples.shape[1]
        total = array_namespace(like).zeros(shape, dtype=like.dtype, device=like.device)
        for block in self.samples.blocks:
            total += parts[block.start][: like.shape[0], :]
        return total * self.scale


def dense_design(
    n: int,
    d: int,
    law: FeatureLaw,
    stream: Stream,
    device: str = "cpu",
    dtype: str | np.dtype = "float64",
) -> DenseDesign:
    """Draw a dense design.

    Threads draw side by side, and the entries do not depend on their number; nor, but for rounding, on `dtype`. A GPU
    draws the same normals; of other laws, where it can, with a generator of its own: the same law, other numbers.

    Parameters
    ----------
    n, d : int
    law : FeatureLaw
        Of standardized entries, see `sedyn.model.features.feature_law`. On a CPU integers and sparse arrays are
        kept as they are; on a GPU, whose library multiplies neither with floats, every matrix is one of floats.
    stream : Stream
        Of a single replicate.
    device : {'cpu', 'gpu'}, optional
    dtype : dtype, optional
        That floats are stored in.

    Returns
    -------
    DenseDesign
    """
    return DenseDesign(draw_entries(n, d, law, stream, device, dtype), 1 / math.sqrt(d), dtype)
