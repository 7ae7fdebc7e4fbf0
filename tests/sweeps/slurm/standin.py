"""A Slurm of one host for tests: ``sbatch``, ``squeue`` and ``scancel``, as far as the executor asks them.

A job's state is a file; a process of each job runs it, tells it before its time is up, and ends it then. Its time is up
as well where a test says so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("STANDIN_FOLDER", "no-folder"))
LIMIT = "limit"  # jobs of a user that may be there at once
PARTITIONS = ("main",)
LIVING = ("PENDING", "RUNNING")


def install(folder: Path) -> None:
    """Write the three commands into a folder."""
    folder.mkdir(parents=True)
    for command in ("sbatch", "squeue", "scancel"):
        path = folder / command
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {command} "$@"\n')
        path.chmod(0o755)


def sbatch(given: dict[str, str]) -> int:
    first, last = map(int, given["--array"].split("-"))
    if given.get("--partition", "main") not in PARTITIONS:
        return refused("Invalid partition name specified")
    limit = FOLDER / LIMIT
    if limit.exists() and len(living()) + last - first + 1 > int(limit.read_text()):
        return refused("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)")
    number = 1 + len({path.name.partition("_")[0] for path in FOLDER.glob("[0-9]*_*")})
    hours, minutes, seconds = map(int, given["--time"].split(":"))
    for element in range(first, last + 1):
        job = FOLDER / f"{number}_{element}"
        job.mkdir()
        (job / "name").write_text(given["--job-name"])
        set_state(job, "PENDING")
        log = given["--output"].replace("%A", str(number)).replace("%a", str(element))
        notice = given["--signal"].removeprefix("B:TERM@")
        length = str((hours * 60 + minutes) * 60 + seconds)
        command = [sys.executable, __file__, "run", job.name, length, notice, given["--cpus-per-task"], given["--wrap"]]
        with Path(log).open("w") as output:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    print(number)
    return 0


def refused(reason: str) -> int:
    print(f"sbatch: error: Batch job submission failed: {reason}", file=sys.stderr)
    return 1


def run(name: str, length: str, notice: str, cores: str, wrapped: str) -> int:
    job = FOLDER / name
    array, _, element = name.partition("_")
    slurm = {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": element, "SLURM_CPUS_PER_TASK": cores}
    batch = subprocess.Popen(["/bin/sh", "-c", wrapped], env=os.environ | slurm, start_new_session=True)
    set_state(job, "RUNNING")
    end = time.monotonic() + float(length)
    told = False
    state = ""
    while batch.poll() is None:
        if not told and (time.monotonic() > end - float(notice) or (job / "expire").exists()):
            batch.terminate()
            told, end = True, time.monotonic() + float(notice)
        if (job / "cancel").exists():
            state = "CANCELLED"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(batch.pid, signal.SIGTERM)
            time.sleep(0.5)
            break
        if time.monotonic() > end:
            state = "TIMEOUT"
            break
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(batch.pid, signal.SIGKILL)
    batch.wait()
    set_state(job, state or ("FAILED" if batch.returncode else "COMPLETED"))
    return 0


def squeue(given: dict[str, str]) -> int:
    for job in sorted(FOLDER.glob("[0-9]*_*")):
        if (job / "name").read_text() == given["--name"]:
            print(f"{job.name}|{(job / 'state').read_text()}|None")
    return 0


def scancel(given: dict[str, str]) -> int:
    for job in living():
        if (job / "name").read_text() == given["--name"]:
            (job / "cancel").touch()
    return 0


def living() -> list[Path]:
    return [job for job in FOLDER.glob("[0-9]*_*") if (job / "state").read_text() in LIVING]


def expire() -> None:
    """Let the time of all jobs that run be up."""
    for job in living():
        (job / "expire").touch()


def set_state(job: Path, state: str) -> None:
    draft = job / "draft"
    draft.write_text(state)
    draft.replace(job / "state")


if __name__ == "__main__":
    if sys.argv[1] == "run":
        sys.exit(run(*sys.argv[2:]))
    options = dict(word.split("=", 1) for word in sys.argv[2:] if "=" in word)
    sys.exit({"sbatch": sbatch, "squeue": squeue, "scancel": scancel}[sys.argv[1]](options))
