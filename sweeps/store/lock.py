"""One driver at a time on a store."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sedyn.errors import InvalidInput
from sweeps.store.location import local_path

__all__ = ["is_driven", "only_driver"]

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0  # without a beat, the driver that made an object is gone


@contextmanager
def only_driver(location: str) -> Iterator[None]:
    """Hold the right to run tasks on a store.

    Beside a local store it is a locked file, since inside a Zarr group it would be an unknown object; the system takes
    the lock back however the process ends. Beside a store behind a URL it is an object that only one driver can create
    and that it renews; one that was not renewed for a minute is taken over. That is as good as the storage's exclusive
    creation and the clocks of the drivers' machines.

    Raises
    ------
    InvalidInput
        If another driver runs on this store, or the folder cannot be written.
    """
    path = local_path(location)
    with _object_lock(location) if path is None else _file_lock(location, path):
        yield


def is_driven(location: str) -> bool:
    """Whether a driver holds a store; one of a local path on another machine may go unseen."""
    path = local_path(location)
    if path is None:
        return _Beacon(location).is_fresh()
    try:
        with _lock_file(path).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@contextmanager
def _file_lock(location: str, path: Path) -> Iterator[None]:
    lock = _lock_file(path)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise InvalidInput("store", location, f"cannot be made there ({error.strerror}); name another path") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                raise BlockingIOError  # a driver that just ended took this file away, and another may hold the new one
        except OSError:
            raise _held(location) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextmanager
def _object_lock(location: str) -> Iterator[None]:
    beacon = _Beacon(location)
    try:
        beacon.claim()
    except (FileExistsError, PermissionError):
        raise _held(location) from None
    except OSError as error:
        raise InvalidInput("store", location, f"cannot be made there ({error}); name another URL") from None
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_SECONDS):
            beacon.renew()

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        beacon.withdraw()


class _Beacon:
    """An object beside a store that says who drives it and when it was last seen."""

    def __init__(self, location: str) -> None:
        try:
            import fsspec

            self._files, path = fsspec.core.url_to_fs(location)
        except (ImportError, ValueError) as error:
            raise InvalidInput("store", location, f"cannot be reached ({error}); name another path or URL") from None
        self._path = f"{path.rstrip('/')}.lock"
        self._owner = uuid.uuid4().hex

    def claim(self) -> None:
        """Create the object, or take over one that nobody renews.

        Raises
        ------
        FileExistsError
            If another driver holds it.
        """
        try:
            self._files.pipe_file(self._path, self._content(), mode="create")
        except FileExistsError:
            if self.is_fresh():
                raise
            self.renew()
            if self._read().get("owner") != self._owner:
                raise  # another driver took it over in the same moment

    def renew(self) -> None:
        """Say that the driver is still there."""
        self._files.pipe_file(self._path, self._content())

    def withdraw(self) -> None:
        """Give the right back."""
        if self._read().get("owner") == self._owner:
            self._files.rm_file(self._path)

    def is_fresh(self) -> bool:
        """Whether some driver renewed the object of late."""
        return time.time() - self._read().get("seen", 0.0) < STALE_SECONDS

    def _read(self) -> dict:
        try:
            return json.loads(self._files.cat_file(self._path))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}

    def _content(self) -> bytes:
        return json.dumps({"owner": self._owner, "seen": time.time()}).encode()


def _held(location: str) -> InvalidInput:
    remedy = "another sweep is writing this store; wait for it to end or name another store"
    return InvalidInput("store", location, remedy)


def _lock_file(path: Path) -> Path:
    path = path.absolute()
    return path.with_name(f".{path.name}.lock")
