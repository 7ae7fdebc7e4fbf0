"""Which groups, arrays and coordinates a store of given settings has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import zarr

from sedyn.model import observables
from sedyn.model.observables import COMPARED, Observable, coordinates_of, predicted
from sweeps.plan import ESTIMATE
from sweeps.store import metadata, objects
from sweeps.store.chunks import chunks_of

__all__ = [
    "DONE",
    "FACTS",
    "FAILED",
    "PENDING",
    "Layout",
    "document",
    "lay_out",
    "layouts",
    "simulated",
    "stored_bytes",
]

PENDING, DONE, FAILED = 0, 1, 2
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
    """Name what simulations of a store report."""
    known = observables.simulated(settings["parts"])
    plain = {name: one for name, one in known.items() if settings["estimate"] or not name.startswith(ESTIMATE)}
    return {**plain, **COMPARED} if settings["laws"] else plain


def layouts(settings: Mapping[str, Any]) -> dict[str, dict[str, Layout]]:
    """Lay out every array that has the grid's axes first, by group and name."""
    sizes, axes = settings["sizes"], tuple(settings["axes"])
    cell = axes, (1,) * len(axes)
    replicated = (*axes, "replicate"), (*cell[1], settings["block"])

    def of_observables(
        variables: Mapping[str, Observable], dims: tuple[str, ...], chunks: tuple[int, ...]
    ) -> dict[str, Layout]:
        return {
            name: Layout(
                (*dims, *observable.dims),
                (*chunks, *(max(1, sizes[dim]) for dim in observable.dims)),
                "float64",
                np.nan,
                {"long_name": observable.long_name, "units": observable.units},
            )
            for name, observable in variables.items()
        }

    def of_tasks(kind: str, dims: tuple[str, ...], chunks: tuple[int, ...]) -> dict[str, Layout]:
        state = {"long_name": "state of the task", "flag_values": [PENDING, DONE, FAILED]}
        facts = {"long_name": "numbers about the task", **FACTS, **settings["environments"]}
        return {
            kind: Layout(dims, chunks, "int8", PENDING, {**state, "flag_meanings": "pending done failed"}),
            f"{kind}_facts": Layout((*dims, "fact"), (*chunks, len(FACTS)), "float64", np.nan, facts),
            f"{kind}_error": Layout(dims, chunks, np.dtypes.StringDType(), "", {"long_name": "why the task failed"}),
        }

    return {
        "simulation": of_observables(simulated(settings), *replicated),
        "theory": of_observables(predicted(settings["parts"]), *cell),
        "status": of_tasks("simulation", *replicated) | of_tasks("theory", *cell),
    }


def lay_out(root: zarr.Group, settings: Mapping[str, Any]) -> list[str]:
    """Make or enlarge every array; may be repeated after an interruption.

    Parameters
    ----------
    root : zarr.Group
        The store, opened without consolidated metadata.
    settings : mapping
        What it is made with.

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
    wanted: dict[str, tuple[tuple[int, ...], Layout]] = {}
    indexes: dict[str, np.ndarray] = {}
    known: set[str] = set()
    for group_name, arrays in layouts(settings).items():
        group = root.require_group(group_name)
        group.attrs.put({**constants, **({"coordinates": " ".join(follows_n)} if follows_n else {})})
        known |= {f"{group_name}/{name}" for name in objects.list_names(root.store, group_name) if name in group}
        indexed = {dim: dim for layout in arrays.values() for dim in layout.dims} | dict.fromkeys(follows_n, "n")
        for name, dim in indexed.items():
            values = (coordinates | follows_n)[name]
            wanted[f"{group_name}/{name}"] = values.shape, _coordinate_layout(name, dim, values)
            indexes[f"{group_name}/{name}"] = values
        for name, layout in arrays.items():
            wanted[f"{group_name}/{name}"] = tuple(len(coordinates[dim]) for dim in layout.dims), layout
    new = {path: document(*array) for path, array in wanted.items() if path not in known}
    metadata.write_documents(root.store, new, settled=False)
    for path in known & wanted.keys():
        _update_array(root, path, *wanted[path])
    for path, values in indexes.items():
        _write_coordinate(root, path, values)
    return list(wanted)


def stored_bytes(settings: Mapping[str, Any], replicates: int) -> int:
    """Count the bytes of all chunks of a finished store.

    Parameters
    ----------
    settings : mapping
        What it is made with.
    replicates : int
        In every cell.
    """
    total = 0
    cells = int(np.prod([len(values) for values in settings["axes"].values()]))
    for arrays in layouts(settings).values():
        for layout in arrays.values():
            if isinstance(layout.dtype, str) and not any(settings["sizes"].get(dim) == 0 for dim in layout.dims):
                blocks = -(-replicates // settings["block"]) if "replicate" in layout.dims else 1
                total += cells * blocks * int(np.prod(layout.chunks)) * np.dtype(layout.dtype).itemsize
    return total


def _coordinates(settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        **{axis: np.asarray(values) for axis, values in settings["axes"].items()},
        "replicate": np.arange(settings["replicates"]),
        "fact": np.asarray(list(FACTS)),
        **coordinates_of(settings["sizes"]),
    }


def document(shape: tuple[int, ...], layout: Layout) -> dict[str, Any]:
    """Write the metadata document of a new array, as the Zarr specification has it.

    One by one through zarr, these arrays would take most of the time in which a small sweep starts, and on a remote
    store several exchanges each.

    Parameters
    ----------
    shape : tuple of int
    layout : Layout

    Returns
    -------
    dict
        What JSON keeps.
    """
    codec: dict[str, Any]
    if isinstance(layout.dtype, np.dtypes.StringDType):
        data_type, fill_value, codec = "string", layout.fill_value, {"name": "vlen-utf8", "configuration": {}}
    else:
        dtype = np.dtype(layout.dtype)
        data_type, fill_value, codec = dtype.name, dtype.type(layout.fill_value).item(), {"name": "bytes"}
        if dtype.itemsize > 1:
            codec["configuration"] = {"endian": "little"}
    return {
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(layout.chunks)}},
        # One folder an array: a folder for every index would be most of the cost of a write.
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": "NaN" if fill_value != fill_value else fill_value,
        "codecs": [codec],
        "attributes": layout.attributes,
        "dimension_names": list(layout.dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _update_array(root: zarr.Group, path: str, shape: tuple[int, ...], layout: Layout) -> None:
    array = root[path]
    assert isinstance(array, zarr.Array)
    if array.shape != shape:
        array.resize(shape)
    if dict(array.attrs) != layout.attributes:
        array.attrs.put(layout.attributes)


def _coordinate_layout(name: str, dim: str, values: np.ndarray) -> Layout:
    text = values.dtype.kind == "U"
    attributes = {"long_name": _WORDS[name]} if name in _WORDS else {}
    dtype: Any = np.dtypes.StringDType() if text else values.dtype
    return Layout((dim,), (_COORDINATE_CHUNK,), dtype, "" if text else 0, attributes)


def _write_coordinate(root: zarr.Group, path: str, values: np.ndarray) -> None:
    array = root[path]
    assert isinstance(array, zarr.Array)
    if values.dtype.kind == "U":
        array[:] = values.astype(np.dtypes.StringDType())
    else:  # whole chunks, since setting elements costs ten times as much
        objects.write(root.store, chunks_of(array, (), values), settled=True)
