"""Designs of replicates side by side: an axis of replicates is in front of every array."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.designs.entries import all_entries, draw_entries
from sedyn.designs.protocol import Design
from sedyn.kernels import dispatch
from sedyn.model.algorithm import Descent, Path
from sedyn.model.features import FeatureLaw
from sedyn.model.network import Derivatives, Network
from sedyn.model.seeds import Stream

__all__ = ["SingleDesign", "StackedDesign", "stacked_design"]


class SingleDesign(Design):
    """The design of one replicate, as replicates side by side are met: with an axis in front.

    Parameters
    ----------
    design : Design
    """

    def __init__(self, design: Design) -> None:
        self.design = design

    def matmul(self, weights: Float[Array, "1 q d"]) -> Float[Array, "1 q n"]:
        """X w, one product for each of the weights."""
        return self.design.matmul(weights[0, ...])[None, ...]

    def rmatmul(self, gradients: Float[Array, "1 q n"]) -> Float[Array, "1 q d"]:
        """X^T g, one product for each of the gradients."""
        return self.design.rmatmul(gradients[0, ...])[None, ...]

    def descend(
        self, weights: Float[Array, "1 q d"], network: Network, *, curvature: bool
    ) -> tuple[Float[Array, "1 q n"], Derivatives, Float[Array, "1 q d"]]:
        """X w, the derivatives there and X^T g, the way of the design that is held.

        Parameters
        ----------
        weights : array, shape (1, q, d)
        network : Network
            Of all n samples, with an axis in front.
        curvature : bool
            Whether D is wanted.

        Returns
        -------
        trained : array, shape (1, q, n)
        derivatives : Derivatives
        products : array, shape (1, q, d)
        """
        trained, derivatives, products = self.design.descend(weights[0, ...], network.replicate(0), curvature=curvature)
        loss, gradient, deep, second = derivatives
        found = Derivatives(
            loss[None, ...],
            gradient[None, ...],
            tuple(layer[None, ...] for layer in deep),
            None if second is None else second[None, ...],
        )
        return trained[None, ...], found, products[None, ...]


class StackedDesign(Design):
    """Dense designs of several replicates, which the array library multiplies side by side.

    Parameters
    ----------
    matrices : array, shape (R, n, d)
        Floats.
    scale : float, optional
        Each X is this times its matrix.
    """

    def __init__(self, matrices: Float[Array, "R n d"], scale: float = 1.0) -> None:
        self.matrices, self.scale = matrices, scale

    def matmul(self, weights: Float[Array, "R q d"]) -> Float[Array, "R q n"]:
        """X w, one product for each of the weights."""
        return self._times(backend.matmul_rows, weights)

    def rmatmul(self, gradients: Float[Array, "R q n"]) -> Float[Array, "R q d"]:
        """X^T g, one product for each of the gradients."""
        return self._times(array_namespace(gradients).matmul, gradients)

    def descend(
        self, weights: Float[Array, "R q d"], network: Network, *, curvature: bool
    ) -> tuple[Float[Array, "R q n"], Derivatives, Float[Array, "R q d"]]:
        """X w, the derivatives there and X^T g; see `Design.descend`."""
        found = dispatch.descend_each(self.matrices, weights, network, self.scale, curvature=curvature)
        return super().descend(weights, network, curvature=curvature) if found is None else found

    @property
    def has_paths(self) -> bool:
        """Whether a kernel goes through all iterations at once, see `path`."""
        operation: Any = dispatch.descend_path  # asked for its kernel before there is anything else to give
        return operation.chosen(self.matrices) is not operation.definition

    def path(self, descent: Descent) -> Path | None:
        """Gradient descent of all iterations at once; None where no kernel does it, and steps one by one serve."""
        return dispatch.descend_path(self.matrices, self.scale, descent)

    def _times(self, product: Callable[[Array, Array], Array], vectors: Array) -> Array:
        xp, matrices = array_namespace(vectors), self.matrices
        products = product(xp.astype(vectors * self.scale, matrices.dtype, copy=False), matrices)
        return xp.astype(products, vectors.dtype, copy=False)


def stacked_design(
    n: int,
    d: int,
    law: FeatureLaw,
    stream: Stream,
    device: str = "cpu",
    dtype: str | np.dtype = "float64",
) -> StackedDesign:
    """Draw the dense designs of several replicates, each with the entries that `dense_design` gives it.

    Parameters
    ----------
    n, d, law, device, dtype
        As for `sedyn.designs.dense.dense_design`; every matrix is one of floats.
    stream : Stream
        Of all replicates.

    Returns
    -------
    StackedDesign
    """
    if law.counted:
        return StackedDesign(stream.normals(n, d, dtype=dtype, device=device), 1 / math.sqrt(d))
    matrices = backend.empty((stream.keys.size, n, d), device, dtype)
    for replicate in range(stream.keys.size):
        own = stream.some(slice(replicate, replicate + 1))
        matrices[replicate, ...] = all_entries(draw_entries(n, d, law, own, device, dtype))
    return StackedDesign(matrices, 1 / math.sqrt(d))
