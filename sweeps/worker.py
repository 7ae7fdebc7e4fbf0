"""What one task does: compute, write the data, write the status. The same code runs inline and in a Ray actor."""

from __future__ import annotations

import time
from typing import NamedTuple

import scipy.linalg  # noqa: F401 - loads scipy's own BLAS, so that its threads can be limited
import threadpoolctl

import sedyn
from sweeps.plan import SimulationTask, Task, TheoryTask
from sweeps.store import DONE, FAILED, Store

__all__ = ["Outcome", "Worker", "execute"]


class Outcome(NamedTuple):
    """How a task ended.

    Attributes
    ----------
    seconds : float
        Time the task took, its writing included.
    error : str
        Why it failed; empty if it did not.
    """

    seconds: float
    error: str = ""


def execute(task: Task, store: Store, *, device: str, attempt: int = 1) -> Outcome:
    """Compute a task and write its results, status last. Repeating it writes the same again.

    Parameters
    ----------
    task : SimulationTask or TheoryTask
        What to compute.
    store : Store
        Where to write.
    device : str
        ``cpu`` or ``gpu``.
    attempt : int
        Recorded in the status.

    Returns
    -------
    Outcome
        A failure of the computation is recorded in the store and returned, not raised.

    Raises
    ------
    OSError
        If the store cannot be written; no other task could be either.
    """
    start = time.perf_counter()
    try:
        if isinstance(task, SimulationTask):
            runs = sedyn.simulate(
                task.problem, replicates=task.replicates, seed=task.seed, engine=task.engine, device=device
            )
        elif task.solved_at is not None:
            theory = store.read_theory(task.solved_at)
        else:
            theory = sedyn.state_evolution(
                task.problem,
                samples=task.samples,
                randomizations=task.randomizations,
                seed=task.seed,
                device=device,
            )
    except Exception as error:
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        seconds = time.perf_counter() - start
        store.write_status(task, FAILED, seconds=seconds, attempt=attempt, error=message)
        return Outcome(seconds, message)
    computed = time.perf_counter() - start
    if isinstance(task, TheoryTask):
        store.write_theory(task.positions, theory)
    else:
        store.write_simulation(task, runs)
    store.write_status(task, DONE, seconds=computed, attempt=attempt)
    return Outcome(time.perf_counter() - start)


class Worker:
    """Runs tasks one after another on one store that it keeps open.

    Parameters
    ----------
    location : str
        Path or URL of the store.
    device : str
        ``cpu`` or ``gpu``.
    """

    def __init__(self, location: str, device: str) -> None:
        self._store = Store.open(location)
        self._device = device
        self._threads = threadpoolctl.ThreadpoolController()

    def run(self, task: Task, attempt: int) -> Outcome:
        """Execute one task on a single BLAS thread, so that every worker anywhere rounds alike."""
        with self._threads.limit(limits=1):
            return execute(task, self._store, device=self._device, attempt=attempt)
