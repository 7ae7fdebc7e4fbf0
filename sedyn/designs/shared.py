"""One design for replicates side by side, which may each add a row of their own to every row of it."""

from __future__ import annotations

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.designs.protocol import Design

__all__ = ["SharedDesign"]


class SharedDesign(Design):
    """A design that replicates side by side have in common: X, or X + 1 shift^T with a shift for each.

    Parameters
    ----------
    design : Design
        Of one replicate.
    shift : array, shape (R, d), optional
        What each replicate adds to every row.
    """

    def __init__(self, design: Design, shift: Float[Array, "R d"] | None = None) -> None:
        self.design, self.shift = design, shift

    def matmul(self, weights: Float[Array, "R q d"]) -> Float[Array, "R q n"]:
        """(X + 1 shift^T) w, one product for each of the weights."""
        xp = array_namespace(weights)
        flat = self.design.matmul(xp.reshape(weights, (-1, weights.shape[-1])))
        products = xp.reshape(flat, (*weights.shape[:-1], flat.shape[-1]))
        return products if self.shift is None else products + xp.matmul(weights, self.shift[:, :, None])

    def rmatmul(self, gradients: Float[Array, "R q n"]) -> Float[Array, "R q d"]:
        """(X + 1 shift^T)^T g, one product for each of the gradients."""
        xp = array_namespace(gradients)
        flat = self.design.rmatmul(xp.reshape(gradients, (-1, gradients.shape[-1])))
        products = xp.reshape(flat, (*gradients.shape[:-1], flat.shape[-1]))
        if self.shift is None:
            return products
        return products + xp.sum(gradients, axis=-1)[..., None] * self.shift[:, None, :]
