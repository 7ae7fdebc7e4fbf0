"""The ways in which a store keeps chunks: one by one, or many in a shard. One is chosen when a store is opened.

All else asks for what is to be written, read, looked at or deleted, and not how.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import zarr
from zarr.abc.store import Store as ZarrStore

from sweeps.plan import SimulationTask, TheoryTask
from sweeps.store import objects
from sweeps.store.chunks import numbers_of, place_of

__all__ = ["READ_TOGETHER", "Arrays", "Keeping", "Numbers", "Part", "Survey", "parts_of"]

READ_TOGETHER = 256  # chunks

Numbers = tuple[int, ...]  # of a chunk, or of a shard, along each dimension
Read = tuple[np.ndarray | None, bool]  # values, None where there are none to be had, and whether all is whole


class Arrays(Protocol):
    """The arrays of a store.

    Attributes
    ----------
    objects : zarr store
        Where its objects are.
    axes : dict of str to list
        Grid axes and their values.
    block, replicates : int
        Replicates of one chunk, and of a cell.
    """

    objects: ZarrStore
    axes: dict[str, list[Any]]
    block: int
    replicates: int

    def array(self, group: str, name: str) -> zarr.Array:
        """Reach one of them, as it is now; see `Store.array`."""

    def require_ours(self) -> None:
        """Raise `StoreTaken` where the store is another driver's."""


class Part(NamedTuple):
    """What was read of an array.

    Attributes
    ----------
    place : tuple of slice
    values : ndarray
        The fill value in the place of what is damaged.
    whole : bool
        Whether nothing is.
    """

    place: tuple[slice, ...]
    values: np.ndarray
    whole: bool


class Survey(NamedTuple):
    """What there is of an array.

    Attributes
    ----------
    there : ndarray of bool, shape of what is wanted
        Which cells (and blocks) have all that they need.
    cut : list of tuple of int
        Numbers of chunks, or of shards, that cannot be read or lie beyond the end.
    """

    there: np.ndarray
    cut: list[Numbers]


class Keeping(Protocol):
    """A way to keep chunks."""

    def together(self) -> AbstractContextManager[None]:
        """Let all that is written meanwhile count as one, as far as this way can."""

    def write(self, task: SimulationTask | TheoryTask, steps: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Write what a task has for each of its cells.

        Parameters
        ----------
        task : SimulationTask or TheoryTask
        steps : sequence of mapping of str to ndarray, shape (replicates of the task, inner dimensions) or the latter
            By the path of the array; each step is there before the next.

        Raises
        ------
        StoreTaken
            If another driver has taken the store over.
        """

    def read(self, array: zarr.Array) -> Iterator[Part]:
        """Read what there is of an array.

        Parameters
        ----------
        array : zarr.Array, of any shape
        """

    def survey(self, array: zarr.Array, wanted: np.ndarray, sums: np.ndarray | None, *, content: bool) -> Survey:
        """Look at an array that is wanted of some cells (and blocks).

        Parameters
        ----------
        array : zarr.Array, of any shape
        wanted : ndarray of bool, shape (cell axes, perhaps blocks of replicates)
        sums : ndarray of int, shape (cell axes, perhaps replicates), or None
            Where results are added up that are read, if there are sums of them.
        content : bool
            Whether to read all there is.
        """

    def forget(self, array: zarr.Array, which: np.ndarray) -> None:
        """Let some values of an array read as missing; a chunk that one task writes is forgotten whole.

        Parameters
        ----------
        array : zarr.Array, of any shape
        which : ndarray of bool, shape of the array along its first dimensions
        """

    def repair(self, array: zarr.Array, numbers: Numbers) -> None:
        """Take out what cannot be read, or lies beyond the end of an array.

        Parameters
        ----------
        array : zarr.Array, of any shape
        numbers : tuple of int
            Of what `survey` found cut.
        """

    def merge(self, *, last: bool) -> None:
        """Bring all that was written to where it is read.

        Parameters
        ----------
        last : bool
            Whether nobody writes any more.
        """

    def is_due(self) -> bool:
        """Whether it is time to do so."""


def parts_of(store: ZarrStore, array: zarr.Array, decode: Any) -> Iterator[Part]:
    """Read the objects that an array has: asking for each that might be there takes long where few are.

    Parameters
    ----------
    store : zarr store
    array : zarr.Array, of any shape
    decode : callable
        From the array and the content of one of its objects to values and whether these are whole.
    """
    sizes = array.shards or array.chunks
    names = {key: numbers_of(array, key) for key in objects.list_names(store, array.path)}
    places = [(f"{array.path}/{key}", numbers) for key, numbers in names.items() if numbers is not None]
    together = max(1, READ_TOGETHER * math.prod(array.chunks) // math.prod(sizes))
    for start in range(0, len(places), together):
        keys, several = zip(*places[start : start + together], strict=True)
        for numbers, data in zip(several, objects.read(store, keys), strict=True):
            if data is None:  # deleted meanwhile
                continue
            values, whole = decode(array, data)
            place = tuple(
                slice(part.start, min(part.stop, size))
                for part, size in zip(place_of(numbers, sizes), array.shape, strict=True)
            )
            shape = [part.stop - part.start for part in place]
            if values is None:
                yield Part(place, np.full(shape, array.fill_value, array.dtype), whole)
            else:
                yield Part(place, values[tuple(map(slice, shape))], whole)
