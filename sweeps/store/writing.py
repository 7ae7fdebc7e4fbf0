"""What a task writes: its results, and after them its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sweeps.plan import SimulationTask, TheoryTask
from sweeps.store.chunks import sum_of
from sweeps.store.layout import FACTS, facts_of, predicted, simulated
from sweeps.store.lifecycle import Store

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
        0 in a store that keeps no such sums.

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
    store.chunks.write(task, [{f"{task.group}/{name}": each for name, each in values.items()}])
    shape = (task.size,) if simulation else ()
    sums = np.zeros(shape, np.int64)
    if "checksum" in facts_of(store.settings):
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
    leading = (task.size,) if isinstance(task, SimulationTask) else ()
    names = facts_of(store.settings)
    numbers = np.empty((*leading, len(names)))
    for number, name in enumerate(names):
        numbers[..., number] = facts.get(name, np.nan)
    path = f"status/{task.group}"
    words = [{f"{path}_error": np.full(leading, error)}] if error else []
    steps = [{f"{path}_facts": numbers}, {path: np.full(leading, state, np.int8)}]
    store.chunks.write(task, [*words, *steps])


def _ordered(variable: xr.Variable, dims: tuple[str, ...]) -> np.ndarray:
    """Put the dimensions of a variable in an order."""
    values = variable.values
    return values if variable.dims == dims else np.transpose(values, [variable.dims.index(dim) for dim in dims])
