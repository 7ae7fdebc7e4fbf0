"""Tasks a second of the sweep beside other tools, on the same work in one run, and how long its workers idle.

    python -m benchmarks.tools

Every tool simulates the same replicates, one a task, with two workers of one BLAS thread where it has workers, and
keeps the results as its users do: the sweep in its store; plain Ray and joblib return them, and one file is written at
the end; Hydra's multirun, whose own launcher is one process, writes a file in the folder of each job; xyzpy, if it is
installed, a file of the whole grid. Rounds go through all tools in turn, and the best of each counts: others use the
machine too. Where they use all of it, what a task costs the processor beside its work still says something: that is
measured first, in one process of each tool.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import joblib
import numpy as np
import ray
import xarray as xr

import sedyn
from benchmarks.sweep import computing_seconds, drive, overhead, simulations, timed, warm_up
from sweeps.compute import Compute
from sweeps.executors import RayExecutor
from sweeps.plan import SweepSpec
from sweeps.worker import WorkerSetup

WORKERS, TASKS, ROUNDS = 2, 1000, 3
JOBS = 50  # of Hydra, each of which takes a tenth of a second
LONG_TASKS, SHARE_GOAL = 42, 0.99
WORKED = "processor_seconds"
BASE = {"n": 128, "d": 64, "width": 2, "depth": 2, "steps": 5}
ROOT = Path(__file__).parents[1]
JOB = """
import hydra
from benchmarks.tools import simulate

@hydra.main(version_base=None, config_path=None)
def main(config):
    simulate(config.noise).to_netcdf("result.nc", engine="scipy")

main()
"""


def noises(count: int) -> list[float]:
    """Values of the one axis."""
    return np.linspace(0.1, 1, count).round(6).tolist()


def simulate(noise: float) -> xr.Dataset:
    """Do the work of a task, and say how long it kept the processor."""
    start = time.process_time()
    found = sedyn.simulate(sedyn.Problem(**BASE, noise=noise), 1)
    return found.assign_attrs({WORKED: time.process_time() - start})


def spec(count: int) -> SweepSpec:
    """The same for the sweep."""
    return SweepSpec(BASE, {"noise": tuple(noises(count))}, replicates=1, block=1, samples=128, randomizations=2)


def by_sweep(folder: str, count: int) -> float:
    """The sweep on its Ray actors."""
    store, tasks = simulations(spec(count), folder, "sweep")
    with closing(RayExecutor(Compute(workers=WORKERS), WorkerSetup(store.location, "cpu"), 1)) as executor:
        warm_up(executor)
        return timed(store, tasks, lambda: drive(store, tasks, executor))


def by_ray(folder: str, count: int) -> float:
    """A Ray task for each."""
    remote = ray.remote(simulate)
    ray.get([remote.remote(0.1) for _ in range(WORKERS)])  # which imports
    start = time.perf_counter()
    results = ray.get([remote.remote(noise) for noise in noises(count)])
    return _kept(results, folder, "ray", start)


def by_joblib(folder: str, count: int) -> float:
    """A call of joblib's for each."""
    with joblib.Parallel(n_jobs=WORKERS) as parallel:
        parallel(joblib.delayed(simulate)(0.1) for _ in range(WORKERS))
        start = time.perf_counter()
        return _kept(parallel(map(joblib.delayed(simulate), noises(count))), folder, "joblib", start)


def by_hydra(folder: str, _: int) -> float:
    """`JOBS` jobs of Hydra's multirun; their time is that of a run less that of one job alone."""

    def seconds(jobs: int) -> float:
        start = time.perf_counter()
        run_hydra(folder, jobs)
        return time.perf_counter() - start

    return (JOBS - 1) / (seconds(JOBS) - seconds(1))


def run_hydra(folder: str, jobs: int) -> None:
    """Run so many jobs, each in a folder of its own."""
    script = Path(folder) / "job.py"
    script.write_text(JOB)
    values = ",".join(map(str, noises(jobs)))
    words = [sys.executable, str(script), "--multirun", f"+noise={values}", f"hydra.sweep.dir={folder}/hydra{jobs}"]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([*words, "hydra.job.chdir=true"], check=True, capture_output=True, env=environment)


def by_xyzpy(folder: str, count: int) -> float:
    """A combination of xyzpy's harvester for each."""
    start = time.perf_counter()
    harvest(folder, count, parallel=True, num_workers=WORKERS)
    return count / (time.perf_counter() - start)


def harvest(folder: str, count: int, **how: object) -> xr.Dataset:
    """Let xyzpy fill the grid."""
    import xyzpy

    def work(noise: float) -> tuple[np.ndarray, float]:
        found = simulate(noise)
        return found.test_error.values[0], found.attrs[WORKED]

    iterations = range(BASE["steps"] + 1)
    names = {"var_dims": {"test_error": ["iteration"]}, "var_coords": {"iteration": iterations}}
    runner = xyzpy.Runner(work, ["test_error", WORKED], **names)
    harvester = xyzpy.Harvester(runner, f"{folder}/xyzpy.h5", engine="scipy")
    harvester.harvest_combos({"noise": noises(count)}, verbosity=0, **how)
    assert harvester.full_ds.test_error.notnull().all()
    return harvester.full_ds


def alone() -> None:
    """Print what a task costs the processor beside its work, in one process of each tool."""
    with tempfile.TemporaryDirectory(prefix="tools-") as folder:
        overhead(folder)
        simulate(0.1)  # which loads what the first call needs
        spent = {"joblib": _beside(lambda: _by_joblib_alone(folder))}
        if importlib.util.find_spec("xyzpy") is not None:
            spent["xyzpy"] = _beside(lambda: float(harvest(folder, TASKS)[WORKED].sum()))
        one, all_of_them = (_of_hydra(folder, jobs) for jobs in (1, JOBS))
        spent["Hydra multirun"] = 1e3 * (all_of_them - one) / (JOBS - 1)
    for name, milliseconds in spent.items():
        print(f"{name}: {milliseconds:.2f} ms of the processor a task beside its work")


def _beside(run: Callable[[], float]) -> float:
    start = time.process_time()
    worked = run()
    return 1e3 * (time.process_time() - start - worked) / TASKS


def _by_joblib_alone(folder: str) -> float:
    results = joblib.Parallel(n_jobs=1)(map(joblib.delayed(simulate), noises(TASKS)))
    _kept(results, folder, "alone", 0.0)
    return sum(result.attrs[WORKED] for result in results)


def _of_hydra(folder: str, jobs: int) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_hydra(folder, jobs)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    files = Path(folder, f"hydra{jobs}").glob("*/result.nc")
    worked = sum(float(xr.load_dataset(file, engine="scipy").attrs[WORKED]) for file in files)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - worked


def _kept(results: list[xr.Dataset], folder: str, name: str, start: float) -> float:
    xr.concat(results, "noise", combine_attrs="override").to_netcdf(f"{folder}/{name}.nc", engine="scipy")
    return len(results) / (time.perf_counter() - start)


def rates() -> None:
    """Print tasks a second of every tool."""
    tools: dict[str, Callable[[str, int], float]] = {
        "the sweep": by_sweep,
        "plain Ray": by_ray,
        "joblib": by_joblib,
        "Hydra multirun (one process)": by_hydra,
    }
    if importlib.util.find_spec("xyzpy") is not None:
        tools["xyzpy"] = by_xyzpy
    best = dict.fromkeys(tools, 0.0)
    for _ in range(ROUNDS):
        for name, rate in tools.items():
            with tempfile.TemporaryDirectory(prefix="tools-") as folder:
                best[name] = max(best[name], rate(folder, TASKS))
    for name, rate in best.items():
        print(f"{name}: {rate:.1f} tasks/s, {best['the sweep'] / rate:.2f} times slower than the sweep")


def share_at_work() -> None:
    """Print which part of the time workers are in tasks of a second, most of it asleep: a busy machine does no harm."""
    with tempfile.TemporaryDirectory(prefix="tools-") as folder:
        store, tasks = simulations(spec(LONG_TASKS), folder, "share")
        setup = WorkerSetup(store.location, "cpu", ("benchmarks.sleeping",), search_path=(str(ROOT),))
        with closing(RayExecutor(Compute(workers=WORKERS), setup, 1)) as executor:
            warm_up(executor)
            drive(store, tasks[:WORKERS], executor)
            before = computing_seconds(store)
            summary = drive(store, tasks[WORKERS:], executor)
        share = (computing_seconds(store) - before) / (WORKERS * summary.seconds)
    print(
        f"tasks of a second on {WORKERS} workers: {summary.done} in {summary.seconds:.1f} s; "
        f"workers are in one {share:.1%} of the time (goal {SHARE_GOAL:.0%})"
    )


def main() -> None:
    alone()
    ray.init(
        address="local",
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
    )
    try:
        share_at_work()
        rates()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
