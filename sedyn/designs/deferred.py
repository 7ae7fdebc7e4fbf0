"""A Gaussian design that is drawn only as far as its products reveal it, exactly in law (THEORY section 5).

Vectors are rows: a block of q vectors is (q, n) or (q, d).
"""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace, to_host
from sedyn.arrays.threads import run_each
from sedyn.designs.dense import DenseDesign
from sedyn.designs.protocol import two_products
from sedyn.kernels.long_rows import add_combination, coefficients_of, column_blocks, combination, remove
from sedyn.model.network import Derivatives, Network

__all__ = ["DeferredDesign"]

# What a block adds to a basis below this share of the block's norm is rounding, not new.
NEGLIGIBLE_SHARE = 1e-12
# Directions found together are of similar size, within this factor, so that each is orthogonal to rounding.
SIMILAR = 1e-3


class DeferredDesign:
    """A Gaussian design that draws only what its products reveal, exactly in law (THEORY section 5).

    After k weight directions and l gradient directions have been asked for, all that is known of X is its action on
    them: orthonormal Q_w with images B = X Q_w, orthonormal Q_g with images C = X^T Q_g. A product with a new
    direction draws fresh normals orthogonal to what is known. Time is O((n + d) k q) a product and memory
    O((n + d)(k + l)), instead of O(n d q) and O(n d). Everything is in double precision. Results do not depend on
    the number of threads.

    Parameters
    ----------
    n, d : int
    seed : SeedSequence
    device : {'cpu', 'gpu'}, optional
    capacity : int, optional
        Directions that room is kept for on each side; more make it grow.
    host_normals : bool, optional
        Draw on the host, so that every device gets the same numbers; otherwise a GPU draws with a generator of its own.

    References
    ----------
    Lu (arXiv 2101.07464), Householder dice.
    """

    def __init__(
        self,
        n: int,
        d: int,
        seed: np.random.SeedSequence,
        device: str = "cpu",
        capacity: int = 64,
        *,
        host_normals: bool = False,
    ) -> None:
        self.scale = 1 / math.sqrt(d)
        self.seed = seed
        self.device = device
        self.device_rng = None if host_normals else backend.device_generator(seed, device)
        self.weights = Revealed(d, n, capacity, device)
        self.gradients = Revealed(n, d, capacity, device)

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (q, d), to X w, (q, n)."""
        return self._product(weights, self.weights, self.gradients)

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (q, n), to X^T g, (q, d)."""
        return self._product(gradients, self.gradients, self.weights)

    def descend(self, weights: Array, network: Network, *, curvature: bool) -> tuple[Array, Derivatives, Array]:
        """Two products, with the network between them; see `Design.descend`."""
        return two_products(self, weights, network, curvature=curvature)

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

    def _normals(self, shape: tuple[int, int], *stream: int) -> Array:
        """Independent normals of variance 1/d, on a CPU each block of columns from a stream of its own."""
        if self.device_rng is not None:
            return self.device_rng.standard_normal(shape) * self.scale
        from sedyn.arrays.normals import standard_normals  # loads a compiler, which only designs on a CPU need

        normals = np.empty(shape)

        def fill(columns: slice) -> None:
            key = (*self.seed.spawn_key, *(int(part) for part in stream), columns.start)
            rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(self.seed.entropy, spawn_key=key)))
            block = standard_normals(rng, (shape[0], columns.stop - columns.start))
            np.multiply(block, self.scale, out=normals[:, columns])

        run_each(fill, column_blocks(shape[1]))
        return backend.asarray(normals, self.device)

    def complete(self, rng: np.random.Generator) -> DenseDesign:
        """Draw what is still unknown of X: the dense design that would have given the same products.

        Parameters
        ----------
        rng : numpy.random.Generator
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
    def basis(self) -> Array:
        """Directions, shape (count, size)."""
        return self._rooms[0][: self.count, :]

    @property
    def images(self) -> Array:
        """Images of the directions, shape (count, image_size)."""
        return self._rooms[1][: self.count, :]

    def append(self, directions: Array, images: Array) -> None:
        """Add directions and their images."""
        xp = array_namespace(directions)
        count = self.count + directions.shape[0]
        capacity = self._rooms[0].shape[0]
        if count > capacity:
            more = max(count - capacity, capacity)
            self._rooms = [
                xp.concat([room, backend.empty((more, room.shape[1]), self.device)], axis=0) for room in self._rooms
            ]
        for room, rows in zip(self._rooms, (directions, images), strict=True):
            room[self.count : count, :] = rows
        self.count = count


def split(block: Array, basis: Array) -> tuple[Array, Array] | None:
    """Coefficients of a block in a basis and in new directions, and these directions; None for an infinite block.

    Block Gram-Schmidt, twice. The directions come from the Gram matrix of the remainder, those of similar size
    together; what they leave is split again, so that nearly dependent and dependent rows are met alike. How many are
    new is for the host to say: it gets the Gram matrix, once for each size that there is.

    Parameters
    ----------
    block : array, shape (q, d)
    basis : array, shape (k, d)
        Orthonormal rows.

    Returns
    -------
    coefficients : array, shape (q, k + r)
    directions : array, shape (r, d)
        Orthonormal and orthogonal to the basis, r <= q.
    """
    xp = array_namespace(block)
    remainder = xp.asarray(block, copy=True)
    coefficients = remove(remainder, basis)
    kind = {"dtype": block.dtype, "device": block.device}
    host = to_host({"gram": coefficients_of(remainder, remainder), "known": xp.sum(coefficients**2)})
    total = host["known"] + np.trace(host["gram"])
    if not np.isfinite(total):
        return None
    directions = remainder[:0, :]
    while directions.shape[0] < block.shape[0]:
        squares, axes = np.linalg.eigh(host["gram"])
        if not squares[-1] > NEGLIGIBLE_SHARE**2 * total:
            break
        first = np.count_nonzero(squares <= SIMILAR**2 * squares[-1])  # they ascend
        found = combination(xp.asarray(_whitening(squares[first:], axes[:, first:]), **kind), remainder)
        # The Gram matrix squares the spread of sizes and with it the rounding: once more makes it exact.
        found = combination(_whitening(*xp.linalg.eigh(coefficients_of(found, found))), found)
        directions = xp.concat([directions, found], axis=0)
        if directions.shape[0] == block.shape[0]:
            break
        # The large directions first: what rounding they leave along the basis goes with the basis.
        remove(remainder, directions)
        coefficients += remove(remainder, basis)
        host = to_host({"gram": coefficients_of(remainder, remainder)})
    return xp.concat([coefficients, coefficients_of(block, directions)], axis=1), directions


def _whitening(squares: Array, axes: Array) -> Array:
    """Coefficients of rows that make them orthonormal, from eigenvalues and vectors of their Gram matrix.

    Where all vectors are given this is the symmetric root of the inverse, which no choice of vectors enters: neither
    their signs nor, where eigenvalues are equal, their directions. Results then do not hang on rounding.
    """
    scaled = (axes / array_namespace(axes).sqrt(squares)).T
    return axes @ scaled if axes.shape[0] == axes.shape[1] else scaled
