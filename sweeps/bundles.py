"""Tasks of a sweep of many cells: what lacks alike is put together, and made when its turn comes.

A million tasks one by one would take gigabytes before the first has begun, and longer to hand out than to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from sedyn.descent.engines import replicates_together
from sweeps.cost import TASK_SECONDS, seconds_of
from sweeps.plan import Bundle, Cell, JoinedTask, SimulationTask, SweepSpec, TheoryTask
from sweeps.store import Lacking, theory_lacking

__all__ = ["bundled"]

MOST_JOINED = 1024  # replicates of cells in the same calls; of tiny problems more would share no more
LEAST_BUNDLES = 64  # where there is so much to do, so that workers end together

TasksOf = Callable[[Cell, tuple[int, ...], Iterable[int]], Iterable[SimulationTask]]


def bundled(spec: SweepSpec, table: Lacking, device: str, tasks_of: TasksOf) -> Iterator[Bundle]:
    """Put what a sweep lacks into bundles of about a second.

    Parameters
    ----------
    spec : SweepSpec
    table : Lacking
        Of the same cells.
    device : {'cpu', 'gpu'}
        Whose second it is.
    tasks_of : callable
        From a cell, its position and some replicates to the tasks of these.

    Yields
    ------
    Bundle
    """
    yield from _simulations(spec, table, device, tasks_of)
    yield from _theories(spec, table, device)


def _simulations(spec: SweepSpec, table: Lacking, device: str, tasks_of: TasksOf) -> Iterator[Bundle]:
    cells = np.flatnonzero(table.replicates.any(axis=1))
    alike = np.column_stack([spec.table.kind[cells], np.packbits(table.replicates[cells], axis=1)])
    for members in _alike(cells, alike):
        first = int(members[0])
        for part in tasks_of(spec.cells[first], (), np.flatnonzero(table.replicates[first]).tolist()):
            joined = _joined(spec, part, device)
            like = part if joined == 1 else JoinedTask((part,) * joined)
            size = _size(seconds_of(like, device) / joined, len(cells))
            for start in range(0, len(members), size):
                some = members[start : start + size]
                make = partial(_make_simulations, spec, table, some, part.replicates, joined)
                yield Bundle(like, len(some) / joined, make)


def _joined(spec: SweepSpec, part: SimulationTask, device: str) -> int:
    """Count the cells that share calls."""
    if spec.block is not None or spec.laws:
        return 1
    together = replicates_together(part.problem, part.engine, device, spec.dtype)
    return max(1, min(together, MOST_JOINED) // part.size)


def _make_simulations(
    spec: SweepSpec, table: Lacking, cells: np.ndarray, replicates: tuple[int, ...], joined: int
) -> tuple[SimulationTask | JoinedTask, ...]:
    parts = [
        spec.simulation_task(spec.cells[index], table.position(index) or (), replicates) for index in cells.tolist()
    ]
    together = (tuple(parts[start : start + joined]) for start in range(0, len(parts), joined))
    return tuple(some[0] if len(some) == 1 else JoinedTask(some) for some in together)


def _theories(spec: SweepSpec, table: Lacking, device: str) -> Iterator[Bundle]:
    numbers = spec.theories
    order = np.argsort(numbers, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(numbers))])
    begun = np.bincount(numbers, weights=table.solved) > 0
    lacking = np.unique(numbers[~table.solved])
    alike = np.column_stack([spec.table.kind[order[starts[lacking]]], begun[lacking]])
    for members in _alike(lacking, alike):
        like = _make_theories(spec, table, order, starts, members[:1])[0]
        size = _size(seconds_of(like, device), len(lacking))
        for start in range(0, len(members), size):
            some = members[start : start + size]
            yield Bundle(like, len(some), partial(_make_theories, spec, table, order, starts, some))


def _make_theories(
    spec: SweepSpec, table: Lacking, order: np.ndarray, starts: np.ndarray, theories: np.ndarray
) -> tuple[TheoryTask, ...]:
    return tuple(theory_lacking(spec, table, order[starts[k] : starts[k + 1]]) for k in theories.tolist())


def _size(seconds: float, count: int) -> int:
    """How many that take so long are in a bundle, of so many in all."""
    return max(1, min(int(TASK_SECONDS / seconds), count // LEAST_BUNDLES))


def _alike(items: np.ndarray, labels: np.ndarray) -> Iterator[Any]:
    """Split items by their rows of labels."""
    _, which = np.unique(labels, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    return iter(np.split(items[order], np.cumsum(np.bincount(which.ravel()))[:-1]) if len(items) else ())
