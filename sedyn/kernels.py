"""Compiled products with blocks of rows small enough to stay in cache; they release the interpreter lock.

numpy hands products with few columns to a BLAS made for square matrices, which copies the large factor first. Six rows
and four units at a time keep sums in registers and read the rows once; rows left over go in pairs. Sums may be
reordered by the compiler (once, when it vectorizes), so results are the same every time; infinities and NaN keep their
meaning. Arrays whose rows begin where a line of the cache does are faster, see `sedyn.aligned`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from sedyn.aligned import aligned_empty
from sedyn.compiled_network import CompiledNetwork, differentiate_rows

__all__ = ["ROWS", "UNITS", "add_products", "descend", "even", "padded", "products", "total"]

# Units at a time, which callers pad to a multiple of, and rows.
UNITS, ROWS = 4, 6


def padded(block: np.ndarray, dtype: np.dtype, columns: int | None = None) -> np.ndarray:
    """Copy a block of rows with zeros below, to whole tiles of units, and on the right, to a number of columns.

    Parameters
    ----------
    block : ndarray, shape (q, m)
    dtype : dtype
        Of the copy.
    columns : int, optional
        At least m.
    """
    out = aligned_empty((-(-block.shape[0] // UNITS) * UNITS, columns or block.shape[1]), dtype)
    out[: block.shape[0], : block.shape[1]] = block
    out[block.shape[0] :], out[:, block.shape[1] :] = 0, 0
    return out


def even(count: int) -> int:
    """Columns that the gradients of a number of rows are padded to."""
    return count + count % 2


_compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})


@intrinsic
def _widest_vectors(_typing: Any = None) -> Any:
    """Let the compiler use the longest vectors of the processor in the function that calls this.

    Compilers halve those of 512 bits, under which some processors slow down a little.
    """

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        # The set's own method refuses attributes that its library does not list.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate


@_compiled
def products(rows: np.ndarray, start: int, weights: np.ndarray, out: np.ndarray) -> None:
    """Set ``out = weights @ rows[:, start : start + d].T``.

    Parameters
    ----------
    rows : ndarray, shape (r, at least start + d)
        Floats, or small integers.
    start : int
    weights : ndarray, shape (q, d)
        q a multiple of `UNITS`; its type is that of the sums.
    out : ndarray, shape (q, r)
    """
    _widest_vectors()
    count, tiled = rows.shape[0], rows.shape[0] - rows.shape[0] % 6
    for a in range(0, weights.shape[0], 4):
        for i in range(0, tiled, 6):
            _products_of_six(rows, start, i, weights, a, out)
        for i in range(tiled, count, 2):
            _products_of_two(rows, start, i, min(i + 1, count - 1), weights, a, out)


@_compiled
def add_products(rows: np.ndarray, start: int, gradients: np.ndarray, out: np.ndarray) -> None:
    """Add ``gradients @ rows[:, start : start + d]`` to `out`.

    Parameters
    ----------
    rows : ndarray, shape (r, at least start + d)
        Floats, or small integers.
    start : int
    gradients : ndarray, shape (q, at least even(r))
        q a multiple of `UNITS`, and zero from r on; its type is that of the sums.
    out : ndarray, shape (q, d)
    """
    _widest_vectors()
    count, tiled = rows.shape[0], rows.shape[0] - rows.shape[0] % 6
    for a in range(0, gradients.shape[0], 4):
        for i in range(0, tiled, 6):
            _add_products_of_six(rows, start, i, gradients, a, out)
        for i in range(tiled, count, 2):
            _add_products_of_two(rows, start, i, min(i + 1, count - 1), gradients, a, out)


@_compiled
def _products_of_six(rows: np.ndarray, start: int, i: int, weights: np.ndarray, a: int, out: np.ndarray) -> None:
    """Set what six rows from i on give four units from a on."""
    _widest_vectors()
    d, zero = weights.shape[1], weights.dtype.type(0)
    i1, i2, i3, i4, i5 = i + 1, i + 2, i + 3, i + 4, i + 5
    x0, x1, x2 = rows[i, start:], rows[i1, start:], rows[i2, start:]
    x3, x4, x5 = rows[i3, start:], rows[i4, start:], rows[i5, start:]
    w0, w1, w2, w3 = weights[a], weights[a + 1], weights[a + 2], weights[a + 3]
    s00 = s01 = s02 = s03 = zero
    s10 = s11 = s12 = s13 = zero
    s20 = s21 = s22 = s23 = zero
    s30 = s31 = s32 = s33 = zero
    s40 = s41 = s42 = s43 = zero
    s50 = s51 = s52 = s53 = zero
    for j in range(d):
        u0, u1, u2, u3 = w0[j], w1[j], w2[j], w3[j]
        x = x0[j]
        s00, s01, s02, s03 = s00 + x * u0, s01 + x * u1, s02 + x * u2, s03 + x * u3
        x = x1[j]
        s10, s11, s12, s13 = s10 + x * u0, s11 + x * u1, s12 + x * u2, s13 + x * u3
        x = x2[j]
        s20, s21, s22, s23 = s20 + x * u0, s21 + x * u1, s22 + x * u2, s23 + x * u3
        x = x3[j]
        s30, s31, s32, s33 = s30 + x * u0, s31 + x * u1, s32 + x * u2, s33 + x * u3
        x = x4[j]
        s40, s41, s42, s43 = s40 + x * u0, s41 + x * u1, s42 + x * u2, s43 + x * u3
        x = x5[j]
        s50, s51, s52, s53 = s50 + x * u0, s51 + x * u1, s52 + x * u2, s53 + x * u3
    out[a, i], out[a + 1, i], out[a + 2, i], out[a + 3, i] = s00, s01, s02, s03
    out[a, i1], out[a + 1, i1], out[a + 2, i1], out[a + 3, i1] = s10, s11, s12, s13
    out[a, i2], out[a + 1, i2], out[a + 2, i2], out[a + 3, i2] = s20, s21, s22, s23
    out[a, i3], out[a + 1, i3], out[a + 2, i3], out[a + 3, i3] = s30, s31, s32, s33
    out[a, i4], out[a + 1, i4], out[a + 2, i4], out[a + 3, i4] = s40, s41, s42, s43
    out[a, i5], out[a + 1, i5], out[a + 2, i5], out[a + 3, i5] = s50, s51, s52, s53


@_compiled
def _products_of_two(
    rows: np.ndarray, start: int, i: int, i1: int, weights: np.ndarray, a: int, out: np.ndarray
) -> None:
    """Set what two rows give four units from a on."""
    _widest_vectors()
    d, zero = weights.shape[1], weights.dtype.type(0)
    x0, x1 = rows[i, start:], rows[i1, start:]
    w0, w1, w2, w3 = weights[a], weights[a + 1], weights[a + 2], weights[a + 3]
    s00 = s01 = s02 = s03 = zero
    s10 = s11 = s12 = s13 = zero
    for j in range(d):
        u0, u1, u2, u3 = w0[j], w1[j], w2[j], w3[j]
        x = x0[j]
        s00, s01, s02, s03 = s00 + x * u0, s01 + x * u1, s02 + x * u2, s03 + x * u3
        x = x1[j]
        s10, s11, s12, s13 = s10 + x * u0, s11 + x * u1, s12 + x * u2, s13 + x * u3
    out[a, i], out[a + 1, i], out[a + 2, i], out[a + 3, i] = s00, s01, s02, s03
    out[a, i1], out[a + 1, i1], out[a + 2, i1], out[a + 3, i1] = s10, s11, s12, s13


@_compiled
def _add_products_of_six(rows: np.ndarray, start: int, i: int, gradients: np.ndarray, a: int, out: np.ndarray) -> None:
    """Add what six rows from i on give four units from a on."""
    _widest_vectors()
    d = out.shape[1]
    x0, x1, x2 = rows[i, start:], rows[i + 1, start:], rows[i + 2, start:]
    x3, x4, x5 = rows[i + 3, start:], rows[i + 4, start:], rows[i + 5, start:]
    o0, o1, o2, o3 = out[a], out[a + 1], out[a + 2], out[a + 3]
    g0, g1, g2, g3 = gradients[a], gradients[a + 1], gradients[a + 2], gradients[a + 3]
    g00, g01, g02, g03, g04, g05 = g0[i], g0[i + 1], g0[i + 2], g0[i + 3], g0[i + 4], g0[i + 5]
    g10, g11, g12, g13, g14, g15 = g1[i], g1[i + 1], g1[i + 2], g1[i + 3], g1[i + 4], g1[i + 5]
    g20, g21, g22, g23, g24, g25 = g2[i], g2[i + 1], g2[i + 2], g2[i + 3], g2[i + 4], g2[i + 5]
    g30, g31, g32, g33, g34, g35 = g3[i], g3[i + 1], g3[i + 2], g3[i + 3], g3[i + 4], g3[i + 5]
    for j in range(d):
        y0, y1, y2, y3, y4, y5 = x0[j], x1[j], x2[j], x3[j], x4[j], x5[j]
        o0[j] += g00 * y0 + g01 * y1 + g02 * y2 + g03 * y3 + g04 * y4 + g05 * y5
        o1[j] += g10 * y0 + g11 * y1 + g12 * y2 + g13 * y3 + g14 * y4 + g15 * y5
        o2[j] += g20 * y0 + g21 * y1 + g22 * y2 + g23 * y3 + g24 * y4 + g25 * y5
        o3[j] += g30 * y0 + g31 * y1 + g32 * y2 + g33 * y3 + g34 * y4 + g35 * y5


@_compiled
def _add_products_of_two(
    rows: np.ndarray, start: int, i: int, i1: int, gradients: np.ndarray, a: int, out: np.ndarray
) -> None:
    """Add what two rows, of which the second may be the first with gradient zero, give four units from a on."""
    _widest_vectors()
    d = out.shape[1]
    x0, x1 = rows[i, start:], rows[i1, start:]
    o0, o1, o2, o3 = out[a], out[a + 1], out[a + 2], out[a + 3]
    g0, g1, g2, g3 = gradients[a], gradients[a + 1], gradients[a + 2], gradients[a + 3]
    g00, g01 = g0[i], g0[i + 1]
    g10, g11 = g1[i], g1[i + 1]
    g20, g21 = g2[i], g2[i + 1]
    g30, g31 = g3[i], g3[i + 1]
    for j in range(d):
        y0, y1 = x0[j], x1[j]
        o0[j] += g00 * y0 + g01 * y1
        o1[j] += g10 * y0 + g11 * y1
        o2[j] += g20 * y0 + g21 * y1
        o3[j] += g30 * y0 + g31 * y1


@_compiled
def descend(
    matrix: np.ndarray,
    rows: tuple[int, int],
    block_rows: int,
    weights: np.ndarray,
    network: CompiledNetwork,
    trained: np.ndarray,
    losses: np.ndarray,
    gradients: np.ndarray,
    deep_gradient: np.ndarray,
    drive: np.ndarray,
) -> None:
    """Forward, through the network and backward, block after block, so that each is read from memory once.

    Parameters
    ----------
    matrix : ndarray, shape (n, d)
        Floats, or small integers.
    rows : tuple of int
        The first of the rows that are meant, and the one after the last.
    block_rows : int
        Rows in a block.
    weights : ndarray, shape (q', d)
        Padded to q' units, a multiple of `UNITS`; their type is that of the sums.
    network : CompiledNetwork
    trained : ndarray, shape (q, n)
        Set on these rows: their pre-activations.
    losses, gradients, deep_gradient
        As in `differentiate_rows`.
    drive : ndarray, shape (q', d)
        Set to the product of gradients and rows.
    """
    _widest_vectors()
    q = trained.shape[0]
    for a in range(drive.shape[0]):
        for j in range(drive.shape[1]):
            drive[a, j] = 0
    forward = np.empty((weights.shape[0], block_rows), weights.dtype)
    backward = np.zeros((weights.shape[0], block_rows + block_rows % 2), weights.dtype)
    for start in range(rows[0], rows[1], block_rows):
        stop = min(start + block_rows, rows[1])
        block, count = matrix[start:stop], stop - start
        products(block, 0, weights, forward)
        for a in range(q):
            for i in range(count):
                trained[a, start + i] = forward[a, i]
        differentiate_rows(network, (start, stop), trained, losses, gradients, deep_gradient)
        for a in range(q):
            for i in range(backward.shape[1]):
                backward[a, i] = gradients[a, start + i] if i < count else 0.0
        add_products(block, 0, backward, drive)


@_compiled
def total(parts: np.ndarray, out: np.ndarray) -> None:
    """Set `out`, shape (q, d), to the sum of some parts, shape (p, q' >= q, d), in their order.

    Whatever the type of the parts, sums have that of `out`.
    """
    for a in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[a, j] = 0
        for p in range(parts.shape[0]):
            for j in range(out.shape[1]):
                out[a, j] += parts[p, a, j]
