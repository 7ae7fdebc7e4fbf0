"""From values to the bytes and names of whole chunks, and onto a disk in one step."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr

__all__ = ["Chunk", "chunk_numbers", "chunks_of", "write_file"]


class Chunk(NamedTuple):
    """A whole chunk on its way to the store.

    Attributes
    ----------
    array : zarr.Array
        The array it belongs to.
    name : str
        Its name among the array's chunks.
    data : bytes
        Its content, little-endian.
    """

    array: zarr.Array
    name: str
    data: bytes


def chunks_of(array: zarr.Array, lead: tuple[int, ...], values: np.ndarray) -> Iterator[Chunk]:
    """Cut values into whole chunks, padded with the fill value.

    Parameters
    ----------
    array : zarr.Array
        Its dimensions: cell axes, perhaps a replicate axis, inner dimensions.
    lead : tuple of int
        Number of the chunk along the leading dimensions (position of the cell, number of the block).
    values : ndarray
        Replicates of the block if the array has them, then the inner dimensions.
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
        offsets = (0,) * blocks_in_lead + numbers
        part = padded[tuple(slice(k * size, (k + 1) * size) for k, size in zip(offsets, shape, strict=True))]
        data = part.astype(array.dtype.newbyteorder("<")).tobytes()
        yield Chunk(array, array.metadata.encode_chunk_key((*lead, *numbers)), data)


def chunk_numbers(name: str, dimensions: int) -> tuple[int, ...] | None:
    """Read where a chunk is from its name, as in ``c.0.3``; None if it is no chunk of so many dimensions."""
    first, *numbers = name.split(".")
    if first != "c" or len(numbers) != dimensions or not all(map(str.isdecimal, numbers)):
        return None
    return tuple(map(int, numbers))


def write_file(path: Path, data: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new, whatever happens.

    Raises
    ------
    OSError
        If it cannot be written, the disk being full for example; nothing is left behind.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        try:
            partial.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
