"""What a task writes: its results, and after them its status.

A task owns the chunks that it writes, whole, so that no chunk has two writers and repeating a task writes the same.
Where chunks lie in shards, it writes to a log instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from sweeps.plan import SimulationTask, TheoryTask, blocks
from sweeps.store import objects
from sweeps.store.chunks import chunks_of, sum_of
from sweeps.store.layout import FACTS, facts_of, predicted, simulated
from sweeps.store.lifecycle import Store
from sweeps.store.logs import Entry

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["write_results", "write_status"]


def write_results(store: Store, task: SimulationTask | TheoryTask, results: xr.Dataset) -> np.ndarray:
    """Write what a task computed; a theory solution goes into every cell that shares it.

    Parameters
    ----------
    store : Store
    task : SimulationTask or TheoryTask
    results : Dataset
        As `sedyn.simulate` returns it for the task's replicates, or `sedyn.state_evolution`, perhaps with what
        `sedyn.fluctuations` says beside it.

    Returns
    -------
    ndarray, shape (replicates,) or ()
        Sum of what was written, which belongs to the status: a mixture with what another wrote does not have it.
        0 where it goes to a log, which nobody else writes.

    Raises
    ------
    StoreTaken
        If another driver has taken the store over.
    """
    simulation = isinstance(task, SimulationTask)
    leading: tuple[str, ...] = ("replicate",) if simulation else ()
    observables = (simulated if simulation else predicted)(store.settings)
    values = {
        name: _ordered(results.variables[name], (*leading, *observable.dims))
        for name, observable in observables.items()
        if name in results.variables  # the problems of other cells may have more
    }
    if store.is_sharded:
        _log(store, task, {f"{task.group}/{name}": each for name, each in values.items()})
        return np.zeros((task.size,) if simulation else (), np.int64)
    store.require_ours()
    for position in task.positions:
        arrays = (_chunks(store, (task.group, name), task, position, values[name]) for name in values)
        objects.write(store.objects, chain.from_iterable(arrays))
    shape = (task.size,) if simulation else ()
    sums = np.zeros(shape, np.int64)
    for name in sorted(values):
        for which in np.ndindex(shape):
            sums[which] = sum_of(values[name][which], int(sums[which]))
    return sums


def write_status(
    store: Store,
    task: SimulationTask | TheoryTask,
    state: int,
    *,
    seconds: float,
    error: str = "",
    **facts: float | np.ndarray,
) -> None:
    """Record how a task ended. Comes after its results; the state itself comes last of all.

    Parameters
    ----------
    store : Store
    task : SimulationTask or TheoryTask
    state : {DONE, FAILED}
    seconds : float
        Computing time of the whole task.
    error : str, optional
        Why it failed.
    **facts : float or ndarray, shape (replicates,) or ()
        Others of `sweeps.store.layout.facts_of`; as an array one for each replicate.

    Raises
    ------
    StoreTaken
        If another driver has taken the store over.
    """
    facts |= {"seconds": seconds / task.size}
    assert set(facts) <= set(FACTS), "a fact without a place in any store"
    names = facts_of(store.settings)
    leading = (task.size,) if isinstance(task, SimulationTask) else ()
    numbers = np.stack([np.broadcast_to(facts.get(name, np.nan), leading) for name in names], axis=-1)
    if store.is_sharded:
        said = {f"status/{task.group}_facts": numbers, f"status/{task.group}": np.full(leading, state, np.int8)}
        said |= {f"status/{task.group}_error": np.full(leading, error)} if error else {}
        _log(store, task, said)
        return
    store.require_ours()
    if error:
        for span in _spans(task, store.block):
            store.array("status", f"{task.group}_error")[span] = error
    for name, value in ((f"{task.group}_facts", numbers), (task.group, np.asarray(state, np.int8))):
        values = np.broadcast_to(value, (*leading, *value.shape[len(leading) :]))
        places = (_chunks(store, ("status", name), task, position, values) for position in task.positions)
        objects.write(store.objects, chain.from_iterable(places))


def _ordered(variable: xr.Variable, dims: tuple[str, ...]) -> np.ndarray:
    """Put the dimensions of a variable in an order."""
    return np.asarray(np.transpose(variable.values, [variable.dims.index(dim) for dim in dims]))


def _log(store: Store, task: SimulationTask | TheoryTask, values: Mapping[str, np.ndarray]) -> None:
    """Log what a task has for each of its cells, by the path of the array."""
    replicates = task.replicates if isinstance(task, SimulationTask) else ()
    shared = np.zeros(len(task.positions), int), replicates, {path: each[None] for path, each in values.items()}
    store.log.append([Entry(np.array(task.positions), *shared)])


def _spans(task: SimulationTask | TheoryTask, block: int) -> Iterator[tuple[Any, ...]]:
    """Index the parts of a status array that belong to a task."""
    if isinstance(task, TheoryTask):
        yield from task.positions
        return
    for replicates in blocks(task.replicates, block):
        yield (*task.position, slice(replicates[0], replicates[-1] + 1))


def _chunks(
    store: Store,
    path: tuple[str, str],
    task: SimulationTask | TheoryTask,
    position: tuple[int, ...],
    values: np.ndarray,
) -> Iterator[tuple[str, bytes]]:
    """Cut what a task has for one cell into the chunks that it owns: of a theory the whole cell, else its blocks."""
    array = store.array(*path)
    if isinstance(task, TheoryTask):
        yield from chunks_of(array, position, values)
        return
    first = 0
    for replicates in blocks(task.replicates, store.block):
        part = values[first : first + len(replicates)]
        first += len(replicates)
        number = replicates[0] // store.block
        start, stop = number * store.block, min((number + 1) * store.block, array.shape[len(position)])
        if replicates != tuple(range(start, stop)):
            # The other replicates of the block are done: keep them.
            block: tuple[Any, ...] = (*position, slice(start, stop))
            whole = np.array(array[block])
            padded = np.full((len(part), *whole.shape[1:]), array.fill_value, array.dtype)
            padded[tuple(slice(size) for size in part.shape)] = part
            whole[np.asarray(replicates) - start] = padded
            part = whole
        yield from chunks_of(array, (*position, number), part)
