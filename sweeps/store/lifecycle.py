"""A store from its making to its growth: which arrays there are, what they were made with, and where a cell is in them.

Only the driver changes any of this; whoever has the store open meanwhile keeps the shapes that it found.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store as ZarrStore

from sedyn.errors import InvalidInput
from sweeps.location import local_path
from sweeps.plan import ROW, Cell, SimulationTask, SweepSpec, TheoryTask, key_of
from sweeps.provenance import Environment
from sweeps.sources import Code
from sweeps.store import metadata, objects
from sweeps.store.consistency import require_consistent
from sweeps.store.description import restore
from sweeps.store.keeping import Keeping
from sweeps.store.layout import lay_out, layouts, settings_for
from sweeps.store.migration import add_axes, finish_interrupted
from sweeps.store.places import CELL, TIED, columns, indexed, place_of_cell, require_room
from sweeps.store.settings import (
    SHARDS,
    SOLVED_WITH,
    TARGET,
    WANTED,
    completed,
    grown,
    places_of,
    require_known,
    require_same,
    require_same_code,
    settings_of,
    with_axes,
    with_code,
)
from sweeps.store.sharded import ShardedChunks
from sweeps.store.single import SingleChunks

__all__ = ["SOLVED_WITH", "TARGET", "WANTED", "Store", "may_have_shards", "open_root"]


class Store:
    """An open store of one sweep: `prepare` makes or reopens one for a sweep, `open` reaches one that exists.

    Attributes
    ----------
    location : str
        Path or URL.
    objects : zarr store
        Where its objects are.
    settings : dict
        What it was made with.
    axes : dict of str to list
        Grid axes and their values, in the order they are stored.
    block : int
        Replicates of one chunk.
    replicates : int
        Room for so many in every cell.
    restored : list of str
        What of its description was damaged, and was written anew when it was prepared.
    is_sharded : bool
        Whether chunks of many cells lie in one object.
    chunks : Keeping
        How they are written, read and deleted.
    """

    def __init__(self, location: str, root: zarr.Group) -> None:
        self.location = location
        self.restored: list[str] = []
        self._read(root, metadata.stored_settings(root))
        self.chunks: Keeping = ShardedChunks(self) if self.is_sharded else SingleChunks(self)

    def _read(self, root: zarr.Group, settings: dict[str, Any]) -> None:
        self._root = root
        self._arrays: dict[str, zarr.Array] = {}
        self.objects: ZarrStore = root.store
        self.settings = settings
        self.axes: dict[str, list[Any]] = settings["axes"]
        self.block: int = settings["block"]
        self.replicates: int = settings["replicates"]
        self._owned = metadata.Owned(self.objects, settings.get(metadata.OWNER))
        self._columns = {name: values for name, (_, values) in columns(settings).items()}
        self._places = indexed(settings)
        self.is_sharded = SHARDS in settings
        self._wanted, self._solved_with = (
            {json.dumps(cell, sort_keys=True): count for cell, count in settings.get(key, [])}
            for key in (WANTED, SOLVED_WITH)
        )

    @classmethod
    def open(cls, location: str, owner: str | None = None) -> Store:
        """Open an existing store for reading and for writing results.

        Parameters
        ----------
        location : str
            Path or URL.
        owner : str, optional
            The driver whose results are to be written.

        Raises
        ------
        InvalidInput
            If there is none, it is not a sweep's, or its description is damaged.
        StoreTaken
            If another driver than the named one has it.
        """
        store = cls._open_ready(location)
        if store is None:
            raise InvalidInput("store", location, "holds no sweep; name the store of a sweep that was run")
        if owner is not None:
            metadata.require_owner(store.settings, owner)
        return store

    @classmethod
    def _open_ready(cls, location: str) -> Store | None:
        root = open_root(location, consolidated=True)
        if root is None or not metadata.stored_settings(root).get("ready"):  # what is being made says so last
            return None
        return cls(location, root)

    @classmethod
    def look(cls, location: str, spec: SweepSpec, code: Code | None = None) -> Store | None:
        """Open the store of a sweep as it is, without growing it.

        Parameters
        ----------
        location : str
        spec : SweepSpec
        code : Code, optional
            What would compute.

        Returns
        -------
        Store or None
            None if there is none yet.

        Raises
        ------
        InvalidInput
            As for `prepare`.
        """
        store = cls._open_ready(location)
        if store is not None:
            wanted, asked, cells = _compared(store.settings, spec)
            require_same(location, wanted, asked)
            require_room(location, grown(wanted, asked, cells))
            if code is not None:
                require_same_code(location, store.settings, code)
        return store

    @classmethod
    def prepare(cls, location: str, spec: SweepSpec, code: Code | None = None, owner: str | None = None) -> Store:
        """Make the store of a sweep, or reopen it and grow it by what the sweep adds.

        It grows by more replicates, by new values on an axis, and by an axis for what was a constant. A constant of
        the sweep that is an axis of the store is one value on it.

        Parameters
        ----------
        location : str
            Path or URL.
        spec : SweepSpec
        code : Code, optional
            What will compute; it belongs to the settings. None where nothing is computed for keeps.
        owner : str, optional
            The driver (`sweeps.store.lock.Lease.owner`), which alone may write from then on; by default whoever was.

        Raises
        ------
        InvalidInput
            If the store was made with other settings, or by other code; the message names the difference.
        """
        root = open_root(location, consolidated=False)  # arrays as they are, also after an interrupted growth
        known = {} if root is None else metadata.stored_settings(root)
        if root is not None and not known and any(root.members()):
            raise InvalidInput("store", location, "is a Zarr group that holds something else; name another path")
        if root is not None and known.get("ready"):
            require_same(location, *_compared(known, spec)[:2])
            if code is not None:
                require_same_code(location, known, code)
            if owner is not None:
                known = metadata.hand_over(root.store, known, owner)
            restored = restore(root.store, known)
            known = finish_interrupted(root, known)
            if SHARDS in known:
                cls.open(location).merge(last=True)
            wanted, asked, cells = _compared(known, spec)
            require_room(location, grown(wanted, asked, cells))
            constants = {axis: known["problem"].get(axis) for axis in wanted["axes"] if axis not in known["axes"]}
            if wanted["axes"] != known["axes"]:
                known = add_axes(root, known, list(constants))
            settings = _wanted_at(constants, grown(known, asked, cells))
        else:
            restored = []
            root, settings = _make_root(location, spec, owner)
        if code is not None:
            settings = with_code(settings, code)
        if known != settings:
            metadata.publish(root.store, lay_out(root, settings), settings)
        store = cls.open(location)
        store.restored = restored
        return store

    def wanted(self, values: Mapping[str, Any]) -> int:
        """Tell how many replicates of a cell are wanted beyond what the sweep wants of all; 0 if no more are.

        Parameters
        ----------
        values : mapping of str to value
            The cell's value on every axis.
        """
        return self._wanted.get(self._name_of(values), 0)

    def want(self, counts: Sequence[tuple[Mapping[str, Any], int]], target: Mapping[str, Any]) -> None:
        """Note how many replicates single cells are to have, and make room for them, in one step.

        Parameters
        ----------
        counts : sequence of (mapping, int)
            The values of a cell on every axis, and how many; cells that are not named keep what was wanted before.
        target : mapping
            What they are for, and the replicates of the first round, which all cells have.
        """
        known = self._wanted | {self._name_of(values): count for values, count in counts}
        most, wanted = max(known.values(), default=0), [[json.loads(cell), count] for cell, count in known.items()]
        settings = {"replicates": max(self.replicates, most), WANTED: wanted, TARGET: dict(target)}
        self.become(self.settings | settings)

    def samples(self, values: Mapping[str, Any]) -> int:
        """Tell how many samples the theory of a cell is solved with, where these are more than the sweep's; else 0.

        Parameters
        ----------
        values : mapping of str to value
            The cell's value on every axis.
        """
        return self._solved_with.get(self._name_of(values), 0)

    def want_samples(self, counts: Sequence[tuple[Mapping[str, Any], int]]) -> None:
        """Note how many samples theories of single cells are solved with from now on.

        Parameters
        ----------
        counts : sequence of (mapping, int)
            As for `want`.
        """
        known = self._solved_with | {self._name_of(values): count for values, count in counts}
        self.become(self.settings | {SOLVED_WITH: [[json.loads(cell), count] for cell, count in known.items()]})

    def _name_of(self, values: Mapping[str, Any]) -> str:
        return json.dumps({name: values[name] for name in self.fields}, sort_keys=True)

    def become(self, settings: dict[str, Any]) -> None:
        """Lay the arrays out for other settings, and show these to readers in one step.

        Parameters
        ----------
        settings : dict
            With as many places on every dimension as there are, or more.
        """
        self.require_ours()
        root = open_root(self.location, consolidated=False)
        assert root is not None, "a store that is open is there"
        metadata.publish(root.store, lay_out(root, settings), settings)
        self._read(root, settings)

    def has_room(self, task: SimulationTask | TheoryTask) -> bool:
        """Tell whether the arrays, as they were when the store was opened, have the places of a task's results."""
        sizes = [len(values) for values in self.axes.values()]
        places = all(k < size for position in task.positions for k, size in zip(position, sizes, strict=True))
        return places and (isinstance(task, TheoryTask) or task.replicates[-1] < self.replicates)

    def extend(self, spec: SweepSpec) -> None:
        """Make room for the cells of a sweep that adds no field to those that vary."""
        wanted, asked, cells = _compared(self.settings, spec)
        assert wanted["axes"].keys() == self.axes.keys(), "no field that was constant varies"
        settings = grown(self.settings, asked, cells)
        require_room(self.location, settings)
        self.become(settings)

    def merge(self, *, last: bool = False) -> None:
        """Bring what workers have logged to where it is read.

        Parameters
        ----------
        last : bool, optional
            Whether no worker writes any more.
        """
        self.chunks.merge(last=last)

    def merge_if_due(self) -> None:
        """Merge where there is much to merge, or something has waited long."""
        if self.chunks.is_due():
            self.merge()

    def require_ours(self) -> None:
        """Make sure that no other driver has taken the store over since it was opened.

        Raises
        ------
        StoreTaken
            If one has.
        """
        self._owned.require()

    def record_environment(self, environment: Environment) -> None:
        """Say what a code of an environment in ``status/*_facts`` means, as an attribute of these variables."""
        known, explained = self.settings["environments"], {str(environment.code): environment.description}
        if not explained.keys() <= known.keys():
            settings = self.settings | {"environments": known | explained}
            self.require_ours()
            arrays = [f"status/{kind}_facts" for kind in ("simulation", "theory")]
            metadata.add_attributes(self.objects, arrays, explained, settings)
            self._read(self._root, settings)

    @property
    def opening_line(self) -> str:
        """Python that opens the store with every axis in increasing order; values that came later are stored last."""
        line = f'xarray.open_datatree({json.dumps(self.location, ensure_ascii=False)}, engine="zarr")'
        alone = {axis: values for axis, values in self.axes.items() if axis != CELL}
        numbers = {k: v for k, v in alone.items() if all(isinstance(value, int | float) for value in v)}
        late = [axis for axis, values in numbers.items() if sorted(values) != values]
        return f"{line}.map_over_datasets(lambda group: group.sortby({late}) if group else group)" if late else line

    def array(self, group: str, name: str) -> zarr.Array:
        """Reach one array; it stays open, since opening costs more than writing a chunk.

        Parameters
        ----------
        group : {'simulation', 'theory', 'status'}
        name : str
        """
        path = f"{group}/{name}"
        if path not in self._arrays:
            try:
                array = self._root[path]
            except KeyError:
                raise InvalidInput("store", self.location, f"has no {path}; its zarr.json is damaged") from None
            assert isinstance(array, zarr.Array)
            self._arrays[path] = array
        return self._arrays[path]

    @property
    def shape(self) -> str:
        """Its axes with the number of their values, in words."""
        together = ", ".join(self.settings.get(TIED, ()))
        names = {axis: f"{together} ({len(values)} together)" for axis, values in self.axes.items() if axis == CELL}
        return ", ".join(names.get(axis, f"{axis} ({len(values)})") for axis, values in self.axes.items()) or "none"

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the problem that vary in it."""
        return tuple(self._columns)

    def spelled(self, spec: SweepSpec) -> SweepSpec:
        """Describe the cells of a sweep with the values that stand here, where they differ by rounding alone."""
        return _spelled(self.settings, spec)

    def values_of(self, spec: SweepSpec, cell: Cell) -> dict[str, Any]:
        """Name a cell by its value of every field that varies here, or in its sweep.

        Parameters
        ----------
        spec : SweepSpec
        cell : Cell
            One of its cells.
        """
        return {name: getattr(cell.problem, name) for name in (*spec.fields, *self.fields)}

    def positions(self, spec: SweepSpec) -> tuple[np.ndarray, np.ndarray]:
        """Find where the cells of a sweep are in the arrays.

        Parameters
        ----------
        spec : SweepSpec

        Returns
        -------
        positions : ndarray of int, shape (cells, cell axes)
        there : ndarray of bool, shape (cells,)
            Whether they have a place for a cell yet.
        """
        shape, dims = spec.table.shape, (ROW, *spec.axes)
        tied = list(self.settings.get(TIED, ()))
        if any(spec.along(name)[0] not in (None, ROW) for name in tied):
            places = [self.position(self.values_of(spec, cell)) for cell in spec.cells]
            numbers = [(-1,) * len(self.axes) if place is None else place for place in places]
            return np.array(numbers).reshape(-1, len(self.axes)), np.array([place is not None for place in places])

        def spread(dim: str | None, values: Sequence[Any]) -> np.ndarray:
            """Lay out what varies along one dimension for all."""
            sizes = [len(values) if dim == each else 1 for each in dims]
            return np.broadcast_to(np.reshape(values, sizes), shape).ravel()

        found = np.empty((math.prod(shape), len(self.axes)), np.int64)
        for number, (axis, known) in enumerate(self._places.items()):
            if axis == CELL:
                columns = [spec.along(name) for name in tied]
                rows = max((len(values) for _, values in columns), default=1)
                each = zip(*(values if dim else list(values) * rows for dim, values in columns), strict=True)
                dim = ROW if any(dim for dim, _ in columns) else None
                keys = [key_of(row) for row in each]
            else:
                dim, values = spec.along(axis)
                keys = [key_of(value) for value in values]
            found[:, number] = spread(dim, [known.get(key, -1) for key in keys])
        there = np.asarray((found >= 0).all(axis=1))
        for name in spec.fields:
            if name not in self._columns:  # a constant here
                dim, values = spec.along(name)
                constant = key_of(self.settings["problem"][name])
                there &= spread(dim, [key_of(value) == constant for value in values])
        return found, there

    def position(self, values: Mapping[str, Any]) -> tuple[int, ...] | None:
        """Find where a cell is in the arrays; None if they have no place for it yet.

        Parameters
        ----------
        values : mapping of str to value
            The cell's value of every field of the problem that varies here, or in a sweep that varies more.
        """
        constants = self.settings["problem"]
        others = (name for name in values if name not in self._columns)
        if any(key_of(constants[name]) != key_of(values[name]) for name in others):
            return None
        own = {name: values[name] for name in self._columns}
        place = place_of_cell(own, self.settings.get(TIED, ()))
        places = [known.get(key_of(place[axis])) for axis, known in self._places.items()]
        return None if None in places else tuple(place for place in places if place is not None)


def _spelled(known: Mapping[str, Any], spec: SweepSpec) -> SweepSpec:
    constants = {name: [value] for name, value in known["problem"].items()}
    return spec.spelled(constants | {name: values for name, (_, values) in columns(known).items()})


def _compared(
    known: Mapping[str, Any], spec: SweepSpec
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, list[Any]]]]:
    """Settings of a store and those that a sweep needs, with the same axes where that is possible, and its places."""
    spec = _spelled(known, spec)
    asked = settings_of(spec, known)
    return with_axes(known, asked["axes"]), asked, places_of(spec, known)


def _wanted_at(constants: Mapping[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Let cells of which more is wanted have the values that were constants before they became axes."""
    return settings | {
        key: [[{**constants, **cell}, count] for cell, count in settings[key]]
        for key in (WANTED, SOLVED_WITH)
        if key in settings
    }


def _make_root(location: str, spec: SweepSpec, owner: str | None) -> tuple[zarr.Group, dict[str, Any]]:
    """Claim a place, after whoever died in making a store there.

    Many cells have shards, but for a storage that may put back what a shard was before.
    """
    store, owned = objects.reach(location), {} if owner is None else {metadata.OWNER: owner}
    for orphan in objects.orphans(store):
        orphan.unlink()
    settings = settings_for(spec, shards=False) | owned
    for group in layouts(settings):
        objects.delete_folder(store, group)
    if spec.is_large and metadata.keeps_conditions(store, {**settings, "ready": False}):
        settings = settings_for(spec) | owned
    metadata.make_root(store, {**settings, "ready": False})
    return zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=False), settings


def may_have_shards(location: str) -> bool:
    """Tell whether a new store of many cells has shards at a location, as far as this is known without asking there.

    Parameters
    ----------
    location : str
        Path or URL.
    """
    return objects.knows_conditions(objects.reach(location))


def open_root(location: str, *, consolidated: bool) -> zarr.Group | None:
    """Open the root of a store with what it says checked.

    Parameters
    ----------
    location : str
        Path or URL.
    consolidated : bool
        Whether to go by the metadata that is shown to readers, if there is any, rather than by that of each array.

    Returns
    -------
    zarr.Group or None
        None where there is nothing.

    Raises
    ------
    InvalidInput
        If it cannot be reached, is no Zarr store or damaged, or is a sweep's of a later format.
    """
    path = local_path(location)
    try:
        other = path is not None and path.exists() and not (path.is_dir() and _is_empty_or_zarr(path))
    except OSError as error:
        raise InvalidInput("store", location, f"cannot be reached ({error.strerror}); name another path") from None
    if other:
        raise InvalidInput("store", location, "exists and is no Zarr store; name another path")
    try:
        store = objects.reach(location)
        found, shown = metadata.root_settings(store)
    except FileNotFoundError:
        return None
    except metadata.Damaged:
        remedy = "its zarr.json is damaged; bring it back from a copy, or name another path"
        raise InvalidInput("store", location, remedy) from None
    except (ImportError, OSError, ValueError) as error:
        raise InvalidInput("store", location, f"cannot be reached ({error}); name another path or URL") from None
    if found:
        require_known(location, found)
    try:
        root = zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=None if consolidated else False)
        if found.get("ready"):  # what is being made shows nothing yet
            require_consistent(location, completed(found), shown)
        return root
    except InvalidInput:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of a document that is none
        raise InvalidInput("store", location, f"its zarr.json is damaged ({error}); name another path") from None


def _is_empty_or_zarr(folder: Path) -> bool:
    return (folder / "zarr.json").exists() or all(map(objects.is_orphan, folder.iterdir()))
