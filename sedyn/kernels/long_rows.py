"""Products of a few long rows with a basis of as many more, by blocks of columns that stay in cache.

On a CPU the blocks are shared out to threads; sums are over blocks in their order, whatever thread had which.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.threads import run_each

__all__ = ["add_combination", "coefficients_of", "column_blocks", "combination", "remove", "summed"]

# Columns in a block: a basis of some forty rows of it stays in the second-level cache.
COLUMNS = 2**12


def column_blocks(length: int) -> list[slice]:
    """Cut a length into blocks, the last one shorter."""
    return [slice(start, min(start + COLUMNS, length)) for start in range(0, length, COLUMNS)]


def coefficients_of(block: Array, basis: Array) -> Array:
    """Scalar products of rows: ``block @ basis.T``.

    Parameters
    ----------
    block : array, shape (q, d)
    basis : array, shape (k, d)

    Returns
    -------
    array, shape (q, k)
    """
    return summed(lambda columns: _times_transpose(block[:, columns], basis, columns), block)


def combination(coefficients: Array, basis: Array) -> Array:
    """Combinations of rows: ``coefficients @ basis``, (q, k) and (k, d) to (q, d)."""
    xp = array_namespace(basis)
    out = xp.zeros((coefficients.shape[0], basis.shape[1]), dtype=basis.dtype, device=basis.device)
    add_combination(out, coefficients, basis)
    return out


def add_combination(block: Array, coefficients: Array, basis: Array) -> None:
    """Add ``coefficients @ basis`` to a block, (q, d), in place."""
    _for_columns(lambda columns: _add_part(block, coefficients, basis, columns), block)


def remove(block: Array, basis: Array) -> Array:
    """Take the part in an orthonormal basis out of a block, in place; twice, which is enough for full precision.

    Parameters
    ----------
    block : array, shape (q, d)
    basis : array, shape (k, d)

    Returns
    -------
    array, shape (q, k)
        Coefficients of what was taken out.
    """
    first = coefficients_of(block, basis)

    def again(columns: slice) -> Array:
        _add_part(block, -first, basis, columns)
        return _times_transpose(block[:, columns], basis, columns)

    second = summed(again, block)
    add_combination(block, -second, basis)
    return first + second


def _times_transpose(part: Array, basis: Array, columns: slice) -> Array:
    if not _compiled(basis):
        return part @ basis[:, columns].T
    from sedyn.kernels.cpu import passes as kernels

    rows = kernels.padded(part, basis.dtype)
    out = np.empty((rows.shape[0], basis.shape[0]), basis.dtype)
    kernels.products(basis, columns.start, rows, out)
    return out[: part.shape[0], :]


def _add_part(block: Array, coefficients: Array, basis: Array, columns: slice) -> None:
    if not _compiled(basis):
        block[:, columns] += coefficients @ basis[:, columns]
        return
    from sedyn.kernels.cpu import passes as kernels

    part = kernels.padded(block[:, columns], basis.dtype)
    gradients = kernels.padded(coefficients, basis.dtype)
    kernels.add_products(basis, columns.start, gradients, part)
    block[:, columns] = part[: block.shape[0], :]


def _compiled(basis: Array) -> bool:
    return isinstance(basis, np.ndarray) and basis.flags.c_contiguous and basis.shape[0] > 0


def summed(part: Callable[[slice], Array], like: Array) -> Array:
    """Sum what a function gives for each block of columns of an array, in their order.

    Parameters
    ----------
    part : callable
        Of the columns of one block; called from several threads.
    like : array, shape (..., q, d)
        On a GPU it is one block.
    """
    parts: dict[int, Array] = {}
    _for_columns(lambda columns: parts.__setitem__(columns.start, part(columns)), like)
    return sum(parts[start] for start in sorted(parts))


def _for_columns(task: Callable[[slice], object], like: Array) -> None:
    length = like.shape[-1]
    run_each(task, column_blocks(length) if isinstance(like, np.ndarray) else [slice(0, length)])
