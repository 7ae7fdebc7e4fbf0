"""Tasks, and how they ended, as files of a folder that driver and workers share.

Each driver has a folder of its own in it, named by its `sweeps.store.Lease.owner`, and `current` names the driver that
is there now: what is still on its way to an earlier one reaches nobody. A file is written under another name and then
renamed, and to claim a task is to rename its file, which of several workers only one can do.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from sedyn.errors import InvalidInput

__all__ = ["Claimed", "Queue", "current_owner", "give_up", "make_folder"]

CURRENT, SETUP = "current", "setup"
_WAITING, _RUNNING, _ENDED = "waiting", "running", "ended"


class Claimed(NamedTuple):
    """A task that a worker has taken.

    Attributes
    ----------
    key : str
        Of the task.
    worker : str
        JOB.NUMBER.
    """

    key: str
    worker: str

    @property
    def job(self) -> str:
        """The worker's job."""
        return self.worker.rpartition(".")[0]

    @property
    def file(self) -> str:
        """Its name."""
        return f"{self.key}.{self.worker}"


def make_folder(folder: Path, location: str) -> None:
    """Make the folder, which holds what workers obey: nobody else may write there.

    Parameters
    ----------
    folder : Path
    location : str
        Of the store, for the message.

    Raises
    ------
    InvalidInput
        If it cannot be made, or is another user's.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = os.stat(folder, follow_symlinks=False)
    except OSError as error:
        remedy = f"{folder} cannot be made ({error.strerror}); name another path"
        raise InvalidInput("store", location, remedy) from None
    if there.st_uid != os.getuid() or there.st_mode & 0o022:
        raise InvalidInput("store", location, f"others may write in {folder}; remove that")


def _own_words(path: Path) -> Any:
    """Read what a worker obeys.

    Who may write in the folder of the stores can put another folder in the place of this one; the files are his then.
    """
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_uid != os.getuid():
            raise PermissionError(errno.EPERM, "this file is another user's and is not obeyed", str(path))
        return pickle.load(file)


def current_owner(folder: Path) -> str | None:
    """Name the driver that is there; None if there is none."""
    try:
        return (folder / CURRENT).read_text()
    except FileNotFoundError:
        return None


def give_up(folder: Path, worker: str, reason: str) -> bool:
    """Report what a worker had claimed as lost, and tell whether that was anything.

    Parameters
    ----------
    folder : Path
        Of all drivers.
    worker : str
    reason : str
        Why it did not end.
    """
    found = False
    for path in folder.glob(f"*/{_RUNNING}/*.{worker}"):
        claimed = Claimed(path.name.partition(".")[0], worker)
        Queue(folder, path.parts[-3]).report(claimed, {"lost": reason})
        found = True
    return found


class Queue:
    """The tasks of one driver.

    Parameters
    ----------
    folder : Path
        Of all drivers of a store.
    owner : str
        Names this one.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self._folder, self._owner = folder, owner
        self._own = folder / owner

    def open(self, setup: Any) -> None:
        """Become the driver that workers listen to.

        Parameters
        ----------
        setup : WorkerSetup
            What they are told.
        """
        for name in (_WAITING, _RUNNING, _ENDED):
            (self._own / name).mkdir(parents=True, exist_ok=True)
        self._write(self._own / SETUP, pickle.dumps(setup))
        self._write(self._folder / CURRENT, self._owner.encode())
        for other in self._folder.iterdir():
            if other.is_dir() and (other / SETUP).exists() and other != self._own:
                shutil.rmtree(other, ignore_errors=True)

    def close(self) -> None:
        """Let workers end."""
        (self._folder / CURRENT).unlink(missing_ok=True)

    def setup(self) -> Any:
        """Read what workers are told; `FileNotFoundError` if another driver has taken this one's place."""
        return _own_words(self._own / SETUP)

    def put(self, key: str, attempt: Any) -> None:
        """Offer a task to whoever comes first.

        Parameters
        ----------
        key : str
            Of the task; workers take the smallest first.
        attempt : object
        """
        self._write(self._own / _WAITING / key, pickle.dumps(attempt))

    def claim(self, worker: str) -> tuple[Claimed, Any] | None:
        """Take a task; None if none is there.

        Parameters
        ----------
        worker : str
        """
        for key in self._names(_WAITING):
            claimed = Claimed(key, worker)
            path = self._own / _RUNNING / claimed.file
            with contextlib.suppress(FileNotFoundError):  # another one was faster
                os.rename(self._own / _WAITING / key, path)
                return claimed, _own_words(path)
        return None

    def hand_back(self, claimed: Claimed) -> None:
        """Offer a claimed task again, as if nobody had taken it."""
        with contextlib.suppress(FileNotFoundError):  # of a driver that counts on it no more
            os.rename(self._own / _RUNNING / claimed.file, self._own / _WAITING / claimed.key)

    def report(self, claimed: Claimed, outcome: dict[str, Any]) -> None:
        """Say how a task ended.

        Parameters
        ----------
        claimed : Claimed
        outcome : dict
            As JSON can write it.
        """
        with contextlib.suppress(FileNotFoundError):
            self._write(self._own / _ENDED / claimed.key, json.dumps(outcome).encode())
            self.forget(claimed)

    def claims(self) -> list[Claimed]:
        """List what is claimed."""
        return [Claimed(key, worker) for key, _, worker in (name.partition(".") for name in self._names(_RUNNING))]

    def forget(self, claimed: Claimed) -> None:
        """Take a claim away."""
        (self._own / _RUNNING / claimed.file).unlink(missing_ok=True)

    def ended(self) -> list[tuple[str, dict[str, Any]]]:
        """Take the reports that are there, each with the key of its task."""
        found = []
        for key in self._names(_ENDED):
            path = self._own / _ENDED / key
            found.append((key, json.loads(path.read_bytes())))
            path.unlink()
        return found

    def _names(self, kind: str) -> list[str]:
        try:
            return sorted(os.listdir(self._own / kind))
        except FileNotFoundError:
            return []

    def _write(self, path: Path, content: bytes) -> None:
        draft = self._own / f"{path.parent.name}-{path.name}.{os.getpid()}"
        draft.write_bytes(content)
        os.replace(draft, path)
