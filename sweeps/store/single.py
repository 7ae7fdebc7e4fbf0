"""Chunks one by one, each an object: a task owns those that it writes, and workers write them themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, groupby, islice
from typing import Any, NamedTuple

import numpy as np
import zarr

from sweeps.plan import SimulationTask, TheoryTask, blocks
from sweeps.store import objects
from sweeps.store.chunks import (
    CHECKSUM_BYTES,
    Form,
    chunk_numbers,
    chunks_of,
    content_of,
    form_of,
    is_checked,
    numbers_of,
    place_of,
    sum_of,
    values_of,
)
from sweeps.store.keeping import READ_TOGETHER, Arrays, Numbers, Part, Survey, parts_of

__all__ = ["SingleChunks"]


class SingleChunks:
    """Keeps every chunk in an object of its own, as `sweeps.store.keeping.Keeping` says.

    Parameters
    ----------
    store : Arrays
    """

    def __init__(self, store: Arrays) -> None:
        self._store = store
        self._known: dict[str, tuple[zarr.Array, Form]] = {}

    def together(self) -> AbstractContextManager[None]:
        """Each chunk counts by itself."""
        return nullcontext()

    def write(self, task: SimulationTask | TheoryTask, steps: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Write the chunks that a task owns, whole, so that repeating it writes the same; see `Keeping.write`."""
        self._store.require_ours()
        owned = _blocks_of(task, self._store.block, self._store.replicates)
        for step in steps:
            chunks = chain.from_iterable(
                self._owned(path, position, owned, values)
                for position in task.positions
                for path, values in step.items()
            )
            while some := list(islice(chunks, READ_TOGETHER)):
                objects.write(self._store.objects, some)

    def read(self, array: zarr.Array) -> Iterator[Part]:
        """Read the chunks that are there."""
        return parts_of(self._store.objects, array, _decode)

    def survey(self, array: zarr.Array, wanted: np.ndarray, sums: np.ndarray | None, *, content: bool) -> Survey:
        """Look at the chunks that are there; where they are read, add results up; see `Keeping.survey`."""
        leading, shape = wanted.ndim, wanted.shape
        found = Survey(np.asarray(~wanted), [])  # else a scalar, where a store has no axis
        if 0 in array.shape:
            found.there[...] = True
            return found
        chunks: list[Numbers] = []
        for key, size in objects.list_sizes(self._store.objects, array.path):
            if (numbers := chunk_numbers(key, array.ndim)) is not None:
                within = numbers_of(array, key) is not None and _has_size(array, size)
                (chunks if within else found.cut).append(numbers)
        contents = self._contents(array, sorted(chunks)) if content else ((numbers, True) for numbers in sorted(chunks))
        first = (0,) * (array.ndim - leading)
        for lead, together in groupby(contents, key=lambda chunk: chunk[0][:leading]):
            parts = dict(together)
            damaged = [numbers for numbers, values in parts.items() if values is None]
            found.cut.extend(damaged)
            # Chunks further along inner dimensions come from growth; cells that were there before have none.
            found.there[lead] = (not wanted[lead] or (*lead, *first) in parts) and not damaged
            if content and sums is not None and not damaged:
                _add_up(sums, array, lead, parts)
        for numbers in found.cut:
            if all(k < size for k, size in zip(numbers, shape, strict=False)):
                found.there[numbers[:leading]] = False
        return found

    def forget(self, array: zarr.Array, which: np.ndarray) -> None:
        """Delete the chunks of some values; see `Keeping.forget`."""
        for key in objects.list_names(self._store.objects, array.path):
            numbers = numbers_of(array, key)
            if numbers is not None and which[place_of(numbers, array.chunks)[: which.ndim]].any():
                objects.delete(self._store.objects, f"{array.path}/{key}")

    def repair(self, array: zarr.Array, numbers: Numbers) -> None:
        """Delete a chunk; what it held reads as missing; see `Keeping.repair`."""
        objects.delete(self._store.objects, f"{array.path}/{array.metadata.encode_chunk_key(numbers)}")

    def merge(self, *, last: bool) -> None:
        """All is where it is read."""

    def is_due(self) -> bool:
        """Never."""
        return False

    def _owned(
        self, path: str, position: tuple[int, ...], blocks: Sequence[_Block] | None, values: np.ndarray
    ) -> Iterator[tuple[str, bytes]]:
        """Cut what a task has for one cell into the chunks that it owns: all of the cell, or its blocks."""
        array, form = self._array(path)
        if blocks is None:
            yield from chunks_of(form, position, values)
            return
        for block in blocks:
            part = values[block.rows]
            if block.places is not None:  # the other replicates of the block are done: keep them
                place: Any = (*position, block.span)
                whole = np.array(array[place])
                padded = np.full((len(part), *whole.shape[1:]), form.fill_value, form.dtype)
                padded[tuple(map(slice, part.shape))] = part
                whole[block.places] = padded
                part = whole
            yield from chunks_of(form, (*position, block.number), part)

    def _array(self, path: str) -> tuple[zarr.Array, Form]:
        """Reach an array, and what its chunks depend on, which changes when the store grows."""
        group, _, name = path.partition("/")
        array = self._store.array(group, name)
        known = self._known.get(path)
        if known is None or known[0] is not array:
            known = self._known[path] = array, form_of(array)
        return known

    def _contents(self, array: zarr.Array, chunks: Sequence[Numbers]) -> Iterator[tuple[Numbers, Any]]:
        """Read chunks; None in the place of what cannot be read."""
        read = content_of if array.dtype.kind == "T" else values_of
        for start in range(0, len(chunks), READ_TOGETHER):
            some = chunks[start : start + READ_TOGETHER]
            keys = [f"{array.path}/{array.metadata.encode_chunk_key(numbers)}" for numbers in some]
            for numbers, data in zip(some, objects.read(self._store.objects, keys), strict=True):
                yield numbers, None if data is None else read(array, data)


class _Block(NamedTuple):
    """Replicates of a task that lie in one chunk."""

    number: int
    rows: slice  # of the task's values
    span: slice  # of the block, as far as there are replicates
    places: np.ndarray | None  # in the span; None where they are all of it


def _blocks_of(task: SimulationTask | TheoryTask, size: int, count: int) -> list[_Block] | None:
    """Split the replicates of a task by the chunks that they are in; None of theories, which have none."""
    if isinstance(task, TheoryTask):
        return None
    found, first = [], 0
    for replicates in blocks(task.replicates, size):
        rows = slice(first, first + len(replicates))
        first = rows.stop
        number = replicates[0] // size
        span = slice(number * size, min((number + 1) * size, count))
        all_of_it = replicates == tuple(range(span.start, span.stop))
        found.append(_Block(number, rows, span, None if all_of_it else np.asarray(replicates) - span.start))
    return found


def _decode(array: zarr.Array, data: bytes) -> tuple[np.ndarray | None, bool]:
    values = values_of(array, data)
    return values, values is not None


def _has_size(array: zarr.Array, size: int) -> bool:
    if array.dtype.kind == "T":  # of variable length
        return size > 0
    return size == np.prod(array.chunks) * array.dtype.itemsize + CHECKSUM_BYTES * is_checked(array)


def _add_up(sums: np.ndarray, array: zarr.Array, lead: Numbers, parts: Mapping[Numbers, np.ndarray]) -> None:
    """Add to the sum of each replicate of a block, or of a cell, what it has in one array."""
    leading, sizes = len(lead), array.chunks
    reach = [1 + max(numbers[k] for numbers in parts) for k in range(leading, array.ndim)]
    extent = (*sizes[:leading], *(count * size for count, size in zip(reach, sizes[leading:], strict=True)))
    whole = np.full(extent, np.nan)
    for numbers, values in parts.items():
        whole[place_of((0,) * leading + numbers[leading:], sizes)] = values
    rows = whole.reshape(int(np.prod(sizes[:leading])), -1)
    place: Any = place_of(lead, sizes[:leading])
    mine = sums[(*place, ...)]
    for row, where in zip(rows, np.ndindex(mine.shape), strict=False):  # the last block may be shorter
        mine[where] = sum_of(row, int(mine[where]))
