"""Writes behind a URL that fail where an object is no longer what was read: no late request puts old content back.

A request may be held up for a minute on its way, or with the process that makes it, while another driver takes the
store over and writes the same object. Servers of S3 compare an object with the version that a request names
(``If-Match``, and ``If-None-Match`` for what is not there yet) in the moment in which they write it. Some ignore this,
which `RemoteStore.keeps_conditions` finds out. To other storages fsspec has no such request; the memory of this process
is compared here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from fsspec.implementations.memory import MemoryFileSystem

__all__ = ["NO_VERSION", "Changed", "Conditions", "conditions_of", "knows_conditions"]

NO_VERSION = '"sedyn-no-version"'  # of no object
_ONE_REQUEST = 2**32  # bytes; the requests of an upload in parts name no version, but for the last
_CHANGED, _UNKNOWN = (404, 412), 501  # statuses of HTTP


class Changed(FileExistsError):
    """An object is not the one that was read: nothing was written."""


class Conditions(Protocol):
    """How a client writes on a condition."""

    async def version(self, path: str) -> Any:
        """Tell the version of an object as it is now; None if it is not there.

        Parameters
        ----------
        path : str
        """

    async def replace(self, path: str, data: bytes, version: Any) -> None:
        """Write an object if it is still what it was.

        Parameters
        ----------
        path : str
        data : bytes
        version : object
            What it was; None if it was not there.

        Raises
        ------
        Changed
            If it is not.
        NotImplementedError
            If the storage says that it knows no conditions.
        """


def conditions_of(files: Any) -> Conditions:
    """Find out how a client writes on a condition.

    Parameters
    ----------
    files : fsspec.AbstractFileSystem
        Its coroutines are asked for.
    """
    kind = _kind_of(files)
    return _Unconditional(files) if kind is None else kind(files)


def knows_conditions(files: Any) -> bool:
    """Tell whether a client writes on a condition at all.

    Parameters
    ----------
    files : fsspec.AbstractFileSystem
    """
    return _kind_of(files) is not None


def _kind_of(files: Any) -> Callable[[Any], Conditions] | None:
    if isinstance(getattr(files, "sync_fs", files), MemoryFileSystem):
        return _OfMemory
    return _OfS3 if "s3" in files.protocol else None


class _Unconditional:
    """A client that writes whatever is there."""

    def __init__(self, files: Any) -> None:
        self._files = files

    async def version(self, path: str) -> None:
        return None

    async def replace(self, path: str, data: bytes, version: Any) -> None:
        await self._files._pipe_file(path, data)


class _OfS3:
    """Conditions of a server of S3."""

    def __init__(self, files: Any) -> None:
        self._files = files

    async def version(self, path: str) -> str | None:
        try:
            return (await self._files._info(path, refresh=True))["ETag"]
        except FileNotFoundError:
            return None

    async def replace(self, path: str, data: bytes, version: str | None) -> None:
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            await self._files._pipe_file(path, data, chunksize=_ONE_REQUEST, **condition)
        except OSError as error:
            status = _status_of(error.__cause__)
            if status in _CHANGED:
                raise Changed(path) from error
            if status == _UNKNOWN:
                raise NotImplementedError("the storage knows no conditions") from error
            raise


def _status_of(error: Any) -> int | None:
    """Read the status of HTTP in an answer of S3; None if it is no answer."""
    return getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")


class _OfMemory:
    """Conditions of this process' memory, where an object that is written is another object."""

    _writing = threading.Lock()

    def __init__(self, files: Any) -> None:
        self._files: MemoryFileSystem = getattr(files, "sync_fs", files)

    async def version(self, path: str) -> Any:
        return self._files.store.get(self._files._strip_protocol(path))

    async def replace(self, path: str, data: bytes, version: Any) -> None:
        with self._writing:
            if await self.version(path) is not version:
                raise Changed(path)
            self._files.pipe_file(path, data)
