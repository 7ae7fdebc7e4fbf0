"""From values to the bytes and names of whole chunks, and onto a disk in one step."""

from __future__ import annotations

import contextlib
import itertools
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr

__all__ = ["Chunk", "chunk_numbers", "chunks_of", "settle", "write_bytes", "write_file"]


_WRITER = uuid.uuid4().hex
_COUNT = itertools.count()


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


def write_file(path: str | Path, data: bytes, *, settled: bool = False) -> None:
    """Write a file in one step: a reader sees the old content or the new, whatever happens to this process.

    Parameters
    ----------
    path : str or Path
    data : bytes
    settled : bool, optional
        Whether to wait until the disk has it, so that this also holds through a power cut.

    Raises
    ------
    OSError
        If it cannot be written, the disk being full for example; nothing is left behind.
    """
    # Strings and system calls: path objects would be a third of the cost of a write.
    target = os.fspath(path)
    partial = f"{target}.{_WRITER}-{os.getpid()}-{next(_COUNT)}.partial"
    try:
        try:
            write_bytes(partial, data)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            write_bytes(partial, data)
        if settled:
            settle(partial)
        os.replace(partial, target)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def write_bytes(path: str, data: bytes) -> None:
    """Write a new file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def settle(path: str) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
