"""Laws of the feature entries, each standardized to mean 0 and variance 1 (docs/theory.md#feature-law)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.checks import checked, function_of, identifier
from sedyn.errors import InvalidInput
from sedyn.model.families import Family, Law, read_law
from sedyn.model.registry import Registry

if TYPE_CHECKING:
    from scipy import sparse

__all__ = ["FEATURES", "FeatureFamily", "FeatureLaw", "feature_law", "register_features"]

# Of a matrix of a given shape, or of a sparse one where most entries are zero.
Draw = Callable[[Any, tuple[int, int]], Any]

# Below this density a compressed sparse array is both smaller and faster than a full one in double precision.
SPARSE_BELOW = 0.1


def _as_floats(size: int, *numbers: float) -> float:
    return size


def _every_entry(shape: tuple[int, int], *numbers: float) -> float:
    return float(shape[0]) * shape[1]


@dataclass(frozen=True)
class FeatureFamily(Family):
    """Laws of feature entries that differ in numbers alone.

    Parameters
    ----------
    draw : callable
        ``draw(rng, shape, *numbers)`` with a generator of numpy: a matrix of standardized entries, as floats, as small
        integers, or as a sparse array.
    counted : bool, optional
        Whether entries are standard normals, which are drawn for all replicates at once (`sedyn.model.seeds.Stream`).
    device_draw : callable, optional
        The same as floats, by methods that cupy's generators have too, see `sedyn.arrays.backend.device_generator`.
        Without, a device's entries are drawn on the host and copied.
    host_bytes : callable, optional
        ``host_bytes(size, *numbers)``: memory that an entry of `draw` takes on average, where a float takes `size`.
    expected : callable, optional
        ``expected(shape, *numbers)``: how many entries of a matrix are not zero, on average.
    """

    draw: Callable[..., Any]
    counted: bool = False
    device_draw: Callable[..., Any] | None = None
    host_bytes: Callable[..., float] = _as_floats
    expected: Callable[..., float] = _every_entry


@dataclass(frozen=True)
class FeatureLaw(Law[FeatureFamily]):
    """The law of a design's entries."""

    @property
    def counted(self) -> bool:
        """Whether entries are standard normals, see `FeatureFamily`."""
        return self.family.counted

    def require_entries(self, shape: tuple[int, int]) -> None:
        """Refuse a matrix in which not even one entry is expected to differ from zero.

        Parameters
        ----------
        shape : (int, int)
            Samples and features, (n, d).

        Raises
        ------
        InvalidInput
            Naming how many are expected.
        """
        expected = self.family.expected(shape, *self.numbers)
        if expected < 1:
            n, d = shape
            remedy = f"with n={n} and d={d} only {expected:.2g} entries differ from 0; it takes 1 at least"
            raise InvalidInput("features", self.text, remedy)

    def draw(self, rng: np.random.Generator, shape: tuple[int, int]) -> Any:
        """Draw independent entries with mean 0 and variance 1.

        Parameters
        ----------
        rng : numpy.random.Generator
        shape : (int, int)
            Samples and features, (n, d).

        Returns
        -------
        ndarray or scipy.sparse array, shape (n, d)
            Floats, small integers, or a sparse array.
        """
        return self.family.draw(rng, shape, *self.numbers)

    @property
    def device_draw(self) -> Draw | None:
        """The same with a device's own generator, to an array of floats there; None if only the host can draw them."""
        draw = self.family.device_draw
        return draw and (lambda rng, shape: draw(rng, shape, *self.numbers))

    def bytes_per_entry(self, dtype: str = "float64", device: str = "cpu") -> float:
        """Memory that an entry takes in a dense design, see `sedyn.designs.dense.dense_design`.

        Parameters
        ----------
        dtype : str, optional
            That floats are stored in.
        device : {'cpu', 'gpu'}, optional
            A GPU holds every matrix as floats.

        Returns
        -------
        float
            Bytes, on average over the entries.
        """
        size = np.dtype(dtype).itemsize
        return self.family.host_bytes(size, *self.numbers) if device == "cpu" else size


def _rademacher(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    size = math.prod(shape)
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-size // 8)), np.uint8), count=size)
    return (2 * bits.astype(np.int8) - 1).reshape(shape)


def _uniform(rng: Any, shape: tuple[int, int]) -> Array:
    return rng.uniform(-math.sqrt(3), math.sqrt(3), shape)


def _exponential(rng: Any, shape: tuple[int, int]) -> Array:
    return rng.standard_exponential(shape) - 1.0


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


def _sparse_samples(rng: np.random.Generator, shape: tuple[int, int], entries: float) -> np.ndarray | sparse.csr_array:
    """So many Gaussian entries in a sample on average, however long it is; no limit theorem applies to such samples."""
    return _sparse(rng, shape, min(1.0, entries / shape[1]))


def _sparse_bytes(size: int, density: float) -> float:
    # Values and columns, held twice while pieces are put together.
    return 2 * density * (size + 4) if density < SPARSE_BELOW else size


def _chosen(rng: Any, shape: tuple[int, int], probability: float) -> Array:
    """One with a probability, else zero; by any library's generator."""
    uniforms = rng.random(shape)
    return array_namespace(uniforms).astype(uniforms < probability, uniforms.dtype)


def _student_t_on_device(rng: Any, shape: tuple[int, int], df: float) -> Array:
    return rng.standard_normal(shape) * ((df - 2) / 2 / rng.standard_gamma(df / 2, shape)) ** 0.5


def _laplace_on_device(rng: Any, shape: tuple[int, int]) -> Array:
    return (rng.standard_exponential(shape) - rng.standard_exponential(shape)) * math.sqrt(0.5)


def _sparse_on_device(rng: Any, shape: tuple[int, int], density: float) -> Array:
    return _chosen(rng, shape, density) * rng.standard_normal(shape) / math.sqrt(density)


FEATURES: Registry[FeatureFamily] = Registry(
    "features",
    {
        "gaussian": FeatureFamily(lambda rng, shape: rng.standard_normal(shape), counted=True),
        "rademacher": FeatureFamily(
            _rademacher, device_draw=lambda rng, shape: 1 - 2 * _chosen(rng, shape, 0.5), host_bytes=lambda size: 1
        ),
        "uniform": FeatureFamily(_uniform, device_draw=_uniform),
        "laplace": FeatureFamily(
            lambda rng, shape: rng.laplace(scale=math.sqrt(0.5), size=shape),
            device_draw=_laplace_on_device,
        ),
        "student_t": FeatureFamily(
            _student_t,
            device_draw=_student_t_on_device,
            parameters=("degrees of freedom",),
            valid=lambda df: df > 2,
            condition="degrees of freedom greater than 2",
        ),
        "sparse": FeatureFamily(
            _sparse,
            device_draw=_sparse_on_device,
            host_bytes=_sparse_bytes,
            expected=lambda shape, density: density * shape[0] * shape[1],
            parameters=("density",),
            valid=lambda density: 0 < density <= 1,
            condition="density in (0, 1]",
        ),
        "sparse_rows": FeatureFamily(
            _sparse_samples,
            expected=lambda shape, entries: entries * shape[0],
            parameters=("entries",),
            valid=lambda entries: entries > 0,
            condition="entries greater than 0",
        ),
        "exponential": FeatureFamily(_exponential, device_draw=_exponential),
    },
)


@checked(name=identifier, draw=function_of(2))
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
    FEATURES.register(name, FeatureFamily(draw))


@cache
def feature_law(text: str) -> FeatureLaw:
    """Find the law of feature entries that a text names, as ``gaussian`` or ``student_t(5)``.

    Raises
    ------
    InvalidInput
        If the name is unknown, or its number is missing, unwanted or out of range.
    """
    return FeatureLaw(*read_law(text, FEATURES))
