"""Where results land: one Zarr store with the groups `simulation`, `theory` and `status`.

Every array has the grid's axes first, in chunks of one cell (times one block of replicates), so that a task owns the
chunks it writes and no chunk has two writers. Chunks hold plain little-endian numbers without compression: a task can
then write each as one file in one step, and a reader sees it whole or not at all. A task's status is written after
its data. Metadata is consolidated in the root after every change of shape, so that a reader changes from the old shape
to the new one in a single step. Only the driver changes metadata; workers write chunks.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.errors import GroupNotFoundError
from zarr.storage import LocalStore

from sedyn.errors import InvalidInput
from sedyn.model.observables import PREDICTED
from sweeps import metadata
from sweeps.chunks import Chunk, chunk_numbers, chunks_of, write_file
from sweeps.layout import DONE, FACTS, FAILED, PENDING, lay_out, simulated
from sweeps.location import local_path
from sweeps.metadata import stored_settings
from sweeps.migration import add_axes, finish_interrupted
from sweeps.plan import Cell, SimulationTask, SweepSpec, Task, TheoryTask, blocks
from sweeps.provenance import Environment
from sweeps.settings import grown, require_same, settings_of, with_axes

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DONE", "FAILED", "PENDING", "Store"]


class Store:
    """An open store of one sweep.

    Use `prepare` to make or reopen one for a sweep, `open` to reach one that exists.

    Attributes
    ----------
    location : str
        Path or URL.
    settings : dict
        What it was made with.
    axes : dict of str to list
        Grid axes and their values, in the order they are stored.
    block : int
        Replicates of one chunk.
    replicates : int
        Room for so many in every cell.
    """

    def __init__(self, location: str, root: zarr.Group) -> None:
        self.location = location
        self._root = root
        self._read_settings(stored_settings(root))

    def _read_settings(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.axes: dict[str, list[Any]] = settings["axes"]
        self.block: int = settings["block"]
        self.replicates: int = settings["replicates"]
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
        if root is None or not stored_settings(root).get("ready"):
            raise InvalidInput("store", location, "holds no sweep; name the store of a sweep that was run")
        return cls(location, root)

    @classmethod
    def look(cls, location: str, spec: SweepSpec) -> Store | None:
        """Open the store of a sweep as it is, without growing it; None if there is none yet.

        Raises
        ------
        InvalidInput
            As for `prepare`.
        """
        root = _open_root(location, consolidated=True)
        if root is None or not stored_settings(root).get("ready"):
            return None
        store = cls(location, root)
        asked = settings_of(spec.along(store.axes))
        require_same(location, with_axes(store.settings, asked["axes"]), asked)
        return store

    @classmethod
    def prepare(cls, location: str, spec: SweepSpec) -> Store:
        """Make the store of a sweep, or reopen it and grow it by what the sweep adds.

        It grows by more replicates, by new values on an axis, and by an axis for what was a constant. A constant of
        the sweep that is an axis of the store is one value on it.

        Raises
        ------
        InvalidInput
            If the store was made with other settings; the message names the difference.
        """
        root = _open_root(location, consolidated=False)  # arrays as they are, also after an interrupted growth
        known = {} if root is None else stored_settings(root)
        if root is None:
            root = zarr.open_group(local_path(location) or location, mode="a", zarr_format=3)
        elif not known and any(root.members()):
            raise InvalidInput("store", location, "is a Zarr group that holds something else; name another path")
        settings = settings_of(spec)
        if known:
            known = finish_interrupted(root, known)
            settings = settings_of(spec.along(known["axes"]))
            wanted = with_axes(known, settings["axes"])
            require_same(location, wanted, settings)
            if wanted["axes"] != known["axes"]:
                known = add_axes(root, known, [axis for axis in wanted["axes"] if axis not in known["axes"]])
            settings = grown(known, settings)
        else:
            root.attrs[metadata.SETTINGS] = settings | {"ready": False}  # claims the path
        if known != settings:
            metadata.publish(root.store, lay_out(root, settings), settings)
        return cls.open(location)

    def grow(self, replicates: int) -> None:
        """Make room for more replicates in every cell; whoever has the store open keeps the old shape."""
        settings = self.settings | {"replicates": max(self.replicates, replicates)}
        root = _open_root(self.location, consolidated=False)
        assert root is not None, "a store that is open is there"
        metadata.publish(root.store, lay_out(root, settings), settings)
        self._root = root
        self._read_settings(settings)

    def record_environment(self, environment: Environment) -> None:
        """Say what a code of an environment in ``status/*_facts`` means, as an attribute of these variables."""
        known = self.settings["environments"]
        if str(environment.code) not in known:
            settings = self.settings | {"environments": {**known, str(environment.code): environment.description}}
            arrays = [f"status/{kind}_facts" for kind in ("simulation", "theory")]
            attribute = {str(environment.code): environment.description}
            metadata.add_attributes(self._root.store, arrays, attribute, settings)
            self._read_settings(settings)

    @property
    def opening_line(self) -> str:
        """Python that opens the store with every axis in increasing order; values that came later are stored last."""
        opened = f'xarray.open_datatree("{self.location}", engine="zarr")'
        unsorted = [axis for axis, values in self.axes.items() if _numbers(values) and sorted(values) != values]
        return (
            f"{opened}.map_over_datasets(lambda group: group.sortby({unsorted}) if group else group)"
            if unsorted
            else opened
        )

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
            numbers = chunk_numbers(file.name, array.ndim)
            if numbers is not None:
                bounds = zip(numbers, array.chunks, strict=True)
                place = tuple(slice(k * size, (k + 1) * size) for k, size in bounds)
                values = np.frombuffer(Path(file.path).read_bytes(), array.dtype)
                if values.size == np.prod(array.chunks):  # else a power cut left it, and nothing is known
                    whole = values.reshape(array.chunks)
                    states[place] = whole[tuple(slice(size) for size in np.shape(states[place]))]
        return states

    def facts(self, kind: str, name: str) -> np.ndarray:
        """Read one of `sweeps.layout.FACTS` for every simulation or theory solution; NaN where there is none."""
        return np.asarray(self.array("status", f"{kind}_facts")[..., list(FACTS).index(name)])

    def missing_tasks(self, spec: SweepSpec, device: str = "cpu") -> list[Task]:
        """List the tasks of a sweep whose results are not in the store, the longest first.

        The store may still have to grow for some of them; those have no position.

        Parameters
        ----------
        spec : SweepSpec
        device : {'cpu', 'gpu'}, optional
            What they will run on; it decides on what is joined in one task, see `SweepSpec.joined`.
        """
        spec = spec.along(self.axes)
        simulated, predicted = self.states("simulation"), self.states("theory")
        positions = {cell.values: self._find(cell, spec) for cell in spec.cells}
        simulations: list[SimulationTask] = []
        for cell in spec.cells:
            position = positions[cell.values]
            states = np.full(spec.replicates, PENDING)
            if position is not None:
                known = simulated[position][: spec.replicates]
                states[: known.size] = known
            simulations += self.simulation_tasks(spec, cell, position or (), states)
        tasks: list[Task] = list(spec.joined(simulations, device))
        for cells in spec.theory_groups.values():
            found = [positions[cell.values] for cell in cells]
            solved = [position is not None and predicted[position] == DONE for position in found]
            if not all(solved):
                lacking = tuple(position or () for position, done in zip(found, solved, strict=True) if not done)
                solved_at = found[solved.index(True)] if any(solved) else None
                tasks.append(spec.theory_task(cells[0], lacking, solved_at))
        return sorted(tasks, key=lambda task: -task.seconds)

    def _find(self, cell: Cell, spec: SweepSpec) -> tuple[int, ...] | None:
        """Find where a cell of a sweep is in the arrays; None if they have no place for it yet."""
        position = []
        known = iter(self._positions)
        for axis, value in zip(spec.axes, cell.values, strict=True):
            if axis in self.axes:
                place = next(known).get(value)
                if place is None:
                    return None
                position.append(place)
            elif value != self.settings["problem"][axis]:
                return None
        return tuple(position)

    def simulation_tasks(
        self, spec: SweepSpec, cell: Cell, position: tuple[int, ...], states: np.ndarray
    ) -> list[SimulationTask]:
        """List the tasks for the replicates of one cell that are not done, given the state of each, 0 and up."""
        return list(spec.simulation_tasks(cell, position, np.flatnonzero(states != DONE).tolist(), self.block))

    def chunks(self, group: str, name: str) -> Iterator[tuple[tuple[int, ...], bool]]:
        """List the chunks of an array that are there: where each is, and whether it has the size it should have."""
        array, store = self.array(group, name), self._root.store
        if isinstance(store, LocalStore):
            files = os.scandir(Path(store.root) / array.path)
            found = ((file.name, file.stat().st_size) for file in files)
        else:
            names = metadata.list_names(store, array.path)
            found = ((name, sync(store.getsize(f"{array.path}/{name}"))) for name in names)
        words = array.dtype.kind == "T"  # of variable length
        expected = int(np.prod(array.chunks)) * array.dtype.itemsize
        for key, size in found:
            numbers = chunk_numbers(key, array.ndim)
            if numbers is not None:
                yield numbers, size > 0 if words else size == expected

    def discard_chunk(self, group: str, name: str, numbers: tuple[int, ...]) -> None:
        """Delete a chunk; what it held reads as missing."""
        array = self.array(group, name)
        metadata.delete(self._root.store, f"{array.path}/{array.metadata.encode_chunk_key(numbers)}")

    def forget(self, group: str, lead: tuple[int, ...]) -> None:
        """Mark a cell, or a block of its replicates, as pending, so that the next run computes it again."""
        self.discard_chunk("status", group, lead)

    def orphans(self) -> list[Path]:
        """List the files that writers left behind when they were killed. A store behind a URL has none."""
        store = self._root.store
        return sorted(Path(store.root).rglob("*.partial")) if isinstance(store, LocalStore) else []

    def write_simulation(self, task: SimulationTask, runs: xr.Dataset) -> None:
        """Write the data of a simulation task (its status apart)."""
        self._write_together(
            chunk
            for name, observable in simulated(self.settings).items()
            for chunk in self._simulation_chunks(
                "simulation", name, task, _ordered(runs, name, ("replicate", *observable.dims))
            )
        )

    def write_theory(self, positions: Iterable[tuple[int, ...]], theory: xr.Dataset) -> None:
        """Write a theory solution into every cell that shares it."""
        values = {name: _ordered(theory, name, observable.dims) for name, observable in PREDICTED.items()}
        for position in positions:
            self._write_together(
                chunk for name in values for chunk in chunks_of(self.array("theory", name), position, values[name])
            )

    def read_theory(self, position: tuple[int, ...]) -> xr.Dataset:
        """Read the theory solution of one cell, padded as it is stored."""
        import xarray as xr

        return xr.Dataset(
            {
                name: (observable.dims, np.asarray(self.array("theory", name)[position]))
                for name, observable in PREDICTED.items()
            }
        )

    def read_simulation(self, position: tuple[int, ...], name: str, replicates: int) -> np.ndarray:
        """Read the first replicates of one observable of one cell, padded as it is stored."""
        where: Any = (*position, slice(replicates))
        return np.asarray(self.array("simulation", name)[where])

    def is_done(self, task: SimulationTask | TheoryTask) -> bool:
        """Whether all that a task computes is in the store."""
        if isinstance(task, SimulationTask):
            states = np.asarray(self.array("status", "simulation")[task.position])[list(task.replicates)]
        else:
            states = np.asarray([self.array("status", "theory")[place] for place in task.positions])
        return bool((states == DONE).all())

    def write_status(
        self, task: SimulationTask | TheoryTask, state: int, *, seconds: float, error: str = "", **facts: float
    ) -> None:
        """Record how a task ended. Comes after its data; the state itself comes last of all.

        Parameters
        ----------
        task : SimulationTask or TheoryTask
        state : int
            `DONE` or `FAILED`.
        seconds : float
            Computing time of the whole task.
        error : str, optional
            Why it failed.
        **facts : float
            Others of `sweeps.layout.FACTS`.
        """
        kind = "simulation" if isinstance(task, SimulationTask) else "theory"
        places = [task.position] if isinstance(task, SimulationTask) else list(task.positions)
        shared_by = len(task.replicates) if isinstance(task, SimulationTask) else len(places)
        if error:
            spans: list[Any] = list(places)
            if isinstance(task, SimulationTask):
                runs = blocks(task.replicates, self.block)
                spans = [(*task.position, slice(block[0], block[-1] + 1)) for block in runs]
            for span in spans:
                self.array("status", f"{kind}_error")[span] = error
        facts |= {"seconds": seconds / shared_by}
        assert set(facts) <= set(FACTS), "a fact without a place in the store"
        numbers = [facts.get(name, np.nan) for name in FACTS]
        self._write_together(self._status_chunks(task, places, f"{kind}_facts", np.asarray(numbers)))
        self._write_together(self._status_chunks(task, places, kind, np.asarray(state, np.int8)))

    def _status_chunks(
        self, task: SimulationTask | TheoryTask, places: list[tuple[int, ...]], name: str, value: np.ndarray
    ) -> Iterator[Chunk]:
        if isinstance(task, SimulationTask):
            values = np.broadcast_to(value, (len(task.replicates), *value.shape))
            yield from self._simulation_chunks("status", name, task, values)
        else:
            for place in places:
                yield from chunks_of(self.array("status", name), place, value)

    def _simulation_chunks(self, group: str, name: str, task: SimulationTask, values: np.ndarray) -> Iterator[Chunk]:
        array, first = self.array(group, name), 0
        for replicates in blocks(task.replicates, self.block):
            part = values[first : first + len(replicates)]
            first += len(replicates)
            number = replicates[0] // self.block
            start, stop = number * self.block, min((number + 1) * self.block, array.shape[len(task.position)])
            if replicates != tuple(range(start, stop)):
                # The other replicates of the block are done: keep them.
                inner = array.shape[len(task.position) + 1 :]
                block: tuple[Any, ...] = (*task.position, slice(start, stop))
                whole = np.array(array[block])
                padded = np.full((len(part), *inner), array.fill_value, array.dtype)
                padded[tuple(slice(size) for size in part.shape)] = part
                whole[np.asarray(replicates) - start] = padded
                part = whole
            yield from chunks_of(array, (*task.position, number), part)

    def _write_together(self, chunks: Iterable[Chunk]) -> None:
        if isinstance(self._root.store, LocalStore):
            folder = os.fspath(self._root.store.root)
            for array, key, data in chunks:
                write_file(f"{folder}/{array.path}/{key}", data)
        else:
            buffer = default_buffer_prototype().buffer
            ready = list(chunks)  # making them may read from the store

            async def write_all() -> None:
                await asyncio.gather(
                    *((array.store_path / key).set(buffer.from_bytes(data)) for array, key, data in ready)
                )

            sync(write_all())


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _ordered(dataset: xr.Dataset, name: str, dims: Sequence[str]) -> np.ndarray:
    return dataset.variables[name].transpose(*dims).values


def _open_root(location: str, *, consolidated: bool) -> zarr.Group | None:
    path = local_path(location)
    if path and path.exists() and not (path.is_dir() and _is_empty_or_zarr(path)):
        raise InvalidInput("store", location, "exists and is no Zarr store; name another path")
    try:
        where, use_consolidated = path or location, None if consolidated else False
        return zarr.open_group(where, mode="r+", zarr_format=3, use_consolidated=use_consolidated)
    except (FileNotFoundError, GroupNotFoundError):
        return None
    except json.JSONDecodeError:
        raise InvalidInput("store", location, "its zarr.json is no JSON; name another path") from None
    except (ImportError, ValueError) as error:
        raise InvalidInput("store", location, f"cannot be reached ({error}); name another path or URL") from None


def _is_empty_or_zarr(folder: Path) -> bool:
    return (folder / "zarr.json").exists() or not any(folder.iterdir())
