"""From values to the keys and bytes of whole chunks: little-endian numbers, and a checksum where the array has one."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

import google_crc32c
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

__all__ = [
    "CHECKSUM_BYTES",
    "checksum_of",
    "chunk_numbers",
    "chunks_of",
    "content_of",
    "decoded",
    "encoded",
    "is_checked",
    "numbers_of",
    "place_of",
    "sum_of",
    "values_of",
]

CHECKSUM_BYTES = 4
_COUNT = struct.Struct("<I")  # of words, and of the bytes of each


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
        yield f"{array.path}/{key}", encoded(array, part)


def is_checked(array: zarr.Array) -> bool:
    """Tell whether chunks of an array end with their checksum.

    Parameters
    ----------
    array : zarr.Array, of any shape
    """
    return any(isinstance(codec, Crc32cCodec) for codec in array.compressors)


def content_of(array: zarr.Array, data: bytes) -> bytes | None:
    """Take the checksum off a chunk.

    Parameters
    ----------
    array : zarr.Array, of any shape
    data : bytes
        What is stored.

    Returns
    -------
    bytes
        None if the chunk is cut or, as far as a checksum tells, damaged.
    """
    if is_checked(array):
        data, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
        if checksum_of(data) != checksum:
            return None
    if array.dtype.kind == "T":  # of variable length
        return data or None
    return data if len(data) == np.prod(array.chunks) * array.dtype.itemsize else None


def values_of(array: zarr.Array, data: bytes) -> np.ndarray | None:
    """Read a chunk of numbers.

    Parameters
    ----------
    array : zarr.Array, of any shape
    data : bytes
        What is stored.

    Returns
    -------
    ndarray, shape of the array's chunks
        None as for `content_of`.
    """
    content = content_of(array, data)
    return None if content is None else decoded(array, content)


def encoded(array: zarr.Array, values: np.ndarray) -> bytes:
    """Write a chunk.

    Parameters
    ----------
    array : zarr.Array, of any shape
    values : ndarray, shape of the array's chunks

    Returns
    -------
    bytes
    """
    if array.dtype.kind == "T":
        words = [word.encode() for word in values.ravel().tolist()]
        data = _COUNT.pack(len(words)) + b"".join(_COUNT.pack(len(word)) + word for word in words)
    else:
        data = values.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return data + checksum_of(data) if is_checked(array) else data


def decoded(array: zarr.Array, content: bytes) -> np.ndarray:
    """Read what is in a chunk.

    Parameters
    ----------
    array : zarr.Array, of any shape
    content : bytes
        As `content_of` gives it.

    Returns
    -------
    ndarray, shape of the array's chunks
    """
    if array.dtype.kind == "T":
        return np.array(list(_words(content)), array.dtype).reshape(array.chunks)
    return np.frombuffer(content, array.dtype.newbyteorder("<")).reshape(array.chunks)


def _words(content: bytes) -> Iterator[str]:
    here = _COUNT.size
    while here < len(content):
        start = here + _COUNT.size
        here = start + _COUNT.unpack_from(content, here)[0]
        yield content[start:here].decode()


def sum_of(values: np.ndarray, before: int = 0) -> int:
    """Sum up values: the CRC-32C of those that are no NaN, so that padding makes no difference.

    Parameters
    ----------
    values : ndarray of float64, of any shape
    before : int, optional
        Sum of values that come before them.
    """
    return google_crc32c.extend(before, values[~np.isnan(values)].astype("<f8").tobytes())


def checksum_of(data: bytes) -> bytes:
    """Make the CRC-32C that follows some bytes.

    Parameters
    ----------
    data : bytes
    """
    return google_crc32c.value(data).to_bytes(CHECKSUM_BYTES, "little")


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


def numbers_of(array: zarr.Array, name: str) -> tuple[int, ...] | None:
    """Read where in an array a chunk, or a shard, is; None if the name is not that of one of it.

    Parameters
    ----------
    array : zarr.Array, of any shape
    name : str
        As for `chunk_numbers`.
    """
    numbers = chunk_numbers(name, array.ndim)
    sizes = array.shards or array.chunks
    if numbers is None or any(k * size >= end for k, size, end in zip(numbers, sizes, array.shape, strict=True)):
        return None
    return numbers


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
