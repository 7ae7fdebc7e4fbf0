"""Which groups, arrays and coordinates a store of given settings has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.storage import StorePath

from sedyn.model import observables
from sedyn.model.observables import COMPARED, Observable, coordinates_of, fluctuations_beside_theory
from sweeps.plan import ESTIMATE, SweepSpec
from sweeps.store import metadata, objects
from sweeps.store.chunks import CHECKSUM_BYTES, chunks_of, form_of
from sweeps.store.places import ASKED, CELL, columns, is_asked
from sweeps.store.settings import CHECKED_FORMAT, SHARDED_FORMAT, SHARDS, settings_of
from sweeps.store.shards import index_bytes

__all__ = [
    "DONE",
    "FACTS",
    "FAILED",
    "PENDING",
    "Layout",
    "Size",
    "arrays_of",
    "constants_of",
    "document",
    "facts_of",
    "indexes_of",
    "lay_out",
    "layouts",
    "needed",
    "predicted",
    "settings_for",
    "simulated",
    "stored_size",
    "write_coordinate",
]


PENDING, DONE, FAILED = 0, 1, 2
_COORDINATE_CHUNK = 256  # fixed, so that a coordinate that grows keeps the bytes its readers know

_BLOCK_BYTES = 4096  # of which disks give a file whole ones, nearly all of them

_ASKED_PLACES = 4096  # of one chunk of what was asked for, or about so many

# Of a shard, and of a chunk in one: a million small cells make some thousand files, a chunk is read in an instant, and
# damage to it is to few cells.
SHARD_CELLS, SHARD_BYTES = 2**13, 2**26
CHUNK_CELLS, CHUNK_BYTES = 2**6, 2**20

_WORDS = {"replicate": "replicate", "iteration": "gradient-descent step", "layer": "weight layer", "cell": "cell"}
# Numbers about a task. They share one array, since files are most of what a short task costs beside its computing.
FACTS = {
    "seconds": "share of its task's computing time (s)",
    "peak_memory": "peak resident memory of its task's process (B)",
    "gpu_peak_memory": "peak memory of its task on the GPU (B); 0 on a CPU",
    "attempt": "attempts the task took",
    "environment": "code of where it was computed; the attribute of that name says more",
    "checksum": "CRC-32C of the values that it has in the group of its results, missing ones left out",
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
    checked : bool
        Whether chunks end with a checksum.
    shards : tuple of int, optional
        Shape of a shard of chunks, where they lie in shards.
    """

    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    dtype: Any
    fill_value: Any
    attributes: dict[str, Any]
    checked: bool
    shards: tuple[int, ...] | None = None

    @property
    def chunk_bytes(self) -> int:
        """Of a chunk of numbers, its checksum included."""
        return math.prod(self.chunks) * np.dtype(self.dtype).itemsize + CHECKSUM_BYTES * self.checked


def simulated(settings: Mapping[str, Any]) -> dict[str, Observable]:
    """Name what simulations of a store report."""
    known = observables.simulated(settings["parts"])
    plain = {name: one for name, one in known.items() if settings["estimate"] or not name.startswith(ESTIMATE)}
    halves = observables.of_halves(plain) if settings["halves"] else {}
    return {**plain, **halves, **(COMPARED if settings["laws"] else {})}


def predicted(settings: Mapping[str, Any]) -> dict[str, Observable]:
    """Name what solutions of the theory of a store report."""
    known = observables.predicted(settings["parts"])
    return known | fluctuations_beside_theory(settings["parts"]) if settings["fluctuations"] else known


def needed(settings: Mapping[str, Any], name: str) -> np.ndarray:
    """Say which cells have a variable; their problems may have different parts.

    Parameters
    ----------
    settings : mapping
        What the store is made with.
    name : str
        Of an array of the group simulation or theory.

    Returns
    -------
    ndarray of bool, shape (cell axes)
    """
    axes, varying = settings["axes"], columns(settings)
    found = np.ones([len(values) for values in axes.values()], bool)
    whole = name.removesuffix(observables.HALVES)
    for key, part in observables.PARTS.items():
        if whole in observables.brought_by(key):
            dim, values = varying.get(part.field, ("", [settings["problem"].get(part.field)]))
            along = [len(values) if axis == dim else 1 for axis in axes]
            found &= np.reshape([part.has(value) for value in values], along)
    return found


def facts_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Name the facts of a store, in their order, with what each says.

    Parameters
    ----------
    settings : mapping
        Of the store.
    """
    # What reaches a shard has a checksum on its way, and a single writer.
    known = settings["format"] >= CHECKED_FORMAT and SHARDS not in settings
    return {name: text for name, text in FACTS.items() if known or name != "checksum"}


def layouts(settings: Mapping[str, Any]) -> dict[str, dict[str, Layout]]:
    """Lay out every array that has the grid's axes first, by group and name."""
    sizes, axes = settings["sizes"], tuple(settings["axes"])
    sides = [settings.get(SHARDS, {}).get(axis, (1, 1)) for axis in axes]
    cell, checked = (axes, tuple(side for side, _ in sides)), settings["format"] >= CHECKED_FORMAT
    replicated = (*axes, "replicate"), (*cell[1], settings["block"])

    def shards_of(chunks: tuple[int, ...]) -> tuple[int, ...] | None:
        return (*(side for _, side in sides), *chunks[len(axes) :]) if SHARDS in settings else None

    def of_observables(
        variables: Mapping[str, Observable], dims: tuple[str, ...], chunks: tuple[int, ...]
    ) -> dict[str, Layout]:
        return {
            name: Layout(
                (*dims, *observable.dims),
                whole := (*chunks, *(max(1, sizes[dim]) for dim in observable.dims)),
                "float64",
                np.nan,
                {"long_name": observable.long_name, "units": observable.units},
                checked,
                shards_of(whole),
            )
            for name, observable in variables.items()
        }

    def of_tasks(kind: str, dims: tuple[str, ...], chunks: tuple[int, ...]) -> dict[str, Layout]:
        state = {"long_name": "state of the task", "flag_values": [PENDING, DONE, FAILED]}
        names = facts_of(settings)
        facts = {"long_name": "numbers about the task", **names, **settings["environments"]}
        words, shards = {"long_name": "why the task failed"}, shards_of(chunks)
        return {
            kind: Layout(
                dims, chunks, "int8", PENDING, {**state, "flag_meanings": "pending done failed"}, checked, shards
            ),
            f"{kind}_facts": Layout(
                (*dims, "fact"),
                (*chunks, len(names)),
                "float64",
                np.nan,
                facts,
                checked,
                shards_of((*chunks, len(names))),
            ),
            f"{kind}_error": Layout(dims, chunks, np.dtypes.StringDType(), "", words, checked, shards),
        }

    return {
        "simulation": of_observables(simulated(settings), *replicated),
        "theory": of_observables(predicted(settings), *cell),
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
    constants, indexes = constants_of(settings), indexes_of(settings)
    wanted = {path: (values.shape, layout) for path, (layout, values) in indexes.items()} | arrays_of(settings)
    for group in layouts(settings):
        root.require_group(group).attrs.put(constants)
    there = dict(zip(wanted, metadata.read_documents(root.store, [*wanted]), strict=True))
    documents = {path: _document_from(there[path], *array) for path, array in wanted.items()}
    changed = {path: each for path, each in documents.items() if each != there[path]}
    metadata.write_documents(root.store, changed, settled=False)
    for path, (_, values) in indexes.items():
        write_coordinate(zarr.Array.from_dict(StorePath(root.store, path), documents[path]), values)
    return sorted(wanted, key=lambda path: path.partition("/")[0])  # zarr wants what a group has in one piece


def arrays_of(settings: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], Layout]]:
    """Lay out every array of results and of status, by its path, with its shape.

    Parameters
    ----------
    settings : mapping
        Of the store.
    """
    sizes = {dim: len(values) for dim, values in _coordinates(settings).values()}
    return {
        f"{group}/{name}": (tuple(sizes[dim] for dim in layout.dims), layout)
        for group, arrays in layouts(settings).items()
        for name, layout in arrays.items()
    }


def constants_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What every group tells its readers: the fields of the problem that do not vary, and coordinates beside indexes.

    Parameters
    ----------
    settings : mapping
        Of the store.
    """
    auxiliary = [name for name, (dim, _) in _coordinates(settings).items() if name != dim]
    compared_with = {f"theory_{name}": value for name, value in settings["theory"].items()} if settings["laws"] else {}
    constants = {**settings["problem"], "seed": settings["seed"], "dtype": settings["dtype"], **compared_with}
    return {**constants, **({"coordinates": " ".join(auxiliary)} if auxiliary else {})}


def indexes_of(settings: Mapping[str, Any]) -> dict[str, tuple[Layout, np.ndarray]]:
    """Lay out every coordinate, by its path, with its values.

    Parameters
    ----------
    settings : mapping
        Of the store.
    """
    checked = settings["format"] >= CHECKED_FORMAT
    found: dict[str, tuple[Layout, np.ndarray]] = {}
    for group, arrays in layouts(settings).items():
        dims = {dim for layout in arrays.values() for dim in layout.dims}
        for name, (dim, values) in _coordinates(settings).items():
            if dim in dims:
                found[f"{group}/{name}"] = _coordinate_layout(name, dim, values, checked), values
    if ASKED in settings:
        values, side = is_asked(settings), int(_ASKED_PLACES ** (1 / max(1, len(settings["axes"]))))
        words = {"long_name": "whether the cell was asked for; results of others are missing for good"}
        layout = Layout(tuple(settings["axes"]), (side,) * values.ndim, "bool", False, words, checked)
        found[f"status/{ASKED}"] = layout, values
    return found


def settings_for(spec: SweepSpec, known: Mapping[str, Any] | None = None, *, shards: bool = True) -> dict[str, Any]:
    """Describe the store that has the cells of a sweep: where one is made, that of many cells has shards.

    Parameters
    ----------
    spec : SweepSpec
    known : mapping, optional
        Settings of the store that there is, which lays out chunks as it did.
    shards : bool, optional
        Whether a new store may have them where it is.
    """
    settings = settings_of(spec)
    if known is not None:
        return settings | {key: known[key] for key in ("format", "block", SHARDS) if key in known}
    if not (spec.is_large and shards):
        return settings
    # Whoever writes shards has all replicates of a cell together, however many a task has.
    settings |= {"format": SHARDED_FORMAT, "block": spec.replicates, SHARDS: {}}
    numbers = (layout for arrays in layouts(settings).values() for layout in arrays.values())
    cell_bytes = max(layout.chunk_bytes for layout in numbers if isinstance(layout.dtype, str))
    sizes = {axis: len(values) for axis, values in settings["axes"].items()}
    chunk = _sides(sizes, min(CHUNK_CELLS, max(1, CHUNK_BYTES // cell_bytes)))
    chunks = {axis: -(-size // chunk[axis]) for axis, size in sizes.items()}
    most = min(SHARD_CELLS, max(1, SHARD_BYTES // cell_bytes)) // math.prod(chunk.values())
    shard = _sides(chunks, max(1, most))
    return settings | {SHARDS: {axis: [chunk[axis], chunk[axis] * shard[axis]] for axis in sizes}}


def _sides(sizes: Mapping[str, int], most: int) -> dict[str, int]:
    """Choose the sides of blocks of so many places at most, along the last axes, which vary fastest.

    Those along an axis are about even, since the last one is stored whole.
    """
    found: dict[str, int] = {}
    for axis in reversed(list(sizes)):
        blocks = -(-sizes[axis] // most)
        found[axis] = -(-sizes[axis] // blocks)
        most = max(1, most // found[axis])
    return {axis: found[axis] for axis in sizes}


class Size(NamedTuple):
    """What a finished store takes.

    Attributes
    ----------
    bytes : int
        Of a disk, on which every file has whole blocks.
    files : int
    """

    bytes: int
    files: int


def stored_size(settings: Mapping[str, Any], replicates: int) -> Size:
    """Count the files of a finished store, and what they take of a disk.

    Parameters
    ----------
    settings : mapping
        What it is made with.
    replicates : int
        In every cell.
    """
    groups, indexes = layouts(settings), indexes_of(settings)
    small = 1 + len(groups) + sum(map(len, groups.values())) + len(indexes)  # documents
    small += sum(_count(values.shape, layout.chunks) for layout, values in indexes.values())
    size = Size(small * _BLOCK_BYTES, small)
    shape, cells = [len(values) for values in settings["axes"].values()], int(is_asked(settings).sum())
    for layout in (layout for arrays in groups.values() for layout in arrays.values()):
        if not isinstance(layout.dtype, str) or any(settings["sizes"].get(dim) == 0 for dim in layout.dims):
            continue  # words are of tasks that fail
        files, held = cells, cells * layout.chunk_bytes
        if layout.shards is not None:
            files, chunks = _count(shape, layout.shards), _count(shape, layout.chunks)
            held = chunks * layout.chunk_bytes + files * index_bytes(_count(layout.shards, layout.chunks))
        files_of_all = files * (-(-replicates // settings["block"]) if "replicate" in layout.dims else 1)
        blocks = math.ceil(held / files / _BLOCK_BYTES)
        size = Size(size.bytes + files_of_all * blocks * _BLOCK_BYTES, size.files + files_of_all)
    return size


def _count(shape: Iterable[int], parts: Iterable[int]) -> int:
    """Count the parts of a size that cover a shape, along the dimensions that it has."""
    return math.prod(-(-size // part) for size, part in zip(shape, parts, strict=False))


def _coordinates(settings: Mapping[str, Any]) -> dict[str, tuple[str, np.ndarray]]:
    """Every coordinate, with its dimension: the indexes, what varies together, and d where it follows n."""
    axes = {axis: np.asarray(values) for axis, values in settings["axes"].items() if axis != CELL}
    if CELL in settings["axes"]:
        axes[CELL] = np.arange(len(settings["axes"][CELL]))
    found = {
        **{axis: (axis, values) for axis, values in axes.items()},
        "replicate": ("replicate", np.arange(settings["replicates"])),
        "fact": ("fact", np.asarray(list(facts_of(settings)))),
        **{dim: (dim, values) for dim, values in coordinates_of(settings["sizes"]).items()},
    }
    varying = columns(settings)
    found |= {name: (dim, np.asarray(values)) for name, (dim, values) in varying.items() if dim == CELL}
    if settings["d"] and "n" in varying:
        dim, sizes = varying["n"]
        found["d"] = dim, np.asarray([settings["d"][str(n)] for n in sizes])
    return found


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
    little, checksum = {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}
    codecs = [codec, checksum] if layout.checked else [codec]
    if layout.shards is not None:
        how = {"chunk_shape": list(layout.chunks), "codecs": codecs, "index_codecs": [little, checksum]}
        codecs = [{"name": "sharding_indexed", "configuration": {**how, "index_location": "end"}}]
    return {
        "shape": list(shape),
        "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(layout.shards or layout.chunks)}},
        # One folder an array: a folder for every index would be most of the cost of a write.
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": "NaN" if fill_value != fill_value else fill_value,
        "codecs": codecs,
        "attributes": layout.attributes,
        "dimension_names": list(layout.dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _document_from(there: dict[str, Any] | None, shape: tuple[int, ...], layout: Layout) -> dict[str, Any]:
    """The document that is there with another shape and other attributes; its chunks stay as they are."""
    # What was asked for gains a dimension with the store; its chunks then have other names.
    if there is None or len(there["shape"]) != len(shape):
        return document(shape, layout)
    return there | {"shape": list(shape), "attributes": layout.attributes}


def _coordinate_layout(name: str, dim: str, values: np.ndarray, checked: bool) -> Layout:
    text = values.dtype.kind == "U"
    attributes = {"long_name": _WORDS[name]} if name in _WORDS else {}
    dtype: Any = np.dtypes.StringDType() if text else values.dtype
    return Layout((dim,), (_COORDINATE_CHUNK,), dtype, "" if text else 0, attributes, checked)


def write_coordinate(array: zarr.Array, values: np.ndarray) -> None:
    """Write the values of a coordinate, whatever is there.

    Parameters
    ----------
    array : zarr.Array, shape (values,)
    values : ndarray, shape (values,)
        All of them.
    """
    if values.dtype.kind == "U":
        array[:] = values.astype(np.dtypes.StringDType())
    else:  # whole chunks, since setting elements costs ten times as much
        objects.write(array.store, chunks_of(form_of(array), (), values), settled=True)
