"""One driver at a time on a store."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sedyn.errors import InvalidInput

__all__ = ["is_driven", "only_driver"]


@contextmanager
def only_driver(location: str) -> Iterator[None]:
    """Hold the right to run tasks on a local store; the system takes it back however the process ends.

    The lock is a file beside the store, since inside a Zarr group it would be an unknown object. A store behind a URL
    has no lock.

    Raises
    ------
    InvalidInput
        If another driver runs on this store, or the folder cannot be written.
    """
    if "://" in location:
        yield
        return
    lock = _lock_file(location)
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
            remedy = "another sweep is writing this store; wait for it to end or name another store"
            raise InvalidInput("store", location, remedy) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def is_driven(location: str) -> bool:
    """Whether a driver holds a local store; one on another machine may go unseen."""
    try:
        with _lock_file(location).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _lock_file(location: str) -> Path:
    path = Path(location).absolute()
    return path.with_name(f".{path.name}.lock")
