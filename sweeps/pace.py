"""How long the rest of a sweep takes, from how long its finished tasks took.

Predicted seconds order tasks, and are wrong by a factor that differs by kind of task and by machine. What
finished tasks took corrects them: for each kind, one factor for calls and one for arithmetic (`sweeps.cost.work.Work`),
which few tasks draw towards one factor for all. Of a kind that has not had its turn nothing else is known. Tasks that
took far longer than their like say nothing of those that follow: a worker's first loads and compiles what it needs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from sweeps.cost import work_of
from sweeps.plan import Task, kind_of

__all__ = ["Pace"]

RECENT = 0.1  # weight of a task among those before it
PRIOR = 1.0  # tasks that the factor for all counts for, of each kind
KEPT = 32  # tasks of a kind that are remembered, the latest
FAR = 3.0  # times the median of what they took over what was predicted, beyond which one is left out


class Pace:
    """Learns from finished tasks."""

    def __init__(self) -> None:
        self._left: dict[str, np.ndarray] = {}  # work that is left, by kind
        self._seen: dict[
            str, deque[tuple[float, ...]]
        ] = {}  # calls' and arithmetic's shares, times as long, prediction
        self._recent = 0.0  # mean seconds of the last tasks

    def add(self, tasks: Iterable[Task]) -> None:
        """Take note of tasks that are to be done."""
        for task in tasks:
            self._left[_kind(task)] = self._left.get(_kind(task), np.zeros(2)) + np.array(work_of(task))

    def finish(self, task: Task, seconds: float) -> float:
        """Take note of a task that is done.

        Parameters
        ----------
        task : Task
            One of those that were added.
        seconds : float
            What it took; NaN if nobody knows.

        Returns
        -------
        float
            Seconds that were predicted.
        """
        kind, work = _kind(task), np.array(work_of(task))
        predicted = float(sum(work))
        self._left[kind] = self._left[kind] - work
        if not np.isfinite(seconds):
            return predicted
        self._recent += (seconds - self._recent) * (RECENT if self._seen else 1.0)
        seen = self._seen.setdefault(kind, deque(maxlen=KEPT))
        seen.append((*(work / predicted), seconds / predicted, predicted))
        return predicted

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
        if not self._seen:
            return None
        seen = {kind: _like_the_others(np.array(tasks)) for kind, tasks in self._seen.items()}
        ratios, predicted = np.concatenate(list(seen.values()))[:, 2:].T
        common = np.full(2, float(ratios @ predicted / predicted.sum()))
        left = sum(float(_factors(seen.get(kind), common) @ np.maximum(work, 0)) for kind, work in self._left.items())
        return max(left / max(workers, 1) - self._recent / 2, 0.0)


def _like_the_others(tasks: np.ndarray) -> np.ndarray:
    """Leave out tasks that took far longer than most, against what was predicted."""
    return tasks[tasks[:, 2] <= FAR * np.median(tasks[:, 2])]


def _factors(tasks: np.ndarray | None, common: np.ndarray) -> np.ndarray:
    """How much longer calls and arithmetic of a kind take than predicted, by least squares."""
    if tasks is None:
        return common
    shares, ratios = tasks[:, :2], tasks[:, 2]
    factors = np.linalg.solve(shares.T @ shares + PRIOR * np.eye(2), shares.T @ ratios + PRIOR * common)
    return np.maximum(factors, 0.0)


def _kind(task: Task) -> str:
    first = kind_of(task)
    return f"{first.group} {getattr(first, 'engine', getattr(first, 'solved_at', None) is not None)}"
