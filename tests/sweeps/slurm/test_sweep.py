"""Sweeps in jobs of Slurm: of one that is there, and of a stand-in; disturbed in every way, with the same results."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import xarray as xr

from sedyn.errors import InvalidInput
from sweeps.application.sweep import main
from sweeps.compute import Compute
from sweeps.slurm.jobs import Jobs
from sweeps.store import DONE, Store, states
from tests.sweeps.slurm import slow_tasks, standin

ROOT = Path(__file__).parents[3]
WORDS = ["problem.n=40", "problem.d=20", "problem.steps=3", "problem.depth=2", "replicates=6", "block=1"]
WORDS += ["theory.samples=64", "theory.randomizations=2", "imports=[tests.sweeps.slurm.slow_tasks]"]
WORDS += ["grid.noise=[0.1,0.2,0.3,0.4,0.5]", "compute=slurm", "compute.workers=2", "compute.walltime=00:01:00"]


def slurm_is_here() -> bool:
    if shutil.which("scontrol") is None:
        return False
    return subprocess.run(["scontrol", "ping"], capture_output=True, check=False, timeout=60).returncode == 0


@pytest.fixture(params=["a stand-in", "Slurm"])
def slurm(request, tmp_path_factory, monkeypatch):
    """Put Slurm's commands on the path; returns the folder of the stand-in."""
    monkeypatch.setattr("sweeps.slurm.executor.LOOK_SECONDS", 0.5)
    if request.param == "Slurm":
        if not slurm_is_here():
            pytest.skip("no Slurm answers")
        return None
    folder = tmp_path_factory.mktemp("slurm")
    monkeypatch.setenv("STANDIN_FOLDER", str(folder))
    monkeypatch.setattr(standin, "FOLDER", folder)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    standin.install(folder / "bin")
    return folder


@pytest.fixture
def undisturbed(tmp_path, monkeypatch):
    """What the same sweep leaves in this process."""
    location = tmp_path / "stores" / "inline.zarr"
    monkeypatch.delenv(slow_tasks.SECONDS, raising=False)
    plain = [word for word in WORDS if not word.startswith(("compute", "imports"))]
    assert main([*plain, "compute=inline", f"store={location}"]) == 0
    monkeypatch.setenv(slow_tasks.SECONDS, "0.3")
    return xr.open_datatree(location, engine="zarr").load()


def assert_same(location: Path, undisturbed: xr.DataTree) -> None:
    found = xr.open_datatree(location, engine="zarr").load()
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(found[group].ds, undisturbed[group].ds)
    assert (found["status"].simulation == 1).all()
    assert not location.with_name(f".{location.name}.slurm").exists()
    assert not workers_of(location)


def workers_of(location: Path) -> list[int]:
    """Find the processes of a store's workers on this machine."""
    folder, found = str(location.with_name(f".{location.name}.slurm")), []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if {"sweeps.slurm.work", folder} <= set(path.read_text().split("\0")):
                found.append(int(path.parent.name))
    return found


def wait_until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def done(location: Path) -> int:
    with contextlib.suppress(InvalidInput):  # until there is one
        return int((states(Store.open(str(location)), "simulation") == DONE).sum())
    return 0


def test_a_sweep_runs_in_jobs_while_a_worker_is_killed(slurm, tmp_path, undisturbed, capsys):
    location = tmp_path / "stores" / "slurm.zarr"
    killed = []

    def kill():
        wait_until(lambda: done(location) >= 2)
        killed.extend(wait_until(lambda: workers_of(location))[:1])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    assert main([*WORDS, "compute.cpus_per_task=2", f"store={location}"]) == 0
    killer.join()
    assert killed
    assert_same(location, undisturbed)
    assert "tasks done, 0 failed" in capsys.readouterr().out


@pytest.mark.slow
def test_jobs_whose_time_is_up_hand_back_and_are_replaced(slurm, tmp_path, undisturbed, monkeypatch):
    location = tmp_path / "stores" / "slurm.zarr"
    seen, ended = set(), threading.Event()

    def watch():
        while not ended.wait(0.1):
            seen.update(workers_of(location))

    def expire():
        wait_until(lambda: done(location) >= 3)
        standin.expire()

    if slurm is None:  # a job has a minute, and half of the work takes longer
        monkeypatch.setenv(slow_tasks.SECONDS, "4")
    others = [threading.Thread(target=watch), threading.Thread(target=expire if slurm else int)]
    for other in others:
        other.start()
    assert main([*WORDS, f"store={location}"]) == 0
    ended.set()
    for other in others:
        other.join()
    assert len(seen) > 2
    assert_same(location, undisturbed)
    attempts = xr.open_datatree(location, engine="zarr")["status"].simulation_facts.sel(fact="attempt")
    assert (attempts == 1).all()  # what is handed back was not lost


@pytest.mark.slow
def test_a_driver_that_was_killed_goes_on_with_the_jobs_that_are_there(slurm, tmp_path, undisturbed):
    location = tmp_path / "stores" / "slurm.zarr"
    command = [sys.executable, "-m", "sweeps", *WORDS, f"store={location}"]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: done(location) >= 3)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = set(workers_of(location))
    assert len(before) == 2
    seen = set()
    watch = threading.Event()

    def look():
        while not watch.wait(0.1):
            seen.update(workers_of(location))

    watcher = threading.Thread(target=look)
    watcher.start()
    assert main([*WORDS, f"store={location}"]) == 0
    watch.set()
    watcher.join()
    assert seen <= before  # no other job was needed
    assert_same(location, undisturbed)


@pytest.mark.slow
def test_jobs_that_are_cancelled_are_replaced_and_a_driver_that_ends_takes_its_own_along(slurm, tmp_path, undisturbed):
    location = tmp_path / "stores" / "slurm.zarr"
    command = [sys.executable, "-m", "sweeps", *WORDS, f"store={location}"]
    driver = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: done(location) >= 3)
    driver.terminate()
    assert "ended by SIGTERM; what is finished is kept" in driver.communicate(timeout=120)[1]
    assert driver.returncode == 143
    wait_until(lambda: not workers_of(location), 30)
    assert not location.with_name(f".{location.name}.slurm").exists()
    before = done(location)
    assert before < 30

    def cancel():
        wait_until(lambda: done(location) >= before + 3)
        Jobs(Compute("slurm", 2), location.with_name(f".{location.name}.slurm")).cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    assert main([*WORDS, f"store={location}"]) == 0
    canceller.join()
    assert_same(location, undisturbed)
