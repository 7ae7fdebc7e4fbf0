"""Compiled products with Gaussian matrices that are known as far as products have revealed them.

A product is a few passes over what is known, with sums over all columns between them. Threads share the blocks of
columns out, pass by pass; a thread that comes late finds passes done. Sums are over blocks in their order, so that
results do not depend on the number of threads.
"""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays.compiling import compiled, widest_vectors
from sedyn.arrays.memory import aligned_empty
from sedyn.arrays.revealing import NEGLIGIBLE_SHARE, Side
from sedyn.arrays.shapes import Float
from sedyn.arrays.threads import run_together, thread_count
from sedyn.kernels.cpu.passes import (
    LINES_AHEAD,
    UNITS,
    call_add_products,
    call_products,
    clear,
    count_up,
    counted,
)

__all__ = ["COLUMNS", "revealing_product"]

# Columns in a block: some forty vectors of it stay in the second-level cache.
COLUMNS = 2**12
# Passes that sum products with directions, those in which each vector takes its own turns, and others.
SUMMING, TURNS, OTHERS = 5, 3, 2

_compiled = compiled({"reassoc", "contract", "nsz"})
_taken_in = compiled({"reassoc", "contract", "nsz"}, forceinline=True)


def revealing_product(vectors: Float[np.ndarray, "R q m"], own: Side, other: Side) -> Float[np.ndarray, "R q m_"]:
    """Compute `sedyn.arrays.revealing.revealing_product`.

    Parameters
    ----------
    vectors : ndarray, shape (R, q, m)
    own, other : Side

    Returns
    -------
    ndarray, shape (R, q, m')
    """
    replicates, q, m = vectors.shape
    out = np.empty((replicates, q, own.images.shape[-1]))
    units, blocks = -(-q // UNITS) * UNITS, -(-max(m, out.shape[-1]) // COLUMNS)
    passes, most = SUMMING + TURNS * q + OTHERS, max(own.size, other.size, units) + q
    counters = np.zeros((replicates, 2 * passes + 1), np.int64)
    parts = np.empty((replicates, SUMMING, blocks, units, most))
    turns = np.empty((replicates, TURNS * q, blocks, 1, q))
    room = counters, parts, turns, aligned_empty((replicates, units, m), "float64")
    given = np.ascontiguousarray(vectors), *own, *other
    run_together(lambda: _multiply_each(*given, *room, out), min(thread_count(), blocks * replicates))
    return out


@_compiled
def _multiply_each(
    vectors: np.ndarray,
    count: int,
    basis: np.ndarray,
    images: np.ndarray,
    other_count: int,
    other_basis: np.ndarray,
    other_images: np.ndarray,
    counters: np.ndarray,
    parts: np.ndarray,
    turns: np.ndarray,
    work: np.ndarray,
    out: np.ndarray,
) -> None:
    """Call `_multiply` for each replicate, alone where there is but one block: arguments have an axis in front."""
    for r in range(vectors.shape[0]):
        if parts.shape[2] > 1 or count_up(counters[r], counters.shape[1] - 1) == 0:
            side, there = (basis[r], images[r]), (other_basis[r], other_images[r])
            room = counters[r], parts[r], turns[r], work[r], out[r]
            _multiply(vectors[r], count, *side, other_count, *there, *room)


@_taken_in
def _multiply(
    vectors: np.ndarray,
    count: int,
    basis: np.ndarray,
    images: np.ndarray,
    other_count: int,
    other_basis: np.ndarray,
    other_images: np.ndarray,
    counters: np.ndarray,
    parts: np.ndarray,
    turns: np.ndarray,
    work: np.ndarray,
    out: np.ndarray,
) -> None:
    """All passes, over blocks that no other thread has taken.

    Parameters
    ----------
    vectors : ndarray, shape (q, m)
    count, basis, images
        As `Side` has them, for one matrix.
    other_count, other_basis, other_images
        Of the other side.
    counters : ndarray of int64, shape (more than 2 passes,)
        Zeros, by which threads know of each other: blocks taken in each pass, and blocks done.
    parts : ndarray, shape (5, blocks, q', at least as many as directions, and q)
        Room for the sums of blocks; q' is q padded to a multiple of `UNITS`.
    turns : ndarray, shape (3 q, blocks, 1, q)
        Likewise.
    work : ndarray, shape (q', m)
        Room for the directions on their way.
    out : ndarray, shape (q, m')
        Set: the products.
    """
    widest_vectors()
    (q, m), units = vectors.shape, work.shape[0]
    own_blocks, other_blocks = -(-m // COLUMNS), -(-out.shape[1] // COLUMNS)
    known, other_known = basis[:count], other_basis[:other_count]
    buffer = np.empty((units, min(COLUMNS, max(m, out.shape[1]))))
    sums = np.zeros((units, parts.shape[3]))

    # What is known of the vectors, and their square lengths.
    step = 0
    block = _taken(counters, step)
    while block < own_blocks:
        start, stop = _columns(block, m)
        _load(vectors, start, work[:, start:stop])
        call_products(known, start, work[:, start:stop], parts[0, block], LINES_AHEAD)
        for a in range(q):
            parts[0, block, a, count] = _product(work, a, a, start, stop)
        block = _next(counters, step)
    coefficients = np.zeros((units, count + q))
    _add_up(parts[0], counters, step, own_blocks, q, count + 1, sums)
    squares = sums[:, count].copy()
    total = 0.0
    for a in range(q):
        total += squares[a]
    if not math.isfinite(total):
        for a in range(q):
            basis[count + a, :] = 0
            images[count + a, :] = 0
            out[a, :] = math.nan
        return
    for a in range(q):
        for i in range(count):
            coefficients[a, i] = sums[a, i]
    factors = -coefficients

    # What is new in them.
    step += 1
    block = _taken(counters, step)
    while block < own_blocks:
        start, stop = _columns(block, m)
        call_add_products(known, start, factors, work[:, start:stop], LINES_AHEAD)
        block = _next(counters, step)
    _wait(counters, step, own_blocks)

    # Gram-Schmidt, twice, vector by vector; one that adds a negligible share of its length is left out.
    scales = np.zeros(q)
    for a in range(q):
        for turn in range(TURNS):
            step += 1
            block = _taken(counters, step)
            while block < own_blocks:
                start, stop = _columns(block, m)
                if turn:
                    for b in range(a):
                        _add_multiple(work, b, -sums[0, b] * scales[b] ** 2, a, start, stop)
                for b in range(a, a + 1) if turn == 2 else range(a):
                    turns[TURNS * a + turn, block, 0, b] = _product(work, a, b, start, stop)
                block = _next(counters, step)
            _add_up(turns[TURNS * a + turn], counters, step, own_blocks, 1, a + 1, sums)
        if sums[0, a] > NEGLIGIBLE_SHARE**2 * squares[a]:
            scales[a] = 1 / math.sqrt(sums[0, a])

    # Short remainders are left with more of what is known than long ones: once more, now that all are of length one.
    step += 1
    block = _taken(counters, step)
    while block < own_blocks:
        start, stop = _columns(block, m)
        for a in range(q):
            row = work[a, start:stop]
            for j in range(row.size):
                row[j] *= scales[a]
        call_products(known, start, work[:, start:stop], parts[1, block], LINES_AHEAD)
        block = _next(counters, step)
    _add_up(parts[1], counters, step, own_blocks, q, count, sums)
    for a in range(q):
        for i in range(count):
            factors[a, i] = -sums[a, i]
    step += 1
    block = _taken(counters, step)
    while block < own_blocks:
        start, stop = _columns(block, m)
        call_add_products(known, start, factors, work[:, start:stop], LINES_AHEAD)
        call_products(work[:q], start, work[:, start:stop], parts[2, block], LINES_AHEAD)
        block = _next(counters, step)
    _add_up(parts[2], counters, step, own_blocks, q, q, sums)
    mixing = np.zeros((units, q))
    for a in range(q):
        for b in range(q):
            mixing[a, b] = (1.5 if a == b else 0.0) - 0.5 * sums[a, b]
    step += 1
    block = _taken(counters, step)
    while block < own_blocks:
        start, stop = _columns(block, m)
        directions = buffer[:, : stop - start]
        clear(directions)
        call_add_products(work[:q], start, mixing, directions, LINES_AHEAD)
        for a in range(q):
            row = basis[count + a, start:stop]
            for j in range(row.size):
                row[j] = directions[a, j]
        call_products(other_images[:other_count], start, directions, parts[3, block], LINES_AHEAD)
        call_products(vectors, start, directions, parts[3, block, :, other_count:], LINES_AHEAD)
        block = _next(counters, step)
    _add_up(parts[3], counters, step, own_blocks, q, other_count + q, sums)
    fixed = np.zeros((units, other_count))
    for a in range(q):
        for i in range(other_count):
            fixed[a, i] = sums[a, i]
        for b in range(q):
            coefficients[b, count + a] = sums[a, other_count + b]

    # Their images, and the products.
    step += 1
    block = _taken(counters, step)
    while block < other_blocks:
        start, stop = _columns(block, out.shape[1])
        free = buffer[:, : stop - start]
        for a in range(q):
            if scales[a] == 0:
                images[count + a, start:stop] = 0
        _load(images[count : count + q], start, free)
        call_products(other_known, start, free, parts[4, block], LINES_AHEAD)
        block = _next(counters, step)
    _add_up(parts[4], counters, step, other_blocks, q, other_count, sums)
    for a in range(q):
        for i in range(other_count):
            fixed[a, i] -= sums[a, i]
    step += 1
    block = _taken(counters, step)
    while block < other_blocks:
        start, stop = _columns(block, out.shape[1])
        part = buffer[:, : stop - start]
        _load(images[count : count + q], start, part)
        call_add_products(other_known, start, fixed, part, LINES_AHEAD)
        for a in range(q):
            row = images[count + a, start:stop]
            for j in range(row.size):
                row[j] = part[a, j]
        clear(part)
        call_add_products(images[: count + q], start, coefficients, part, LINES_AHEAD)
        for a in range(q):
            row = out[a, start:stop]
            for j in range(row.size):
                row[j] = part[a, j]
        block = _next(counters, step)
    _wait(counters, step, other_blocks)


@_compiled
def _taken(counters: np.ndarray, step: int) -> int:
    """Take a block that no thread has yet; from their number on there is none."""
    return count_up(counters, 2 * step)


@_compiled
def _next(counters: np.ndarray, step: int) -> int:
    """Say that a block is done, and take another."""
    count_up(counters, 2 * step + 1)
    return count_up(counters, 2 * step)


@_compiled
def _wait(counters: np.ndarray, step: int, blocks: int) -> None:
    """Wait for blocks that other threads are at."""
    while counted(counters, 2 * step + 1) < blocks:
        pass


@_taken_in
def _add_up(
    parts: np.ndarray, counters: np.ndarray, step: int, blocks: int, rows: int, columns: int, sums: np.ndarray
) -> None:
    """Set sums to those over all blocks, in their order, as soon as all are done."""
    _wait(counters, step, blocks)
    for a in range(rows):
        for i in range(columns):
            sums[a, i] = 0
    for block in range(blocks):
        for a in range(rows):
            for i in range(columns):
                sums[a, i] += parts[block, a, i]


@_compiled
def _columns(block: int, length: int) -> tuple[int, int]:
    return block * COLUMNS, min((block + 1) * COLUMNS, length)


@_taken_in
def _load(vectors: np.ndarray, start: int, block: np.ndarray) -> None:
    """Set a block to columns of vectors, with zeros below."""
    clear(block[vectors.shape[0] :])
    for a in range(vectors.shape[0]):
        row = vectors[a, start : start + block.shape[1]]
        for j in range(row.size):
            block[a, j] = row[j]


@_compiled
def _product(matrix: np.ndarray, a: int, b: int, start: int, stop: int) -> float:
    # Rows are taken out first, as everywhere here: the compiler makes no vector of entries whose index may be negative.
    one, other, total = matrix[a, start:stop], matrix[b, start:stop], 0.0
    for j in range(one.size):
        total += one[j] * other[j]
    return total


@_taken_in
def _add_multiple(matrix: np.ndarray, b: int, factor: float, a: int, start: int, stop: int) -> None:
    one, other = matrix[a, start:stop], matrix[b, start:stop]
    for j in range(one.size):
        one[j] += factor * other[j]
