"""The entries of a dense design, drawn by streams that do not depend on threads or memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.memory import aligned_empty
from sedyn.arrays.shapes import Shaped
from sedyn.arrays.threads import run_each
from sedyn.model.features import FeatureLaw
from sedyn.model.seeds import Stream

__all__ = ["ENTRIES_PER_DEVICE_DRAW", "all_entries", "draw_entries"]

# Entries that one random stream draws: few enough to stay in cache until they are stored.
ENTRIES_PER_STREAM = 2**17
# Entries that a device draws at once, in double precision whatever the design is stored in.
ENTRIES_PER_DEVICE_DRAW = 2**26


def draw_entries(n: int, d: int, law: FeatureLaw, stream: Stream, device: str, dtype: str | np.dtype) -> Any:
    """Standardized entries in the form that a device multiplies.

    Parameters
    ----------
    n, d, law, stream, device, dtype
        As for `sedyn.designs.dense.dense_design`.

    Returns
    -------
    array or scipy.sparse array, shape (n, d)
        On a CPU integers and sparse arrays stay what they are.
    """
    if law.counted:
        return stream.normals(n, d, dtype=dtype, device=device)[0, ...]
    device_rng = backend.device_generator(stream.seed(), device)
    if device_rng is not None and law.device_draw is not None:
        return _drawn_on_device(n, d, partial(law.device_draw, device_rng), device, dtype)
    matrix = _drawn_on_host(n, d, law, stream, dtype)
    if device == "cpu":
        return matrix
    return backend.asarray(all_entries(matrix).astype(dtype, copy=False), device)


def all_entries(matrix: Any) -> Shaped[Array, "n d"]:
    """All entries of an array that may be sparse."""
    from scipy import sparse

    return matrix.toarray() if sparse.issparse(matrix) else matrix


def _drawn_on_host(n: int, d: int, law: FeatureLaw, stream: Stream, dtype: str | np.dtype) -> Any:
    """Draw blocks of samples, each with a stream of its own; integers and sparse arrays stay what they are."""
    size = max(1, ENTRIES_PER_STREAM // d)
    starts = range(0, n, size)

    def draw(start: int) -> Any:
        rng = np.random.Generator(np.random.SFC64(stream.seed(start // size)))
        return law.draw(rng, (min(size, n - start), d))

    from scipy import sparse

    first = draw(0)
    if sparse.issparse(first):
        pieces = {0: first}
        run_each(lambda start: pieces.__setitem__(start, draw(start)), starts[1:])
        return sparse.vstack([pieces[start] for start in starts], format="csr", dtype=dtype)
    matrix = aligned_empty((n, d), first.dtype if first.dtype.kind == "i" else dtype)
    matrix[:size] = first

    def fill(start: int) -> None:
        matrix[start : start + size] = draw(start)

    run_each(fill, starts[1:])
    return matrix


def _drawn_on_device(
    n: int, d: int, draw: Callable[[tuple[int, int]], Array], device: str, dtype: str | np.dtype
) -> Array:
    """Fill a matrix on a device by draws of a bounded number of entries each."""
    matrix, size = backend.empty((n, d), device, dtype), max(1, ENTRIES_PER_DEVICE_DRAW // d)
    for start in range(0, n, size):
        stop = min(start + size, n)
        samples = draw((stop - start, d))
        matrix[start:stop, :] = array_namespace(samples).astype(samples, matrix.dtype, copy=False)
    return matrix
