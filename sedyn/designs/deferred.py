"""A Gaussian design that is drawn only as far as its products reveal it (docs/theory.md#deferred-product)."""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.designs.bases import add_combination, coefficients_of, combination, split
from sedyn.designs.dense import DenseDesign
from sedyn.designs.protocol import Design
from sedyn.model.seeds import Stream

__all__ = ["BLOCKS", "LAUNCHES", "READINGS", "DeferredDesign"]

# What a product costs: readings of the directions and images that are known, in `split`, `_reveal` and `combination`;
# readings and writings of a block of vectors; and launches on a GPU.
READINGS, BLOCKS, LAUNCHES = 8, 12, 30


class DeferredDesign(Design):
    """A Gaussian design that draws only what its products reveal, exactly in law.

    After k weight directions and l gradient directions have been asked for, all that is known of X is its action on
    them (docs/theory.md#revealed): orthonormal Q_w with images B = X Q_w, orthonormal Q_g with images C = X^T Q_g. A
    product with a new direction draws fresh normals orthogonal to what is known. Time is O((n + d) k q) a product and
    memory O((n + d)(k + l)), instead of O(n d q) and O(n d). Everything is in double precision. Results do not depend
    on the number of threads.

    Parameters
    ----------
    n, d : int
    stream : Stream
        Of a single replicate.
    device : {'cpu', 'gpu'}, optional
    capacity : int, optional
        Directions that room is kept for on each side; more make it grow.

    References
    ----------
    Lu (arXiv 2101.07464), Householder dice.
    """

    def __init__(
        self,
        n: int,
        d: int,
        stream: Stream,
        device: str = "cpu",
        capacity: int = 64,
    ) -> None:
        self.scale = 1 / math.sqrt(d)
        self.stream = stream
        self.device = device
        self.weights = Revealed(d, n, capacity, device)
        self.gradients = Revealed(n, d, capacity, device)

    def matmul(self, weights: Float[Array, "q d"]) -> Float[Array, "q n"]:
        """X w, one product for each of the weights."""
        return self._product(weights, self.weights, self.gradients)

    def rmatmul(self, gradients: Float[Array, "q n"]) -> Float[Array, "q d"]:
        """X^T g, one product for each of the gradients."""
        return self._product(gradients, self.gradients, self.weights)

    def _product(self, block: Array, own: Revealed, other: Revealed) -> Array:
        xp, found = array_namespace(block), split(block, own.basis)
        if found is None:  # a diverged run: its products are of no use, and must not end it
            return xp.full((block.shape[0], own.images.shape[1]), xp.nan, dtype=block.dtype, device=block.device)
        coefficients, directions = found
        if directions.shape[0]:
            own.append(directions, self._reveal(directions, own, other))
        return combination(coefficients, own.images)

    def _reveal(self, directions: Array, own: Revealed, other: Revealed) -> Array:
        """Images of new directions: what the other side's products fix, and fresh normals orthogonal to it."""
        images = self._normals((directions.shape[0], other.basis.shape[1]), own is self.weights, own.count)
        fixed = coefficients_of(directions, other.images) - coefficients_of(images, other.basis)
        add_combination(images, fixed, other.basis)
        return images

    def _normals(self, shape: tuple[int, int], on_weights: bool, count: int) -> Array:
        """Independent normals of variance 1/d for the directions of a side from one on."""
        return self.stream.normals(*shape, part=2 * count + on_weights, device=self.device)[0, ...] * self.scale

    def complete(self, rng: np.random.Generator) -> DenseDesign:
        """Draw what is still unknown of X: the dense design that would have given the same products.

        See docs/theory.md#completion.

        Parameters
        ----------
        rng : numpy.random.Generator

        Returns
        -------
        DenseDesign
        """
        q_w, b, q_g, c = self.weights.basis, self.weights.images, self.gradients.basis, self.gradients.images
        rest = backend.asarray(rng.standard_normal((q_g.shape[1], q_w.shape[1])) * self.scale, self.device)
        rest = rest - q_g.T @ (q_g @ rest)
        rest = rest - (rest @ q_w.T) @ q_w
        return DenseDesign(b.T @ q_w + q_g.T @ (c - (c @ q_w.T) @ q_w) + rest)


class Revealed:
    """Orthonormal directions on one side of a design and their images on the other, in room that is made ahead.

    Parameters
    ----------
    size, image_size : int
        Length of directions and of images.
    capacity : int
    device : {'cpu', 'gpu'}
    """

    def __init__(self, size: int, image_size: int, capacity: int, device: str) -> None:
        self.count, self.device = 0, device
        # On a CPU, memory that is not written to is not taken from the system.
        self._rooms = [backend.empty((capacity, length), device) for length in (size, image_size)]

    @property
    def basis(self) -> Float[Array, "count size"]:
        """Directions, shape (count, size)."""
        return self._rooms[0][: self.count, :]

    @property
    def images(self) -> Float[Array, "count image_size"]:
        """Images of the directions, shape (count, image_size)."""
        return self._rooms[1][: self.count, :]

    def append(self, directions: Float[Array, "r size"], images: Float[Array, "r image_size"]) -> None:
        """Add directions and their images.

        Parameters
        ----------
        directions : array, shape (r, size)
            Orthonormal, and orthogonal to the basis.
        images : array, shape (r, image_size)
        """
        xp = array_namespace(directions)
        count = self.count + directions.shape[0]
        capacity = self._rooms[0].shape[0]
        if count > capacity:
            more = max(count - capacity, capacity)
            self._rooms = [
                xp.concat([room, backend.empty((more, room.shape[1]), self.device)], axis=0) for room in self._rooms
            ]
        for room, vectors in zip(self._rooms, (directions, images), strict=True):
            room[self.count : count, :] = vectors
        self.count = count
