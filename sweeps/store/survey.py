"""What a store holds: states, facts, failures and results, and what of a sweep is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sedyn.errors import InvalidInput
from sweeps.plan import Cell, SimulationTask, SweepSpec, TheoryTask
from sweeps.store import objects
from sweeps.store.chunks import numbers_of, place_of, values_of
from sweeps.store.layout import DONE, FAILED, PENDING, facts_of, predicted
from sweeps.store.lifecycle import Store

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Missing", "facts", "failures", "intact", "is_done", "missing", "read_simulation", "read_theory", "states"]


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
    positions: dict[tuple[Any, ...], tuple[int, ...] | None] = {}
    samples: dict[tuple[Any, ...], int] = {}
    found = Missing([], [])
    done = {} if store is None else {kind: states(store, kind) == DONE for kind in ("simulation", "theory")}
    for cell in spec.cells:
        values = {} if store is None else store.values_of(spec, cell)
        position = None if store is None else store.position(values)
        samples[cell.values] = 0 if position is None or store is None else store.samples(values)
        lacks = np.ones(spec.replicates, bool)
        if position is not None:
            known = done["simulation"][position][: spec.replicates]
            lacks[: known.size] = ~known
        positions[cell.values] = position
        found.replicates.append((cell, position, np.flatnonzero(lacks).tolist()))
    for cells in spec.theory_groups.values():
        places = [positions[cell.values] for cell in cells]
        solved = [place is not None and done["theory"][place] for place in places]
        if not all(solved):
            lacking = tuple(place or () for place, known in zip(places, solved, strict=True) if not known)
            solved_at = places[solved.index(True)] if any(solved) else None
            most = max(samples[cell.values] for cell in cells)
            found.theories.append(spec.theory_task(cells[0], lacking, solved_at, most))
    return found


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
    # Read the chunks that exist instead of asking for each that might: a large grid is empty at first.
    names = {key: numbers_of(array, key) for key in objects.list_names(store.objects, array.path)}
    places = {f"{array.path}/{key}": numbers for key, numbers in names.items() if numbers is not None}
    found = np.full(array.shape, array.fill_value, array.dtype)
    for numbers, data in zip(places.values(), objects.read(store.objects, list(places)), strict=True):
        whole = None if data is None else values_of(array, data)
        if whole is not None:
            place = place_of(numbers, array.chunks)
            found[place] = whole[tuple(slice(size) for size in found[place].shape)]
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
    """
    return _values(store, "status", f"{kind}_facts", (..., list(facts_of(store.settings)).index(name)))


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
        remedy = f"{group}/{name} is damaged ({error}); 'sedyn validate PATH --repair' marks it for computing"
        raise InvalidInput("store", store.location, remedy) from None
