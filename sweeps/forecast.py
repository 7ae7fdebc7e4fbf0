"""What ``plan=true`` prints: cells, tasks, and what they will take, before any work."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sweeps.bisection import foreseen, unfinished
from sweeps.compute import Compute, worker_count
from sweeps.cost import CostModel, calibrate, makespan, memory_of
from sweeps.foresight import foresee
from sweeps.plan import SweepSpec, Task, TheoryTask, kind_of, name_of
from sweeps.refinement import Refinement
from sweeps.schedule import missing_tasks
from sweeps.slurm.jobs import grace
from sweeps.sources import Code
from sweeps.store import Store, lacking, may_have_shards, settings_for, stored_size
from sweeps.target import Judge, Target
from sweeps.verdict import next_round

__all__ = ["forecast"]

LONGEST_SHOWN = 5
MEBIBYTE = 2**20


def forecast(
    spec: SweepSpec,
    compute: Compute,
    target: Target | None,
    location: str,
    code: Code | None = None,
    judge: Judge | None = None,
    refinement: Refinement | None = None,
) -> Iterator[str]:
    """Describe what a sweep still has to do, a line at a time. Times small problems for about two seconds.

    With a target of precision it also says how many replicates that will take, and this may be 20 seconds more.

    Parameters
    ----------
    spec : SweepSpec
        Its device is timed.
    compute : Compute
        Where it would run.
    target : Target, optional
        Of verdicts only the next round can be foreseen.
    location : str
        Path or URL of the store; what it holds is not done again.
    code : Code, optional
        What would compute.
    judge : callable, optional
        Says where the findings on the store stand, if they should be decided.
    refinement : Refinement, optional
        Which axis gets more values where the verdict changes.

    Raises
    ------
    InvalidInput
        If there is a store of other settings, or of other code that lacks something.
    """
    store, device = Store.look(location, spec), spec.device
    settings = settings_for(spec, None if store is None else store.settings, shards=may_have_shards(location))
    tasks = missing_tasks(store, spec, compute.task_device)
    if tasks:
        Store.look(location, spec, code)
    theories = sum(isinstance(kind_of(task), TheoryTask) for task in tasks)
    yield f"grid: {spec.description}"
    yield f"cells: {len(spec.cells)}"
    yield f"replicates: {spec.replicates} a cell, in blocks of {settings['block']}"
    if store is not None:
        table = lacking(store, store.spelled(spec))
        left, unsolved = int(table.replicates.sum()), len(np.unique(spec.theories[~table.solved]))
        asked = spec.replicates * len(spec.cells)
        yield (
            f"done: {asked - left} of {asked} replicates and {spec.theory_count - unsolved} of "
            f"{spec.theory_count} theory solutions; what follows is what is left"
        )
    yield f"tasks: {len(tasks)} ({len(tasks) - theories} simulation, {theories} theory)"
    if not tasks:
        if target is not None and judge is None:
            yield from _precision(spec, target, calibrate(spec))
        elif store is not None and target is not None and judge is not None:
            yield from _verdict(store, spec, target, judge)
        if store is not None and refinement is not None:
            yield _refinement(store, spec, refinement)
        return
    model = calibrate(spec)
    workers = worker_count(compute)
    durations = model.durations(tasks, workers)
    elsewhere = "; cores and speed of the cluster may differ" if compute.joins_cluster else ""
    yield (
        f"predicted: {_duration(sum(durations))} of computing, {_duration(makespan(durations, workers))} on {workers} "
        f"{'worker' if workers == 1 else 'workers'} of this machine ({device}){elsewhere}"
    )
    ordered = sorted(zip(durations, tasks, strict=True), key=lambda pair: -pair[0])
    if compute.executor == "slurm":
        yield _jobs(sum(durations), len(tasks), compute)
    yield f"seconds a task: {ordered[0][0]:.2g} at most, {ordered[len(ordered) // 2][0]:.2g} median"
    for duration, task in ordered[:LONGEST_SHOWN]:
        yield f"  {duration:.2g} s, {_memory(model, task, device)}: {task.name}"
    most = max(tasks, key=lambda task: memory_of(task, device))
    yield f"most memory: {_memory(model, most, device)}: {most.name}"
    if target is not None:
        most_bytes = stored_size(settings, target.max_replicates).bytes / MEBIBYTE
        what = "every finding decided" if judge else f"standard error of {target.observable} {target.stderr:g}"
        time = "" if target.max_seconds is None else f" in {_duration(target.max_seconds)} of computing in all"
        yield (
            f"target: {what}; this is the first round, and up to "
            f"{target.max_replicates} replicates a cell and {most_bytes:.1f} MiB may follow{time}"
        )
        if judge is None:
            yield from _precision(spec, target, model)
    if refinement is not None:
        lines, cells = foreseen(spec, refinement)
        yield (
            f"refine: this is the first round; up to {cells} values of {refinement.axis} follow, one by one, "
            f"in each of {lines} {'line' if lines == 1 else 'lines'} whose verdict changes once"
        )
    size = stored_size(settings, spec.replicates)
    yield f"store's size: {size.bytes / MEBIBYTE:.1f} MiB in {size.files} files"


def _precision(spec: SweepSpec, target: Target, model: CostModel) -> Iterator[str]:
    """Say how many replicates will meet a target, by predicted fluctuations."""
    found = foresee(spec, target)

    def at_most(count: int) -> int:
        return min(count, target.max_replicates)

    if found.replicates:
        tasks = [spec.simulation_task(cell, (), tuple(range(at_most(count)))) for cell, count in found.replicates]
        total = sum(task.size for task in tasks)
        seconds = sum(model.durations(tasks, 1))
        cells = f"{len(tasks)} cell{'s' if len(tasks) > 1 else ''}"
        yield (f"replicates for it, by predicted fluctuations: {total:,} in {cells}, {_duration(seconds)} of computing")
    for cell, count in found.replicates[:LONGEST_SHOWN]:
        beyond = f" of the {count:,} that it takes" if count > target.max_replicates else ""
        yield f"  {at_most(count):,}{beyond}: {name_of(cell.problem, spec.fields)}"
    if len(found.replicates) > LONGEST_SHOWN:
        cell, count = found.replicates[-1]
        yield f"  and down to {at_most(count):,}: {name_of(cell.problem, spec.fields)}"
    for reason, number in found.unknown.items():
        yield f"replicates for it are not known of {number} cell{'s' if number > 1 else ''}: {reason}"


def _verdict(store: Store, spec: SweepSpec, target: Target, judge: Judge) -> Iterator[str]:
    """Say where the findings stand, and what the next round takes."""
    found = next_round(store, store.spelled(spec), target, judge)
    limit = "" if target.max_seconds is None else f" of {_duration(target.max_seconds)}"
    yield f"target: every finding decided; {found.standing}, after {_duration(found.spent)}{limit} of computing"
    for one in found.standing.open:
        more = f"about {one.runs:.2g} times the replicates" if one.runs == one.runs else "replicates alone do not"
        if one.samples == one.samples:
            more = f"about {one.samples:.2g} times the samples of theory"
        yield f"  {one.finding}: {more} decide"
    adds = [f"{found.added} replicates"] if found.added else []
    if found.samples:
        adds.append(f"theories of {len(found.samples)} cells with up to {max(found.samples.values())} samples")
    following = f"{' and '.join(adds)}, {_duration(found.seconds)} of computing" if adds else "none"
    yield f"next round: {following}"


def _refinement(store: Store, spec: SweepSpec, refinement: Refinement) -> str:
    """Say how many cells the next round of a refinement has that is not done yet."""
    before, following = unfinished(store, spec, refinement)
    if following is None:
        return "refine: nothing is to be added"
    return f"refine: the next round adds {len(following.cells) - len(before.cells)} values of {refinement.axis}"


def _jobs(seconds: float, tasks: int, compute: Compute) -> str:
    """Say how many jobs of Slurm's there will be."""
    cores = compute.cpus_per_task
    at_once = min(compute.job_count, math.ceil(tasks / cores))
    count = max(at_once, math.ceil(seconds / (cores * (compute.job_seconds - grace(compute.job_seconds)))))
    of = f"of {cores} {'core' if cores == 1 else 'cores'} and {compute.walltime}"
    return f"jobs of Slurm: about {count} {of}, {at_once} at once"


def _memory(model: CostModel, task: Task, device: str) -> str:
    arrays = memory_of(task, device) / MEBIBYTE
    resident = model.resident / MEBIBYTE
    if device == "gpu":
        return f"{resident:.0f} MiB and {arrays:.0f} MiB of GPU memory"
    return f"{resident + arrays:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
