from __future__ import annotations

import os
import re
import signal
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
import ray
import xarray as xr

from sweeps import worker
from sweeps.attempts import Lost
from sweeps.compute import Compute
from sweeps.driver import ATTEMPTS, FixedTasks, run_tasks
from sweeps.executors import InlineExecutor, RayExecutor
from sweeps.plan import SweepSpec
from sweeps.progress import Progress, make_progress
from sweeps.rounds import RoundTasks
from sweeps.schedule import missing_tasks
from sweeps.store import Store, facts
from sweeps.worker import WorkerSetup


class LosingExecutor(InlineExecutor):
    """Loses the worker of the first attempts."""

    def __init__(self, location, losses):
        super().__init__(WorkerSetup(location, "cpu"))
        self.losses = losses

    def collect(self, timeout):
        if self._waiting and self.losses:
            self.losses -= 1
            return [(self._waiting.popleft(), Lost("killed"))]
        return super().collect(min(timeout, 0.01))


@pytest.mark.parametrize("losses", [2, 100])
def test_a_task_whose_worker_is_lost_is_tried_again_but_not_for_ever(tmp_path, monkeypatch, losses):
    monkeypatch.setattr("sweeps.driver.FIRST_BACK_OFF", 0.01)
    base = {"n": 40, "d": 20, "steps": 2, "depth": 2}
    spec = SweepSpec(base, replicates=1, samples=64, randomizations=2)
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), spec)
    tasks = missing_tasks(store, spec)
    summary = run_tasks(FixedTasks(tasks), store, LosingExecutor(store.location, losses), Progress(tasks))
    lost = losses > 2
    assert (summary.done, len(summary.failures)) == ((0, 2) if lost else (2, 0))
    attempts = [facts(store, kind, "attempt").max() for kind in ("simulation", "theory")]
    assert max(attempts) == (ATTEMPTS if lost else 2)


class Judged(RoundTasks):
    """Two rounds of two tasks; what follows a round is known after a minute."""

    def __init__(self, tasks, seconds):
        self._rounds, self._seconds = [tasks[:2], tasks[2:], ()], seconds
        super().__init__()

    def _plan(self, *, first):
        self._seconds[0] += 0.0 if first else 60.0
        return self._rounds.pop(0)


class Told(Progress):
    """Keeps what is said while there is something to do, by how many tasks had finished."""

    def __init__(self, tasks):
        super().__init__(tasks)
        self.lines = {}

    def tick(self, note=""):
        self.lines[self.finished] = self.line(note)


def test_the_time_left_counts_what_the_driver_takes_between_rounds(tmp_path, monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr("sweeps.rounds.time", SimpleNamespace(monotonic=lambda: seconds[0]))
    spec = SweepSpec({"n": 40, "d": 20, "steps": 2}, replicates=4, block=1, samples=64, randomizations=2)
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), spec)
    source = Judged([task for task in missing_tasks(store, spec) if task.group == "simulation"], seconds)
    progress = Told(source.tasks)
    run_tasks(source, store, InlineExecutor(WorkerSetup(store.location, "cpu")), progress)
    left = {count: re.search(r"(\d+):(\d+) left", line) for count, line in progress.lines.items()}
    assert int(left[1][1]) == 0  # nobody knows yet
    assert int(left[2][1]) == int(left[3][1]) == 1
    assert progress.lines[4] == "4/4 tasks, 100%, finished"


class Announcing(Progress):
    """Keeps the lines that stay, each with how many tasks had finished."""

    def __init__(self, tasks):
        super().__init__(tasks)
        self.lines = []

    def announce(self, line):
        self.lines.append((self.finished, line))


@pytest.mark.parametrize("max_failures", [None, 1, 3])
def test_the_first_failure_is_shown_when_it_happens_and_enough_of_them_end_the_run(tmp_path, monkeypatch, max_failures):
    spec = SweepSpec({"n": 40, "d": 20, "steps": 2}, replicates=8, block=1, samples=64, randomizations=2)
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), spec)
    tasks = [task for task in missing_tasks(store, spec) if task.group == "simulation"]

    def failing(*arguments, **options):
        raise FloatingPointError("no luck")

    monkeypatch.setattr(worker.sedyn, "simulate_together", failing)
    progress = Announcing(tasks)
    executor = InlineExecutor(WorkerSetup(store.location, "cpu"))
    summary = run_tasks(FixedTasks(tasks), store, executor, progress, max_failures)
    assert progress.lines == [(0, f"failed: {tasks[0].name}: FloatingPointError: no luck")]
    assert (len(summary.failures), summary.announced) == (max_failures or 8, 1)
    assert summary.stopped == (max_failures is not None)
    assert (facts(store, "simulation", "attempt") == 1).sum() == (max_failures or 8)


def test_what_keeps_a_cluster_from_working_is_said(tmp_path, ray_session, monkeypatch):
    monkeypatch.setattr("sweeps.executors.NOTICE_SECONDS", 0.0)
    spec = SweepSpec({"n": 40, "d": 20, "steps": 2}, replicates=1, samples=64, randomizations=2)
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), spec)
    busy = ray.remote(num_cpus=2)(type("Busy", (), {})).remote()
    ray.get(busy.__ray_ready__.remote())
    _wait_until(lambda: not ray.available_resources().get("CPU"))
    with closing(RayExecutor(Compute(workers=2), WorkerSetup(store.location, "cpu"), 1)) as executor:
        assert not executor.has_room()
        assert executor.hindrance() == "waiting for 2 cores: 0 of the 2 that Ray has are free"
        ray.kill(busy)
        while executor._invited:
            executor.collect(0.1)
        assert executor.hindrance() == ""


def test_workers_that_start_are_waited_for_by_name(tmp_path, ray_session, monkeypatch):
    monkeypatch.setattr("sweeps.executors.NOTICE_SECONDS", 0.0)
    spec = SweepSpec({"n": 40, "d": 20, "steps": 2}, replicates=1, samples=64, randomizations=2)
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), spec)
    with closing(RayExecutor(Compute(workers=2), WorkerSetup(store.location, "cpu"), 1)) as executor:
        monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 2.0})
        assert not executor.has_room()
        assert executor.hindrance() == "waiting for 2 workers to start"


def _wait_until(condition, seconds=60.0):
    """Wait for what Ray reports a moment after it is so; its report of free cores lags behind its actors."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_note_is_shown_beside_the_counts(capsys, monkeypatch):
    monkeypatch.setattr("sweeps.progress.SECONDS_BETWEEN_LINES", 0.0)
    progress = make_progress([])
    progress.count = 3
    progress.tick("waiting for 4 cores")
    progress.announce("failed: a\x1b[2Jb")
    assert capsys.readouterr().err == "0/3 tasks, 0%; waiting for 4 cores\nfailed: a\\x1b[2Jb\n"


def test_a_killed_worker_loses_nothing(tmp_path, ray_session):
    base = {"n": 100, "d": 50, "steps": 4}
    spec = SweepSpec(base, {"noise": (0.1, 0.2, 0.3)}, replicates=6, block=1, samples=64, randomizations=2)
    whole, store = (Store.prepare(str(tmp_path / "stores" / name), spec) for name in ("whole.zarr", "store.zarr"))
    for task in missing_tasks(whole, spec):
        assert not worker.execute(task, whole, device="cpu").error
    tasks = missing_tasks(store, spec)
    executor = RayExecutor(Compute(), WorkerSetup(store.location, "cpu"), 1)
    victim = None

    class Killing(Progress):
        def advance(self, task, *, failed, seconds):
            nonlocal victim
            super().advance(task, failed=failed, seconds=seconds)
            if victim is None:
                victim = ray.get(executor._actors[0].__ray_call__.remote(lambda actor: os.getpid()))
                os.kill(victim, signal.SIGKILL)

    with closing(executor):
        summary = run_tasks(FixedTasks(tasks), store, executor, Killing(tasks))
    assert (summary.done, summary.failures) == (len(tasks), [])
    undisturbed, disturbed = (xr.open_datatree(s.location, engine="zarr").load() for s in (whole, store))
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(disturbed[group].ds, undisturbed[group].ds)
