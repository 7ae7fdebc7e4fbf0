"""Shards: many chunks in one object, so that a million cells fit in a few thousand files.

A shard has the chunks of cells that lie beside each other, each with a checksum of its own, and at its end an index
that says where each is, with its checksum (the codec ``sharding_indexed`` of Zarr). It is read and written whole here,
and has one writer, the driver. Behind a URL a shard is replaced if it is still what was read, so that a late request of
a driver that lost the store fails (`sweeps.store.conditions`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import zarr
from zarr.abc.store import Store as ZarrStore

from sweeps.store import objects
from sweeps.store.chunks import CHECKSUM_BYTES, checksum_of, content_of, decoded, encoded, form_of, place_of

__all__ = ["damaged_chunks", "index_bytes", "pack", "revise", "unpack"]

TRIES = 8  # to replace a shard: what was written without an answer that arrived is found changed
_MISSING = 2**64 - 1  # in the place of an offset and a size
_ENTRY_BYTES = 16


def unpack(array: zarr.Array, data: bytes) -> tuple[np.ndarray, list[tuple[int, ...]]] | None:
    """Read the values of a shard.

    Parameters
    ----------
    array : zarr.Array, of any shape
        Sharded.
    data : bytes
        What is stored.

    Returns
    -------
    values : ndarray, shape of a shard
        The fill value where there is nothing, or nothing that can be read.
    damaged : list of tuple of int
        Number of each chunk within the shard that is damaged.
        None in the place of both if nothing can be read at all.
    """
    if (index := _index_of(array, data)) is None:
        return None
    values, damaged = np.full(_shape(array), array.fill_value, array.dtype), []
    for numbers, content in _contents(array, data, index):
        if content is None:
            damaged.append(numbers)
        else:
            values[place_of(numbers, array.chunks)] = decoded(array, content)
    return values, damaged


def damaged_chunks(array: zarr.Array, data: bytes) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]] | None:
    """Tell which chunks of a shard are there, by their numbers within it, and which of them are damaged.

    Parameters
    ----------
    array : zarr.Array, of any shape
        Sharded.
    data : bytes
        What is stored.

    Returns
    -------
    whole, damaged : list of tuple of int
        None in the place of both if nothing can be read at all.
    """
    if (index := _index_of(array, data)) is None:
        return None
    found: tuple[list[tuple[int, ...]], list[tuple[int, ...]]] = [], []
    for numbers, content in _contents(array, data, index):
        found[content is None].append(numbers)
    return found


def pack(array: zarr.Array, values: np.ndarray) -> bytes:
    """Write the values of a shard; chunks that hold the fill value alone are left out, and the index says so.

    Parameters
    ----------
    array : zarr.Array, of any shape
        Sharded.
    values : ndarray, shape of a shard

    Returns
    -------
    bytes
    """
    form, parts = form_of(array), list[bytes]()
    offset, counts = 0, _counts(array)
    index = np.full((math.prod(counts), 2), _MISSING, "<u8")
    for number, numbers in enumerate(np.ndindex(*counts)):
        chunk = values[place_of(numbers, array.chunks)]
        if not _is_empty(chunk, array.fill_value):
            parts.append(encoded(form, chunk))
            index[number] = offset, len(parts[-1])
            offset += len(parts[-1])
    return b"".join([*parts, index.tobytes(), checksum_of(index.tobytes())])


def revise(
    store: ZarrStore,
    array: zarr.Array,
    numbers: tuple[int, ...],
    require: Callable[[], None],
    change: Callable[[np.ndarray], None],
) -> None:
    """Change what a shard holds, and wait until a disk has it.

    Parameters
    ----------
    store : zarr store
    array : zarr.Array, of any shape
        Sharded.
    numbers : tuple of int
        Which of its shards.
    require : callable
        Raises an error where the store is not its driver's any more; called before the shard is written.
    change : callable
        Changes the values of a shard, an array of its shape, as they are; the fill value stands where there is
        nothing, or nothing that can be read.

    Raises
    ------
    OSError
        If somebody else changes the shard again and again.
    """
    key = f"{array.path}/{array.metadata.encode_chunk_key(numbers)}"
    for _ in range(TRIES):
        version, data = objects.read_version(store, key)
        found = None if data is None else unpack(array, data)
        values = np.full(_shape(array), array.fill_value, array.dtype) if found is None else found[0]
        change(values)
        require()
        if objects.replace(store, key, pack(array, values), version):
            return
    require()
    raise OSError(f"{key} changed {TRIES} times while it was replaced")


def index_bytes(chunks: int) -> int:
    """Count the bytes of the index of a shard.

    Parameters
    ----------
    chunks : int
        That it has room for.
    """
    return chunks * _ENTRY_BYTES + CHECKSUM_BYTES


def _index_of(array: zarr.Array, data: bytes) -> np.ndarray | None:
    """Read where each chunk is; None if that is damaged."""
    size = index_bytes(math.prod(_counts(array)))
    index, checksum = data[-size:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if len(data) < size or checksum_of(index) != checksum:
        return None
    return np.frombuffer(index, "<u8").reshape(-1, 2)


def _contents(array: zarr.Array, data: bytes, index: np.ndarray) -> Iterator[tuple[tuple[int, ...], bytes | None]]:
    """Find the content of each chunk that is there; None if it is damaged."""
    for numbers, (offset, size) in zip(np.ndindex(*_counts(array)), index.tolist(), strict=True):
        if offset != _MISSING:
            yield numbers, content_of(array, data[offset : offset + size])


def _is_empty(chunk: np.ndarray, fill_value: object) -> bool:
    empty = np.isnan(chunk) if chunk.dtype.kind == "f" else chunk == fill_value
    return bool(empty.all())


def _shape(array: zarr.Array) -> tuple[int, ...]:
    assert array.shards is not None, "only shards are read and written whole"
    return array.shards


def _counts(array: zarr.Array) -> tuple[int, ...]:
    return tuple(whole // part for whole, part in zip(_shape(array), array.chunks, strict=True))
