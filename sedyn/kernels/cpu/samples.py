"""Samples held by numpy as floats or small integers, multiplied by compiled kernels.

`sedyn.designs.storage` says what a dense design asks of stored samples.
"""

from __future__ import annotations

import numpy as np

from sedyn.arrays.blocks import row_blocks
from sedyn.arrays.memory import aligned_empty
from sedyn.arrays.shapes import Float, Shaped
from sedyn.arrays.threads import run_each, run_together, thread_count
from sedyn.kernels.cpu import passes
from sedyn.kernels.cpu.several import networks_of, samples_together, shares
from sedyn.kernels.program import MOST_UNITS
from sedyn.model.network import Derivatives, Network

__all__ = ["StoredSamples", "descend_each"]

# Bytes of the samples that go forward and backward together: they and the next ones fit in the second-level cache.
CACHED_BYTES = 3 * 2**17


class StoredSamples:
    """Samples by blocks, one the work of one thread; see `sedyn.designs.storage.SampleBlocks`.

    Parameters
    ----------
    matrix : ndarray, shape (n, d)
    dtype : dtype
        Of the products of integers; floats are multiplied in their own type.
    """

    def __init__(self, matrix: Shaped[np.ndarray, "n d"], dtype: np.dtype) -> None:
        self.dtype = matrix.dtype if matrix.dtype.kind == "f" else dtype
        self.matrix = np.ascontiguousarray(matrix)
        self.shape = matrix.shape
        tile_bytes = passes.ROWS * matrix.dtype.itemsize * matrix.shape[1]
        self.samples_together = passes.ROWS * max(1, CACHED_BYTES // tile_bytes)
        self.blocks = row_blocks(matrix.shape[0], passes.ROWS)
        self.starts = np.array([*(samples.start for samples in self.blocks), matrix.shape[0]])

    def prepare(self, weights: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "units d"]:
        """Pad weights, (q, d), to whole tiles of units and round them to the type of the products."""
        return passes.padded(weights, self.dtype)

    def products(self, weights: Float[np.ndarray, "units d"], samples: slice) -> Float[np.ndarray, "units r"]:
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
        if weights.shape[0] > MOST_UNITS["cpu"]:
            return weights @ block.astype(self.dtype, copy=False).T
        out = np.empty((weights.shape[0], block.shape[0]), self.dtype)
        passes.products(block, 0, weights, out)
        return out

    def transposed_products(self, gradients: Float[np.ndarray, "q r"], samples: slice) -> Float[np.ndarray, "units d"]:
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
        if gradients.shape[0] > MOST_UNITS["cpu"]:
            return gradients.astype(self.dtype, copy=False) @ block.astype(self.dtype, copy=False)
        padded = passes.padded(gradients, self.dtype)
        out = np.zeros((padded.shape[0], self.shape[1]), self.dtype)
        passes.add_products(block, 0, padded, out)
        return out

    def descend(
        self, weights: Float[np.ndarray, "q d"], network: Network, scale: float, *, curvature: bool
    ) -> tuple[Float[np.ndarray, "q n"], Derivatives, Float[np.ndarray, "q d"]] | None:
        """X w, the network's derivatives there and X^T g, in one pass without the interpreter.

        Each sample is read from memory once. Threads share out the blocks, and results do not depend on their number.

        Parameters
        ----------
        weights : ndarray, shape (q, d)
        network : Network
            Of all n samples.
        scale : float
            X is this times the matrix.
        curvature : bool
            Whether D is wanted.

        Returns
        -------
        trained : ndarray, shape (q, n)
        derivatives : Derivatives
        products : ndarray, shape (q, d)
            In place of the three, None if the network is wide or has no compiled form.
        """
        networks = networks_of(network, (), weights.shape[0])
        if networks is None:
            return None
        program, compiled, *_ = networks
        (q, d), n, blocks = weights.shape, self.shape[0], len(self.blocks)
        padded = passes.padded(weights, self.dtype, scale)
        # What threads know of each other's blocks, and room for the sums of blocks.
        counters, places = np.zeros(blocks + 1, np.int64), np.empty(blocks, np.int64)
        parts = aligned_empty((blocks, *padded.shape), padded.dtype)
        deep_parts = np.empty((blocks, program.parameters))
        trained, losses, gradients = np.empty((q, n)), np.empty(n), np.empty((q, n))
        deep_gradient, drive = np.empty((1, program.parameters)), np.empty((q, d))
        curvatures = np.empty((q, q, n) if curvature else (0, 0, 0))
        given = self.matrix, self.starts, counters, places, self.samples_together, padded, compiled, scale
        found = parts, deep_parts, trained, losses, gradients, deep_gradient, drive, curvatures
        run_together(lambda: passes.descend(*given, *found), min(thread_count(), blocks))
        derivatives = Derivatives(
            losses, gradients, program.unpacked(deep_gradient[0]), curvatures if curvature else None
        )
        return trained, derivatives, drive


def descend_each(
    matrices: Float[np.ndarray, "R n d"],
    weights: Float[np.ndarray, "R q d"],
    network: Network,
    scale: float,
    *,
    curvature: bool,
) -> tuple[Float[np.ndarray, "R q n"], Derivatives, Float[np.ndarray, "R q d"]] | None:
    """X w, the network's derivatives there and X^T g for replicates side by side, one after another in compiled code.

    Parameters
    ----------
    matrices : ndarray, shape (R, n, d)
    weights : ndarray, shape (R, q, d)
    network : Network
        Of all n samples, with an axis of replicates in front.
    scale : float
        Each X is this times its matrix.
    curvature : bool
        Whether D is wanted.

    Returns
    -------
    trained : ndarray, shape (R, q, n)
    derivatives : Derivatives
    products : ndarray, shape (R, q, d)
        In place of the three, None if the network is wide or has no compiled form.
    """
    (replicates, q, d), n = weights.shape, matrices.shape[1]
    networks = networks_of(network, (replicates,), q)
    if networks is None:
        return None
    program, shared, parameters, labels, sample_weights = networks
    padded = passes.padded_each(weights, matrices.dtype, scale)
    trained, losses, gradients = np.empty((replicates, q, n)), np.empty((replicates, n)), np.empty((replicates, q, n))
    deep_gradients, drives = np.empty((replicates, program.parameters)), np.empty((replicates, q, d))
    curvatures = np.empty((replicates, q, q, n) if curvature else (replicates, 0, 0, 0))
    together = min(samples_together(program, curvature=curvature), -(-n // passes.ROWS) * passes.ROWS)

    def descend(some: slice) -> None:
        found = trained, losses, gradients, deep_gradients, drives, curvatures
        own = matrices[some], together, padded[some], shared, parameters[some], labels[some], sample_weights[some]
        passes.descend_each(*own, scale, *(each[some] for each in found))

    run_each(descend, shares(replicates))
    deep = program.unpacked(deep_gradients)
    return trained, Derivatives(losses, gradients, deep, curvatures if curvature else None), drives
