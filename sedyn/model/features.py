"""Laws of the feature entries, each standardized to mean 0 and variance 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.errors import InvalidInput
from sedyn.model.functions import Registry, parse_call

if TYPE_CHECKING:
    from scipy import sparse

__all__ = [
    "DEVICE_DRAWS",
    "FEATURES",
    "FeatureLaw",
    "Sampler",
    "bytes_per_entry",
    "feature_sampler",
    "register_features",
]

# Of an array of a given shape, or of a sparse one where most entries are zero.
Draw = Callable[[np.random.Generator, tuple[int, int]], Any]

# Below this density a compressed sparse array is both smaller and faster than a full one in double precision.
SPARSE_BELOW = 0.1


class FeatureLaw(NamedTuple):
    """A law of feature entries.

    Attributes
    ----------
    draw : callable
        ``draw(rng, shape)`` or, with a parameter, ``draw(rng, shape, parameter)``: standardized entries of a matrix,
        as floats, as integers, or as a sparse array.
    parameter : str or None
        What the number in ``name(number)`` means, if the law takes one.
    valid : callable or None
        Whether a parameter is allowed.
    condition : str
        The same in words.
    """

    draw: Callable[..., Any]
    parameter: str | None = None
    valid: Callable[[float], bool] | None = None
    condition: str = ""


def _gaussian(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    from sedyn.arrays.normals import standard_normals  # loads a compiler, which only designs need

    return standard_normals(rng, shape)


def _rademacher(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    size = math.prod(shape)
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-size // 8)), np.uint8), count=size)
    return (2 * bits.astype(np.int8) - 1).reshape(shape)


def _student_t(rng: np.random.Generator, shape: tuple[int, int], df: float) -> np.ndarray:
    return rng.standard_t(df, shape) * math.sqrt((df - 2) / df)


def _sparse(rng: np.random.Generator, shape: tuple[int, int], density: float) -> np.ndarray | sparse.csr_array:
    """A Gaussian entry with probability `density`, else zero; drawn by the gaps between entries."""
    size = math.prod(shape)
    if density >= SPARSE_BELOW:
        return (rng.random(shape) < density) * rng.standard_normal(shape) / math.sqrt(density)
    from scipy import sparse

    positions = np.zeros(0, dtype=np.int64)
    while positions.size == 0 or positions[-1] < size:
        last = positions[-1] if positions.size else -1
        expected = (size - last) * density
        gaps = rng.geometric(density, math.ceil(expected + 4 * math.sqrt(expected)) + 1)
        positions = np.concatenate([positions, last + np.cumsum(gaps)])
    positions = positions[positions < size]
    values = rng.standard_normal(positions.size) / math.sqrt(density)
    starts = np.searchsorted(positions, np.arange(shape[0] + 1) * shape[1])
    return sparse.csr_array((values, (positions % shape[1]).astype(np.int32), starts.astype(np.int32)), shape=shape)


def _sparse_rows(rng: np.random.Generator, shape: tuple[int, int], entries: float) -> np.ndarray | sparse.csr_array:
    """So many Gaussian entries in a row on average, however long it is; no limit theorem applies to such a row."""
    return _sparse(rng, shape, min(1.0, entries / shape[1]))


FEATURES: Registry[FeatureLaw] = Registry(
    "features",
    {
        "gaussian": FeatureLaw(_gaussian),
        "rademacher": FeatureLaw(_rademacher),
        "uniform": FeatureLaw(lambda rng, shape: rng.uniform(-math.sqrt(3), math.sqrt(3), shape)),
        "laplace": FeatureLaw(lambda rng, shape: rng.laplace(scale=math.sqrt(0.5), size=shape)),
        "student_t": FeatureLaw(_student_t, "degrees of freedom", lambda df: df > 2, "greater than 2"),
        "sparse": FeatureLaw(_sparse, "density", lambda density: 0 < density <= 1, "in (0, 1]"),
        "sparse_rows": FeatureLaw(_sparse_rows, "entries", lambda entries: entries > 0, "greater than 0"),
        "exponential": FeatureLaw(lambda rng, shape: rng.standard_exponential(shape) - 1.0),
    },
)


def _chosen(rng: Any, shape: tuple[int, int], probability: float) -> Array:
    """One with a probability, else zero."""
    uniforms = rng.random(shape)
    return array_namespace(uniforms).astype(uniforms < probability, uniforms.dtype)


# The same laws by methods that cupy's generators have too, see `sedyn.arrays.backend.device_generator`. What is not
# here is drawn on the host and copied.
DEVICE_DRAWS: dict[str, Callable[..., Any]] = {
    "gaussian": lambda rng, shape: rng.standard_normal(shape),
    "rademacher": lambda rng, shape: 1 - 2 * _chosen(rng, shape, 0.5),
    "uniform": lambda rng, shape: rng.uniform(-math.sqrt(3), math.sqrt(3), shape),
    "laplace": lambda rng, shape: (rng.standard_exponential(shape) - rng.standard_exponential(shape)) * math.sqrt(0.5),
    "student_t": lambda rng, shape, df: (
        rng.standard_normal(shape) * ((df - 2) / 2 / rng.standard_gamma(df / 2, shape)) ** 0.5
    ),
    "sparse": lambda rng, shape, density: (
        _chosen(rng, shape, density) * rng.standard_normal(shape) / math.sqrt(density)
    ),
    "exponential": lambda rng, shape: rng.standard_exponential(shape) - 1.0,
}


def register_features(name: str, draw: Draw) -> None:
    """Make a law of feature entries known under a name, for `Problem` and for configurations.

    Parameters
    ----------
    name : str
        A new name.
    draw : callable
        ``draw(rng, shape)`` returns a matrix of independent entries with mean 0 and variance 1: floats, small integers,
        which are kept as they are, or a `scipy.sparse` array. It is called from several threads, with a generator each.
        The generator is numpy's: simulations on a GPU draw on the host and copy.

    Raises
    ------
    InvalidInput
        If the name is taken or no identifier.
    """
    FEATURES.register(name, FeatureLaw(draw))


class Sampler(NamedTuple):
    """How entries of one law are drawn.

    Attributes
    ----------
    draw : callable
        ``draw(rng, shape)`` with a generator of numpy: floats, integers, or a sparse array.
    device_draw : callable or None
        The same with a generator of another library, to an array of floats there; None if only numpy can draw them.
    """

    draw: Draw
    device_draw: Draw | None = None

    def __call__(self, rng: np.random.Generator, shape: tuple[int, int]) -> Any:
        """Draw with a generator of numpy."""
        return self.draw(rng, shape)


def feature_sampler(text: str) -> Sampler:
    """Find the sampler for ``name`` or ``name(parameter)``.

    Raises
    ------
    InvalidInput
        If the name is unknown, or its parameter is missing, unwanted or out of range.
    """
    name, numbers = parse_call("features", text)
    law, device_draw = FEATURES[name], DEVICE_DRAWS.get(name)
    if law.parameter is None:
        if numbers:
            raise InvalidInput("features", text, f"{name} takes no number")
        return Sampler(law.draw, device_draw)
    if len(numbers) != 1 or (law.valid and not law.valid(*numbers)):
        example = f"{name}({law.parameter})"
        raise InvalidInput("features", text, f"write {example} with {law.parameter} {law.condition}")
    return Sampler(
        lambda rng, shape: law.draw(rng, shape, *numbers),
        device_draw and (lambda rng, shape: device_draw(rng, shape, *numbers)),
    )


def bytes_per_entry(text: str, dtype: str = "float64", device: str = "cpu") -> float:
    """Memory that one entry takes in a dense design, see `sedyn.designs.dense.dense_design`.

    Parameters
    ----------
    text : str
        ``name`` or ``name(parameter)`` of the law.
    dtype : str, optional
        That floats are stored in.
    device : {'cpu', 'gpu'}, optional
        A GPU holds every matrix as floats.
    """
    name, numbers = parse_call("features", text)
    size = np.dtype(dtype).itemsize
    if device != "cpu":
        return size
    if name == "rademacher":
        return 1
    if name == "sparse" and numbers[0] < SPARSE_BELOW:
        # Values and columns, held twice while pieces are put together.
        return 2 * numbers[0] * (size + 4)
    return size
