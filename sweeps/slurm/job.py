"""The process that Slurm starts: as many workers as the job has cores, until its time is up.

It loads nothing that computes, so that it is the last to be killed where memory runs short, and sees who was.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from sweeps.slurm.queue import give_up

__all__ = ["main"]

DEATHS = 3  # of a worker in a row that had taken no task; then it is not started any more


def main(folder: Path, walltime: str) -> int:
    """Run workers; exit status 0, or 1 if one could not work.

    Parameters
    ----------
    folder : Path
        From which they take tasks.
    walltime : str
        Seconds that the job has.
    """
    job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    cores = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))
    running: dict[int, tuple[subprocess.Popen[bytes], str]] = {}
    deaths = dict.fromkeys((f"{job}.{k}" for k in range(cores)), 0)
    told = failed = False

    def start(worker: str) -> None:
        command = [sys.executable, "-m", "sweeps.slurm.work", str(folder), worker, walltime]
        process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        running[process.pid] = process, worker

    def tell(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True
        for process, _ in list(running.values()):
            process.terminate()

    signal.signal(signal.SIGTERM, tell)
    for worker in deaths:
        start(worker)
    while running:
        number, status = os.wait()
        process, worker = running.pop(number)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode >= 0:
            failed |= process.returncode > 0
            continue
        took = give_up(folder, worker, f"its process ended by {signal.Signals(-process.returncode).name}")
        deaths[worker] = 0 if took else deaths[worker] + 1
        if not told and deaths[worker] < DEATHS:
            start(worker)
        failed |= deaths[worker] >= DEATHS
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
