"""From values to the keys and bytes of whole chunks: plain little-endian numbers without compression."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import zarr

__all__ = ["chunk_numbers", "chunks_of", "place_of"]


def chunks_of(array: zarr.Array, lead: tuple[int, ...], values: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Cut values into whole chunks, padded with the fill value.

    Parameters
    ----------
    array : zarr.Array, shape (cell axes, perhaps replicates, inner dimensions)
    lead : tuple of int
        Number of the chunk along the leading dimensions (position of the cell, number of the block).
    values : ndarray, shape (replicates of the block, inner dimensions) or (inner dimensions)
        Without the first where the array has no replicates.

    Yields
    ------
    str, bytes
        Key of the chunk in the store, and its content.
    """
    free = array.ndim - values.ndim  # leading dimensions of which the chunk has one element
    assert free <= len(lead), "values do not reach from the cell to the last dimension"
    assert all(size == 1 for size in array.chunks[:free]), "a chunk holds one cell only"
    shape = array.chunks[free:]
    blocks_in_lead = len(lead) - free
    assert all(values.shape[k] <= shape[k] for k in range(blocks_in_lead)), "a task writes one block of replicates"
    extent = tuple(
        shape[k] if k < blocks_in_lead else -(-array.shape[free + k] // shape[k]) * shape[k] for k in range(values.ndim)
    )
    padded = np.full(extent, array.fill_value, array.dtype)
    padded[tuple(slice(size) for size in values.shape)] = values
    inner = [range(extent[k] // shape[k]) for k in range(blocks_in_lead, values.ndim)]
    for numbers in itertools.product(*inner):
        part = padded[place_of((0,) * blocks_in_lead + numbers, shape)]
        key = array.metadata.encode_chunk_key((*lead, *numbers))
        yield f"{array.path}/{key}", part.astype(array.dtype.newbyteorder("<")).tobytes()


def chunk_numbers(name: str, dimensions: int) -> tuple[int, ...] | None:
    """Read where a chunk is from its name, as in ``c.0.3``.

    Parameters
    ----------
    name : str
        Of an object beside an array's metadata.
    dimensions : int
        Of the array.

    Returns
    -------
    tuple of int or None
        Number of the chunk along each dimension; None if the name is not that of such a chunk.
    """
    first, *numbers = name.split(".")
    if first != "c" or len(numbers) != dimensions or not all(map(str.isdecimal, numbers)):
        return None
    return tuple(map(int, numbers))


def place_of(numbers: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    """Find the part of an array that a chunk holds.

    Parameters
    ----------
    numbers, sizes : tuple of int
        Number of the chunk along each dimension, and its size there.

    Returns
    -------
    tuple of slice
        It may reach beyond the end of the array.
    """
    return tuple(slice(k * size, (k + 1) * size) for k, size in zip(numbers, sizes, strict=True))
