"""What a person sees while a sweep runs: a live bar on a terminal, plain lines where output is piped."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import Self

from sweeps.cost import seconds_of
from sweeps.pace import Pace
from sweeps.plan import Task
from sweeps.terminal import say, visible

__all__ = ["Progress", "clock", "make_progress"]

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts the tasks that are done, and shows nothing.

    The share is by the predicted seconds of tasks rather than by their count, the time left by those that tasks took.

    Parameters
    ----------
    tasks : sequence of Task
        What is to be done, as far as is known.

    Attributes
    ----------
    workers : int
        That compute now.
    planning : float
        Seconds that the driver alone takes when these tasks have ended, before others follow or nothing does.
    """

    def __init__(self, tasks: Sequence[Task] = ()) -> None:
        self.count, self.finished, self.failed = 0, 0, 0
        self.total = self.completed = 0.0
        self.workers, self.planning = 1, 0.0
        self._pace = Pace()
        self.add(tasks)

    def __enter__(self) -> Self:
        """Begin to show."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the display."""

    def add(self, tasks: Sequence[Task]) -> None:
        """Count tasks that were not known at the start."""
        self.count += len(tasks)
        self.total += sum(map(seconds_of, tasks))
        self._pace.add(tasks)

    def advance(self, task: Task, *, failed: bool, seconds: float = math.nan) -> None:
        """Count a finished task.

        Parameters
        ----------
        task : Task
        failed : bool
            Whether it has no result.
        seconds : float, optional
            What it took.
        """
        self.finished += 1
        self.failed += failed
        self.completed += self._pace.finish(task, seconds)

    def tick(self, note: str = "") -> None:
        """Let time pass.

        Parameters
        ----------
        note : str, optional
            What keeps the sweep from working, to be shown beside the counts.
        """

    def line(self, note: str = "") -> str:
        """Say how far it is, with a note beside it."""
        return f"{self}; {note}" if note else str(self)

    def announce(self, line: str) -> None:
        """Show a line that stays.

        Parameters
        ----------
        line : str
        """

    @property
    def share(self) -> float:
        """Of the work, what is done."""
        return self.completed / (self.total or 1.0) if self.finished < self.count else 1.0

    def __str__(self) -> str:
        parts = [f"{self.finished}/{self.count} tasks", f"{self.share:.0%}"]
        left = self._pace.seconds_left(self.workers)
        if self.finished == self.count:
            parts.append("finished")
        elif left is not None:
            parts.append(f"{clock(left + self.planning)} left")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)


def make_progress(tasks: Sequence[Task]) -> Progress:
    """Choose the display that suits standard error."""
    return _Bar(tasks) if sys.stderr.isatty() else _Lines(tasks)


class _Lines(Progress):
    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__(tasks)
        self._last = time.monotonic()

    def __exit__(self, *exception: object) -> None:
        if self.count:
            self._say()

    def tick(self, note: str = "") -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES and self.finished < self.count:
            self._say(note)

    def announce(self, line: str) -> None:
        say(line, error=True)

    def _say(self, note: str = "") -> None:
        self._last = time.monotonic()
        say(self.line(note), error=True)


class _Bar(Progress):
    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}")
        self._bar = RichProgress(*columns, console=Console(stderr=True))
        self._bar.start()
        self._row = self._bar.add_task("sweep", total=1.0, text=str(self))
        return self

    def __exit__(self, *exception: object) -> None:
        self.tick()
        self._bar.stop()

    def tick(self, note: str = "") -> None:
        self._bar.update(self._row, completed=self.share, text=self.line(note))

    def announce(self, line: str) -> None:
        self._bar.console.print(visible(line), markup=False, highlight=False, soft_wrap=True)


def clock(seconds: float) -> str:
    """Write seconds as a clock shows them: ``1:02:03`` or ``2:03``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
