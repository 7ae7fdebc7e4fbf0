"""More values on an axis where a verdict changes: between neighbours of which one diverges and the other does not.

The next values follow from those that are in the store and from nothing else, so that a sweep that was stopped goes on
to the same cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from sweeps.plan import Cell, SweepSpec, Task, key_of, plain
from sweeps.refinement import BOUND, Refinement
from sweeps.rounds import RoundTasks
from sweeps.schedule import missing_tasks
from sweeps.store import DONE, Store, read_simulation, states

__all__ = ["RefinedTasks", "diverges", "foreseen", "refined", "unfinished"]


# Halvings of an interval that are foreseen at most: one that begins at zero could be halved for ever.
MOST_HALVINGS = 50


def diverges(errors: np.ndarray) -> bool:
    """Give the verdict on a cell: whether half of its runs or more diverge.

    Parameters
    ----------
    errors : ndarray, shape (replicates, iterations)
        Training errors, the start first; NaN stands for an overflow.
    """
    bound = BOUND * np.nanmedian(errors[:, 0])
    return bool(np.mean(~(np.abs(errors) <= bound).all(axis=1)) >= 0.5)  # a comparison with NaN is false


def refined(store: Store, spec: SweepSpec, refinement: Refinement) -> SweepSpec | None:
    """Add the cells in the middle of neighbours whose verdicts differ.

    Parameters
    ----------
    store : Store
        With what was computed so far.
    spec : SweepSpec
        Of rows alone.
    refinement : Refinement

    Returns
    -------
    SweepSpec or None
        None where nothing is to be added.
    """
    spec, axis = store.spelled(spec), refinement.axis
    done = (states(store, "simulation") == DONE)[..., : spec.replicates]
    lines: dict[Any, list[tuple[Any, Cell, bool]]] = {}
    for cell in spec.cells:
        position = store.position(store.values_of(spec, cell))
        if position is None or not done[position].all():
            continue
        errors = read_simulation(store, position, "train_error", spec.replicates)[:, : cell.problem.steps + 1]
        others = tuple(getattr(cell.problem, name) for name in spec.fields if name != axis)
        lines.setdefault(key_of(others), []).append((getattr(cell.problem, axis), cell, diverges(errors)))
    known = {key_of(cell.values) for cell in spec.cells}  # one that failed is there, and has no verdict
    added = []
    for line in lines.values():
        for (low, cell, here), (high, _, there) in pairwise(sorted(line, key=lambda entry: entry[0])):
            middle = _between(low, high, whole=refinement.whole)
            place = dict(zip(spec.fields, cell.values, strict=True)) | {axis: middle}
            far = high - low > refinement.within * max(abs(low), abs(high))
            if here != there and far and key_of(tuple(place.values())) not in known:
                added.append(place)
    return replace(spec, rows=[*(spec.rows or ()), *added]) if added else None


def unfinished(store: Store, spec: SweepSpec, refinement: Refinement) -> tuple[SweepSpec, SweepSpec | None]:
    """Find the first refinement of a sweep that has a cell which is not done, and what it refines.

    Parameters
    ----------
    store : Store
        With what was computed so far.
    spec : SweepSpec
        Of rows alone.
    refinement : Refinement

    Returns
    -------
    refined : SweepSpec
        All whose cells are done.
    following : SweepSpec or None
        None where nothing is to be added.
    """
    following = refined(store, spec, refinement)
    while following is not None and not missing_tasks(store, following):
        spec, following = following, refined(store, following, refinement)
    return spec, following


def foreseen(spec: SweepSpec, refinement: Refinement) -> tuple[int, int]:
    """Foresee how many cells a refinement adds to a line whose verdict changes once, in its widest gap.

    Parameters
    ----------
    spec : SweepSpec
    refinement : Refinement

    Returns
    -------
    lines, cells : int
        Lines of the sweep along the axis, and the most cells that one of them gets.
    """
    lines: dict[Any, list[float]] = {}
    for cell in spec.cells:
        others = tuple(getattr(cell.problem, name) for name in spec.fields if name != refinement.axis)
        lines.setdefault(key_of(others), []).append(getattr(cell.problem, refinement.axis))
    most = 0
    for values in lines.values():
        for low, high in pairwise(sorted(values)):
            halvings = 0
            while halvings < MOST_HALVINGS and high - low > refinement.within * max(abs(low), abs(high)):
                middle, halvings = _between(low, high, whole=refinement.whole), halvings + 1
                # Towards zero, where what is close is closest.
                low, high = (low, middle) if abs(low) < abs(high) else (middle, high)
                if refinement.whole and high - low == 1:
                    break
            most = max(most, halvings)
    return len(lines), most


def _between(low: float, high: float, *, whole: bool) -> float:
    return (low + high) // 2 if whole else plain((low + high) / 2)


class RefinedTasks(RoundTasks):
    """Gives out the cells of a sweep, then those that their verdicts ask for. A cell with a failure has no verdict.

    Parameters
    ----------
    store : Store
        Grows by the cells that are added.
    spec : SweepSpec
        Of rows alone, where it starts.
    refinement : Refinement
    device : str
        What tasks are planned for.
    """

    def __init__(self, store: Store, spec: SweepSpec, refinement: Refinement, device: str) -> None:
        self._store, self.spec, self._refinement, self._device = store, spec, refinement, device
        super().__init__()

    def _plan(self, *, first: bool) -> Sequence[Task]:
        tasks = missing_tasks(self._store, self.spec, self._device) if first else []
        if tasks:
            return tasks
        self.spec, following = unfinished(self._store, self.spec, self._refinement)
        if following is None:
            return []
        self.spec = following
        self._store.extend(following)
        return missing_tasks(self._store, following, self._device)
