"""Which groups, arrays and coordinates a store of given settings has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import zarr

from sedyn.observables import COMPARED, PREDICTED, SIMULATED, Observable, dimension_coordinates
from sedyn.problem import Problem
from sweeps.chunks import chunks_of
from sweeps.metadata import write

__all__ = ["DONE", "FACTS", "FAILED", "PENDING", "Layout", "lay_out", "layouts", "simulated", "stored_bytes"]

PENDING, DONE, FAILED = 0, 1, 2
_FLAGS = {"flag_values": [PENDING, DONE, FAILED], "flag_meanings": "pending done failed"}
_COORDINATE_CHUNK = 256  # fixed, so that a coordinate that grows keeps the bytes its readers know

_WORDS = {"replicate": "replicate", "iteration": "gradient-descent step", "layer": "weight layer"}
# Numbers about a task. They share one array, since files are most of what a short task costs beside its computing.
FACTS = {
    "seconds": "share of its task's computing time (s)",
    "peak_memory": "peak resident memory of its task's process (B)",
    "gpu_peak_memory": "peak memory of its task on the GPU (B); 0 on a CPU",
    "attempt": "attempts the task took",
    "environment": "code of where it was computed; the attribute of that name says more",
}
_PER_TASK: dict[str, tuple[tuple[str, ...], Any, Any, dict[str, Any]]] = {
    "": ((), "int8", PENDING, {"long_name": "state of the task", **_FLAGS}),
    "_facts": (("fact",), "float64", np.nan, {"long_name": "numbers about the task", **FACTS}),
    "_error": ((), np.dtypes.StringDType(), "", {"long_name": "why the task failed"}),
}


class Layout(NamedTuple):
    """Shape and type of one array.

    Attributes
    ----------
    dims : tuple of str
    chunks : tuple of int
    dtype, fill_value
        As for `zarr.create_array`.
    attributes : dict
    """

    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    dtype: Any
    fill_value: Any
    attributes: dict[str, Any]


def simulated(settings: Mapping[str, Any]) -> dict[str, Observable]:
    """What simulations of a store report."""
    return {**SIMULATED, **COMPARED} if settings["laws"] else SIMULATED


def layouts(settings: Mapping[str, Any]) -> dict[str, dict[str, Layout]]:
    """Lay out every array that has the grid's axes first, by group and name."""
    sizes, axes = settings["sizes"], tuple(settings["axes"])
    cell = axes, (1,) * len(axes)
    replicated = (*axes, "replicate"), (*cell[1], settings["block"])

    def of_observables(
        observables: Mapping[str, Observable], dims: tuple[str, ...], chunks: tuple[int, ...]
    ) -> dict[str, Layout]:
        return {
            name: Layout(
                (*dims, *observable.dims),
                (*chunks, *(max(1, sizes[dim]) for dim in observable.dims)),
                "float64",
                np.nan,
                {"long_name": observable.long_name, "units": observable.units},
            )
            for name, observable in observables.items()
        }

    def of_tasks(kind: str, dims: tuple[str, ...], chunks: tuple[int, ...]) -> dict[str, Layout]:
        return {
            kind + suffix: Layout(
                (*dims, *inner),
                (*chunks, *(len(FACTS) for _ in inner)),
                dtype,
                fill_value,
                attributes | (settings["environments"] if suffix == "_facts" else {}),
            )
            for suffix, (inner, dtype, fill_value, attributes) in _PER_TASK.items()
        }

    return {
        "simulation": of_observables(simulated(settings), *replicated),
        "theory": of_observables(PREDICTED, *cell),
        "status": of_tasks("simulation", *replicated) | of_tasks("theory", *cell),
    }


def lay_out(root: zarr.Group, settings: Mapping[str, Any]) -> list[str]:
    """Make or enlarge every array; may be repeated after an interruption.

    Returns
    -------
    list of str
        Path of every array.
    """
    axes = settings["axes"]
    coordinates = _coordinates(settings)
    follows_n = {"d": np.asarray([settings["d"][str(n)] for n in axes["n"]])} if settings["d"] and "n" in axes else {}
    compared_with = {f"theory_{name}": value for name, value in settings["theory"].items()} if settings["laws"] else {}
    constants = {**settings["problem"], "seed": settings["seed"], "dtype": settings["dtype"], **compared_with}
    paths = []
    for group_name, arrays in layouts(settings).items():
        group = root.require_group(group_name)
        group.attrs.put({**constants, **({"coordinates": " ".join(follows_n)} if follows_n else {})})
        indexed = {dim: dim for layout in arrays.values() for dim in layout.dims} | dict.fromkeys(follows_n, "n")
        for name, dim in indexed.items():
            _write_coordinate(group, name, dim, (coordinates | follows_n)[name])
        for name, layout in arrays.items():
            _require_array(group, name, tuple(len(coordinates[dim]) for dim in layout.dims), layout)
        paths += [f"{group_name}/{name}" for name in (*indexed, *arrays)]
    return paths


def stored_bytes(settings: Mapping[str, Any], replicates: int) -> int:
    """Bytes of all chunks of a finished store with so many replicates in every cell."""
    total = 0
    cells = int(np.prod([len(values) for values in settings["axes"].values()]))
    for arrays in layouts(settings).values():
        for layout in arrays.values():
            if isinstance(layout.dtype, str) and not any(settings["sizes"].get(dim) == 0 for dim in layout.dims):
                blocks = -(-replicates // settings["block"]) if "replicate" in layout.dims else 1
                total += cells * blocks * int(np.prod(layout.chunks)) * np.dtype(layout.dtype).itemsize
    return total


def _coordinates(settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    sizes = settings["sizes"]
    largest = Problem(
        n=sizes["neuron"] + sizes["index"],
        d=sizes["neuron"] + sizes["index"],
        width=sizes["neuron"],
        depth=sizes["layer"] + 1,
        steps=sizes["iteration"] - 1,
        signals=sizes["index"],
    )
    return {
        **{axis: np.asarray(values) for axis, values in settings["axes"].items()},
        "replicate": np.arange(settings["replicates"]),
        "fact": np.asarray(list(FACTS)),
        **dimension_coordinates(largest),
    }


def _require_array(group: zarr.Group, name: str, shape: tuple[int, ...], layout: Layout) -> None:
    if name not in group:
        group.create_array(
            name,
            shape=shape,
            chunks=layout.chunks,
            dtype=layout.dtype,
            fill_value=layout.fill_value,
            attributes=layout.attributes,
            dimension_names=layout.dims,
            compressors=None,
            # One folder an array: a folder for every index would be most of the cost of a write.
            chunk_key_encoding={"name": "default", "separator": "."},
        )
    else:
        array = group[name]
        assert isinstance(array, zarr.Array)
        if array.shape != shape:
            array.resize(shape)
        if dict(array.attrs) != layout.attributes:
            array.attrs.put(layout.attributes)


def _write_coordinate(group: zarr.Group, name: str, dim: str, values: np.ndarray) -> None:
    dtype: Any = np.dtypes.StringDType() if values.dtype.kind == "U" else values.dtype
    layout = Layout((dim,), (_COORDINATE_CHUNK,), dtype, "" if values.dtype.kind == "U" else 0, {})
    if name in _WORDS:
        layout.attributes["long_name"] = _WORDS[name]
    _require_array(group, name, values.shape, layout)
    array = group[name]
    assert isinstance(array, zarr.Array)
    if values.dtype.kind == "U":
        array[:] = values.astype(dtype)
    else:  # whole chunks, since setting elements costs ten times as much
        for chunk in chunks_of(array, (), values):
            write(group.store, f"{array.path}/{chunk.name}", chunk.data)
