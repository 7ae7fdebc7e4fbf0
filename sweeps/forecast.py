"""What ``plan=true`` prints: cells, tasks, and what they will take, before any work."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import chain

from sweeps.compute import Compute, worker_count
from sweeps.cost import CostModel, calibrate
from sweeps.layout import stored_bytes
from sweeps.plan import SimulationTask, SweepSpec, Task, TheoryTask
from sweeps.settings import settings_of
from sweeps.store import Store
from sweeps.target import Target

__all__ = ["durations_of", "forecast", "makespan"]

LONGEST_SHOWN = 5
MEBIBYTE = 2**20


def forecast(spec: SweepSpec, compute: Compute, device: str, target: Target | None, location: str) -> Iterator[str]:
    """Describe what a sweep still has to do, a line at a time. Times small problems for about two seconds.

    Parameters
    ----------
    spec : SweepSpec
    compute : Compute
        Where it would run.
    device : str
        What the probe runs on, ``cpu`` or ``gpu``.
    target : Target, optional
        Only the first round of each cell can be foreseen.
    location : str
        Path or URL of the store; what it holds is not done again.

    Raises
    ------
    InvalidInput
        If there is a store of other settings.
    """
    settings = settings_of(spec)
    store = Store.look(location, spec)
    if store is None:
        tasks = sorted(_all_tasks(spec, settings["block"], device), key=lambda task: -task.seconds)
    else:
        tasks, settings = store.missing_tasks(spec, device), settings | {"block": store.block}
    axes = " x ".join(f"{axis} ({len(values)})" for axis, values in spec.axes.items()) or "single problem"
    theories = sum(isinstance(task, TheoryTask) for task in tasks)
    yield f"grid: {axes}"
    yield f"cells: {len(spec.cells)}"
    yield f"replicates: {spec.replicates} a cell, in blocks of {settings['block']}"
    if store is not None:
        parts = [part for task in tasks for part in task.parts]
        left = sum(len(part.replicates) for part in parts if isinstance(part, SimulationTask))
        asked = spec.replicates * len(spec.cells)
        yield (
            f"done: {asked - left} of {asked} replicates and {len(spec.theory_groups) - theories} of "
            f"{len(spec.theory_groups)} theory solutions; what follows is what is left"
        )
    yield f"tasks: {len(tasks)} ({len(tasks) - theories} simulation, {theories} theory)"
    if not tasks:
        return
    model = calibrate(spec, device)
    workers = worker_count(compute)
    durations = durations_of(tasks, model, workers)
    elsewhere = "; cores and speed of the cluster may differ" if compute.joins_cluster else ""
    yield (
        f"predicted: {_duration(sum(durations))} of computing, {_duration(makespan(durations, workers))} on {workers} "
        f"{'worker' if workers == 1 else 'workers'} of this machine ({device}){elsewhere}"
    )
    ordered = sorted(zip(durations, tasks, strict=True), key=lambda pair: -pair[0])
    yield f"seconds a task: {ordered[0][0]:.2g} at most, {ordered[len(ordered) // 2][0]:.2g} median"
    for duration, task in ordered[:LONGEST_SHOWN]:
        yield f"  {duration:.2g} s, {_memory(model, task, device)}: {task.name}"
    most = max(tasks, key=lambda task: model.memory(task, device))
    yield f"most memory: {_memory(model, most, device)}: {most.name}"
    if target is not None:
        most_bytes = stored_bytes(settings, target.max_replicates) / MEBIBYTE
        yield (
            f"target: standard error of {target.observable} {target.stderr:g}; this is the first round, and up to "
            f"{target.max_replicates} replicates a cell and {most_bytes:.1f} MiB may follow"
        )
    yield f"store's size: {stored_bytes(settings, spec.replicates) / MEBIBYTE:.1f} MiB"


def makespan(durations: list[float], workers: int) -> float:
    """Seconds until all tasks are done when each goes, the longest first, to the worker that is free first."""
    free_at = [0.0] * workers
    for duration in sorted(durations, reverse=True):
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def _all_tasks(spec: SweepSpec, block: int, device: str) -> Iterator[Task]:
    each = (spec.simulation_tasks(cell, (), range(spec.replicates), block) for cell in spec.cells)
    yield from spec.joined(chain.from_iterable(each), device)
    for cells in spec.theory_groups.values():
        yield spec.theory_task(cells[0], ((),))


def durations_of(tasks: list[Task], model: CostModel, workers: int) -> list[float]:
    """Predict every task; where laws are compared, each worker solves each theory when it first needs it."""
    durations = [model.seconds(task) for task in tasks]
    solved: dict[str, int] = {}
    for k, task in enumerate(tasks):
        if isinstance(task, SimulationTask) and task.laws is not None:
            times = solved.get(task.problem.theory_key, 0)
            if times < workers:
                solved[task.problem.theory_key] = times + 1
                durations[k] += model.seconds(TheoryTask(task.problem, ((),), None, task.laws))
    return durations


def _memory(model: CostModel, task: Task, device: str) -> str:
    arrays = model.memory(task, device) / MEBIBYTE
    resident = model.resident / MEBIBYTE
    if device == "gpu":
        return f"{resident:.0f} MiB and {arrays:.0f} MiB of GPU memory"
    return f"{resident + arrays:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
