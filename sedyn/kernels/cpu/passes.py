"""Compiled products with blocks of a matrix's rows small enough to stay in cache; they release the interpreter lock.

numpy hands products with few columns to a BLAS made for square matrices, which copies the large factor first; here
tiles of a few rows and units (`sedyn.kernels.cpu.tiles`) read the rows once. The order of sums is that of the code, so
results are the same every time. Arrays whose rows begin where a line of the cache does are faster, see
`sedyn.arrays.memory`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from sedyn.arrays.compiling import compiled, linked, widest_vectors
from sedyn.arrays.memory import aligned_empty
from sedyn.arrays.shapes import Float
from sedyn.kernels.cpu.network import CompiledNetwork, call_differentiate_samples
from sedyn.kernels.cpu.tiles import ROWS, UNITS, VECTOR, add_backward, add_forward, add_lanes

__all__ = [
    "ROWS",
    "UNITS",
    "add_products",
    "call_add_products",
    "call_products",
    "clear",
    "count_up",
    "counted",
    "descend",
    "descend_each",
    "padded",
    "padded_each",
    "products",
]

# So many rows, and so many bytes of each, are multiplied at a time: what they meet stays in the first-level cache.
GROUP, CHUNK = 4 * ROWS, 2**11
# How far ahead, in bytes, memory is asked for where nothing is known of what is read next.
LINES_AHEAD = 512


def padded(block: Float[np.ndarray, "q m"], dtype: np.dtype, scale: float = 1.0) -> Float[np.ndarray, "units m"]:
    """Copy a block of vectors times a number, with zeros below it to whole tiles of units.

    Parameters
    ----------
    block : ndarray, shape (q, m)
    dtype : dtype
    scale : float, optional

    Returns
    -------
    ndarray, shape (q', m)
        q' is the next multiple of `UNITS`; it begins at a line of the cache.
    """
    out = aligned_empty((-(-block.shape[0] // UNITS) * UNITS, block.shape[1]), dtype)
    np.multiply(block, scale, out=out[: block.shape[0]], casting="same_kind")
    out[block.shape[0] :] = 0
    return out


def padded_each(vectors: Float[np.ndarray, "R q m"], dtype: np.dtype, scale: float) -> Float[np.ndarray, "R units m"]:
    """Copy blocks of vectors, each as `padded` does.

    Parameters
    ----------
    vectors : ndarray, shape (R, q, m)
    dtype, scale
        As for `padded`.

    Returns
    -------
    ndarray, shape (R, q', m)
    """
    replicates, q, m = vectors.shape
    out = aligned_empty((replicates, -(-q // UNITS) * UNITS, m), dtype)
    np.multiply(vectors, scale, out=out[:, :q], casting="same_kind")
    out[:, q:] = 0
    return out


_compiled = compiled({"reassoc", "contract", "nsz"})


@_compiled
def products(matrix: np.ndarray, start: int, weights: np.ndarray, out: np.ndarray, ahead: int = LINES_AHEAD) -> None:
    """Set ``out = weights @ matrix[:, start : start + d].T``.

    Parameters
    ----------
    matrix : ndarray, shape (r, at least start + d)
        Samples, or vectors of a basis; floats, or integers.
    start : int
    weights : ndarray, shape (q, d)
        q a multiple of `UNITS`; its type is that of the sums.
    out : ndarray, shape (q, at least r)
    ahead : int, optional
        Distance in bytes at which memory is asked for before it is read.
    """
    widest_vectors()
    (q, d), lanes, columns = weights.shape, VECTOR // weights.itemsize, CHUNK // weights.itemsize
    room = -(-GROUP // lanes) * lanes
    sums, totals = np.empty((q, room * lanes), weights.dtype), np.empty((1, room), weights.dtype)
    for i in range(0, matrix.shape[0], GROUP):
        group = matrix[i : i + GROUP]
        clear(sums)
        for first in range(0, d, columns):
            after = min(first + columns, d)
            for a in range(0, q, UNITS):
                add_forward(group[:, start + first : start + after], weights[:, first:after], a, sums, ahead)
        for a in range(q):
            add_lanes(sums, a, totals)
            for k in range(group.shape[0]):
                out[a, i + k] = totals[0, k]


@_compiled
def add_products(
    matrix: np.ndarray, start: int, gradients: np.ndarray, out: np.ndarray, ahead: int = LINES_AHEAD
) -> None:
    """Add ``gradients @ matrix[:, start : start + d]`` to `out`.

    Parameters
    ----------
    matrix : ndarray, shape (r, at least start + d)
        Samples, or vectors of a basis; floats, or integers.
    start : int
    gradients : ndarray, shape (q, at least r)
        q a multiple of `UNITS`; its type is that of the sums.
    out : ndarray, shape (q, d)
        Of the same type.
    ahead : int, optional
        As in `products`.
    """
    widest_vectors()
    (q, d), columns = out.shape, CHUNK // out.itemsize
    for i in range(0, matrix.shape[0], GROUP):
        group, factors = matrix[i : i + GROUP], gradients[:, i : i + GROUP]
        for first in range(0, d, columns):
            after = min(first + columns, d)
            for a in range(0, q, UNITS):
                add_backward(group[:, start + first : start + after], factors, a, out[:, first:after], ahead)


# What compiled code calls: one of each for all that has rows without gaps.
call_products, call_add_products = linked(products), linked(add_products)


# Loops, here as everywhere in compiled code: statements on whole arrays take seconds to compile.
@_compiled
def clear(matrix: np.ndarray) -> None:
    """Set a matrix to zero."""
    for a in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            matrix[a, j] = 0


@_compiled
def _add(matrix: np.ndarray, out: np.ndarray) -> None:
    for a in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            out[a, j] += matrix[a, j]


@_compiled
def _set_scaled(matrix: np.ndarray, scale: float, out: np.ndarray) -> None:
    for a in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[a, j] = scale * matrix[a, j]


_written: Any = intrinsic  # as code, and called without the first argument
OF_A_NUMBER = types.int64(types.Array(types.int64, 1, "C"), types.intp)


def _place(context: Any, builder: Any, counters: Any, arguments: Any) -> Any:
    """Where one of the numbers that threads share is: of an array's type, and its value with an index."""
    return builder.gep(make_array(counters)(context, builder, arguments[0]).data, [arguments[1]])


@_written
def count_up(_: Any, counters: Any, index: Any) -> Any:
    """Add one to a number that threads share, and return what it was; what a thread wrote before, the next one sees.

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    counters : ndarray of int64, shape (_,)
    index : int
        Which of them.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", _place(context, builder, counters, arguments), one, "acq_rel")

    return OF_A_NUMBER, generate


@_written
def counted(_: Any, counters: Any, index: Any) -> Any:
    """Read a number that threads share; what they wrote before they counted it up is seen.

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    counters : ndarray of int64, shape (_,)
    index : int
        Which of them.
    """

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(context, builder, counters, arguments), "acquire", 8)

    return OF_A_NUMBER, generate


@_compiled
def descend(
    matrix: np.ndarray,
    starts: np.ndarray,
    counters: np.ndarray,
    places: np.ndarray,
    samples_together: int,
    weights: np.ndarray,
    network: CompiledNetwork,
    scale: float,
    parts: np.ndarray,
    deep_parts: np.ndarray,
    trained: np.ndarray,
    losses: np.ndarray,
    gradients: np.ndarray,
    deep_gradient: np.ndarray,
    drive: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Forward, through the network and backward over blocks of samples that no other thread has taken.

    It ends when no block is left. A few samples at a time stay in cache from one product to the other, so that each is
    read from memory once. Sums of blocks add up in pairs, and pairs in pairs: of two threads that hold what goes
    together, the later one adds, so that none waits, and what is added to what is the same whoever comes first.

    Parameters
    ----------
    matrix : ndarray, shape (n, d)
        Floats, or integers.
    starts : ndarray of int, shape (p + 1,)
        The first samples of the blocks, and n.
    counters, places : ndarray of int64, shapes (p + 1,) and (p,)
        Zeros, and room, by which threads know of each other.
    samples_together : int
        How many go forward and backward at a time.
    weights : ndarray, shape (q', d)
        Padded to q' units, a multiple of `UNITS`; their type is that of the sums.
    network : CompiledNetwork
    scale : float
        By which the products of gradients and samples are multiplied.
    parts, deep_parts : ndarray, shapes (p, q', d) and (p, P)
        Room for sums of blocks.
    trained : ndarray, shape (q, n)
        Set: the pre-activations.
    losses, gradients : ndarray, shapes (n,) and (q, n)
        Set, as by `sedyn.kernels.cpu.network.differentiate_samples`.
    deep_gradient : ndarray, shape (1, P)
        Set: the derivative of the mean loss in the packed parameters.
    drive : ndarray, shape (q, d)
        Set: the product of gradients and samples.
    curvatures : ndarray, shape (q, q, n) or (0, 0, 0)
        Set, as by `sedyn.kernels.cpu.network.differentiate_samples`.
    """
    widest_vectors()
    q = trained.shape[0]
    forward = np.empty((weights.shape[0], samples_together), weights.dtype)
    backward = np.zeros((weights.shape[0], samples_together), weights.dtype)
    free, spare = np.empty(parts.shape[0], np.int64), 0
    block = count_up(counters, 0)
    while block < parts.shape[0]:
        if spare:
            spare -= 1
            place = free[spare]  # used just now, so that it is in cache
        else:
            place = count_up(counters, parts.shape[0])
        clear(parts[place])
        clear(deep_parts[place : place + 1])
        start, end, following = starts[block], starts[block + 1], block
        while start < end:
            stop = min(start + samples_together, end)
            if stop == end:
                following = count_up(counters, 0)
            # While some samples are worked on, the next ones are on their way.
            upcoming = stop if stop < end else starts[min(following, parts.shape[0])]
            ahead = (upcoming - start) * matrix.strides[0]
            samples, count = matrix[start:stop], stop - start
            call_products(samples, 0, weights, forward, ahead)
            for a in range(q):
                for i in range(count):
                    trained[a, start + i] = forward[a, i]
            found = trained, losses, gradients, deep_parts[place], curvatures
            call_differentiate_samples(network, (start, stop), *found)
            for a in range(q):
                for i in range(count):
                    backward[a, i] = gradients[a, start + i]
            call_add_products(samples, 0, backward, parts[place], ahead)
            start = stop
        # Add to it what goes together with it, as long as that is there already.
        places[block], distance, alone = place, 1, False
        while distance < parts.shape[0] and not alone:
            first = block - block % (2 * distance)
            second = first + distance
            if second < parts.shape[0]:
                alone = count_up(counters, second) == 0
                if not alone:
                    other = places[first + second - block]
                    _add(parts[other], parts[place])
                    _add(deep_parts[other : other + 1], deep_parts[place : place + 1])
                    free[spare], places[first] = other, place
                    spare += 1
            block, distance = first, 2 * distance
        if not alone:
            _set_scaled(parts[place], scale, drive)
            _set_scaled(deep_parts[place : place + 1], 1 / losses.size, deep_gradient)
        block = following


@_compiled
def descend_each(
    matrices: np.ndarray,
    samples_together: int,
    weights: np.ndarray,
    network: CompiledNetwork,
    parameters: np.ndarray,
    labels: np.ndarray,
    sample_weights: np.ndarray,
    scale: float,
    trained: np.ndarray,
    losses: np.ndarray,
    gradients: np.ndarray,
    deep_gradients: np.ndarray,
    drives: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Forward, through the network and backward for several replicates, whose matrices are small.

    Parameters
    ----------
    matrices : ndarray of floats, shape (R, n, d)
    samples_together : int
        How many go forward and backward at a time.
    weights : ndarray, shape (R, q', d)
        Padded to q' units, a multiple of `UNITS`; their type is that of the sums.
    network : CompiledNetwork
        In which the replicates agree: all but parameters, labels and weights of samples.
    parameters, labels, sample_weights : ndarray, shapes (R, P), (R, C, n) and (R, n) or (R, 0)
        Of each replicate.
    scale : float
        By which the products of gradients and samples are multiplied.
    trained, losses, gradients : ndarray, shapes (R, q, n), (R, n) and (R, q, n)
        Set, as by `descend`.
    deep_gradients, drives : ndarray, shapes (R, P) and (R, q, d)
        Set, as by `descend`.
    curvatures : ndarray, shape (R, q, q, n) or (R, 0, 0, 0)
        Set, as by `descend`.
    """
    widest_vectors()
    operations, addresses, rows, outputs, _, joint, numbers, _, _, reached = network
    q, samples = trained.shape[1], matrices.shape[1]
    forward = np.empty((weights.shape[1], samples_together), weights.dtype)
    backward = np.zeros((weights.shape[1], samples_together), weights.dtype)
    total, deep = np.empty((weights.shape[1], matrices.shape[2]), weights.dtype), np.empty((1, parameters.shape[1]))
    for r in range(matrices.shape[0]):
        own = CompiledNetwork(
            operations,
            addresses,
            rows,
            outputs,
            parameters[r],
            joint,
            numbers,
            labels[r],
            sample_weights[r],
            reached,
        )
        clear(total)
        clear(deep)
        for start in range(0, samples, samples_together):
            stop = min(start + samples_together, samples)
            some = matrices[r, start:stop]
            call_products(some, 0, weights[r], forward, LINES_AHEAD)
            for a in range(q):
                for i in range(stop - start):
                    trained[r, a, start + i] = forward[a, i]
            found = trained[r], losses[r], gradients[r], deep[0], curvatures[r]
            call_differentiate_samples(own, (start, stop), *found)
            for a in range(q):
                for i in range(stop - start):
                    backward[a, i] = gradients[r, a, start + i]
            call_add_products(some, 0, backward, total, LINES_AHEAD)
        _set_scaled(total, scale, drives[r])
        _set_scaled(deep, 1 / samples, deep_gradients[r : r + 1])
