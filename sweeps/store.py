"""Where results land: one Zarr store with the groups `simulation`, `theory` and `status`.

Every array has the grid's axes first, in chunks of one cell (times one block of replicates), so that a task owns the
chunks it writes and no chunk has two writers. Chunks hold plain little-endian numbers without compression: a task can
then write each as one file in one step, and a reader sees it whole or not at all. A task's status is written after
its data. Metadata is consolidated in the root after every change of shape, so that a reader changes from the old shape
to the new one in a single step.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import uuid
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import xarray as xr
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.errors import GroupNotFoundError, ZarrUserWarning
from zarr.storage import LocalStore

from sedyn.errors import InvalidInput
from sedyn.observables import PREDICTED, SIMULATED, Observable, dimension_coordinates
from sedyn.problem import Problem
from sweeps.plan import SimulationTask, SweepSpec, Task, TheoryTask, blocks

__all__ = ["DONE", "FAILED", "PENDING", "Store"]

PENDING, DONE, FAILED = 0, 1, 2
_FLAGS = {"flag_values": [PENDING, DONE, FAILED], "flag_meanings": "pending done failed"}
_SETTINGS = "sedyn_sweep"
_FORMAT = 1
_COORDINATE_CHUNK = 256  # fixed, so that a coordinate that grows keeps the bytes its readers know

_WORDS = {"replicate": "replicate", "iteration": "gradient-descent step", "layer": "weight layer"}
_PER_TASK: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "": ("int8", PENDING, {"long_name": "state of the task", **_FLAGS}),
    "_seconds": ("float64", np.nan, {"long_name": "share of its task's computing time", "units": "s"}),
    "_attempt": ("int16", 0, {"long_name": "attempts the task took"}),
    "_error": (np.dtypes.StringDType(), "", {"long_name": "why the task failed"}),
}


class _Layout(NamedTuple):
    dims: tuple[str, ...]
    chunks: tuple[int, ...]
    dtype: Any
    fill_value: Any
    attributes: dict[str, Any]


class Store:
    """An open store of one sweep.

    Use `prepare` to make or reopen one for a sweep, `open` to reach one that exists.
    """

    def __init__(self, location: str, root: zarr.Group) -> None:
        self.location = location
        self._root = root
        self.settings = _stored_settings(root)
        self.axes: dict[str, list[Any]] = self.settings["axes"]
        self.block: int = self.settings["block"]
        self._arrays: dict[tuple[str, str], zarr.Array] = {}
        self._positions = [{value: k for k, value in enumerate(values)} for values in self.axes.values()]

    @classmethod
    def open(cls, location: str) -> Store:
        """Open an existing store for reading and for writing results.

        Raises
        ------
        InvalidInput
            If there is none, or it is not a sweep's.
        """
        root = _open_root(location, consolidated=True)
        if root is None or not _stored_settings(root):
            raise InvalidInput("store", location, "holds no sweep; name the store of a sweep that was run")
        return cls(location, root)

    @classmethod
    def prepare(cls, location: str, spec: SweepSpec) -> Store:
        """Make the store of a sweep, or reopen it and grow it by what the sweep adds.

        Raises
        ------
        InvalidInput
            If the store was made with other settings; the message names the difference.
        """
        root = _open_root(location, consolidated=False)  # arrays as they are, also after an interrupted growth
        known = None if root is None else _stored_settings(root)
        if root is not None and not known and any(root.members()):
            raise InvalidInput("store", location, "is a Zarr group that holds something else; name another path")
        settings = _settings(spec)
        if known:
            _require_same(location, known, settings)
            settings = _grown(known, settings)
        if known != settings:
            if root is None or not known:
                root = zarr.open_group(location, mode="a", zarr_format=3)
                # Claims the path; from here on an interrupted start can be taken up again.
                root.attrs[_SETTINGS] = settings | {"ready": False}
            _lay_out(root, settings)
            root.attrs[_SETTINGS] = settings
            with warnings.catch_warnings():
                # Other implementations may ignore consolidated metadata; they lose nothing by it.
                warnings.simplefilter("ignore", ZarrUserWarning)
                zarr.consolidate_metadata(root.store)
        return cls.open(location)

    def position(self, values: Sequence[Any]) -> tuple[int, ...]:
        """Find where the cell with these values on the axes is in the arrays."""
        return tuple(known[value] for known, value in zip(self._positions, values, strict=True))

    def array(self, group: str, name: str) -> zarr.Array:
        """Reach one array; it stays open, since opening costs more than writing a chunk."""
        if (group, name) not in self._arrays:
            array = self._root[f"{group}/{name}"]
            assert isinstance(array, zarr.Array)
            self._arrays[group, name] = array
        return self._arrays[group, name]

    def states(self, group: str) -> np.ndarray:
        """Read the state of every simulation (cell axes, replicate) or theory solution (cell axes)."""
        array = self.array("status", group)
        store = self._root.store
        if not isinstance(store, LocalStore):
            return np.asarray(array[...])
        # Read the chunks that exist instead of asking for each that might: a large grid is empty at first.
        states = np.full(array.shape, PENDING, array.dtype)
        for file in os.scandir(Path(store.root) / array.path):
            if file.name.startswith("c") and not file.name.endswith(".partial"):
                numbers = tuple(map(int, file.name.split(".")[1:]))
                bounds = zip(numbers, array.chunks, strict=True)
                place = tuple(slice(k * size, (k + 1) * size) for k, size in bounds)
                whole = np.frombuffer(Path(file.path).read_bytes(), array.dtype).reshape(array.chunks)
                states[place] = whole[tuple(slice(size) for size in np.shape(states[place]))]
        return states

    def missing_tasks(self, spec: SweepSpec) -> list[Task]:
        """List the tasks of a sweep whose results are not in the store, the longest first."""
        simulated, predicted = self.states("simulation"), self.states("theory")
        tasks: list[Task] = []
        for cell in spec.cells:
            position = self.position(cell.values)
            missing = np.flatnonzero(simulated[position][: spec.replicates] != DONE).tolist()
            tasks += [
                SimulationTask(cell.problem, position, block, spec.seed, cell.engine)
                for block in blocks(missing, self.block)
            ]
        for cells in spec.theory_groups.values():
            positions = [self.position(cell.values) for cell in cells]
            lacking = tuple(position for position in positions if predicted[position] != DONE)
            solved_at = next((position for position in positions if predicted[position] == DONE), None)
            if lacking:
                tasks.append(
                    TheoryTask(cells[0].problem, lacking, solved_at, spec.seed, spec.samples, spec.randomizations)
                )
        return sorted(tasks, key=lambda task: -task.seconds)

    def chunk_fault(self, group: str, name: str, lead: tuple[int, ...]) -> str | None:
        """Say what is wrong with the stored values of one cell (and block), or None.

        Parameters
        ----------
        group, name : str
            The array.
        lead : tuple of int
            Position of the cell and, for simulations, number of the block.
        """
        array = self.array(group, name)
        if 0 in array.shape:
            return None
        # Further chunks along inner dimensions come from growth, and hold padding for the cells that were there before.
        key = f"{array.path}/{array.metadata.encode_chunk_key((*lead, *(0,) * (array.ndim - len(lead))))}"
        try:
            size = sync(self._root.store.getsize(key))
        except FileNotFoundError:
            return f"{key} is missing"
        expected = int(np.prod(array.chunks)) * array.dtype.itemsize
        return None if size == expected else f"{key} has {size} bytes instead of {expected}"

    def forget(self, group: str, selection: tuple[int | slice, ...]) -> None:
        """Mark results as pending, so that the next run computes them again."""
        self.array("status", group)[selection] = PENDING

    def orphans(self) -> list[Path]:
        """List the files that writers left behind when they were killed. A store behind a URL has none."""
        store = self._root.store
        return sorted(Path(store.root).rglob("*.partial")) if isinstance(store, LocalStore) else []

    def write_simulation(self, task: SimulationTask, runs: xr.Dataset) -> None:
        """Write the data of a simulation task (its status apart)."""
        self._write_together(
            chunk
            for name, observable in SIMULATED.items()
            for chunk in self._simulation_chunks(
                "simulation", name, task, _ordered(runs, name, ("replicate", *observable.dims))
            )
        )

    def write_theory(self, positions: Iterable[tuple[int, ...]], theory: xr.Dataset) -> None:
        """Write a theory solution into every cell that shares it."""
        values = {name: _ordered(theory, name, observable.dims) for name, observable in PREDICTED.items()}
        for position in positions:
            self._write_together(
                chunk for name in values for chunk in _chunks(self.array("theory", name), position, values[name])
            )

    def read_theory(self, position: tuple[int, ...]) -> xr.Dataset:
        """Read the theory solution of one cell, padded as it is stored."""
        return xr.Dataset(
            {
                name: (observable.dims, np.asarray(self.array("theory", name)[position]))
                for name, observable in PREDICTED.items()
            }
        )

    def write_status(self, task: Task, state: int, *, seconds: float, attempt: int, error: str = "") -> None:
        """Record how a task ended. Comes after its data; the state itself comes last of all."""
        if isinstance(task, SimulationTask):
            group, places = "simulation", [task.position]
            share = seconds / len(task.replicates)
        else:
            group, places = "theory", list(task.positions)
            share = seconds / len(task.positions)
        if error:
            for place in places:
                array = self.array("status", f"{group}_error")
                replicates: tuple[Any, ...] = ()
                if isinstance(task, SimulationTask):
                    replicates = (slice(task.replicates[0], task.replicates[-1] + 1),)
                array[(*place, *replicates)] = error
        for suffix, value in (("_seconds", share), ("_attempt", attempt), ("", state)):
            array = self.array("status", group + suffix)
            for place in places:
                if isinstance(task, SimulationTask):
                    values = np.full(len(task.replicates), value, array.dtype)
                    chunks = list(self._simulation_chunks("status", group + suffix, task, values))
                else:
                    chunks = list(_chunks(array, place, np.asarray(value, array.dtype)))
                self._write_together(chunks)

    def _simulation_chunks(
        self, group: str, name: str, task: SimulationTask, values: np.ndarray
    ) -> Iterable[tuple[zarr.Array, str, bytes]]:
        array = self.array(group, name)
        number = task.replicates[0] // self.block
        start, stop = number * self.block, min((number + 1) * self.block, array.shape[len(task.position)])
        assert task.replicates[-1] < stop, "a task's replicates are all of one block, so that no chunk has two writers"
        if task.replicates != tuple(range(start, stop)):
            # The other replicates of the block are done: keep them.
            inner = array.shape[len(task.position) + 1 :]
            block: tuple[Any, ...] = (*task.position, slice(start, stop))
            whole = np.array(array[block])
            padded = np.full((len(values), *inner), array.fill_value, array.dtype)
            padded[tuple(slice(size) for size in values.shape)] = values
            whole[np.asarray(task.replicates) - start] = padded
            values = whole
        yield from _chunks(array, (*task.position, number), values)

    def _write_together(self, chunks: Iterable[tuple[zarr.Array, str, bytes]]) -> None:
        if isinstance(self._root.store, LocalStore):
            for array, key, data in chunks:
                _write_file(Path(self._root.store.root) / array.path / key, data)
        else:
            buffer = default_buffer_prototype().buffer

            async def write_all() -> None:
                await asyncio.gather(
                    *((array.store_path / key).set(buffer.from_bytes(data)) for array, key, data in chunks)
                )

            sync(write_all())


def _ordered(dataset: xr.Dataset, name: str, dims: Sequence[str]) -> np.ndarray:
    return dataset.variables[name].transpose(*dims).values


def _chunks(array: zarr.Array, lead: tuple[int, ...], values: np.ndarray) -> Iterable[tuple[zarr.Array, str, bytes]]:
    """Cut values into whole chunks, padded with the fill value.

    Parameters
    ----------
    array : zarr.Array
        Its dimensions: cell axes, perhaps a replicate axis, inner dimensions.
    lead : tuple of int
        Number of the chunk along the leading dimensions (position of the cell, number of the block).
    values : ndarray
        Replicates of the block if the array has them, then the inner dimensions.
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
        offsets = (0,) * blocks_in_lead + numbers
        part = padded[tuple(slice(k * size, (k + 1) * size) for k, size in zip(offsets, shape, strict=True))]
        yield array, array.metadata.encode_chunk_key((*lead, *numbers)), part.astype(_little(array.dtype)).tobytes()


def _little(dtype: np.dtype) -> np.dtype:
    return dtype.newbyteorder("<")


def _write_file(path: Path, data: bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new, whatever happens."""
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
    os.replace(partial, path)


def _open_root(location: str, *, consolidated: bool) -> zarr.Group | None:
    if "://" in location:
        try:
            import fsspec  # noqa: F401
        except ImportError:
            raise InvalidInput(
                "store", location, "a URL needs the package fsspec and its driver, such as s3fs"
            ) from None
    elif Path(location).exists() and not (Path(location).is_dir() and _is_empty_or_zarr(Path(location))):
        raise InvalidInput("store", location, "exists and is no Zarr store; name another path")
    try:
        return zarr.open_group(location, mode="r+", zarr_format=3, use_consolidated=None if consolidated else False)
    except (FileNotFoundError, GroupNotFoundError):
        return None


def _stored_settings(root: zarr.Group) -> dict[str, Any]:
    """Read what a store was made with; empty if it holds no sweep."""
    return dict(cast("Mapping[str, Any]", root.attrs.get(_SETTINGS, {})))


def _is_empty_or_zarr(folder: Path) -> bool:
    return (folder / "zarr.json").exists() or not any(folder.iterdir())


# --- settings: what a store was made with ---------------------------------------------------------------------------


def _settings(spec: SweepSpec) -> dict[str, Any]:
    sizes: dict[str, int] = {}
    for cell in spec.cells:
        for dim, size in _inner_sizes(cell.problem).items():
            sizes[dim] = max(sizes.get(dim, 0), size)
    return {
        "format": _FORMAT,
        "problem": dict(spec.base),
        "aspect": spec.aspect,
        "seed": spec.seed,
        "engine": spec.engine,
        "theory": {"samples": spec.samples, "randomizations": spec.randomizations},
        "axes": {axis: list(values) for axis, values in spec.axes.items()},
        "d": {str(n): d for n, d in spec.features_at.items()},
        "replicates": spec.replicates,
        "block": spec.block or spec.automatic_block,
        "sizes": sizes,
        "ready": True,
    }


def _inner_sizes(problem: Problem) -> dict[str, int]:
    return {
        "iteration": problem.steps + 1,
        "neuron": problem.width,
        "neuron_": problem.width,
        "index": problem.signals,
        "layer": problem.depth - 1,
        "fan_in": problem.width,
        "fan_out": problem.width,
    }


def _require_same(location: str, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    differences = [
        f"{prefix}{name} was {old.get(name)!r} and is now {new.get(name)!r}"
        for prefix, old, new in (
            ("", _scalars(known), _scalars(asked)),
            ("problem.", known["problem"], asked["problem"]),
            ("theory.", known["theory"], asked["theory"]),
        )
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    if set(known["axes"]) != set(asked["axes"]):
        differences.insert(
            0, f"its axes were {', '.join(known['axes']) or 'none'} and are now {', '.join(asked['axes']) or 'none'}"
        )
    differences += [
        f"d at n={n} was {known['d'][n]} and is now {d}" for n, d in asked["d"].items() if known["d"].get(n, d) != d
    ]
    if differences:
        raise InvalidInput(
            "store", location, f"was made with other settings: {'; '.join(differences)}; name another store"
        )


def _scalars(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ("format", "aspect", "seed", "engine")}


def _grown(known: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    # New values go to the end of an axis, wherever they sort: what is stored stays where it is.
    return {
        **known,
        "axes": {
            axis: [*values, *(value for value in asked["axes"][axis] if value not in values)]
            for axis, values in known["axes"].items()
        },
        "d": {**known["d"], **asked["d"]},
        "replicates": max(known["replicates"], asked["replicates"]),
        "sizes": {dim: max(size, asked["sizes"][dim]) for dim, size in known["sizes"].items()},
        "ready": True,
    }


# --- layout: arrays and coordinates ---------------------------------------------------------------------------------


def _lay_out(root: zarr.Group, settings: Mapping[str, Any]) -> None:
    """Make or enlarge every array; may be repeated after an interruption."""
    axes, block, sizes = settings["axes"], settings["block"], settings["sizes"]
    coordinates = {
        **{axis: np.asarray(values) for axis, values in axes.items()},
        "replicate": np.arange(settings["replicates"]),
        **_inner_coordinates(settings),
    }
    cell_dims, cell_chunks = tuple(axes), (1,) * len(axes)

    def of_observables(
        observables: Mapping[str, Observable], dims: tuple[str, ...], chunks: tuple[int, ...]
    ) -> dict[str, _Layout]:
        return {
            name: _Layout(
                (*dims, *observable.dims),
                (*chunks, *(max(1, sizes[dim]) for dim in observable.dims)),
                "float64",
                np.nan,
                {"long_name": observable.long_name, "units": observable.units},
            )
            for name, observable in observables.items()
        }

    def of_tasks(kind: str, dims: tuple[str, ...], chunks: tuple[int, ...]) -> dict[str, _Layout]:
        return {
            kind + suffix: _Layout(dims, chunks, dtype, fill_value, attributes)
            for suffix, (dtype, fill_value, attributes) in _PER_TASK.items()
        }

    replicated = (*cell_dims, "replicate"), (*cell_chunks, block)
    layouts = {
        "simulation": of_observables(SIMULATED, *replicated),
        "theory": of_observables(PREDICTED, cell_dims, cell_chunks),
        "status": of_tasks("simulation", *replicated) | of_tasks("theory", cell_dims, cell_chunks),
    }
    follows_n = {"d": np.asarray([settings["d"][str(n)] for n in axes["n"]])} if settings["d"] and "n" in axes else {}
    for group_name, arrays in layouts.items():
        group = root.require_group(group_name)
        group.attrs.update(dict(settings["problem"]) | ({"coordinates": " ".join(follows_n)} if follows_n else {}))
        for dim in {dim for layout in arrays.values() for dim in layout.dims}:
            _write_coordinate(group, dim, dim, coordinates[dim])
        for name, values in follows_n.items():
            _write_coordinate(group, name, "n", values)
        for name, layout in arrays.items():
            _require_array(group, name, tuple(len(coordinates[dim]) for dim in layout.dims), layout)


def _inner_coordinates(settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    sizes = settings["sizes"]
    largest = Problem(
        n=sizes["neuron"] + sizes["index"],
        d=sizes["neuron"] + sizes["index"],
        width=sizes["neuron"],
        depth=sizes["layer"] + 1,
        steps=sizes["iteration"] - 1,
        signals=sizes["index"],
    )
    return dimension_coordinates(largest)


def _require_array(group: zarr.Group, name: str, shape: tuple[int, ...], layout: _Layout) -> None:
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


def _write_coordinate(group: zarr.Group, name: str, dim: str, values: np.ndarray) -> None:
    dtype: Any = np.dtypes.StringDType() if values.dtype.kind == "U" else values.dtype
    layout = _Layout((dim,), (_COORDINATE_CHUNK,), dtype, "" if values.dtype.kind == "U" else 0, {})
    if name in _WORDS:
        layout.attributes["long_name"] = _WORDS[name]
    _require_array(group, name, values.shape, layout)
    array = group[name]
    assert isinstance(array, zarr.Array)
    if len(values):
        array[:] = values.astype(dtype)
