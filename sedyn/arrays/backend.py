"""The one place that knows which array libraries exist.

Kernels never import an array library: they take the namespace of their inputs with `array_namespace` and use
names of the Python array API standard only, so one code serves numpy, cupy and any other library that keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import array_api_compat
import array_api_compat.numpy
import numpy as np

from sedyn.arrays.memory import aligned_empty
from sedyn.arrays.shapes import Float, Integer, Shaped
from sedyn.errors import InvalidInput, require_one_of

__all__ = [
    "Array",
    "Card",
    "array_namespace",
    "asarray",
    "asarray_like",
    "constant",
    "constant_like",
    "contiguous",
    "cuda_kernel",
    "cuda_source",
    "device_description",
    "device_generator",
    "empty",
    "erf",
    "free_device_memory",
    "gpu_card",
    "gpu_count",
    "gpu_memory",
    "gpu_unusable_because",
    "is_contiguous",
    "launches",
    "limit_gpu_memory",
    "matmul_rows",
    "ndtr",
    "ndtri",
    "on_cuda",
    "orders_of",
    "orthonormal_rows",
    "ranks_of",
    "resolve_device",
    "stdtr",
    "stdtrit",
    "to_host",
    "to_numpy",
    "use_device",
    "watch_device_memory",
]

# Of a GPU's memory, what a process may keep between calls.
KEPT_SHARE = 1 / 16
# Entries that are brought to the host for one that is asked for, at most, to bring views of one array together.
MOST_BESIDE = 16
# What has said for this process that a GPU works: to ask is to wait for it.
_found_working: set[Callable[[], str | None]] = set()

Array = Any  # an array of any library that keeps the array API standard


def array_namespace(*arrays: Shaped[Array, "..."]) -> Any:
    """Namespace of the arrays' library, with the names of the array API; at once where all are numpy's."""
    for array in arrays:
        if type(array) is not np.ndarray:
            return array_api_compat.array_namespace(*arrays)
    return array_api_compat.numpy


def gpu_unusable_because() -> str | None:
    """Say why no GPU can be used from this process, or None if one can.

    Importing cupy, seeing a device and running a kernel are three things that fail apart, so each is tried.
    """
    try:
        import cupy
    except ImportError:
        return "cupy is not installed (pip install 'sedyn[gpu]')"
    try:
        if not cupy.cuda.is_available():
            return "cupy finds no CUDA device"
        if (cupy.zeros(1) + 1).get()[0] != 1:
            return "a CUDA device computes wrong results"
    except RuntimeError as error:
        return f"cupy cannot run a kernel ({str(error).splitlines()[0]})"
    return None


def resolve_device(device: str) -> str:
    """Turn ``auto``, ``cpu`` or ``gpu`` into ``cpu`` or ``gpu``.

    Raises
    ------
    InvalidInput
        If the name is not one of the three, or a GPU is asked for and none is usable.
    """
    require_one_of("device", device, ("auto", "cpu", "gpu"))
    if device == "cpu":
        return "cpu"
    reason = None if gpu_unusable_because in _found_working else gpu_unusable_because()
    if reason is None:
        _found_working.add(gpu_unusable_because)
    if device == "gpu" and reason:
        raise InvalidInput("device", device, f"{reason}; use device=cpu or device=auto")
    return "cpu" if reason else "gpu"


def asarray(array: Shaped[np.ndarray, "*shape"], device: str) -> Shaped[Array, "*shape"]:
    """Move a numpy array to a resolved device.

    Parameters
    ----------
    array : ndarray, any shape
    device : {'cpu', 'gpu'}

    Returns
    -------
    array
        Of the same shape; the same array on a CPU.
    """
    if device == "cpu":
        return array
    import cupy

    return cupy.asarray(array)


def constant(array: Shaped[np.ndarray, "*shape"], device: str) -> Shaped[Array, "*shape"]:
    """Move a small numpy array to a resolved device, where the same numbers are sent once and kept for the next call.

    Parameters
    ----------
    array : ndarray, any shape
    device : {'cpu', 'gpu'}

    Returns
    -------
    array
        Of the same shape, not to be written to; the same array on a CPU.
    """
    return array if device == "cpu" else _sent(array.tobytes(), array.shape, array.dtype.str, device, asarray)


def constant_like(array: Shaped[np.ndarray, "*shape"], like: Shaped[Array, "..."]) -> Shaped[Array, "*shape"]:
    """Move a small numpy array to where another one is, on a GPU as `constant` does.

    Parameters
    ----------
    array : ndarray, any shape
    like : array, any shape
        Of the same dtype; gives library and device.

    Returns
    -------
    array
        Of the shape of the first, not to be written to.
    """
    return constant(array, "gpu") if on_cuda(like) else asarray_like(array, like)


@lru_cache(maxsize=128)
def _sent(content: bytes, shape: tuple[int, ...], dtype: str, device: str, send: Callable[..., Array]) -> Array:
    return send(np.frombuffer(content, dtype).reshape(shape), device)


def asarray_like(array: Shaped[np.ndarray, "*shape"], like: Shaped[Array, "..."]) -> Shaped[Array, "*shape"]:
    """Move a numpy array to another array's library and device, in its dtype.

    Parameters
    ----------
    array : ndarray, any shape
    like : array, any shape
        Gives library, dtype and device.

    Returns
    -------
    array
        Of the shape of the first.
    """
    return array_namespace(like).asarray(array, dtype=like.dtype, device=like.device)


def empty(shape: tuple[int, ...], device: str, dtype: str | np.dtype = "float64") -> Shaped[Array, "..."]:
    """Make room for numbers on a resolved device, its contents undefined.

    Parameters
    ----------
    shape : tuple of int
    device : {'cpu', 'gpu'}
    dtype : dtype, optional

    Returns
    -------
    array, of that shape
    """
    if device == "cpu":
        return aligned_empty(shape, dtype)
    import cupy

    return cupy.empty(shape, dtype)


def device_generator(seed: np.random.SeedSequence, device: str) -> Any | None:
    """Generator of random numbers that lives on a resolved device.

    Parameters
    ----------
    seed : SeedSequence
    device : {'cpu', 'gpu'}

    Returns
    -------
    generator or None
        Its methods are a part of those of `numpy.random.Generator`, with the same laws and other numbers. None for a
        CPU, where numpy's are used.
    """
    if device == "cpu":
        return None
    import cupy

    return cupy.random.Generator(cupy.random.Philox4x3210(seed))


@contextmanager
def use_device(device: str) -> Iterator[None]:
    """Give the device's memory pool back to the system when the work inside is done, unless it is small.

    Taking it anew costs more than many a call computes.
    """
    try:
        yield
    finally:
        free_device_memory(device, beyond=KEPT_SHARE)


def free_device_memory(device: str, beyond: float = 0.0) -> None:
    """Give a resolved device's unused memory back to the system.

    Parameters
    ----------
    device : {'cpu', 'gpu'}
    beyond : float, optional
        Only if that is more than this share of all memory that the device has.
    """
    if device == "gpu":
        import cupy

        pool = cupy.get_default_memory_pool()
        if pool.free_bytes() > beyond * _gpu_bytes():
            pool.free_all_blocks()


@cache
def _gpu_bytes() -> int:
    """Of the present GPU in all; to ask is to wait for the driver."""
    import cupy

    return cupy.cuda.runtime.memGetInfo()[1]


@contextmanager
def watch_device_memory(device: str) -> Iterator[Callable[[], int]]:
    """Tell the most bytes that a resolved device's memory pool has held since the watch began; 0 on a CPU.

    Yields
    ------
    callable
        Answers at any time, also after the pool was freed.
    """
    if device != "gpu":
        yield lambda: 0
        return
    import cupy

    pool = cupy.get_default_memory_pool()
    peak = pool.total_bytes()

    class Watch(cupy.cuda.MemoryHook):
        """Is called whenever the pool has taken memory from the device."""

        name = "sedyn"

        def alloc_postprocess(self, **_: int) -> None:
            """Look at the pool."""
            nonlocal peak
            peak = max(peak, pool.total_bytes())

    with Watch():
        yield lambda: peak


def gpu_count() -> int:
    """GPUs that this process sees; only to be asked where one is usable."""
    import cupy

    return cupy.cuda.runtime.getDeviceCount()


def limit_gpu_memory(share: float) -> None:
    """Let this process take no more than a share of the present GPU's memory."""
    import cupy

    cupy.get_default_memory_pool().set_limit(fraction=share)


def gpu_memory() -> tuple[int, int]:
    """Bytes of the present GPU that this process may still take, and in all; only to be asked where one is usable."""
    import cupy

    free, total = cupy.cuda.runtime.memGetInfo()
    pool = cupy.get_default_memory_pool()
    limit = pool.get_limit() or total
    return min(free + pool.free_bytes(), limit - pool.used_bytes()), total


def to_numpy(array: Shaped[Array, "*shape"]) -> Shaped[np.ndarray, "*shape"]:
    """Bring an array to the host as numpy."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def to_host(arrays: Mapping[str, Shaped[Array, "..."]]) -> dict[str, Shaped[Array, "..."]]:
    """Bring named arrays of double precision to the host as numpy, those of a device in one transfer.

    What several of them are views of goes there once, and they are views of it again.
    """
    away = {name: array for name, array in arrays.items() if not isinstance(array, np.ndarray | np.generic)}
    if not away:
        return dict(arrays)
    xp = array_namespace(*away.values())
    owners = {name: _owner(array) for name, array in away.items()}
    whole = {id(owner): owner for owner in owners.values()}
    flat = to_numpy(xp.concat([xp.reshape(owner, (-1,)) for owner in whole.values()]))
    parts = dict(zip(whole, np.split(flat, np.cumsum([own.size for own in whole.values()])[:-1]), strict=True))
    return {**arrays, **{name: _same_view(away[name], own, parts[id(own)]) for name, own in owners.items()}}


def _owner(array: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """What an array of cupy is a view of, or itself if that has entries much beyond it."""
    base = getattr(array, "base", None)
    if base is None or base.dtype != array.dtype or not is_contiguous(base) or base.size > MOST_BESIDE * array.size:
        return array
    return base


def _same_view(view: Array, owner: Array, here: Float[np.ndarray, " N"]) -> Float[np.ndarray, "..."]:
    """Take of what an array's owner has, brought to the host in a row, what the array is a view of."""
    if view is owner:
        return np.reshape(here, view.shape)
    first = (view.data.ptr - owner.data.ptr) // view.itemsize
    return np.lib.stride_tricks.as_strided(here[first:], view.shape, view.strides)


def device_description(device: str) -> str:
    """Name a resolved device for the record, for example ``cpu`` or ``gpu: NVIDIA H100``."""
    return "cpu" if device == "cpu" else f"gpu: {_gpu_name()}"


@cache
def _gpu_name() -> str:
    import cupy

    return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()


def on_cuda(x: Shaped[Array, "..."]) -> bool:
    """Whether CUDA kernels can be launched on an array."""
    return array_api_compat.is_cupy_array(x)


def launches(device: str) -> bool:
    """Whether CUDA kernels can be launched on a resolved device."""
    return device == "gpu" and on_cuda(empty((0,), device))


def is_contiguous(x: Shaped[Array, "..."]) -> bool:
    """Whether an array of numpy or cupy lies in memory without gaps, last axis fastest."""
    return x.flags.c_contiguous


def contiguous(x: Shaped[Array, "*shape"]) -> Shaped[Array, "*shape"]:
    """Bring an array of numpy or cupy to memory without gaps, last axis fastest; the same array where it is so."""
    if isinstance(x, np.ndarray):
        return np.ascontiguousarray(x)
    import cupy

    return cupy.ascontiguousarray(x)


class Card(NamedTuple):
    """What kernels are cut to.

    Attributes
    ----------
    architecture : int
        Compute capability, for example 90.
    shared_memory : int
        Bytes that the threads of a block may share.
    """

    architecture: int
    shared_memory: int


@cache
def gpu_card() -> Card:
    """What the present GPU offers to kernels; only to be asked where one is usable."""
    import cupy

    shared_memory = cupy.cuda.runtime.deviceGetAttribute(
        cupy.cuda.runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin, cupy.cuda.runtime.getDevice()
    )
    return Card(int(cupy.cuda.Device().compute_capability), shared_memory)


@cache
def cuda_kernel(
    source: Path, name: str, *, shared_memory: int = 0, **macros: int | str
) -> Callable[[tuple, tuple, tuple], None]:
    """Compile a CUDA kernel for the present device, once in a process.

    Parameters
    ----------
    source : Path
    name : str
        Of the kernel, declared ``extern "C"``.
    shared_memory : int, optional
        Bytes that the threads of a block share, beyond what the source declares.
    **macros : int or str
        Defined for the compiler.

    Returns
    -------
    callable
        Of the grid, the block and the arguments: arrays of cupy and numpy scalars.
    """
    kernel = _cuda_module(source, tuple(macros.items())).get_function(name)
    if not shared_memory:
        return kernel
    kernel.max_dynamic_shared_size_bytes = shared_memory
    return partial(kernel, shared_mem=shared_memory)


@cache
def _cuda_module(source: Path, macros: tuple[tuple[str, int | str], ...]) -> Any:
    import cupy

    return cupy.RawModule(code=cuda_source(source, **dict(macros)))


def cuda_source(source: Path, **macros: int | str) -> str:
    """Read a CUDA source, below definitions of its macros: compilers' own options differ in what they take for a value.

    Parameters
    ----------
    source : Path
        What it includes by name, of its own folder, is read in its place.
    **macros : int or str

    Returns
    -------
    str
    """

    def included(line: re.Match[str]) -> str:
        return source.with_name(line[1]).read_text()

    text = re.sub(r'^#include "(.+)"$', included, source.read_text(), flags=re.MULTILINE)
    return "".join(f"#define {macro} {value}\n" for macro, value in macros.items()) + text


def orders_of(x: Shaped[Array, "*leading n"]) -> Integer[Array, "*leading n"]:
    """Orders that sort an array along its last axis; numbers that are equal may come in any.

    Parameters
    ----------
    x : array, shape (..., n)

    Returns
    -------
    array, of the same shape
    """
    if isinstance(x, np.ndarray):  # at half the time of the standard's, which keeps equal numbers as they are
        return np.argsort(x, axis=-1)
    return array_namespace(x).argsort(x, axis=-1)


def ranks_of(orders: Integer[Array, "*leading n"]) -> Integer[Array, "*leading n"]:
    """Where each thing stands in an order: the inverse permutations.

    Parameters
    ----------
    orders : array, shape (..., n)

    Returns
    -------
    array, of the same shape
    """
    if not isinstance(orders, np.ndarray):
        return array_namespace(orders).argsort(orders, axis=-1)
    ranks = np.empty_like(orders)
    np.put_along_axis(ranks, orders, np.arange(orders.shape[-1]), axis=-1)
    return ranks


def matmul_rows(rows: Float[Array, "R q d"], matrices: Float[Array, "R n d"]) -> Float[Array, "R q n"]:
    """Products of few rows with all rows of matrices, each with its own; the matrices stay as they are.

    Parameters
    ----------
    rows : array, shape (R, q, d)
    matrices : array, shape (R, n, d)

    Returns
    -------
    array, shape (R, q, n)
    """
    xp = array_namespace(rows)
    if isinstance(rows, np.ndarray):
        return xp.matmul(rows, xp.matrix_transpose(matrices))
    # A device's library copies what it is to take transposed: the few.
    return xp.matrix_transpose(xp.matmul(matrices, xp.matrix_transpose(rows)))


def orthonormal_rows(x: Float[Array, "*leading q d"]) -> Float[Array, "*leading q d"]:
    """Orthonormal rows that span, from the first on, the same spaces as those of an array, each towards its own.

    Parameters
    ----------
    x : array, shape (..., q, d)
        With independent rows.

    Returns
    -------
    array, of the same shape
    """
    xp = array_namespace(x)
    if isinstance(x, np.ndarray):
        q, r = xp.linalg.qr(xp.matrix_transpose(x))
        return xp.matrix_transpose(q) * xp.sign(xp.linalg.diagonal(r))[..., :, None]
    for _ in range(2):  # a device's library takes such factors one by one; the second turn makes up for squared errors
        factor = xp.linalg.cholesky(xp.matmul(x, xp.matrix_transpose(x)))
        x = xp.matmul(xp.linalg.inv(factor), x)
    return x


def erf(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Error function of an array in its own library; the array API standard has none."""
    if array_api_compat.is_cupy_array(x):
        from cupyx.scipy import special as cupy_special

        return cupy_special.erf(x)
    from scipy import special

    return _on_host(special.erf, x)


def ndtr(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Distribution function of the standard normal law in an array's own library; the array API standard has none."""
    if array_api_compat.is_cupy_array(x):
        from cupyx.scipy import special as cupy_special

        return cupy_special.ndtr(x)
    from scipy import special

    return _on_host(special.ndtr, x)


def ndtri(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Quantiles of the standard normal law in an array's own library; the array API standard has none."""
    if array_api_compat.is_cupy_array(x):
        from cupyx.scipy import special as cupy_special

        return cupy_special.ndtri(x)
    from scipy import special

    return _on_host(special.ndtri, x)


def stdtr(df: float, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Distribution function of Student's law, computed on the host: no other library has it.

    Parameters
    ----------
    df : float
        Degrees of freedom.
    x : array, any shape

    Returns
    -------
    array, of the same shape
    """
    from scipy import special

    return _on_host(lambda values: special.stdtr(df, values), x)


def stdtrit(df: float, p: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Quantiles of Student's law, computed on the host: no other library has them.

    Parameters
    ----------
    df : float
        Degrees of freedom.
    p : array, any shape
        Probabilities.

    Returns
    -------
    array, of the same shape
    """
    from scipy import special

    return _on_host(lambda probabilities: special.stdtrit(df, probabilities), p)


def _on_host(function: Callable[[np.ndarray], np.ndarray], x: Array) -> Array:
    if isinstance(x, np.ndarray):
        return function(x)
    return array_namespace(x).asarray(function(to_numpy(x)), device=array_api_compat.device(x))
