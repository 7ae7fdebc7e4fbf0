"""Samples held by numpy as floats or small integers, multiplied by compiled kernels.

`sedyn.designs.storage` says what a dense design asks of stored samples and of a pass over them.
"""

from __future__ import annotations

import numpy as np

from sedyn.arrays.blocks import row_blocks
from sedyn.arrays.memory import aligned_empty
from sedyn.kernels.cpu import passes
from sedyn.kernels.cpu.network import CompiledNetwork, compiled_network
from sedyn.model.network import Derivatives, Network

__all__ = ["WIDE", "CompiledPass", "StoredSamples"]

# Bytes of the samples that go forward and backward together: they and the next ones fit in the second-level cache.
CACHED_BYTES = 3 * 2**17
# Units beyond which the library's products, made for square matrices, are faster than ours (benchmarks, `widths`).
WIDE = 32


class StoredSamples:
    """Samples by blocks, one the work of one thread; see `sedyn.designs.storage.SampleBlocks`.

    Parameters
    ----------
    matrix : ndarray, shape (n, d)
    dtype : dtype
        Of the products of integers; floats are multiplied in their own type.
    """

    def __init__(self, matrix: np.ndarray, dtype: np.dtype) -> None:
        self.dtype = matrix.dtype if matrix.dtype.kind == "f" else dtype
        self.matrix = np.ascontiguousarray(matrix)
        self.shape = matrix.shape
        tile_bytes = passes.ROWS * matrix.dtype.itemsize * matrix.shape[1]
        self.samples_together = passes.ROWS * max(1, CACHED_BYTES // tile_bytes)
        self.blocks = row_blocks(matrix.shape[0], passes.ROWS)
        self.starts = np.array([*(samples.start for samples in self.blocks), matrix.shape[0]])

    def prepare(self, weights: np.ndarray) -> np.ndarray:
        """Pad weights, (q, d), to whole tiles of units and round them to the type of the products."""
        return passes.padded(weights, self.dtype)

    def products(self, weights: np.ndarray, samples: slice) -> np.ndarray:
        """X w on a block of r samples, padded units included.

        Parameters
        ----------
        weights : ndarray, shape (q', d)
            As `prepare` gives them.
        samples : slice

        Returns
        -------
        ndarray, shape (q', r)
        """
        block = self.matrix[samples]
        if weights.shape[0] > WIDE:
            return weights @ block.astype(self.dtype, copy=False).T
        out = np.empty((weights.shape[0], block.shape[0]), self.dtype)
        passes.products(block, 0, weights, out)
        return out

    def transposed_products(self, gradients: np.ndarray, samples: slice) -> np.ndarray:
        """X^T g of a block of r samples, padded units included.

        Parameters
        ----------
        gradients : ndarray, shape (q, r)
        samples : slice

        Returns
        -------
        ndarray, shape (q' >= q, d)
        """
        block = self.matrix[samples]
        if gradients.shape[0] > WIDE:
            return gradients.astype(self.dtype, copy=False) @ block.astype(self.dtype, copy=False)
        padded = passes.padded(gradients, self.dtype)
        out = np.zeros((padded.shape[0], self.shape[1]), self.dtype)
        passes.add_products(block, 0, padded, out)
        return out

    def begin_pass(self, weights: np.ndarray, network: Network, scale: float) -> CompiledPass | None:
        """Begin a pass, unless the network is wide or has functions of a user's own.

        Parameters
        ----------
        weights : ndarray, shape (q, d)
        network : Network
            Of all n samples.
        scale : float
            X is this times the matrix.

        Returns
        -------
        CompiledPass or None
        """
        if weights.shape[0] > WIDE:
            return None
        compiled = compiled_network(network, weights.shape[0])
        return None if compiled is None else CompiledPass(self, weights, network, compiled, scale)


class CompiledPass:
    """One pass over stored samples without the interpreter, each read once; see `sedyn.designs.storage.Pass`.

    Parameters
    ----------
    stored : StoredSamples
    weights : ndarray, shape (q, d)
    network : Network
    compiled : CompiledNetwork
        The same, as the kernels take it.
    scale : float
        X is this times the matrix.

    Attributes
    ----------
    trained : ndarray, shape (q, n)
        X w, when every block has been passed over.
    """

    def __init__(
        self, stored: StoredSamples, weights: np.ndarray, network: Network, compiled: CompiledNetwork, scale: float
    ) -> None:
        q, n, blocks = weights.shape[0], stored.shape[0], len(stored.blocks)
        self.stored, self.network, self.compiled, self.scale = stored, network, compiled, scale
        self.weights = passes.padded(weights, stored.dtype, scale)
        self.trained, self.gradients, self.losses = np.empty((q, n)), np.empty((q, n)), np.empty(n)
        self.deep_gradient, self.drive = np.empty(compiled.deep.shape), np.empty(weights.shape)
        # What threads know of each other's blocks, and the sums of blocks.
        self.counters, self.places = np.zeros(blocks + 1, np.int64), np.empty(blocks, np.int64)
        self.parts = aligned_empty((blocks, *self.weights.shape), self.weights.dtype)
        self.deep_parts = np.empty((blocks, *compiled.deep.shape))

    def run(self) -> None:
        """Pass over blocks until none is left; threads that call this at once share them out."""
        passes.descend(
            self.stored.matrix,
            self.stored.starts,
            self.counters,
            self.places,
            self.stored.samples_together,
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
        """Losses and derivatives of all samples, without curvature."""
        layers = zip(self.deep_gradient, self.network.deep, strict=True)
        deep = tuple(gradient[:, : weights.shape[1]] for gradient, weights in layers)
        return Derivatives(self.losses, self.gradients, deep, None)

    def products(self) -> np.ndarray:
        """X^T g, (q, d)."""
        return self.drive
