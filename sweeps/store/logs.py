"""Logs of finished tasks: each worker appends to its own, and nobody waits for anybody.

A record has the results of one task, or of a bundle of them, with their status: it counts whole or not at all, since
it ends where its head says, and has a checksum. On a disk it is waited for, so that it outlives a power cut. A log is a
file to which records are appended, and after some megabytes, or an error, the next one; behind a URL every record is an
object. What becomes of logs is in `sweeps.store.merging`.
"""

from __future__ import annotations

import contextlib
import json
import struct
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
from zarr.abc.store import Store as ZarrStore

from sweeps.store import objects

__all__ = ["FOLDER", "Entry", "Log", "Records", "records_of"]

FOLDER = "logs"  # of a store, beside its groups
LOG_BYTES = 2**25  # after which a worker begins another log
_MAGIC = b"sdl1"
_HEAD = struct.Struct("<4sQI")  # what it is, bytes of the record, their checksum
_CHECK = struct.Struct("<I")  # of the head, and the length of a description


class Entry(NamedTuple):
    """What tasks of one kind have for some cells.

    Attributes
    ----------
    positions : ndarray of int, shape (cells, cell axes)
        Where the cells are in the arrays.
    rows : ndarray of int, shape (cells,)
        Which row of the values is a cell's; cells that share a theory share one.
    replicates : tuple of int
        Which; empty of theories, which have none.
    values : mapping of str to ndarray, shape (rows, replicates, inner dimensions)
        By the path of the array. Without replicates where there are none.
    """

    positions: np.ndarray
    rows: np.ndarray
    replicates: tuple[int, ...]
    values: Mapping[str, np.ndarray]


class Records(NamedTuple):
    """What was read of a log.

    Attributes
    ----------
    entries : list of Entry
    end : int
        Bytes of whole records; what follows is still to come, or was torn off.
    damaged : list of int
        Where a record begins, or should, that is not what was written.
    """

    entries: list[Entry]
    end: int
    damaged: list[int]


class Log:
    """Where one process writes.

    Parameters
    ----------
    store : zarr store
    require : callable
        Raises an error where the store is not its driver's any more; called before each record.
    """

    def __init__(self, store: ZarrStore, require: Callable[[], None]) -> None:
        self._store, self._require, self._writer = store, require, uuid.uuid4().hex
        self._number = self._size = 0
        self._held: list[Entry] | None = None

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make one record of all that is appended meanwhile; none where an error ends it."""
        if self._held is not None:  # as part of more
            yield
            return
        self._held = []
        try:
            yield
            entries = self._held
        finally:
            self._held = None
        self.append(_stacked(entries))

    def append(self, entries: Sequence[Entry]) -> None:
        """Write a record.

        Parameters
        ----------
        entries : sequence of Entry

        Raises
        ------
        OSError
            If it cannot be written, the disk being full for example; what there is of it counts for nothing.
        StoreTaken
            If another driver has taken the store over.
        """
        if self._held is not None:
            self._held += entries
            return
        if not entries:
            return
        self._require()
        data, folder = _encoded(entries), objects.folder_of(self._store)
        if self._size and (folder is None or self._size >= LOG_BYTES):
            self._number, self._size = self._number + 1, 0
        key = f"{FOLDER}/{self._writer}.{self._number:06}"
        if folder is None:
            objects.write(self._store, [(key, data)])
        else:
            size, self._size = self._size, LOG_BYTES  # where an error cuts this short, nothing may follow it
            objects.append(f"{folder}/{key}", data)
            self._size = size
        self._size += len(data)


def records_of(data: bytes, start: int = 0) -> Records:
    """Read the records of a log.

    Parameters
    ----------
    data : bytes
        All of it.
    start : int, optional
        Where the first record that is wanted begins.
    """
    found, here, whole = Records([], start, []), start, _HEAD.size + _CHECK.size
    while len(data) - here >= whole:
        head = data[here : here + _HEAD.size]
        magic, size, checksum = _HEAD.unpack(head)
        if magic != _MAGIC or _CHECK.unpack_from(data, here + _HEAD.size)[0] != google_crc32c.value(head):
            found.damaged.append(here)  # and nobody knows where the next one begins
            return found._replace(end=len(data))
        content = data[here + whole : here + whole + size]
        if len(content) < size:
            break
        if google_crc32c.value(content) == checksum:
            found.entries.extend(_decoded(content))
        else:
            found.damaged.append(here)
        here += whole + size
    return found._replace(end=here)


def _stacked(entries: Sequence[Entry]) -> list[Entry]:
    """Make one of those that have alike of different cells: arrays are handled whole, and are few then."""
    alike: dict[Any, list[Entry]] = {}
    for entry in entries:
        shapes = tuple((path, values.dtype.str, values.shape[1:]) for path, values in entry.values.items())
        alike.setdefault((entry.replicates, shapes), []).append(entry)
    return [_one_of(some) for some in alike.values()]


def _one_of(entries: Sequence[Entry]) -> Entry:
    values = {path: np.concatenate([entry.values[path] for entry in entries]) for path in entries[0].values}
    before = np.cumsum([0, *(1 + int(entry.rows.max()) for entry in entries)])
    rows = [entry.rows + start for entry, start in zip(entries, before, strict=False)]
    positions = np.concatenate([entry.positions for entry in entries])
    return Entry(positions, np.concatenate(rows), entries[0].replicates, values)


def _encoded(entries: Sequence[Entry]) -> bytes:
    said, raw = [], []
    for entry in entries:
        arrays = {path: np.ascontiguousarray(values) for path, values in entry.values.items()}
        arrays = {path: values.astype(values.dtype.newbyteorder("<"), copy=False) for path, values in arrays.items()}
        kinds = [[path, values.dtype.str, list(values.shape)] for path, values in arrays.items()]
        said.append([entry.positions.tolist(), entry.rows.tolist(), list(entry.replicates), kinds])
        raw += [values.tobytes() for values in arrays.values()]
    description = json.dumps(said).encode()
    content = b"".join([_CHECK.pack(len(description)), description, *raw])
    head = _HEAD.pack(_MAGIC, len(content), google_crc32c.value(content))
    return head + _CHECK.pack(google_crc32c.value(head)) + content


def _decoded(content: bytes) -> Iterator[Entry]:
    (size,) = _CHECK.unpack_from(content)
    here = _CHECK.size + size
    said: list[Any] = json.loads(content[_CHECK.size : here])
    for positions, rows, replicates, kinds in said:
        values = {}
        for path, kind, shape in kinds:
            count = int(np.prod(shape, dtype=int))
            values[path] = np.frombuffer(content, kind, count, here).reshape(shape)
            here += values[path].nbytes
        where = np.array(positions, np.int64).reshape(len(positions), -1)
        yield Entry(where, np.array(rows), tuple(replicates), values)
