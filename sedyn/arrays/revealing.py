"""Products with Gaussian matrices that are known only as far as products have revealed them.

Of a matrix that is known on orthonormal directions of either side, a product with further vectors reveals what it does
to their new directions (docs/theory.md#deferred-product). Matrices side by side have an axis in front. How many
directions are new is nobody's to know: a vector that brings none has a direction of zeros, and so has its image.
"""

from __future__ import annotations

from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float

__all__ = ["NEGLIGIBLE_SHARE", "Side", "revealing_product"]

# What a vector adds to a basis below this share of its length is rounding, not new.
NEGLIGIBLE_SHARE = 1e-12


class Side(NamedTuple):
    """What is known of matrices on one of their sides, in room for more.

    Attributes
    ----------
    size : int
        Directions so far, those of zeros included.
    basis : array, shape (R, room, m)
        Directions, orthonormal or zero; undefined from `size` on.
    images : array, shape (R, room, m')
        What the matrices make of them.
    """

    size: int
    basis: Float[Array, "R room m"]
    images: Float[Array, "R room m_"]

    def known(self) -> tuple[Float[Array, "R size m"], Float[Array, "R size m_"]]:
        """Directions and images so far."""
        return self.basis[:, : self.size, :], self.images[:, : self.size, :]

    def with_room(self, more: int) -> Side:
        """The same, with room for so many more directions, or itself where there is enough."""
        xp, (_, room, _) = array_namespace(self.basis), self.basis.shape
        if self.size + more <= room:
            return self
        room = max(self.size + more, 2 * room) - self.size
        parts = [
            xp.concat(
                [part, xp.empty((part.shape[0], room, part.shape[2]), dtype=part.dtype, device=part.device)], axis=1
            )
            for part in self.known()
        ]
        return Side(self.size, *parts)


def revealing_product(vectors: Float[Array, "R q m"], own: Side, other: Side) -> Float[Array, "R q m_"]:
    """Products of matrices with vectors, and what they reveal: new directions and their images, in place.

    Parameters
    ----------
    vectors : array, shape (R, q, m)
    own : Side
        Of the vectors. Of `basis` the next q rows are set. Of `images` they are given as independent normals with the
        variance of the matrices' entries, and set: to what the other side fixes of them and what it leaves free of
        these normals.
    other : Side
        Of the products.

    Returns
    -------
    array, shape (R, q, m')
        NaN for a matrix whose vectors are not finite, or too long; they reveal nothing.
    """
    xp, count, new = array_namespace(vectors), own.size, own.size + vectors.shape[1]
    (known, images), (known_there, images_there) = own.known(), other.known()
    squares = xp.linalg.vecdot(vectors, vectors)[..., None]
    finite = xp.isfinite(xp.sum(squares, axis=1, keepdims=True))
    vectors = xp.where(finite, vectors, xp.zeros((1, 1, 1), dtype=vectors.dtype, device=vectors.device))
    coefficients = _products(vectors, known)
    directions = vectors - xp.matmul(coefficients, known)
    found = _make_orthonormal(directions, squares)
    # Short remainders are left with more of what is known than long ones: once more, now that all are of length one.
    directions -= xp.matmul(_products(directions, known), known)
    halves = -0.5 * _products(directions, directions)
    directions = own.basis[:, count:new, :] = 1.5 * directions + xp.matmul(halves, directions)
    revealed = own.images[:, count:new, :] * found
    revealed += xp.matmul(_products(directions, images_there) - _products(revealed, known_there), known_there)
    own.images[:, count:new, :] = revealed
    products = xp.matmul(coefficients, images)
    products += xp.matmul(_products(vectors, directions), revealed)
    products += xp.where(finite, xp.zeros_like(squares), xp.full_like(squares, xp.nan))
    return products


def _products(vectors: Array, others: Array) -> Array:
    return array_namespace(vectors).matmul(vectors, array_namespace(vectors).matrix_transpose(others))


def _make_orthonormal(vectors: Array, squares: Array) -> Array:
    """Gram-Schmidt, twice, vector by vector, in place; of one that adds a negligible share of its length, zeros.

    Returns
    -------
    array, shape (R, q, 1)
        One for each vector that there is, and zero for the others.
    """
    xp, found = array_namespace(vectors), []
    for a in range(vectors.shape[1]):
        vector, before = vectors[:, a : a + 1, :], vectors[:, :a, :]
        for _ in range(2 if a else 0):
            vector = vector - xp.matmul(_products(vector, before), before)
        square = _products(vector, vector)
        new = square > NEGLIGIBLE_SHARE**2 * squares[:, a : a + 1, :]
        found.append(xp.astype(new, vectors.dtype))
        vectors[:, a : a + 1, :] = vector * (found[-1] / xp.sqrt(xp.where(new, square, xp.ones_like(square))))
    return xp.concat(found, axis=1)
