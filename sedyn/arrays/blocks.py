"""Arrays cut into blocks, one the work of one thread: a matrix by its rows, a few long vectors by their columns.

Where the cuts are depends on shapes alone, and sums are over blocks in their order, whatever thread had which: results
do not depend on the number of threads. Columns stay in cache while a block is worked on; on a GPU all are one block.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sedyn.arrays.backend import Array
from sedyn.arrays.shapes import Float
from sedyn.arrays.threads import run_each

__all__ = ["column_blocks", "for_each_block", "row_blocks", "summed"]

# Columns in a block: some forty vectors of it stay in the second-level cache.
COLUMNS = 2**12
# Rows are cut into this many blocks, or more, so that sums over a block in single precision stay short.
BLOCKS, MOST_ROWS = 16, 4096


def row_blocks(rows: int, multiple: int = 1) -> list[slice]:
    """Cut rows into blocks of equal size but for the last.

    Parameters
    ----------
    rows : int
    multiple : int, optional
        The size is a multiple of this.

    Returns
    -------
    list of slice
    """
    count = max(BLOCKS, -(-rows // MOST_ROWS))
    size = multiple * max(1, -(-rows // (count * multiple)))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def column_blocks(length: int) -> list[slice]:
    """Cut a length into blocks, the last one shorter."""
    return [slice(start, min(start + COLUMNS, length)) for start in range(0, length, COLUMNS)]


def for_each_block(task: Callable[[slice], object], like: Float[Array, "... q d"]) -> None:
    """Call a task on each block of columns of an array.

    Parameters
    ----------
    task : callable
        Of the columns of one block; called from several threads.
    like : array, shape (..., q, d)
    """
    length = like.shape[-1]
    run_each(task, column_blocks(length) if isinstance(like, np.ndarray) else [slice(0, length)])


def summed(part: Callable[[slice], Float[Array, "..."]], like: Float[Array, "... q d"]) -> Float[Array, "..."]:
    """Sum what a function gives for each block of columns of an array, in their order.

    Parameters
    ----------
    part : callable
        Of the columns of one block, to an array of any shape; called from several threads.
    like : array, shape (..., q, d)

    Returns
    -------
    array
        Of the shape that `part` gives.
    """
    parts: dict[int, Array] = {}
    for_each_block(lambda columns: parts.__setitem__(columns.start, part(columns)), like)
    first, *others = (parts[start] for start in sorted(parts))
    return sum(others, first)
