"""The loop that turns missing tasks into results, whatever runs them."""

from __future__ import annotations

import heapq
import time
from typing import NamedTuple

from sweeps.executors import Attempt, Executor, Lost
from sweeps.plan import Task
from sweeps.progress import Progress
from sweeps.store import FAILED, Store

__all__ = ["Failure", "Summary", "run_tasks"]

ATTEMPTS = 5  # of a task whose worker is lost; a task that kills its worker must not go round for ever
FIRST_BACK_OFF = 0.5  # seconds before a lost task is tried again; doubles with each attempt
POLL_SECONDS = 0.5


class Failure(NamedTuple):
    """A task that failed, and why."""

    task: str
    error: str


class Summary(NamedTuple):
    """How a run of tasks ended."""

    done: int
    failures: list[Failure]
    seconds: float


def run_tasks(tasks: list[Task], store: Store, executor: Executor, progress: Progress) -> Summary:
    """Run tasks in the order given and return when each has succeeded or failed.

    A task whose worker is lost is tried again after a growing pause; one that raises is not, since it would again.

    Raises
    ------
    OSError
        If the store cannot be written.
    """
    start = time.monotonic()
    pending = [Attempt(task) for task in reversed(tasks)]
    waiting: list[tuple[float, int, Attempt]] = []  # when to try again, an order for ties, what
    failures: list[Failure] = []
    done = lost = 0
    while done + len(failures) < len(tasks):
        while waiting and waiting[0][0] <= time.monotonic():
            pending.append(heapq.heappop(waiting)[2])
        while pending and executor.has_room():
            executor.submit(pending.pop())
        for attempt, outcome in executor.collect(POLL_SECONDS):
            task, number = attempt
            if isinstance(outcome, Lost) and number < ATTEMPTS:
                lost += 1
                again = time.monotonic() + FIRST_BACK_OFF * 2 ** (number - 1)
                heapq.heappush(waiting, (again, lost, Attempt(task, number + 1)))
                continue
            if isinstance(outcome, Lost):
                error = f"its worker was lost {ATTEMPTS} times, last: {outcome.reason}"
                store.write_status(task, FAILED, seconds=float("nan"), attempt=number, error=error)
            else:
                error = outcome.error
            if error:
                failures.append(Failure(task.name, error))
            else:
                done += 1
            progress.advance(task, failed=bool(error))
        progress.tick()
    return Summary(done, failures, time.monotonic() - start)
