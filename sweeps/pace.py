"""How long the rest of a sweep takes, from how long its finished tasks took.

Predicted seconds order tasks, and are wrong by a factor that differs by kind of task and by machine. What
finished tasks took corrects them: for each kind, one factor for calls and one for arithmetic (`sweeps.cost.work.Work`),
which few tasks draw towards one factor for all. Of a kind that has not had its turn nothing else is known.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sweeps.cost import work_of
from sweeps.plan import Task, kind_of

__all__ = ["Pace"]

RECENT = 0.1  # weight of a task among those before it
PRIOR = 1.0  # tasks that the factor for all counts for, of each kind


class Pace:
    """Learns from finished tasks."""

    def __init__(self) -> None:
        self._left: dict[str, np.ndarray] = {}  # work that is left, by kind
        self._normal: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # equations of least squares for the factors
        self._predicted = self._taken = 0.0
        self._recent = 0.0  # mean seconds of the last tasks

    def add(self, tasks: Iterable[Task]) -> None:
        """Take note of tasks that are to be done."""
        for task in tasks:
            self._left[_kind(task)] = self._left.get(_kind(task), np.zeros(2)) + np.array(work_of(task))

    def finish(self, task: Task, seconds: float) -> None:
        """Take note of a task that is done.

        Parameters
        ----------
        task : Task
            One of those that were added.
        seconds : float
            What it took; NaN if nobody knows.
        """
        kind, work = _kind(task), np.array(work_of(task))
        self._left[kind] = self._left[kind] - work
        if not np.isfinite(seconds):
            return
        self._recent += (seconds - self._recent) * (RECENT if self._taken else 1.0)
        self._predicted, self._taken = self._predicted + sum(work), self._taken + seconds
        relative = work / sum(work)
        matrix, right = self._normal.get(kind, (np.zeros((2, 2)), np.zeros(2)))
        self._normal[kind] = matrix + np.outer(relative, relative), right + relative * seconds / sum(work)

    def seconds_left(self, workers: int) -> float | None:
        """Predict how long the rest takes.

        Parameters
        ----------
        workers : int
            That compute side by side. What they have begun is half done, in the mean.

        Returns
        -------
        float or None
            None before the first task is done.
        """
        if not self._taken:
            return None
        left = sum(float(self._factors(kind) @ np.maximum(work, 0.0)) for kind, work in self._left.items())
        return max(left / max(workers, 1) - self._recent / 2, 0.0)

    def _factors(self, kind: str) -> np.ndarray:
        """How much longer calls and arithmetic of a kind take than predicted."""
        common = np.full(2, self._taken / self._predicted)
        if kind not in self._normal:
            return common
        matrix, right = self._normal[kind]
        return np.maximum(np.linalg.solve(matrix + PRIOR * np.eye(2), right + PRIOR * common), 0.0)


def _kind(task: Task) -> str:
    first = kind_of(task)
    return f"{first.group} {getattr(first, 'engine', getattr(first, 'solved_at', None) is not None)}"
