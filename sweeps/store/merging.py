"""From the logs of workers to the shards that everybody reads.

A store of a million cells cannot have a file for each, and of what many cells share only one process may write. So:

1. A worker appends what a bundle of tasks has, results and status, as one record to a log of its own, in the folder
   `logs` of the store (`sweeps.store.logs`). It is on the disk when the task ends, and nobody reads it yet.
2. The driver, every half minute and at the end of a sweep, reads the records that are new, and rewrites the shards that
   they belong to (`sweeps.store.shards`): each whole, beside the old one, which it then replaces in one step. Arrays
   come in an order: results first, then what is said about them, and states last, each on the disk before the next.
3. When the states are on the disk, logs go of which nothing is left to read.

So whoever reads the store sees a state only beside the results that it promises. A driver that dies in between has
deleted nothing that is not in shards, and the next one, which merges first of all, writes the same again. What a dead
worker has not finished has no whole record, and is computed again. A driver that has lost the store to another, as may
happen behind a URL, is refused before each shard that it would write, and each log that it would delete; and what it
had on its way then fails, since it replaces what the driver read and nothing else.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import zarr
from zarr.abc.store import Store as ZarrStore

from sweeps.store import objects
from sweeps.store.logs import FOLDER, Entry, records_of
from sweeps.store.shards import revise

__all__ = ["Merger", "damaged_records", "waiting_bytes"]

BATCH_BYTES = 2**27  # of records in memory at a time, and of logs that make a merge due
LOOK_SECONDS = 1.0  # between looks at how much there is
DUE_SECONDS = 30.0  # between merges while there is something, so that readers see it

Numbers = tuple[int, ...]
Place = tuple[np.ndarray, ...]  # in a shard, an index array for each dimension
Cut = tuple[int, np.ndarray, np.ndarray]  # number of a shard, which indices are in it, and where in it


class Merger:
    """Merges the logs of a store.

    Parameters
    ----------
    store : zarr store
    require : callable
        Raises an error where the store is not its driver's any more.
    array : callable
        From a group and a name to an array, as it is now.
    axes : int
        Dimensions along which cells vary.
    """

    def __init__(
        self, store: ZarrStore, require: Callable[[], None], array: Callable[[str, str], zarr.Array], axes: int
    ) -> None:
        self._store, self._require, self._array, self._axes = store, require, array, axes
        self._merged: dict[str, int] = {}  # bytes of each log that there is
        self._last = self._looked = time.monotonic()

    def is_due(self) -> bool:
        """Whether there is enough to merge, or something that has waited long."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._looked = time.monotonic()
        waiting = waiting_bytes(self._store) - sum(self._merged.values())
        return waiting >= BATCH_BYTES or (waiting > 0 and time.monotonic() - self._last > DUE_SECONDS)

    def merge(self, *, last: bool) -> None:
        """Merge every record that is whole.

        Parameters
        ----------
        last : bool
            Whether nobody writes any more, so that all logs go, and what was torn off with them. Else a log goes when
            its writer has begun another.
        """
        logs = dict(sorted(objects.list_sizes(self._store, FOLDER)))
        newest = set({name.partition(".")[0]: name for name in logs}.values())  # of each writer
        kept: set[str] = set() if last else newest
        entries: list[Entry] = []
        ends: dict[str, int] = {}
        waiting = 0
        for name, size in logs.items():
            start = self._merged.get(name, 0)
            if name in kept and size <= start:
                continue  # what is to go is read, since it may have grown since its size was looked at
            (data,) = objects.read(self._store, [f"{FOLDER}/{name}"])
            found = records_of(data or b"", start)
            entries += found.entries
            ends[name] = min([*found.damaged, found.end])  # what is damaged may be read better the next time
            waiting += found.end - start
            if waiting >= BATCH_BYTES:
                self._apply(entries, ends)
                entries, ends, waiting = [], {}, 0
        self._apply(entries, ends)
        for name in logs.keys() - kept:
            self._require()
            objects.delete(self._store, f"{FOLDER}/{name}")
            del self._merged[name]
        if last:
            objects.leave_folder(self._store, FOLDER)
        self._last = time.monotonic()

    def _apply(self, entries: Sequence[Entry], ends: Mapping[str, int]) -> None:
        """Bring entries to the disk, and note where in each log they end."""
        entries = [entry for entry in entries if entry.positions.shape[1] == self._axes]  # else of an older shape
        paths = dict.fromkeys(path for entry in entries for path in entry.values)
        for path in sorted(paths, key=_turn):
            self._rewrite(path, [(entry, entry.values[path]) for entry in entries if path in entry.values])
            if (folder := objects.folder_of(self._store)) is not None:
                objects.settle(f"{folder}/{path}")
        self._merged |= ends

    def _rewrite(self, path: str, wanted: Sequence[tuple[Entry, np.ndarray]]) -> None:
        group, _, name = path.partition("/")
        array = self._array(group, name)
        shards: dict[Numbers, list[tuple[Place, np.ndarray]]] = {}
        for entry, values in wanted:
            for numbers, place, part in _parts(array, entry, values):
                shards.setdefault(numbers, []).append((place, part))
        for numbers, parts in shards.items():
            revise(self._store, array, numbers, self._require, partial(_fill, parts))


def waiting_bytes(store: ZarrStore) -> int:
    """Count the bytes of the logs of a store.

    Parameters
    ----------
    store : zarr store
    """
    return sum(size for _, size in objects.list_sizes(store, FOLDER))


def damaged_records(store: ZarrStore) -> list[str]:
    """Name the records in the logs of a store that are not what was written.

    Parameters
    ----------
    store : zarr store
    """
    found = []
    for name in sorted(objects.list_names(store, FOLDER)):
        (data,) = objects.read(store, [f"{FOLDER}/{name}"])
        found += [f"{FOLDER}/{name} at byte {start}" for start in records_of(data or b"").damaged]
    return found


def _fill(parts: Sequence[tuple[Place, np.ndarray]], values: np.ndarray) -> None:
    for place, part in parts:
        values[place] = part


def _turn(path: str) -> tuple[int, str]:
    """Results, then what is said about them, then states."""
    group, _, name = path.partition("/")
    return 0 if group != "status" else 1 if "_" in name else 2, path


def _parts(array: zarr.Array, entry: Entry, values: np.ndarray) -> Iterator[tuple[Numbers, Place, np.ndarray]]:
    """Cut what some cells have into parts that lie in one shard each: its numbers, where in it, and what."""
    sizes, axes = array.shards, entry.positions.shape[1]
    assert sizes is not None, "logs are merged into shards"
    indices = [np.array(entry.replicates)] if entry.replicates else []
    indices += [np.arange(size) for size in values.shape[1 + len(indices) :]]
    cuts = [_cuts(index, size) for index, size in zip(indices, sizes[axes:], strict=True)]
    shards, shard_of = np.unique(entry.positions // sizes[:axes], axis=0, return_inverse=True)
    for number, first in enumerate(shards.tolist()):
        which = np.flatnonzero(shard_of.ravel() == number)
        inside = entry.positions[which] % sizes[:axes]
        for others in itertools.product(*cuts):
            _, *rest = np.ix_(which, *(place for _, _, place in others))
            place = (*(column.reshape(-1, *[1] * len(rest)) for column in inside.T), *rest)
            part = values[np.ix_(entry.rows[which], *(taken for _, taken, _ in others))]
            yield (*first, *(shard for shard, _, _ in others)), place, part


def _cuts(index: np.ndarray, size: int) -> list[Cut]:
    """Split indices along one dimension by the shards that they are in."""
    taken = {shard: np.flatnonzero(index // size == shard) for shard in np.unique(index // size).tolist()}
    return [(shard, these, index[these] % size) for shard, these in taken.items()]
