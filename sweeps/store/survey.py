"""What a store holds: states, facts, failures and results, and what of a sweep is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sedyn.errors import InvalidInput
from sweeps.plan import Cell, SimulationTask, SweepSpec, TheoryTask
from sweeps.store.layout import DONE, FAILED, PENDING, facts_of, predicted
from sweeps.store.lifecycle import SOLVED_WITH, Store

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Lacking",
    "Missing",
    "facts",
    "failures",
    "groups_of",
    "intact",
    "is_done",
    "lacking",
    "missing",
    "read_simulation",
    "read_theory",
    "states",
    "theory_lacking",
]


class Lacking(NamedTuple):
    """What of a sweep is done and what is not, of all its cells in a table.

    Attributes
    ----------
    positions : ndarray of int, shape (cells, cell axes)
    there : ndarray of bool, shape (cells,)
        As `Store.positions` finds them.
    replicates : ndarray of bool, shape (cells, replicates)
        Which are lacking.
    solved : ndarray of bool, shape (cells,)
        Which have their theory solution.
    samples : ndarray of int, shape (cells,)
        Which the theory of a cell is solved with where these are more than the sweep's; else 0.
    """

    positions: np.ndarray
    there: np.ndarray
    replicates: np.ndarray
    solved: np.ndarray
    samples: np.ndarray

    def position(self, cell: int) -> tuple[int, ...] | None:
        """Find where a cell is in the arrays; None if they have no place for it yet."""
        return tuple(self.positions[cell].tolist()) if self.there[cell] else None


class Missing(NamedTuple):
    """What a sweep computes and its store has not.

    Attributes
    ----------
    replicates : list of (Cell, tuple of int or None, list of int)
        For each cell, where it is in the arrays, if they have a place for it yet, and the replicates that it lacks.
    theories : list of TheoryTask
        One for each solution that some of its cells lack.
    """

    replicates: list[tuple[Cell, tuple[int, ...] | None, list[int]]]
    theories: list[TheoryTask]


def missing(store: Store | None, spec: SweepSpec) -> Missing:
    """Find what of a sweep is not done.

    Parameters
    ----------
    store : Store or None
        None where there is none yet: all is missing.
    spec : SweepSpec
    """
    if store is not None:
        spec = store.spelled(spec)
    table = lacking(store, spec)
    places = map(table.position, range(len(spec.cells)))
    lacks = (np.flatnonzero(row).tolist() for row in table.replicates)
    found = Missing(list(zip(spec.cells, places, lacks, strict=True)), [])
    for members in groups_of(spec.theories):
        if not table.solved[members].all():
            found.theories.append(theory_lacking(spec, table, members))
    return found


def lacking(store: Store | None, spec: SweepSpec) -> Lacking:
    """Find what of each cell of a sweep is not done.

    Parameters
    ----------
    store : Store or None
        None where there is none yet: all is lacking.
    spec : SweepSpec
        With values as they stand there, see `Store.spelled`.
    """
    count = len(spec.table)
    nowhere = np.empty((count, 0), np.int64), np.zeros(count, bool)
    positions, there = nowhere if store is None else store.positions(spec)
    lacks, solved, samples = np.ones((count, spec.replicates), bool), np.zeros(count, bool), np.zeros(count, np.int64)
    found = Lacking(positions, there, lacks, solved, samples)
    if store is None:
        return found
    simulated = states(store, "simulation") == DONE
    shape, known = simulated.shape[:-1], min(spec.replicates, simulated.shape[-1])
    place = np.zeros(int(there.sum()), np.int64)
    if shape:
        place = np.ravel_multi_index(tuple(positions[there].T), shape)
    found.replicates[there, :known] = ~simulated.reshape(-1, simulated.shape[-1])[place, :known]
    if SOLVED_WITH in store.settings:
        found.samples[there] = [
            store.samples(store.values_of(spec, spec.cells[k])) for k in np.flatnonzero(there).tolist()
        ]
    found.solved[there] = (states(store, "theory") == DONE).ravel()[place]
    return found


def groups_of(numbers: np.ndarray) -> list[np.ndarray]:
    """Find the places of each number 0, 1, ... among some, in increasing order."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.cumsum(np.bincount(numbers))[:-1])


def theory_lacking(spec: SweepSpec, table: Lacking, members: np.ndarray) -> TheoryTask:
    """Make the task of a theory that some of the cells that share it lack.

    Parameters
    ----------
    spec : SweepSpec
    table : Lacking
    members : ndarray of int, shape (m,)
        Which cells share it.

    Returns
    -------
    TheoryTask
    """
    solved = table.solved[members]
    positions = tuple(table.position(cell) or () for cell in members[~solved].tolist())
    solved_at = table.position(int(members[solved][0])) if solved.any() else None
    return spec.theory_task(spec.cells[int(members[0])], positions, solved_at, int(table.samples[members].max()))


def states(store: Store, kind: str) -> np.ndarray:
    """Read the state of every result: `DONE`, `FAILED` or `PENDING`.

    Parameters
    ----------
    store : Store
    kind : {'simulation', 'theory'}

    Returns
    -------
    ndarray of int8, shape (cell axes, replicates) or (cell axes)
        Of simulations or theory solutions.
    """
    found = intact(store, "status", kind)
    return np.where(np.isin(found, (PENDING, DONE, FAILED)), found, PENDING).astype(found.dtype)


def intact(store: Store, group: str, name: str) -> np.ndarray:
    """Read all of an array of numbers that is not damaged.

    Parameters
    ----------
    store : Store
    group, name : str
        Of the array.

    Returns
    -------
    ndarray, shape of the array
        The fill value where there is nothing, or nothing that can be read.
    """
    array = store.array(group, name)
    found = np.full(array.shape, array.fill_value, array.dtype)
    for place, values, _ in store.chunks.read(array):
        found[place] = values
    return found


def facts(store: Store, kind: str, name: str) -> np.ndarray:
    """Read a number about every result's task.

    Parameters
    ----------
    store : Store
    kind : {'simulation', 'theory'}
    name : str
        One of `sweeps.store.layout.facts_of`.

    Returns
    -------
    ndarray, shape (cell axes, replicates) or (cell axes)
        NaN where there is none.

    Raises
    ------
    InvalidInput
        If they are damaged.
    """
    array, column = store.array("status", f"{kind}_facts"), list(facts_of(store.settings)).index(name)
    found = np.full(array.shape[:-1], np.nan)
    for place, values, whole in store.chunks.read(array):
        if not whole:
            raise _damaged(store, array.path, "a chunk is not what was written")
        found[place[:-1]] = values[..., column]
    return found


def failures(store: Store, kind: str) -> list[str]:
    """Read why results failed.

    Parameters
    ----------
    store : Store
    kind : {'simulation', 'theory'}

    Returns
    -------
    list of str
        One for each result that failed, in the order of the cells.
    """
    failed = states(store, kind) == FAILED
    if not failed.any():
        return []  # and the store need not be searched for the words
    return _values(store, "status", f"{kind}_error", ...)[failed].tolist()


def is_done(store: Store, task: SimulationTask | TheoryTask) -> bool:
    """Tell whether all that a task computes is in the store.

    Parameters
    ----------
    store : Store
    task : SimulationTask or TheoryTask
    """
    known = [_values(store, "status", task.group, position) for position in task.positions]
    if isinstance(task, SimulationTask):
        known = [found[list(task.replicates)] for found in known]
    return all((found == DONE).all() for found in known)


def read_theory(store: Store, position: tuple[int, ...]) -> xr.Dataset:
    """Read the theory solution of one cell.

    Parameters
    ----------
    store : Store
    position : tuple of int
        Where the cell is in the arrays.

    Returns
    -------
    Dataset
        Padded as it is stored, without coordinates.
    """
    import xarray as xr

    return xr.Dataset(
        {
            name: (observable.dims, _values(store, "theory", name, position))
            for name, observable in predicted(store.settings).items()
        }
    )


def read_simulation(store: Store, position: tuple[int, ...], name: str, replicates: int) -> np.ndarray:
    """Read one observable of the first replicates of one cell.

    Parameters
    ----------
    store : Store
    position : tuple of int
        Where the cell is in the arrays.
    name : str
        Of the observable.
    replicates : int
        How many.

    Returns
    -------
    ndarray, shape (replicates, dimensions of the observable)
        Padded as it is stored.
    """
    return _values(store, "simulation", name, (*position, slice(replicates)))


def _values(store: Store, group: str, name: str, where: Any) -> np.ndarray:
    """Read a part of an array.

    Raises
    ------
    InvalidInput
        If it is damaged.
    """
    try:
        return np.asarray(store.array(group, name)[where])
    except OSError:
        raise
    except Exception as error:  # whatever a codec makes of a damaged chunk
        raise _damaged(store, f"{group}/{name}", str(error)) from None


def _damaged(store: Store, path: str, reason: str) -> InvalidInput:
    remedy = f"{path} is damaged ({reason}); 'sedyn validate PATH --repair' marks it for computing"
    return InvalidInput("store", store.location, remedy)
