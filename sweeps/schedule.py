"""From what is missing to tasks: how many replicates go in one, which cells share one, and which is first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain

from sedyn.descent.engines import ENOUGH, replicates_together
from sweeps.bundles import bundled
from sweeps.cost import TASK_SECONDS, block_of, seconds_of
from sweeps.plan import Cell, JoinedTask, SimulationTask, SweepSpec, Task, blocks
from sweeps.store import Store, lacking, missing

__all__ = ["joined", "missing_tasks", "simulation_tasks"]


def missing_tasks(store: Store | None, spec: SweepSpec, device: str | None = None) -> list[Task]:
    """List the tasks of a sweep whose results are not in its store, the longest first.

    Parameters
    ----------
    store : Store or None
        It may still have to grow for some of them; those have no position. None where there is no store yet.
    spec : SweepSpec
    device : {'cpu', 'gpu'}, optional
        What they are planned for (`sweeps.compute.Compute.task_device`), which decides on the cells that share a task;
        by default what engines were chosen for.
    """
    spec = spec if store is None else store.spelled(spec)
    block = block_of(spec) if store is None or store.is_sharded else store.block  # of a chunk's replicates
    device = device or spec.device
    if spec.is_large:
        tasks_of = partial(simulation_tasks, spec, block=block, device=device)
        bundles = bundled(spec, lacking(store, spec), device, tasks_of)
        return sorted(bundles, key=lambda task: -seconds_of(task))
    found = missing(store, spec)
    each = (
        simulation_tasks(spec, cell, position or (), lacks, block, device) for cell, position, lacks in found.replicates
    )
    tasks: list[Task] = [*joined(spec, chain.from_iterable(each), device), *found.theories]
    return sorted(tasks, key=lambda task: -seconds_of(task))


def simulation_tasks(
    spec: SweepSpec, cell: Cell, position: tuple[int, ...], replicates: Iterable[int], block: int, device: str = "cpu"
) -> Iterator[SimulationTask]:
    """Make the tasks of some replicates of a cell: a block each; if none was asked for, what a second allows.

    Parameters
    ----------
    spec : SweepSpec
    cell : Cell
        One of its cells.
    position : tuple of int
        Where the cell is in the store.
    replicates : iterable of int
        Which, increasing.
    block : int
        Replicates of one chunk of the store.
    device : {'cpu', 'gpu'}, optional
        Whose second it is.
    """
    count = block
    while spec.block is None and 2 * count <= spec.replicates:
        if seconds_of(spec.simulation_task(cell, position, tuple(range(2 * count))), device) > TASK_SECONDS:
            break
        count *= 2
    for together in blocks(replicates, count):
        yield spec.simulation_task(cell, position, together)


def joined(spec: SweepSpec, tasks: Iterable[SimulationTask], device: str) -> Iterator[SimulationTask | JoinedTask]:
    """Join tasks of cells that differ in `sedyn.model.problem.INDIVIDUAL` alone.

    As many as a second of the device allows; on a CPU no more than share their calls to advantage. None where blocks
    of a size were asked for.

    Parameters
    ----------
    spec : SweepSpec
    tasks : iterable of SimulationTask
        Of any of its cells.
    device : {'cpu', 'gpu'}
        What they will run on.
    """
    waiting: dict[str, list[SimulationTask]] = {}
    for task in tasks:
        together = replicates_together(task.problem, task.engine, dtype=spec.dtype)
        if spec.block is not None or spec.laws or (device == "cpu" and together == 1):
            yield task
            continue
        key = task.problem.stack_key
        more = JoinedTask((*waiting.get(key, ()), task))
        enough = device == "cpu" and more.size > min(ENOUGH, together)
        if key in waiting and (enough or seconds_of(more, device) > TASK_SECONDS):
            yield _one_of(waiting.pop(key))
        waiting.setdefault(key, []).append(task)
    yield from map(_one_of, waiting.values())


def _one_of(parts: Sequence[SimulationTask]) -> SimulationTask | JoinedTask:
    return parts[0] if len(parts) == 1 else JoinedTask(tuple(parts))
