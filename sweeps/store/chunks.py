"""From values to the keys and bytes of whole chunks: little-endian numbers, and a checksum where the array has one."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

__all__ = [
    "CHECKSUM_BYTES",
    "Form",
    "checksum_of",
    "chunk_numbers",
    "chunks_of",
    "content_of",
    "decoded",
    "encoded",
    "form_of",
    "is_checked",
    "numbers_of",
    "place_of",
    "sum_of",
    "values_of",
]

CHECKSUM_BYTES = 4
_COUNT = struct.Struct("<I")  # of words, and of the bytes of each


class Form(NamedTuple):
    """What of an array its chunks depend on; the array itself takes longer to tell than a chunk to be made.

    Attributes
    ----------
    path : str
    shape, sides : tuple of int
        Of the array, and of its chunks.
    dtype : dtype
        Little-endian.
    fill_value : object
    checked : bool
        Whether chunks end with their checksum.
    key : callable
        From the numbers of a chunk to its key below the path.
    """

    path: str
    shape: tuple[int, ...]
    sides: tuple[int, ...]
    dtype: np.dtype
    fill_value: Any
    checked: bool
    key: Callable[[tuple[int, ...]], str]


def form_of(array: zarr.Array) -> Form:
    """Say what chunks of an array depend on.

    Parameters
    ----------
    array : zarr.Array, of any shape
    """
    dtype = array.dtype if array.dtype.kind == "T" else array.dtype.newbyteorder("<")
    key = array.metadata.encode_chunk_key
    return Form(array.path, array.shape, array.chunks, dtype, array.fill_value, is_checked(array), key)


def chunks_of(form: Form, lead: tuple[int, ...], values: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Cut values into whole chunks, padded with the fill value.

    Parameters
    ----------
    form : Form
        Of an array of shape (cell axes, perhaps replicates, inner dimensions).
    lead : tuple of int
        Number of the chunk along the leading dimensions (position of the cell, number of the block).
    values : ndarray, shape (replicates of the block, inner dimensions) or (inner dimensions)
        Without the first where the array has no replicates.

    Yields
    ------
    str, bytes
        Key of the chunk in the store, and its content.
    """
    free = len(form.shape) - values.ndim  # leading dimensions of which the chunk has one element
    assert free <= len(lead), "values do not reach from the cell to the last dimension"
    assert all(size == 1 for size in form.sides[:free]), "a chunk holds one cell only"
    sides = form.sides[free:]
    blocks_in_lead = len(lead) - free
    assert all(values.shape[k] <= sides[k] for k in range(blocks_in_lead)), "a task writes one block of replicates"
    extent = (
        *sides[:blocks_in_lead],
        *(-(-form.shape[free + k] // sides[k]) * sides[k] for k in range(blocks_in_lead, values.ndim)),
    )
    whole = values
    if values.shape != extent:
        whole = np.full(extent, form.fill_value, form.dtype)
        whole[tuple(map(slice, values.shape))] = values
    if extent == sides:  # one chunk
        numbers = (0,) * (values.ndim - blocks_in_lead)
        yield f"{form.path}/{form.key((*lead, *numbers))}", encoded(form, whole)
        return
    inner = [range(extent[k] // sides[k]) for k in range(blocks_in_lead, values.ndim)]
    for numbers in itertools.product(*inner):
        part = whole[place_of((0,) * blocks_in_lead + numbers, sides)]
        yield f"{form.path}/{form.key((*lead, *numbers))}", encoded(form, part)


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


def encoded(form: Form, values: np.ndarray) -> bytes:
    """Write a chunk.

    Parameters
    ----------
    form : Form
        Of the array.
    values : ndarray, shape of the array's chunks

    Returns
    -------
    bytes
    """
    if form.dtype.kind == "T":
        words = [word.encode() for word in values.ravel().tolist()]
        data = _COUNT.pack(len(words)) + b"".join(_COUNT.pack(len(word)) + word for word in words)
    else:
        data = values.astype(form.dtype, copy=False).tobytes()
    return data + checksum_of(data) if form.checked else data


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
