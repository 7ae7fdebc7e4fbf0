"""Compiled products with blocks of rows small enough to stay in cache; they release the interpreter lock.

numpy hands products with few columns to a BLAS made for square matrices, which copies the large factor first. Four
rows and four units at a time keep sums in registers and read the rows once. Sums may be reordered by the compiler
(once, when it vectorizes), so results are the same every time; infinities and NaN keep their meaning.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sedyn.compiled_network import CompiledNetwork, differentiate_rows

__all__ = ["TILE", "add_products", "descend", "padded", "products"]

# Units at a time; callers pad to a multiple of it.
TILE = 4


def padded(block: np.ndarray, dtype: np.dtype, columns: int | None = None) -> np.ndarray:
    """Copy a block of rows with zeros below, to whole tiles, and on the right, to a number of columns.

    Parameters
    ----------
    block : ndarray, shape (q, m)
    dtype : dtype
        Of the copy.
    columns : int, optional
        At least m.
    """
    out = np.zeros((-(-block.shape[0] // TILE) * TILE, columns or block.shape[1]), dtype)
    out[: block.shape[0], : block.shape[1]] = block
    return out


_compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"})


@_compiled
def products(rows: np.ndarray, start: int, weights: np.ndarray, out: np.ndarray) -> None:
    """Set ``out = weights @ rows[:, start : start + d].T``.

    Parameters
    ----------
    rows : ndarray, shape (r, at least start + d)
        Floats, or small integers.
    start : int
    weights : ndarray, shape (q, d)
        q a multiple of `TILE`; its type is that of the sums.
    out : ndarray, shape (q, r)
    """
    count, d = rows.shape[0], weights.shape[1]
    zero = weights.dtype.type(0)
    for a in range(0, weights.shape[0], 4):
        w0, w1, w2, w3 = weights[a], weights[a + 1], weights[a + 2], weights[a + 3]
        for i in range(0, count, 4):
            # Past the end the last row is computed again.
            i1, i2, i3 = min(i + 1, count - 1), min(i + 2, count - 1), min(i + 3, count - 1)
            x0, x1, x2, x3 = rows[i, start:], rows[i1, start:], rows[i2, start:], rows[i3, start:]
            s00 = s01 = s02 = s03 = zero
            s10 = s11 = s12 = s13 = zero
            s20 = s21 = s22 = s23 = zero
            s30 = s31 = s32 = s33 = zero
            for j in range(d):
                u0, u1, u2, u3 = w0[j], w1[j], w2[j], w3[j]
                x = x0[j]
                s00 += x * u0
                s01 += x * u1
                s02 += x * u2
                s03 += x * u3
                x = x1[j]
                s10 += x * u0
                s11 += x * u1
                s12 += x * u2
                s13 += x * u3
                x = x2[j]
                s20 += x * u0
                s21 += x * u1
                s22 += x * u2
                s23 += x * u3
                x = x3[j]
                s30 += x * u0
                s31 += x * u1
                s32 += x * u2
                s33 += x * u3
            out[a, i], out[a + 1, i], out[a + 2, i], out[a + 3, i] = s00, s01, s02, s03
            out[a, i1], out[a + 1, i1], out[a + 2, i1], out[a + 3, i1] = s10, s11, s12, s13
            out[a, i2], out[a + 1, i2], out[a + 2, i2], out[a + 3, i2] = s20, s21, s22, s23
            out[a, i3], out[a + 1, i3], out[a + 2, i3], out[a + 3, i3] = s30, s31, s32, s33


@_compiled
def add_products(rows: np.ndarray, start: int, gradients: np.ndarray, out: np.ndarray) -> None:
    """Add ``gradients @ rows[:, start : start + d]`` to `out`.

    Parameters
    ----------
    rows : ndarray, shape (r, at least start + d)
        Floats, or small integers.
    start : int
    gradients : ndarray, shape (q, r')
        q a multiple of `TILE`, and r' the multiple of it next to r, zero from r on; its type is that of the sums.
    out : ndarray, shape (q, d)
    """
    count, d = rows.shape[0], out.shape[1]
    for a in range(0, gradients.shape[0], 4):
        o0, o1, o2, o3 = out[a], out[a + 1], out[a + 2], out[a + 3]
        for i in range(0, count, 4):
            i1, i2, i3 = min(i + 1, count - 1), min(i + 2, count - 1), min(i + 3, count - 1)
            x0, x1, x2, x3 = rows[i, start:], rows[i1, start:], rows[i2, start:], rows[i3, start:]
            g00, g01, g02, g03 = gradients[a, i], gradients[a, i + 1], gradients[a, i + 2], gradients[a, i + 3]
            a1, a2, a3 = a + 1, a + 2, a + 3
            g10, g11, g12, g13 = gradients[a1, i], gradients[a1, i + 1], gradients[a1, i + 2], gradients[a1, i + 3]
            g20, g21, g22, g23 = gradients[a2, i], gradients[a2, i + 1], gradients[a2, i + 2], gradients[a2, i + 3]
            g30, g31, g32, g33 = gradients[a3, i], gradients[a3, i + 1], gradients[a3, i + 2], gradients[a3, i + 3]
            for j in range(d):
                y0, y1, y2, y3 = x0[j], x1[j], x2[j], x3[j]
                o0[j] += g00 * y0 + g01 * y1 + g02 * y2 + g03 * y3
                o1[j] += g10 * y0 + g11 * y1 + g12 * y2 + g13 * y3
                o2[j] += g20 * y0 + g21 * y1 + g22 * y2 + g23 * y3
                o3[j] += g30 * y0 + g31 * y1 + g32 * y2 + g33 * y3


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
        Padded to q' units, a multiple of `TILE`; their type is that of the sums.
    network : CompiledNetwork
    trained : ndarray, shape (q, n)
        Set on these rows: their pre-activations.
    losses, gradients, deep_gradient
        As in `differentiate_rows`.
    drive : ndarray, shape (q', d)
        To it is added the product of gradients and rows.
    """
    q = trained.shape[0]
    forward = np.empty((weights.shape[0], block_rows), weights.dtype)
    backward = np.zeros((weights.shape[0], block_rows), weights.dtype)
    for start in range(rows[0], rows[1], block_rows):
        stop = min(start + block_rows, rows[1])
        block, count = matrix[start:stop], stop - start
        products(block, 0, weights, forward)
        for a in range(q):
            for i in range(count):
                trained[a, start + i] = forward[a, i]
        differentiate_rows(network, (start, stop), trained, losses, gradients, deep_gradient)
        for a in range(q):
            for i in range(block_rows):
                backward[a, i] = gradients[a, start + i] if i < count else 0.0
        add_products(block, 0, backward, drive)
