"""Tasks in rounds: what comes next is planned when all that was given out has ended."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from sweeps.plan import Task

__all__ = ["RoundTasks"]


class RoundTasks(ABC):
    """Gives out the tasks of a round, and then those of the next.

    Attributes
    ----------
    tasks : sequence of Task
        Of the round that is present at first.
    announced : int
        Tasks of all rounds so far.
    failed : bool
        Whether a task has no result.
    planning : float
        Seconds that the last round took to plan, findings to be judged included.
    """

    reads_results = True

    def __init__(self) -> None:
        self._waiting: list[Task] = []
        self._running = self.announced = 0
        self.failed = False
        self.tasks: Sequence[Task] = self._begin(first=True)

    @property
    def note(self) -> str:
        """What is to be shown beside the counts of tasks; nothing."""
        return ""

    @property
    def reached(self) -> str:
        """What was reached beside that the tasks are done; nothing."""
        return ""

    @abstractmethod
    def _plan(self, *, first: bool) -> Sequence[Task]:
        """List the tasks of the next round, in the order in which they are given out; none where there is none.

        Parameters
        ----------
        first : bool
            Whether nothing was given out yet, so that the present round may have something missing.
        """

    def _begin(self, *, first: bool) -> Sequence[Task]:
        start = time.monotonic()
        tasks = self._plan(first=first)
        self.planning = time.monotonic() - start
        self._waiting, self._running = list(reversed(tasks)), len(tasks)
        self.announced += len(tasks)
        return tasks

    def take(self) -> Task | None:
        """Give out the next task of this round; None if there is none now."""
        return self._waiting.pop() if self._waiting else None

    def finish(self, task: Task, *, failed: bool) -> Sequence[Task]:
        """Begin the next round when this one is complete.

        Parameters
        ----------
        task : Task
            What has ended.
        failed : bool

        Returns
        -------
        sequence of Task
            Those that this adds.
        """
        self._running -= 1
        self.failed |= failed
        return () if self._running else self._begin(first=False)
