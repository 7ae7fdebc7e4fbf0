"""Replicates until a standard error is met: which cells get more, how many, and in which order.

A cell's replicates come in rounds. How many it gets next follows from the values of those it has and from nothing
else, so the replicates of a finished sweep are the same whatever ran where, in which order, and however often it was
stopped. Order is free, and goes to the round that lowers its standard error most per second.
"""

from __future__ import annotations

import heapq
import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sweeps.cost import seconds_of
from sweeps.plan import Cell, SimulationTask, SweepSpec, Task
from sweeps.schedule import simulation_tasks
from sweeps.store import DONE, Store, missing, read_simulation, states
from sweeps.target import Target

__all__ = ["PreciseTasks", "next_count", "standard_error"]

GROWTH = 2  # at most, from round to round: an error from few replicates says little about how many are needed


def standard_error(values: np.ndarray) -> float:
    """Find the largest standard error of the mean over replicates.

    Parameters
    ----------
    values : ndarray, shape (replicates, ...)
        NaN where there is no value. An entry that no replicate has is left out.

    Returns
    -------
    float
        Infinite if some entry has a single value.
    """
    counts = np.isfinite(values).sum(axis=0)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of entries that have too few values
        errors = np.nanstd(values, axis=0, ddof=1) / np.sqrt(counts)
    errors = np.where(counts == 1, np.inf, errors)[counts > 0]
    return float(errors.max()) if errors.size else 0.0


def next_count(count: int, error: float, block: int, target: Target) -> int:
    """Decide how many replicates a cell should have, given the standard error from those it has.

    Errors fall as one over the square root of the number. The next count is whole blocks, at most twice the present
    one, and `count` itself where the target is met.

    Parameters
    ----------
    count : int
        Replicates that it has.
    error : float
        Their standard error.
    block : int
        Replicates of one block.
    target : Target
    """
    if error <= target.stderr:
        return count
    ratio = error / target.stderr
    wanted = count * GROWTH if ratio**2 >= GROWTH else math.ceil(count * ratio**2)
    return min(max(count + 1, -(-wanted // block) * block), target.max_replicates)


class PreciseTasks:
    """Gives out the first round of every cell, then further rounds where they pay most.

    Parameters
    ----------
    store : Store
        Grows as more replicates are needed.
    spec : SweepSpec
        Its `replicates` are the first round.
    target : Target
    device : {'cpu', 'gpu'}
        What tasks are planned for.
    """

    reads_results = True
    planning = 0.0

    def __init__(self, store: Store, spec: SweepSpec, target: Target, device: str) -> None:
        self._store, self._spec, self._target, self._device = store, store.spelled(spec), target, device
        self._states = states(store, "simulation")
        self._heap: list[tuple[tuple[float, ...], int, Task]] = []
        self._order = itertools.count()
        self._cells: dict[tuple[int, ...], _CellRounds] = {}
        lacking = missing(store, self._spec)
        for task in lacking.theories:
            self._push(task, (0.0, -seconds_of(task, device)))
        for cell, position, _ in lacking.replicates:
            assert position is not None, "the store has grown for every cell"
            self._cells[position] = _CellRounds(cell, position, spec.replicates)
        for rounds in self._cells.values():
            self._advance(rounds)
        self.announced = len(self._heap)
        self.tasks: Sequence[Task] = [task for _, _, task in self._heap]

    @property
    def errors(self) -> list[float]:
        """Standard error of every cell at its latest round."""
        return [rounds.error for rounds in self._cells.values()]

    @property
    def note(self) -> str:
        """Say in how many cells the target is met."""
        met = sum(error <= self._target.stderr for error in self.errors)
        return f"target met in {met} of {len(self._cells)} cells"

    @property
    def reached(self) -> str:
        """Say the largest standard error too."""
        target = self._target
        return (
            f"{self.note}; largest standard error of {target.observable}: {max(self.errors):.3g} "
            f"(target {target.stderr:g}, at most {target.max_replicates} replicates)"
        )

    def take(self) -> Task | None:
        """Give out first rounds, the longest first; then what lowers an error most per second."""
        return heapq.heappop(self._heap)[2] if self._heap else None

    def finish(self, task: Task, *, failed: bool) -> Sequence[Task]:
        """Plan the next round of the task's cell when this one is complete. A cell with a failure gets no more.

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
        if not isinstance(task, SimulationTask):
            return ()
        rounds = self._cells[task.position]
        rounds.running -= 1
        rounds.failed |= failed
        if not failed:
            self._states[task.position][list(task.replicates)] = DONE
        if rounds.running or rounds.failed:
            return ()
        added = self._advance(rounds)
        self.announced += len(added)
        return added

    def _advance(self, rounds: _CellRounds) -> list[SimulationTask]:
        """Go through the rounds that are complete, up to one with something missing."""
        position = rounds.position
        while True:
            if rounds.count > self._states.shape[-1]:
                self._make_room()
            lacking = np.flatnonzero(self._states[position][: rounds.count] != DONE).tolist()
            if lacking:
                sized, block = replace(self._spec, replicates=rounds.count), self._store.block
                tasks = list(simulation_tasks(sized, rounds.cell, position, lacking, block, self._device))
                for task in tasks:
                    self._push(task, rounds.priority(task, seconds_of(task, self._device)))
                rounds.running = len(tasks)
                return tasks
            values = read_simulation(self._store, position, self._target.observable, rounds.count)
            rounds.error = standard_error(values)
            count = next_count(rounds.count, rounds.error, self._store.block, self._target)
            if count == rounds.count:
                return []
            rounds.before, rounds.count = rounds.count, count

    def _make_room(self) -> None:
        """Make room, and note what every cell is known to want."""
        cells = [(self._store.values_of(self._spec, rounds.cell), rounds.count) for rounds in self._cells.values()]
        counts = [(values, max(count, self._store.wanted(values))) for values, count in cells]
        self._store.want(counts, self._target.asked(self._spec.replicates))
        more = self._store.replicates - self._states.shape[-1]
        self._states = np.pad(self._states, [(0, 0)] * (self._states.ndim - 1) + [(0, more)])

    def _push(self, task: Task, priority: tuple[float, ...]) -> None:
        heapq.heappush(self._heap, (priority, next(self._order), task))


@dataclass
class _CellRounds:
    """Where one cell stands."""

    cell: Cell
    position: tuple[int, ...]
    count: int  # replicates up to the present round
    before: int = 0  # and up to the one before
    error: float = math.inf
    running: int = 0
    failed: bool = False

    def priority(self, task: SimulationTask, seconds: float) -> tuple[float, ...]:
        if not self.before:
            return 0.0, -seconds
        gain = 1 - math.sqrt(self.before / (self.before + len(task.replicates)))
        return 1.0, -(self.error if math.isfinite(self.error) else 1e300) * gain / seconds
