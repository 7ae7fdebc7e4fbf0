"""A worker in a job of Slurm's: takes tasks until there are none, or the job's time is up."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from sedyn.errors import InvalidInput
from sweeps.slurm.queue import Queue, current_owner
from sweeps.store import StoreTaken
from sweeps.terminal import say
from sweeps.worker import Worker

__all__ = ["main"]

IDLE_SECONDS = 60.0  # without a task; then a worker ends, and costs no more
POLL_SECONDS = 0.1


class _TimeIsUp(BaseException):
    """Ends the task that is being computed."""


class _Notice:
    """What Slurm has said; a computation ends by it, whatever else is done goes on to its end."""

    def __init__(self) -> None:
        self.given = self._computing = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.given = True
        if self._computing:
            raise _TimeIsUp

    @contextmanager
    def ends_this(self) -> Iterator[None]:
        self._computing = True
        try:
            if self.given:
                raise _TimeIsUp
            yield
        finally:
            self._computing = False


def main(folder: Path, name: str, walltime: float) -> int:
    """Work; exit status 0, or 2 if this worker cannot.

    Parameters
    ----------
    folder : Path
        From which tasks are taken.
    name : str
        Of the worker, JOB.NUMBER.
    walltime : float
        Seconds that its job has.
    """
    notice, begun, first = _Notice(), time.monotonic(), True
    signal.signal(signal.SIGTERM, notice)
    owner: str | None = None
    idle_since = time.monotonic()
    while not notice.given and time.monotonic() - idle_since < IDLE_SECONDS:
        now = current_owner(folder)
        if now is None:
            return 0
        try:
            if now != owner:
                queue = Queue(folder, now)
                worker = Worker(queue.setup())
                owner = now
            taken = queue.claim(name)
            if taken is None:
                time.sleep(POLL_SECONDS)
                continue
            claimed, (task, attempt) = taken
            try:
                with notice.ends_this():
                    outcome = worker.run(task, attempt)
            except _TimeIsUp:
                if first and time.monotonic() - begun > walltime / 2:
                    queue.report(claimed, {"lost": "it did not end in the time of a job; raise compute.walltime"})
                else:
                    queue.hand_back(claimed)
                return 0
            except StoreTaken:
                raise
            except Exception as error:
                queue.report(claimed, {"broken": f"{type(error).__name__}: {error}".splitlines()[0]})
            else:
                queue.report(claimed, outcome._asdict())
        except (StoreTaken, FileNotFoundError):  # another driver has come, and says so in a moment
            owner = None
            time.sleep(POLL_SECONDS)
            continue
        except (InvalidInput, PermissionError) as error:
            say(error, error=True)
            return 2
        first, idle_since = False, time.monotonic()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
