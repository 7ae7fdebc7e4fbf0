"""What is asked of Slurm, by its own commands: to start jobs, to say how they are, to end them."""

from __future__ import annotations

import getpass
import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sedyn.errors import InvalidInput
from sweeps.compute import Compute

__all__ = ["Job", "Jobs", "Refused", "Unreachable", "grace"]

COMMAND_SECONDS = 60.0  # for the controller to answer
GRACE_SECONDS = 60.0  # between the word that a job's time is up and its end
LARGEST_ARRAY = 1000  # as Slurm allows unless it is told otherwise
_ENDED = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "COMPLETING", "DEADLINE", "FAILED"),
    *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
}
_LATER = ("policy", "limit", "temporar", "timed out", "contact", "Slurm backup", "try again")  # in refusals that pass


class Refused(Exception):
    """Slurm does not start a job.

    Attributes
    ----------
    reason : str
    passes : bool
        Whether it may later: a quota is used up, or the controller is busy.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passes = any(word.lower() in reason.lower() for word in _LATER)


class Unreachable(Exception):
    """Slurm does not say how jobs are."""


class Job(NamedTuple):
    """A job, or one element of an array.

    Attributes
    ----------
    state : str
        As Slurm names it.
    reason : str
        Why it waits.
    """

    state: str
    reason: str

    @property
    def lives(self) -> bool:
        """Whether it computes, or will."""
        return self.state not in _ENDED


def grace(walltime: float) -> float:
    """Seconds before the end of a job at which it is told to hand back what it has."""
    return min(GRACE_SECONDS, walltime / 4)


class Jobs:
    """The jobs of one store, known by their name, so that a driver that starts anew finds those of the one before.

    Parameters
    ----------
    compute : Compute
        Partition, time and whatever else they are asked for with.
    folder : Path
        From which they take tasks.

    Raises
    ------
    InvalidInput
        If there is no Slurm.
    """

    def __init__(self, compute: Compute, folder: Path) -> None:
        if shutil.which("sbatch") is None:
            remedy = "there is no sbatch here; start it where jobs are submitted from, or use compute=local"
            raise InvalidInput("compute", "slurm", remedy)
        self._compute, self._folder = compute, folder
        self.name = f"sedyn-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"

    def submit(self, count: int) -> list[str]:
        """Submit jobs; as many as Slurm takes of an array that is halved until it does.

        Parameters
        ----------
        count : int

        Returns
        -------
        list of str
            Their numbers.

        Raises
        ------
        Refused
            If it takes none.
        """
        count = min(count, LARGEST_ARRAY)
        while True:
            try:
                number = self._submit(count)
                return [f"{number}_{k}" for k in range(count)]
            except Refused:
                if count == 1:
                    raise
                count //= 2

    def _submit(self, count: int) -> str:
        compute, seconds = self._compute, self._compute.job_seconds
        program = shlex.join([sys.executable, "-m", "sweeps.slurm.job", str(self._folder), f"{seconds:g}"])
        options = [
            "--parsable",
            f"--job-name={self.name}",
            f"--array=0-{count - 1}",
            f"--time={compute.walltime}",
            "--ntasks=1",
            f"--cpus-per-task={compute.cpus_per_task}",
            f"--signal=B:TERM@{round(grace(seconds))}",
            "--no-requeue",  # who is lost is replaced by the driver
            f"--output={self.log('%A_%a')}",
            *([f"--partition={compute.partition}"] if compute.partition else []),
            *([f"--account={compute.account}"] if compute.account else []),
            *compute.sbatch,
        ]
        try:
            return _ask("sbatch", [*options, f"--wrap=exec {program}"]).strip().partition(";")[0]
        except Unreachable as error:
            raise Refused(str(error)) from None

    def look(self) -> dict[str, Job]:
        """List the jobs that Slurm knows of, those that ended lately among them.

        Raises
        ------
        Unreachable
            If it does not answer.
        """
        options = ["--noheader", "--array", "--states=all", "--format=%i|%T|%r"]
        lines = _ask("squeue", [*options, f"--name={self.name}", f"--user={getpass.getuser()}"]).splitlines()
        return {number: Job(state, reason) for number, state, reason in (line.strip().split("|") for line in lines)}

    def cancel(self) -> None:
        """End all of them."""
        _ask("scancel", [f"--name={self.name}", f"--user={getpass.getuser()}"])

    def log(self, number: str) -> Path:
        """Where a job writes what it has to say."""
        return self._folder / f"log-{number}.txt"


def _ask(command: str, options: Sequence[str]) -> str:
    """Run a command of Slurm's.

    Raises
    ------
    Unreachable
        With the last line of what it says, if it fails.
    """
    try:
        ended = subprocess.run(
            [command, *options], capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"{command} does not answer ({type(error).__name__})") from None
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        raise Unreachable(lines[-1].strip() if lines else f"{command} ended with status {ended.returncode}")
    return ended.stdout
