"""Designs: the feature matrix as an operator; this one formed in memory, `sedyn.deferred` only as far as looked at.

Designs hold standardized features Z / sqrt(d), with independent entries of variance 1/d; the covariance of
correlated features is applied by the caller. Vectors are rows: a block of q vectors is (q, n) or (q, d).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from sedyn import backend
from sedyn.aligned import aligned_empty
from sedyn.backend import Array, array_namespace
from sedyn.features import Sampler
from sedyn.network import Derivatives, Network
from sedyn.row_blocks import row_blocks
from sedyn.threads import one_blas_thread, run_each, run_together, thread_count

__all__ = [
    "DenseDesign",
    "Design",
    "SingleDesign",
    "StackedDesign",
    "dense_design",
    "stacked_design",
    "two_products",
]

# Entries that one random stream draws: few enough to stay in cache until they are stored.
ENTRIES_PER_STREAM = 2**17
# Entries that a device draws at once, in double precision whatever the design is stored in.
ENTRIES_PER_DEVICE_DRAW = 2**26


class Design(Protocol):
    """A feature matrix X, n x d, known by its products."""

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (q, d), to X w, (q, n)."""
        ...

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (q, n), to X^T g, (q, d)."""
        ...

    def descend(self, weights: Array, network: Network, *, curvature: bool) -> tuple[Array, Derivatives, Array]:
        """X w, what the network makes of it, and X^T g for the gradients found there.

        Parameters
        ----------
        weights : array, shape (q, d)
        network : Network
            Of all n rows.
        curvature : bool
            Whether D is wanted.

        Returns
        -------
        trained : array, shape (q, n)
        derivatives : Derivatives
        products : array, shape (q, d)
        """
        ...


def two_products(
    design: Design, weights: Array, network: Network, *, curvature: bool
) -> tuple[Array, Derivatives, Array]:
    """Do what `Design.descend` does by a product forward and another one backward."""
    trained = design.matmul(weights)
    with one_blas_thread():
        derivatives = network.differentiate(trained, curvature=curvature)
    return trained, derivatives, design.rmatmul(derivatives.gradient)


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


class SingleDesign:
    """The design of one replicate, as replicates side by side are met: with an axis in front.

    Parameters
    ----------
    design : Design
    """

    def __init__(self, design: Design) -> None:
        self.design = design

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (1, q, d), to X w, (1, q, n)."""
        return self.design.matmul(weights[0, ...])[None, ...]

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (1, q, n), to X^T g, (1, q, d)."""
        return self.design.rmatmul(gradients[0, ...])[None, ...]

    def descend(self, weights: Array, network: Network, *, curvature: bool) -> tuple[Array, Derivatives, Array]:
        """X w, the derivatives there and X^T g; see `Design.descend`."""
        trained, derivatives, products = self.design.descend(weights[0, ...], network.replicate(0), curvature=curvature)
        loss, gradient, deep, second = derivatives
        found = Derivatives(
            loss[None, ...],
            gradient[None, ...],
            tuple(layer[None, ...] for layer in deep),
            None if second is None else second[None, ...],
        )
        return trained[None, ...], found, products[None, ...]


class StackedDesign:
    """Dense designs of several replicates, which the array library multiplies side by side.

    Parameters
    ----------
    matrices : array, shape (R, n, d)
        Floats.
    scale : float, optional
        Each X is this times its matrix.
    """

    def __init__(self, matrices: Array, scale: float = 1.0) -> None:
        self.matrices, self.scale = matrices, scale

    def matmul(self, weights: Array) -> Array:
        """Rows of `weights`, (R, q, d), to X w, (R, q, n)."""
        return self._times(weights, array_namespace(weights).matrix_transpose(self.matrices))

    def rmatmul(self, gradients: Array) -> Array:
        """Rows of `gradients`, (R, q, n), to X^T g, (R, q, d)."""
        return self._times(gradients, self.matrices)

    def descend(self, weights: Array, network: Network, *, curvature: bool) -> tuple[Array, Derivatives, Array]:
        """X w, the derivatives there and X^T g; see `Design.descend`."""
        return two_products(self, weights, network, curvature=curvature)

    def _times(self, rows: Array, matrices: Array) -> Array:
        xp = array_namespace(rows)
        products = xp.matmul(xp.astype(rows * self.scale, matrices.dtype, copy=False), matrices)
        return xp.astype(products, rows.dtype, copy=False)


def dense_design(
    n: int,
    d: int,
    sampler: Sampler,
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
    sampler : callable
        Of standardized entries, see `sedyn.features.feature_sampler`. On a CPU integers and sparse arrays are kept as
        they are; on a GPU, whose library multiplies neither with floats, every matrix is one of floats.
    seed : SeedSequence
    device : {'cpu', 'gpu'}, optional
    dtype : dtype, optional
        That floats are stored in.
    """
    return DenseDesign(_drawn(n, d, sampler, seed, device, dtype), 1 / math.sqrt(d), dtype)


def stacked_design(
    n: int,
    d: int,
    sampler: Sampler,
    seeds: Sequence[np.random.SeedSequence],
    device: str = "cpu",
    dtype: str | np.dtype = "float64",
) -> StackedDesign:
    """Draw the dense designs of several replicates, each with the entries that `dense_design` gives it.

    Parameters
    ----------
    n, d, sampler, device, dtype
        As for `dense_design`; every matrix is one of floats.
    seeds : sequence of SeedSequence
        One for each replicate.
    """
    matrices = backend.empty((len(seeds), n, d), device, dtype)
    for replicate, seed in enumerate(seeds):
        matrices[replicate, ...] = _full(_drawn(n, d, sampler, seed, device, dtype))
    return StackedDesign(matrices, 1 / math.sqrt(d))


def _drawn(n: int, d: int, sampler: Sampler, seed: np.random.SeedSequence, device: str, dtype: str | np.dtype) -> Any:
    """Standardized entries in the form that a device multiplies."""
    device_rng = backend.device_generator(seed, device)
    if device_rng is not None and sampler.device_draw is not None:
        return _drawn_on_device(n, d, partial(sampler.device_draw, device_rng), device, dtype)
    matrix = _drawn_on_host(n, d, sampler, seed, dtype)
    if device == "cpu":
        return matrix
    return backend.asarray(_full(matrix).astype(dtype, copy=False), device)


def _full(matrix: Any) -> Array:
    """All entries of an array that may be sparse."""
    from scipy import sparse

    return matrix.toarray() if sparse.issparse(matrix) else matrix


def _drawn_on_host(n: int, d: int, sampler: Sampler, seed: np.random.SeedSequence, dtype: str | np.dtype) -> Any:
    """Draw blocks of rows, each with a stream of its own; integers and sparse arrays stay what they are."""
    size = max(1, ENTRIES_PER_STREAM // d)
    starts = range(0, n, size)

    def draw(start: int) -> Any:
        stream = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, start // size))
        return sampler(np.random.Generator(np.random.SFC64(stream)), (min(size, n - start), d))

    from scipy import sparse

    first = draw(0)
    if sparse.issparse(first):
        pieces = {0: first}
        run_each(lambda start: pieces.__setitem__(start, draw(start)), starts[1:])
        return sparse.vstack([pieces[start] for start in starts], format="csr", dtype=dtype)
    matrix = aligned_empty((n, d), first.dtype if first.dtype.kind == "i" else dtype)
    matrix[:size] = first

    def fill(start: int) -> None:
        matrix[start : start + size] = draw(start)

    run_each(fill, starts[1:])
    return matrix


def _drawn_on_device(
    n: int, d: int, draw: Callable[[tuple[int, int]], Array], device: str, dtype: str | np.dtype
) -> Array:
    """Fill a matrix on a device by draws of a bounded number of entries each."""
    matrix, size = backend.empty((n, d), device, dtype), max(1, ENTRIES_PER_DEVICE_DRAW // d)
    for start in range(0, n, size):
        stop = min(start + size, n)
        rows = draw((stop - start, d))
        matrix[start:stop, :] = array_namespace(rows).astype(rows, matrix.dtype, copy=False)
    return matrix
