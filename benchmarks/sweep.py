"""What a sweep costs beside its computing: overhead of a task, share of time at work, rates beside others, planning.

    python benchmarks/sweep.py

All in one run on one machine, so that ratios are of the same minutes. Every variant computes the same replicates with
one BLAS thread and writes the same store.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from unittest.mock import patch

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import joblib
import numpy as np
import ray

import sedyn
from sedyn.arrays.machine import available_cores
from sweeps import worker
from sweeps.compute import Compute
from sweeps.cost import calibrate, memory_of
from sweeps.driver import FixedTasks, Summary, run_tasks
from sweeps.executors import InlineExecutor, RayExecutor
from sweeps.plan import SimulationTask, SweepSpec
from sweeps.progress import make_progress
from sweeps.schedule import missing_tasks
from sweeps.store import DONE, Store, facts, states
from sweeps.worker import WorkerSetup

OVERHEAD_GOAL_MS, SHARE_GOAL, PLAN_GOALS = 1.0, 0.9, {5_000: 2.0, 100_000: 30.0}
SMALL_TASKS = 200


def quickstart(replicates: int = 16) -> SweepSpec:
    """The grid of conf/experiment/quickstart.yaml."""
    sizes = (128, 256, 512, 1024, 2048)
    axes = {"n": sizes, "depth": (2, 3), "noise": (0.1, 0.5)}
    features = {n: n // 2 for n in sizes}
    return SweepSpec(
        {"width": 3, "steps": 15}, axes, features, 2.0, replicates=replicates, samples=8192, randomizations=8
    )


def small() -> SweepSpec:
    """Many tasks of some 30 ms, where what a task costs beside its computing shows."""
    noise = tuple(np.linspace(0.1, 1, SMALL_TASKS).tolist())
    base = {"n": 128, "d": 64, "width": 2, "depth": 2, "steps": 5}
    return SweepSpec(base, {"noise": noise}, replicates=1, block=1, samples=128, randomizations=2)


def simulations(spec: SweepSpec, folder: str, name: str) -> tuple[Store, list[SimulationTask]]:
    store = Store.prepare(f"{folder}/{name}.zarr", spec)
    return store, [task for task in missing_tasks(store, spec) if isinstance(task, SimulationTask)]


def computing_seconds(store: Store) -> float:
    """Time that tasks say they computed, their writing apart."""
    return sum(float(np.nansum(facts(store, kind, "seconds"))) for kind in ("simulation", "theory"))


def drive(store: Store, tasks: list, executor: object) -> Summary:
    with make_progress(tasks) as progress:
        return run_tasks(FixedTasks(tasks), store, executor, progress)


def overhead(folder: str) -> None:
    """Time of a sweep in this process less that of its kernels, for each task: by the clock, and of the processor."""
    store, tasks = simulations(small(), folder, "overhead")
    executor = InlineExecutor(WorkerSetup(store.location, "cpu"))
    drive(store, tasks[:10], executor)
    before, busy_before = computing_seconds(store), time.process_time()
    busy_computing = 0.0

    def simulate(*arguments: object, **options: object) -> object:
        nonlocal busy_computing
        start = time.process_time()
        try:
            return sedyn_simulate(*arguments, **options)
        finally:
            busy_computing += time.process_time() - start

    sedyn_simulate = sedyn.simulate_together
    with patch.object(sedyn, "simulate_together", simulate):
        summary = drive(store, tasks[10:], executor)
    each = 1e3 * (summary.seconds - (computing_seconds(store) - before)) / summary.done
    busy = 1e3 * (time.process_time() - busy_before - busy_computing) / summary.done
    print(
        f"overhead of a task, its write included: {each:.2f} ms (goal {OVERHEAD_GOAL_MS:g}), "
        f"{busy:.2f} ms of the processor"
    )


def share_at_work(folder: str) -> None:
    """Computing time of all workers over their number times the time from the first result to the last."""
    spec = quickstart()
    store = Store.prepare(f"{folder}/quickstart.zarr", spec)
    tasks = missing_tasks(store, spec)
    cores = available_cores()
    with closing(RayExecutor(Compute(), WorkerSetup(store.location, "cpu"), 1)) as executor:
        warm_up(executor)
        summary = drive(store, tasks, executor)
    share = computing_seconds(store) / (cores * summary.seconds)
    print(
        f"quickstart on {cores} cores: {summary.done} tasks in {summary.seconds:.1f} s; "
        f"workers compute {share:.0%} of the time (goal {SHARE_GOAL:.0%})"
    )


def warm_up(executor: RayExecutor) -> None:
    """Wait until every actor has joined."""
    while not executor.has_room() or executor._invited:
        executor.collect(0.1)


def rates(folder: str) -> None:
    """Tasks per second of the sweep, of a plain Ray task for each, and of a joblib loop."""
    spec = small()

    def sweep() -> float:
        store, tasks = simulations(spec, folder, "sweep")
        with closing(RayExecutor(Compute(), WorkerSetup(store.location, "cpu"), 1)) as executor:
            warm_up(executor)
            return timed(store, tasks, lambda: drive(store, tasks, executor))

    def plain_ray() -> float:
        store, tasks = simulations(spec, folder, "ray")
        remote = ray.remote(run_alone)
        ray.get([remote.remote(store.location, task) for task in tasks[:4]])
        return timed(store, tasks, lambda: ray.get([remote.remote(store.location, task) for task in tasks]))

    def joblib_loop() -> float:
        store, tasks = simulations(spec, folder, "joblib")
        with joblib.Parallel(n_jobs=available_cores()) as parallel:
            parallel(joblib.delayed(run_alone)(store.location, task) for task in tasks[:4])
            return timed(
                store, tasks, lambda: parallel(joblib.delayed(run_alone)(store.location, task) for task in tasks)
            )

    found = {"sweep": sweep(), "a plain Ray task each": plain_ray(), "a joblib loop": joblib_loop()}
    for name, rate in found.items():
        print(f"{name}: {rate:.1f} tasks/s, {found['sweep'] / rate:.2f} times slower than the sweep")


def run_alone(location: str, task: SimulationTask) -> None:
    """What a script does that opens the store for every task."""
    worker.Worker(WorkerSetup(location, "cpu")).run(task, 1)


def timed(store: Store, tasks: list, run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    assert (states(store, "simulation") == DONE).all()
    return len(tasks) / seconds


KINDS = {
    "small": {"n": 200, "d": 100, "steps": 10},
    "dense": {"n": 3000, "d": 2000, "steps": 20, "features": "rademacher"},
    "Gaussian": {"n": 3000, "d": 2000, "steps": 20},
    "deferred": {"n": 40_000, "d": 20_000, "steps": 10},
    "wide and deep": {"n": 1000, "d": 500, "width": 8, "depth": 4, "steps": 20},
    "mini-batches": {"n": 2000, "d": 1000, "steps": 20, "batch_fraction": 0.25, "loss": "logistic", "labels": "binary"},
    "laws": {"n": 1000, "d": 500, "steps": 10},
    "many samples": {"n": 400, "d": 200, "width": 2, "depth": 2, "steps": 36},
}


def predictions(folder: str) -> None:
    """What a plan says over what a sweep then takes, one process for each kind of task."""
    processes = multiprocessing.get_context("spawn")
    for kind in KINDS:
        with processes.Pool(1) as alone:
            for line in alone.apply(predicted_over_measured, (kind, f"{folder}/{kind}.zarr")):
                print(line)


def predicted_over_measured(kind: str, location: str) -> list[str]:
    samples = 2**16 if kind == "many samples" else 2**12
    spec = SweepSpec(KINDS[kind], replicates=4, block=4, samples=samples, randomizations=4, laws=kind == "laws")
    model = calibrate(spec)
    store = Store.prepare(location, spec)
    executor = InlineExecutor(WorkerSetup(location, "cpu"))
    lines = []
    tasks = missing_tasks(store, spec)
    for task, predicted in zip(tasks, model.durations(tasks, 1), strict=True):
        drive(store, [task], executor)
        group = "simulation" if isinstance(task, SimulationTask) else "theory"
        seconds, peak = np.sum(facts(store, group, "seconds")), np.max(facts(store, group, "peak_memory"))
        lines.append(
            f"{kind}, {group}: predicted over measured {predicted / seconds:.2f} of {seconds:.2f} s, "
            f"{(model.resident + memory_of(task)) / peak:.2f} of {peak / 2**20:.0f} MiB"
        )
    return lines


def planning(folder: str) -> None:
    """From a specification to the list of missing tasks of a new store."""
    for cells, goal in PLAN_GOALS.items():
        sizes, noises = cells // 100, np.linspace(0.1, 1, 100)
        axes = {"n": tuple(range(40, 40 + 2 * sizes, 2)), "noise": tuple(noises.tolist())}
        start = time.perf_counter()
        spec = SweepSpec({"steps": 3}, axes, {n: n // 2 for n in axes["n"]}, 2.0, block=16)
        found = (len(spec.cells), spec.theory_count)
        planned = time.perf_counter() - start
        tasks = missing_tasks(Store.prepare(f"{folder}/plan{cells}.zarr", spec), spec)
        assert found == (cells, 100)
        whole = time.perf_counter() - start
        print(
            f"{cells} cells: planned in {planned:.1f} s, "
            f"store made and {len(tasks)} tasks listed in {whole:.1f} s (goal {goal:g})"
        )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        planning(folder)
        predictions(folder)
        overhead(folder)
        ray.init(
            address="local",
            num_cpus=available_cores(),
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=100 * 2**20,
        )
        try:
            rates(folder)
            share_at_work(folder)
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
