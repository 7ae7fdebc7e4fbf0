"""Workers of Slurm as the driver sees them."""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sedyn.errors import InvalidInput
from sweeps.attempts import Attempt, Lost
from sweeps.compute import Compute, worker_count
from sweeps.location import local_path
from sweeps.provenance import Environment
from sweeps.slurm.jobs import Job, Jobs, Refused, Unreachable
from sweeps.slurm.queue import Queue, make_folder
from sweeps.worker import Outcome, WorkerSetup

__all__ = ["SlurmExecutor"]

TASKS_AHEAD = 16  # of each worker: a shared file system may show new files late
POLL_SECONDS = 0.05
LOOK_SECONDS = 5.0  # between two questions to Slurm
RETRY_SECONDS = 30.0  # after it has refused jobs
CLOSE_SECONDS = 20.0
FRUITLESS = 3  # jobs in a row that failed before they ended a task; then no other is started
_ORDERLY = ("CANCELLED", "COMPLETED", "COMPLETING", "PREEMPTED")


class SlurmExecutor:
    """Array jobs that take tasks from a folder beside the store; those that end are replaced while there is work.

    Parameters
    ----------
    compute : Compute
        What was asked for.
    setup : WorkerSetup
        What the workers are told; its owner names this driver.

    Raises
    ------
    InvalidInput
        If there is no Slurm, or the store is not on a path.
    """

    def __init__(self, compute: Compute, setup: WorkerSetup) -> None:
        path = local_path(setup.location)
        if path is None:
            remedy = "workers of Slurm's find their tasks beside the store; name a path that every node reaches"
            raise InvalidInput("store", setup.location, remedy)
        assert setup.owner is not None, "a store has a driver"
        path = path.absolute()
        self._folder = path.with_name(f".{path.name}.slurm")
        self._compute = compute
        self._jobs = Jobs(compute, self._folder)
        share = 1 / compute.cpus_per_task  # all workers of a job see the same GPU
        self._setup = setup._replace(location=str(path), device=compute.task_device, gpu_share=share)
        self._queue = Queue(self._folder, setup.owner)
        self._open = False
        self._keys = (f"{number:012}" for number in itertools.count())
        self._out: dict[str, Attempt] = {}
        self._states: Mapping[str, Job] = {}
        self._silent = self._refusal = ""
        self._looked = self._asked = -math.inf
        self._own: set[str] = set()  # jobs of this driver's that are not known to have ended
        self._fruitful: set[str] = set()
        self._fruitless, self._last_words = 0, ""

    def has_room(self) -> bool:
        """Whether few enough tasks wait."""
        return len(self._out) < TASKS_AHEAD * worker_count(self._compute)

    def submit(self, attempt: Attempt) -> None:
        """Put an attempt into the folder."""
        if not self._open:  # not before there is work: the store that workers open may not exist
            make_folder(self._folder, self._setup.location)
            self._queue.open(self._setup)
            self._open = True
        key = next(self._keys)
        self._out[key] = attempt
        self._queue.put(key, attempt)

    def collect(self, timeout: float) -> list[tuple[Attempt, Outcome | Lost]]:
        """Wait for reports and take every one that is there; now and then, see how the jobs are, and replace some.

        Raises
        ------
        InvalidInput
            If no job can start, or none can work.
        OSError
            If a worker cannot reach the store.
        """
        end = time.monotonic() + timeout
        lost = self._look() if time.monotonic() - self._looked >= LOOK_SECONDS else []
        while not (found := self._ended()) and not lost and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        return found + lost

    def hindrance(self) -> str:
        """Say why no job computes; empty if one does."""
        if self._silent:
            return f"Slurm does not answer: {self._silent}"
        if self._count("RUNNING") or not self._out:
            return ""
        if waiting := [job for job in self._states.values() if job.lives]:
            return f"waiting for {len(waiting)} jobs to start: {waiting[0].reason}"
        return f"Slurm takes no job now: {self._refusal}" if self._refusal else ""

    def workers(self) -> int:
        """Count the workers of jobs that run."""
        return self._count("RUNNING") * self._compute.cpus_per_task

    def end(self) -> None:
        """End all jobs, and take the folder away."""
        self.close()

    def close(self) -> None:
        """End all jobs, and take the folder away."""
        if not self._open:
            return
        self._queue.close()
        end = time.monotonic() + CLOSE_SECONDS
        with contextlib.suppress(Unreachable):
            self._jobs.cancel()
            while time.monotonic() < end and any(_occupies(job) for job in self._jobs.look().values()):
                time.sleep(POLL_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _count(self, state: str) -> int:
        return sum(job.state == state for job in self._states.values())

    def _ended(self) -> list[tuple[Attempt, Outcome | Lost]]:
        found: list[tuple[Attempt, Outcome | Lost]] = []
        for key, report in self._queue.ended():
            attempt = self._out.pop(key, None)
            if "broken" in report:
                raise OSError(report["broken"])
            if attempt is not None:  # else it was lost by all appearances, and runs again
                found.append((attempt, _outcome(report)))
        self._fruitless = 0 if found else self._fruitless
        return found

    def _look(self) -> list[tuple[Attempt, Outcome | Lost]]:
        """Give up what jobs had that are gone, and start others in their place."""
        self._looked = time.monotonic()
        claims = self._queue.claims()  # before the jobs: whoever claimed one of these is known by now
        try:
            self._states, self._silent = self._jobs.look(), ""
        except Unreachable as error:
            self._silent = str(error)
            return []
        living = {number for number, job in self._states.items() if job.lives}
        gone = [claimed for claimed in claims if claimed.job not in living]
        found = self._ended() if gone else []  # they may have ended in the last moment
        for claimed in gone:
            self._queue.forget(claimed)
            attempt = self._out.pop(claimed.key, None)
            if attempt is not None:
                state = self._states[claimed.job].state if claimed.job in self._states else "not known any more"
                found.append((attempt, Lost(f"its job {claimed.job} is over ({state})")))
        self._fruitful |= {claimed.job for claimed in claims}
        self._judge(living, working=len(claims) > len(gone))
        self._replace(len(living))
        return found

    def _judge(self, living: set[str], *, working: bool) -> None:
        """Count jobs that failed before they had a task."""
        for number in sorted(self._own - living):
            job = self._states.get(number)
            if job is not None and job.state not in _ORDERLY and number not in self._fruitful:
                self._fruitless += 1
                self._last_words = _last_line(self._jobs.log(number)) or f"{number} ended as {job.state}"
            self._own.discard(number)
        if self._fruitless >= FRUITLESS and not working:
            raise InvalidInput("compute", "slurm", f"no job can work: {self._last_words}")

    def _replace(self, living: int) -> None:
        """Start as many jobs as the work that is left wants."""
        compute = self._compute
        wanted = min(compute.job_count, math.ceil(len(self._out) / compute.cpus_per_task))
        pause = RETRY_SECONDS if self._refusal or self._fruitless >= FRUITLESS else 0.0
        if wanted <= living or time.monotonic() - self._asked < pause:
            return
        self._asked, self._refusal = time.monotonic(), ""
        try:
            self._own.update(self._jobs.submit(wanted - living))
        except Refused as error:
            if not (living or error.passes):
                raise InvalidInput("compute", "slurm", f"Slurm takes no job: {error.reason}") from None
            self._refusal = error.reason


def _outcome(report: dict[str, Any]) -> Outcome | Lost:
    if "lost" in report:
        return Lost(report["lost"])
    where = report["environment"]
    return Outcome(report["seconds"], report["error"], None if where is None else Environment(*where))


def _occupies(job: Job) -> bool:
    return job.lives or job.state == "COMPLETING"


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
