"""A Gaussian design that is drawn only as far as its products reveal it (docs/theory.md#deferred-product)."""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.revealing import Side
from sedyn.arrays.shapes import Float
from sedyn.designs.protocol import Design
from sedyn.designs.stacked import StackedDesign
from sedyn.kernels.dispatch import revealing_product
from sedyn.model.seeds import Stream

__all__ = ["BLOCKS", "LAUNCHES", "LAUNCHES_EACH", "READINGS", "DeferredDesign"]

# What a product by array operations costs, as on a GPU: readings of the directions and images that are known; readings
# and writings of a block of vectors; and launches, beside those for each vector.
READINGS, BLOCKS, LAUNCHES, LAUNCHES_EACH = 8, 40, 40, 16


class DeferredDesign(Design):
    """Gaussian designs of replicates side by side that draw only what their products reveal, exactly in law.

    After k weight directions and l gradient directions have been asked for, all that is known of an X is its action on
    them (docs/theory.md#revealed): orthonormal Q_w with images B = X Q_w, orthonormal Q_g with images C = X^T Q_g. A
    product with a new direction draws fresh normals orthogonal to what is known. Time is O((n + d) k q) a product and
    memory O((n + d)(k + l)), instead of O(n d q) and O(n d). Everything is in double precision. On a CPU
    results do not depend on the number of threads, nor a replicate's on those beside it.

    Parameters
    ----------
    n, d : int
    stream : Stream
        Of all replicates.
    device : {'cpu', 'gpu'}, optional
    capacity : int, optional
        Directions that room is kept for on each side; more make it grow.

    References
    ----------
    Lu (arXiv 2101.07464), Householder dice.
    """

    def __init__(self, n: int, d: int, stream: Stream, device: str = "cpu", capacity: int = 64) -> None:
        self.scale = 1 / math.sqrt(d)
        self.stream, self.device = stream, device
        self.replicates = len(stream.keys)
        room = [backend.empty((self.replicates, capacity, length), device) for length in (d, n, n, d)]
        # On a CPU, memory that is not written to is not taken from the system.
        self.weights, self.gradients = Side(0, *room[:2]), Side(0, *room[2:])

    def matmul(self, weights: Float[Array, "... q d"]) -> Float[Array, "... q n"]:
        """X w, one product for each of the weights; a single replicate may go without its axis."""
        products, self.weights = self._product(weights, self.weights, self.gradients, of_weights=True)
        return products

    def rmatmul(self, gradients: Float[Array, "... q n"]) -> Float[Array, "... q d"]:
        """X^T g, one product for each of the gradients; a single replicate may go without its axis."""
        products, self.gradients = self._product(gradients, self.gradients, self.weights, of_weights=False)
        return products

    def _product(self, vectors: Array, own: Side, other: Side, *, of_weights: bool) -> tuple[Array, Side]:
        """Products with vectors of one side, and what is known of it then."""
        xp, (*_, q, length) = array_namespace(vectors), vectors.shape
        own = own.with_room(q)
        normals = self._fresh_normals(2 * own.size + of_weights, q, own.images.shape[2])
        own.images[:, own.size : own.size + q, :] = normals
        products = revealing_product(xp.reshape(vectors, (self.replicates, q, length)), own, other)
        return xp.reshape(products, (*vectors.shape[:-1], own.images.shape[2])), own._replace(size=own.size + q)

    def _fresh_normals(self, number: int, *shape: int) -> Float[Array, "R ..."]:
        """Independent normals of variance 1/d, a function of each replicate's stream and of a number alone."""
        return self.stream.normals(*shape, part=number, device=self.device) * self.scale

    def complete(self, rng: np.random.Generator) -> StackedDesign:
        """Draw what is still unknown of X: the dense designs that would have given the same products.

        See docs/theory.md#completion.

        Parameters
        ----------
        rng : numpy.random.Generator

        Returns
        -------
        StackedDesign
        """
        (q_w, b), (q_g, c) = self.weights.known(), self.gradients.known()
        shape = self.replicates, q_g.shape[2], q_w.shape[2]
        rest = backend.asarray(rng.standard_normal(shape) * self.scale, self.device)
        t = array_namespace(rest).matrix_transpose
        rest = rest - t(q_g) @ (q_g @ rest)
        rest = rest - (rest @ t(q_w)) @ q_w
        return StackedDesign(t(b) @ q_w + t(q_g) @ (c - (c @ t(q_w)) @ q_w) + rest)
