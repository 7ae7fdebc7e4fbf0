"""The loop that turns missing tasks into results, whatever runs them."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sweeps.attempts import Attempt, Executor, Lost
from sweeps.plan import Task
from sweeps.progress import Progress
from sweeps.store import FAILED, Lease, Store, is_done, write_status

__all__ = ["Failure", "FixedTasks", "Summary", "TaskSource", "run_tasks"]

ATTEMPTS = 5  # of a task whose worker is lost; a task that kills its worker must not go round for ever
FIRST_BACK_OFF = 0.5  # seconds before a lost task is tried again; doubles with each attempt
POLL_SECONDS = 0.5
REMARK_SECONDS = 1.0  # between two lines for whoever looks at the store
REASONS_SHOWN = 5


class Failure(NamedTuple):
    """A task that failed, and why."""

    task: str
    error: str


class TaskSource(Protocol):
    """Decides which task is next."""

    announced: int  # tasks that will be given out, as far as is known
    tasks: Sequence[Task]  # those of them that are known at the start
    reads_results: bool  # whether what comes next depends on results
    planning: float  # seconds that the driver takes to find what comes next, when all that was given out has ended

    @property
    def note(self) -> str:
        """What is to be shown beside the counts of tasks; empty if nothing is."""

    @property
    def reached(self) -> str:
        """What was reached in the end, beside that the tasks are done; empty if nothing else was wanted."""

    def take(self) -> Task | None:
        """Give out a task; None if there is none now."""

    def finish(self, task: Task, *, failed: bool) -> Sequence[Task]:
        """Take note that a task has ended.

        Parameters
        ----------
        task : Task
        failed : bool
            Whether it has no result.

        Returns
        -------
        sequence of Task
            The tasks that this adds.
        """


class FixedTasks:
    """A list of tasks, given out in its order.

    Parameters
    ----------
    tasks : sequence of Task
    """

    note = reached = ""
    reads_results = False
    planning = 0.0

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.tasks = tasks
        self.announced = len(tasks)
        self._rest = list(reversed(tasks))

    def take(self) -> Task | None:
        """Give out the next task."""
        return self._rest.pop() if self._rest else None

    def finish(self, task: Task, *, failed: bool) -> Sequence[Task]:
        """Add nothing.

        Parameters
        ----------
        task : Task
        failed : bool

        Returns
        -------
        tuple
            Empty.
        """
        return ()


class Summary(NamedTuple):
    """How a run of tasks ended.

    Attributes
    ----------
    done : int
        Tasks that succeeded.
    failures : list of Failure
        Those that did not.
    seconds : float
    announced : int
        Failures that were shown when they happened: the first of each reason.
    stopped : bool
        Whether tasks were left because too many had failed.
    """

    done: int
    failures: list[Failure]
    seconds: float
    announced: int = 0
    stopped: bool = False


def run_tasks(
    source: TaskSource,
    store: Store,
    executor: Executor,
    progress: Progress,
    max_failures: int | None = None,
    lease: Lease | None = None,
) -> Summary:
    """Run tasks in the order they are given out and return when each has succeeded or failed.

    A task whose worker is lost is tried again after a growing pause; one that raises is not, since it would again.

    Parameters
    ----------
    source : TaskSource
        Gives out the tasks.
    store : Store
        Where results go, and what failed.
    executor : Executor
        Where tasks run.
    progress : Progress
        Is told of every finished task, and of the first failure of each reason when it happens.
    max_failures : int, optional
        After so many failures no task is begun any more; None goes on with the others.
    lease : Lease, optional
        The right to run them, which is looked at now and then, and says to others how far they are.

    Returns
    -------
    Summary

    Raises
    ------
    OSError
        If the store cannot be written, or another driver may write it.
    InvalidInput, SessionLost
        If there is nobody to run them.
    """
    start = time.monotonic()
    again: list[tuple[float, int, Attempt]] = []  # when to try, an order for ties, what
    failures: list[Failure] = []
    reasons: set[str] = set()
    done = lost = running = 0
    remarked = start

    def enough() -> bool:
        return max_failures is not None and len(failures) >= max_failures

    def next_attempt() -> Attempt | None:
        if again and again[0][0] <= time.monotonic():
            return heapq.heappop(again)[2]
        task = source.take()
        return None if task is None else Attempt(task)

    while running if enough() else done + len(failures) < source.announced:
        if lease is not None:
            lease.require()
        while not enough() and executor.has_room() and (attempt := next_attempt()):
            executor.submit(attempt)
            running += 1
        for (task, number), outcome in executor.collect(POLL_SECONDS):
            running -= 1
            if isinstance(outcome, Lost) and number < ATTEMPTS:
                lost += 1
                pause = FIRST_BACK_OFF * 2 ** (number - 1)
                heapq.heappush(again, (time.monotonic() + pause, lost, Attempt(task, number + 1)))
                continue
            seconds = float("nan") if isinstance(outcome, Lost) else outcome.seconds
            if isinstance(outcome, Lost):
                store.merge()  # it may have written before it was lost
                error = f"its worker was lost {ATTEMPTS} times, last: {outcome.reason}"
                for part in task.parts:
                    if not is_done(store, part):
                        write_status(store, part, FAILED, seconds=float("nan"), attempt=number, error=error)
            else:
                error = outcome.error
                if outcome.environment is not None:
                    store.record_environment(outcome.environment)
            if error:
                failures.append(Failure(task.name, error))
                if error not in reasons and len(reasons) < REASONS_SHOWN:
                    reasons.add(error)
                    progress.announce(f"failed: {task.name}: {error}")
            else:
                done += 1
            progress.advance(task, failed=bool(error), seconds=seconds)
            if source.reads_results:
                store.merge()
            progress.add(source.finish(task, failed=bool(error)))
        store.merge_if_due()
        progress.workers, progress.planning = executor.workers(), source.planning
        note = executor.hindrance() or source.note
        progress.tick(note)
        if lease is not None and time.monotonic() - remarked >= REMARK_SECONDS:
            lease.remark, remarked = progress.line(note), time.monotonic()
    store.merge(last=True)
    stopped = done + len(failures) < source.announced
    return Summary(done, failures, time.monotonic() - start, len(reasons), stopped)
