"""The objects of a Zarr store, on a disk or behind a URL: read, written, listed and deleted by their keys.

On a disk an object is a file that appears in one step: a reader sees the old content or the new, whatever happens to
the process that writes. What stands in the place of a file and is none, as a pipe, a socket, a device or a folder, is
an object of no bytes, which no reader takes for whole: nobody waits for what will never be written into it. A storage
behind a URL takes whole objects only.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import stat
import uuid
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from sweeps.location import local_path
from sweeps.store.remote import RemoteStore

__all__ = [
    "append",
    "delete",
    "delete_folder",
    "folder_of",
    "is_orphan",
    "keeps_conditions",
    "knows_conditions",
    "leave_folder",
    "list_names",
    "list_sizes",
    "orphans",
    "reach",
    "read",
    "read_version",
    "replace",
    "settle",
    "write",
]

_WRITER = uuid.uuid4().hex
_COUNT = itertools.count()
_PARTIAL = ".partial"


class _Files(LocalStore):
    """The files of a folder, as zarr reads them."""

    async def get(self, key: str, *arguments: Any, **options: Any) -> Buffer | None:
        return await super().get(key, *arguments, **options) if _may_be_read(f"{self.root}/{key}") else _nothing()

    def get_sync(self, key: str, **options: Any) -> Buffer | None:
        return super().get_sync(key, **options) if _may_be_read(f"{self.root}/{key}") else _nothing()


def reach(location: str) -> ZarrStore:
    """Reach the objects at a location; nothing is asked or made yet.

    Parameters
    ----------
    location : str
        Path or URL.

    Raises
    ------
    ImportError, ValueError
        If nothing serves such a URL.
    """
    path = local_path(location)
    if path is not None:
        return _Files(os.path.realpath(path))  # as the lock has it, also through a link to what is not there yet
    return RemoteStore.at(location)


def folder_of(store: ZarrStore) -> str | None:
    """Find the folder of a store on a disk; None behind a URL."""
    return os.fspath(store.root) if isinstance(store, LocalStore) else None


def read(store: ZarrStore, keys: Sequence[str]) -> list[bytes | None]:
    """Read some objects together.

    Parameters
    ----------
    store : zarr store
    keys : sequence of str

    Returns
    -------
    list of bytes
        None in the place of an object that is not there; no bytes in that of what is no file.
    """
    folder = folder_of(store)
    if folder is not None:
        return [_read_file(f"{folder}/{key}") for key in keys]
    buffers = _together(store.get(key, default_buffer_prototype()) for key in keys)
    return [None if buffer is None else buffer.to_bytes() for buffer in buffers]


def write(store: ZarrStore, objects: Iterable[tuple[str, bytes]], *, settled: bool = False) -> None:
    """Write some objects, together where they travel.

    Parameters
    ----------
    store : zarr store
    objects : iterable of (str, bytes)
        Key and content of each.
    settled : bool, optional
        Whether to wait until a disk has them, so that they outlive a power cut.

    Raises
    ------
    OSError
        If one cannot be written, the disk being full for example; nothing is left half-written.
    """
    folder = folder_of(store)
    if folder is not None:
        for key, data in objects:
            _write_file(f"{folder}/{key}", data, settled)
        return
    from_bytes = default_buffer_prototype().buffer.from_bytes
    _together([store.set(key, from_bytes(data)) for key, data in objects])  # a list: making them may read the store


def read_version(store: ZarrStore, key: str) -> tuple[Any, bytes | None]:
    """Read an object that is to be replaced.

    Parameters
    ----------
    store : zarr store
    key : str

    Returns
    -------
    version : object
        For `replace`. On a disk, where whoever holds the lock is alone, there is none.
    content : bytes
        Of this version or a later one. None if it is not there.
    """
    version = sync(store.version(key)) if isinstance(store, RemoteStore) else None
    (content,) = read(store, [key])
    return version, content


def replace(store: ZarrStore, key: str, data: bytes, version: Any) -> bool:
    """Write an object if it is still what was read, and wait until a disk has it.

    Parameters
    ----------
    store : zarr store
    key : str
    data : bytes
    version : object
        As `read_version` found it.

    Returns
    -------
    bool
        Whether it is there now; else somebody else has written meanwhile. Where nobody can tell, nobody has.
    """
    if isinstance(store, RemoteStore):
        return sync(store.replace(key, data, version))
    write(store, [(key, data)], settled=True)
    return True


def keeps_conditions(store: ZarrStore, key: str, data: bytes) -> bool:
    """Find out whether `replace` keeps its word behind a URL; on a disk it does.

    Parameters
    ----------
    store : zarr store
    key : str
        Of an object that is written next.
    data : bytes
        What it may become.
    """
    return sync(store.keeps_conditions(key, data)) if isinstance(store, RemoteStore) else True


def knows_conditions(store: ZarrStore) -> bool:
    """Tell whether `replace` may keep its word, without asking the storage.

    Parameters
    ----------
    store : zarr store
    """
    return store.knows_conditions if isinstance(store, RemoteStore) else True


def append(path: str, data: bytes) -> None:
    """Add to the end of a file that has one writer, and wait until the disk has it.

    Parameters
    ----------
    path : str
        Of the file, which is made where there is none.
    data : bytes

    Raises
    ------
    OSError
        If it cannot be written, the disk being full for example; the file may then end with a part of it.
    """
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        descriptor = os.open(path, how, 0o666)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = os.open(path, how, 0o666)
    try:
        is_new = not os.fstat(descriptor).st_size
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        settle(os.path.dirname(path))


def delete(store: ZarrStore, key: str) -> None:
    """Delete one object.

    Parameters
    ----------
    store : zarr store
    key : str
    """
    sync(store.delete(key))


def delete_folder(store: ZarrStore, prefix: str) -> None:
    """Delete every object below a prefix.

    Parameters
    ----------
    store : zarr store
    prefix : str
    """
    sync(store.delete_dir(prefix))


def leave_folder(store: ZarrStore, prefix: str) -> None:
    """Remove a folder if nothing is in it, and wait until the disk knows; behind a URL there are none.

    Parameters
    ----------
    store : zarr store
    prefix : str
    """
    if folder := folder_of(store):
        with contextlib.suppress(OSError):
            os.rmdir(f"{folder}/{prefix}")
            settle(folder)  # lest a power cut bring back what was in it


def list_names(store: ZarrStore, prefix: str) -> list[str]:
    """List the names directly below a prefix.

    Parameters
    ----------
    store : zarr store
    prefix : str

    Returns
    -------
    list of str
        What follows the prefix and a slash in each key.
    """
    return [name for name, _ in list_sizes(store, prefix)]


def list_sizes(store: ZarrStore, prefix: str) -> Iterator[tuple[str, int]]:
    """List the names directly below a prefix with their sizes; none where nothing is.

    Parameters
    ----------
    store : zarr store
    prefix : str

    Yields
    ------
    str, int
        Name, and bytes.
    """
    folder = folder_of(store)
    if folder is not None:
        return _list_folder(f"{folder}/{prefix}")
    assert isinstance(store, RemoteStore), "a store is on a disk or behind a URL"
    return iter(sync(store.list_sizes(prefix)))


def orphans(store: ZarrStore) -> list[Path]:
    """List the files that writers left behind when they were killed; behind a URL there are none."""
    folder = folder_of(store)
    return [] if folder is None else sorted(filter(is_orphan, Path(folder).rglob("*")))


def is_orphan(file: Path) -> bool:
    """Tell whether a name is that of a file on its way to another, as this program and zarr give it."""
    return file.name.endswith(_PARTIAL)


def settle(path: str) -> None:
    """Wait until the disk has a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _list_folder(folder: str) -> Iterator[tuple[str, int]]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # of a file that has its last name meanwhile; others follow
                found = entry.stat()
                yield entry.name, found.st_size if stat.S_ISREG(found.st_mode) else 0


def _read_file(path: str) -> bytes | None:
    if not _may_be_read(path):
        return b""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _may_be_read(path: str) -> bool:
    """Whether there is a file, or nothing."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True


def _nothing() -> Buffer:
    return default_buffer_prototype().buffer.from_bytes(b"")


def _write_file(path: str, data: bytes, settled: bool) -> None:
    # Strings and system calls: path objects would be a third of the cost of a write.
    partial = f"{path}.{_WRITER}-{os.getpid()}-{next(_COUNT)}{_PARTIAL}"
    try:
        try:
            _write_bytes(partial, data)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write_bytes(partial, data)
        if settled:
            settle(partial)
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def _write_bytes(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def _together(exchanges: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    async def gather() -> list[Any]:
        return await asyncio.gather(*exchanges)

    return sync(gather())
