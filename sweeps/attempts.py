"""What driver and executors tell each other: tasks on their way, and what comes back."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sweeps.plan import Task
from sweeps.worker import Outcome

__all__ = ["Attempt", "Executor", "Lost"]


class Attempt(NamedTuple):
    """A task on its way: what to run and how often it was tried, this time included."""

    task: Task
    number: int = 1


class Lost(NamedTuple):
    """What comes back instead of an outcome when the worker died or could not be reached, and why."""

    reason: str


class Executor(Protocol):
    """Runs attempts; each comes back exactly once."""

    def has_room(self) -> bool:
        """Whether another attempt may be submitted now."""

    def submit(self, attempt: Attempt) -> None:
        """Start an attempt, or queue it behind a running one."""

    def collect(self, timeout: float) -> list[tuple[Attempt, Outcome | Lost]]:
        """Wait for outcomes, at most `timeout` seconds."""

    def hindrance(self) -> str:
        """Say in a few words what keeps it from working; empty if nothing does."""

    def workers(self) -> int:
        """Count those that compute side by side now."""

    def end(self) -> None:
        """Begin to stop whatever the executor started; no attempt runs any more."""

    def close(self) -> None:
        """Stop whatever the executor started, and wait until it has ended."""
