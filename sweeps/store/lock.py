"""One driver at a time on a store."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sedyn.errors import InvalidInput
from sweeps.location import local_path
from sweeps.store.claims import Claim, StoreTaken

try:
    import fcntl
except ImportError:  # of a system without locks on files
    fcntl = None  # type: ignore[assignment]

__all__ = ["Lease", "is_driven", "only_driver", "remark_of_driver"]

TRIES = 20  # to lock a file that a program only looks at, or that an ending driver takes away
PAUSE_SECONDS = 0.02
MOST_BYTES = 512  # of a remark
_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # whatever stands there under that name


class Lease(Protocol):
    """The right to run tasks on a store.

    Attributes
    ----------
    owner : str
        Names the driver that has it; no two have the same.
    remark : str
        What others see who look at the store.
    """

    owner: str
    remark: str

    def require(self) -> None:
        """Make sure that no other driver may have the store; raise `StoreTaken` if one may."""


@contextmanager
def only_driver(location: str) -> Iterator[Lease]:
    """Hold the right to run tasks on a store.

    Beside a local store, whatever path leads there, it is a locked file, since inside a Zarr group it would be an
    unknown object; the system takes the lock back however the process ends. Behind a URL, and where the system locks no
    files, see `sweeps.store.claims`.

    Yields
    ------
    Lease

    Raises
    ------
    InvalidInput
        If another driver runs on this store, or the folder cannot be written.
    """
    path = _lockable(location)
    with _claimed(location) if path is None else _locked(location, path) as lease:
        yield lease


def is_driven(location: str) -> bool:
    """Whether a driver holds a store.

    That of a local path on another machine may go unseen; behind a URL this machine's clock decides.
    """
    return remark_of_driver(location) is not None


def remark_of_driver(location: str) -> str | None:
    """Read what the driver of a store says of its sweep; None if none holds it, as far as `is_driven` can tell."""
    path = _lockable(location)
    if path is None:
        return Claim(location).remark_of_another()
    try:
        descriptor = os.open(_lock_file(location, path), os.O_RDONLY | _SAFELY)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.pread(descriptor, MOST_BYTES, 0).rstrip(b"\0").decode(errors="replace")
    finally:
        os.close(descriptor)
    return None


def _lockable(location: str) -> Path | None:
    """Find the path of a store beside which a file can be locked; None if it takes claims to keep others out."""
    return None if fcntl is None else local_path(location)


class _FileLease:
    """A file that this process has locked."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self.owner = uuid.uuid4().hex
        self._file, self._descriptor = file, descriptor
        self._remark = ""

    @property
    def remark(self) -> str:
        return self._remark

    @remark.setter
    def remark(self, text: str) -> None:
        self._remark = text
        if os.fstat(self._descriptor).st_nlink > 1:
            return  # it is somebody's file too, by another name
        with contextlib.suppress(OSError):  # of a full disk; the lock holds all the same
            os.pwrite(self._descriptor, text.encode()[:MOST_BYTES].ljust(MOST_BYTES, b"\0"), 0)

    def require(self) -> None:
        if not self.is_there():
            raise StoreTaken(f"its lock {self._file} was taken away, and another driver may run")

    def is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._file, follow_symlinks=False))
        except FileNotFoundError:
            return False


@contextmanager
def _locked(location: str, path: Path) -> Iterator[Lease]:
    file = _lock_file(location, path)
    made = [folder for folder in file.parents if not folder.exists()]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lease = _lock(location, file)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR):
            raise InvalidInput("store", location, f"its lock {file} is no file; remove that") from None
        raise InvalidInput("store", location, f"cannot be made there ({error.strerror}); name another path") from None
    lease.remark = ""  # of a driver that died there may be one
    try:
        yield lease
    finally:
        if lease.is_there():
            file.unlink(missing_ok=True)
        os.close(lease._descriptor)
        with contextlib.suppress(OSError):  # of one in which a store was made
            for folder in made:
                folder.rmdir()


def _lock(location: str, file: Path) -> _FileLease:
    for _ in range(TRIES):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | _SAFELY, 0o666)
        lease = _FileLease(file, descriptor)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if lease.is_there():
                return lease
        except BlockingIOError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(PAUSE_SECONDS)
    raise _held(location)


@contextmanager
def _claimed(location: str) -> Iterator[Lease]:
    folder = local_path(f"{location.rstrip('/')}.claims")
    claim = Claim(location)
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            claim.take()
        except FileExistsError:
            raise _held(location) from None
        except NotImplementedError:
            raise InvalidInput("store", location, "its storage tells no times of objects; name another URL") from None
        except OSError as error:
            raise InvalidInput("store", location, f"cannot be made there ({error}); name another URL") from None
        yield claim
    finally:
        claim.withdraw()
        if folder is not None:
            with contextlib.suppress(OSError):  # others wait there
                folder.rmdir()


def _held(location: str) -> InvalidInput:
    remedy = "another sweep is writing this store; wait for it to end or name another store"
    return InvalidInput("store", location, remedy)


def _lock_file(location: str, path: Path) -> Path:
    real = Path(os.path.realpath(path))
    if not real.name:
        raise InvalidInput("store", location, "is no name of a folder; name one")
    return real.with_name(f".{real.name}.lock")
