"""Chunks of many cells in shards: workers append what tasks have to logs, and the driver alone writes shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import zarr

from sweeps.plan import SimulationTask, TheoryTask
from sweeps.store import objects
from sweeps.store.chunks import chunk_numbers, numbers_of, place_of
from sweeps.store.keeping import Arrays, Numbers, Part, Survey, parts_of
from sweeps.store.logs import Entry, Log
from sweeps.store.merging import Merger
from sweeps.store.shards import damaged_chunks, revise, unpack

__all__ = ["ShardedChunks"]


class ShardedChunks:
    """Keeps many chunks in an object, as `sweeps.store.keeping.Keeping` says.

    Parameters
    ----------
    store : Arrays
    """

    def __init__(self, store: Arrays) -> None:
        self._store = store
        self._log = Log(store.objects, store.require_ours)
        self._merger = Merger(store.objects, store.require_ours, store.array, len(store.axes))

    def together(self) -> AbstractContextManager[None]:
        """Make one record of all."""
        return self._log.together()

    def write(self, task: SimulationTask | TheoryTask, steps: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Log what a task has, as one record; see `Keeping.write`."""
        replicates = task.replicates if isinstance(task, SimulationTask) else ()
        positions, rows = np.array(task.positions), np.zeros(len(task.positions), int)
        values = {path: each[None] for step in steps for path, each in step.items()}
        self._log.append([Entry(positions, rows, replicates, values)])

    def read(self, array: zarr.Array) -> Iterator[Part]:
        """Read the shards that are there."""
        return parts_of(self._store.objects, array, _decode)

    def survey(self, array: zarr.Array, wanted: np.ndarray, sums: np.ndarray | None, *, content: bool) -> Survey:
        """Look at the shards that are there; see `Keeping.survey`.

        A shard is written whole, by one writer, and its index has a checksum: what it does not have was never there.
        """
        leading, axes = wanted.ndim, len(self._store.axes)
        assert array.shards is not None, "this store has shards"
        found = Survey(np.asarray(~wanted), [])
        if 0 in array.shape:
            found.there[...] = True
            return found
        sides = tuple(1 if k == axes else size for k, size in enumerate(array.shards[:leading]))
        damaged: list[Any] = []
        for key in objects.list_names(self._store.objects, array.path):
            if (shard := chunk_numbers(key, array.ndim)) is None:
                continue
            (data,) = objects.read(self._store.objects, [f"{array.path}/{key}"]) if content else (None,)
            read = damaged_chunks(array, data) if data is not None else ([], [])
            if numbers_of(array, key) is None or read is None:
                found.cut.append(shard)
                damaged.append(place_of(shard[:leading], sides))
                continue
            if not any(shard[leading:]):  # further ones come from growth; cells that were there before have none
                found.there[place_of(shard[:leading], sides)] = True
            if read[1]:
                found.cut.append(shard)
            for chunk in read[1]:
                starts = [k * size for k, size in zip(shard[:leading], sides, strict=True)]
                steps = [1 if k == axes else size for k, size in enumerate(array.chunks[:leading])]
                local = zip(starts, chunk, steps, strict=False)
                damaged.append(tuple(slice(start + k * step, start + (k + 1) * step) for start, k, step in local))
        for place in damaged:  # also where it is not needed, since nobody knows what it was
            found.there[place] = False
        return found

    def forget(self, array: zarr.Array, which: np.ndarray) -> None:
        """Take values out of the shards that have them; see `Keeping.forget`."""

        def clear(values: np.ndarray) -> None:
            values[tuple(slice(size) for size in mine.shape)][mine] = array.fill_value

        assert array.shards is not None, "this store has shards"
        for name in objects.list_names(self._store.objects, array.path):
            if (numbers := numbers_of(array, name)) is not None:
                mine = which[place_of(numbers, array.shards)[: which.ndim]]
                if mine.any():
                    revise(self._store.objects, array, numbers, self._store.require_ours, clear)

    def repair(self, array: zarr.Array, numbers: Numbers) -> None:
        """Write a shard without what cannot be read; delete one beyond the end; see `Keeping.repair`."""
        key = array.metadata.encode_chunk_key(numbers)
        if numbers_of(array, key) is None:
            objects.delete(self._store.objects, f"{array.path}/{key}")
        else:
            revise(self._store.objects, array, numbers, self._store.require_ours, lambda _: None)

    def merge(self, *, last: bool) -> None:
        """Bring the records of logs to the shards."""
        self._merger.merge(last=last)

    def is_due(self) -> bool:
        """Whether there is much to merge, or something has waited long."""
        return self._merger.is_due()


def _decode(array: zarr.Array, data: bytes) -> tuple[np.ndarray | None, bool]:
    found = unpack(array, data)
    return (None, False) if found is None else (found[0], not found[1])
