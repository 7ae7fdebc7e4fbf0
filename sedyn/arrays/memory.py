"""Memory that begins where a line of the cache does: a vector that lies across two lines takes two reads."""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays.shapes import Shaped

__all__ = ["aligned_empty"]

# Bytes of a line of the cache, and of the longest vectors.
LINE = 64


def aligned_empty(shape: tuple[int, ...], dtype: str | np.dtype) -> Shaped[np.ndarray, "..."]:
    """Array without values that begins at a line of the cache; so do its rows where their length allows it.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Returns
    -------
    ndarray, of that shape
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)
