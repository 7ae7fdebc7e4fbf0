"""What a person sees while a sweep runs: a live bar on a terminal, plain lines where output is piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Protocol, Self

from sweeps.cost import seconds_of
from sweeps.plan import Task

__all__ = ["Progress", "Quiet", "make_progress"]

SECONDS_BETWEEN_LINES = 5.0


class Progress(Protocol):
    """Is told of every finished task."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(self, *exception: object) -> None:
        """End the display."""

    def advance(self, task: Task, *, failed: bool) -> None:
        """Count a finished task."""

    def add(self, tasks: Sequence[Task]) -> None:
        """Count tasks that were not known at the start."""

    def tick(self) -> None:
        """Let time pass."""


def make_progress(tasks: Sequence[Task]) -> Progress:
    """Choose the display that suits standard error."""
    return _Bar(tasks) if sys.stderr.isatty() else _Lines(tasks)


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End."""

    def advance(self, task: Task, *, failed: bool) -> None:
        """Count nothing."""

    def add(self, tasks: Sequence[Task]) -> None:
        """Count nothing."""

    def tick(self) -> None:
        """Let time pass."""


class _Work:
    """Share of the work done and the time that is left, both by predicted seconds rather than by count."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self.count, self.finished, self.failed = len(tasks), 0, 0
        self.total = sum(seconds_of(task) for task in tasks) or 1.0
        self.completed = 0.0
        self.start = time.monotonic()

    def add(self, tasks: Sequence[Task]) -> None:
        self.count += len(tasks)
        self.total += sum(seconds_of(task) for task in tasks)

    def advance(self, task: Task, failed: bool) -> None:
        self.finished += 1
        self.failed += failed
        self.completed += seconds_of(task)

    @property
    def share(self) -> float:
        return self.completed / self.total if self.finished < self.count else 1.0

    @property
    def seconds_left(self) -> float | None:
        elapsed = time.monotonic() - self.start
        return elapsed * (1 - self.share) / self.share if self.share > 0 else None

    def __str__(self) -> str:
        left = self.seconds_left
        parts = [f"{self.finished}/{self.count} tasks", f"{self.share:.0%}"]
        if left is not None:
            parts.append(f"{_clock(left)} left" if self.finished < self.count else "finished")
        if self.failed:
            parts.append(f"{self.failed} failed")
        return ", ".join(parts)


class _Lines:
    def __init__(self, tasks: Sequence[Task]) -> None:
        self._work = _Work(tasks)
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._work.count:
            self._say()

    def advance(self, task: Task, *, failed: bool) -> None:
        self._work.advance(task, failed)

    def add(self, tasks: Sequence[Task]) -> None:
        self._work.add(tasks)

    def tick(self) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES and self._work.finished < self._work.count:
            self._say()

    def _say(self) -> None:
        self._last = time.monotonic()
        print(self._work, file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, tasks: Sequence[Task]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._work = _Work(tasks)
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            console=Console(stderr=True),
        )

    def __enter__(self) -> Self:
        self._bar.start()
        self._row = self._bar.add_task("sweep", total=1.0, text=str(self._work))
        return self

    def __exit__(self, *exception: object) -> None:
        self._show()
        self._bar.stop()

    def advance(self, task: Task, *, failed: bool) -> None:
        self._work.advance(task, failed)

    def add(self, tasks: Sequence[Task]) -> None:
        self._work.add(tasks)

    def tick(self) -> None:
        self._show()

    def _show(self) -> None:
        self._bar.update(self._row, completed=self._work.share, text=str(self._work))


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
