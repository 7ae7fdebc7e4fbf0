"""Kill workers, drivers and nodes: nothing is lost, and the end is bit-identical to an undisturbed run."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xarray as xr

from sweeps import status, validate
from sweeps.application.sweep import main
from sweeps.store import objects
from tests.sweeps.execution_log import LOG, read_log

ROOT = Path(__file__).parents[2]
PROBLEM = ["problem.n=60", "problem.d=40", "problem.steps=4", "theory.samples=64", "theory.randomizations=2"]
PROBLEM += ["imports=[tests.sweeps.execution_log]"]
SWEEP = [*PROBLEM, "grid.noise=[0.1,0.2,0.3]", "replicates=8", "block=2"]
TASKS = 15
SECONDS = 120.0
KILLS = 100


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of a store that is not there yet; workers log what they do, and no test's Ray is touched."""
    (tmp_path / "stores").mkdir()
    monkeypatch.setenv(LOG, str(tmp_path / "stores" / "log.txt"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    return str(tmp_path / "stores" / "store.zarr")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> xr.DataTree:
    """The same sweep without any fault."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(LOG, str(folder / "log.txt"))
        assert main([*SWEEP, f"store={folder}/store.zarr", "compute=inline"]) == 0
    return xr.open_datatree(folder / "store.zarr", engine="zarr").load()


@pytest.fixture
def cluster(store: str) -> Iterator[object]:
    """A Ray cluster of two nodes on this machine, of one core each: a head, and one that may be killed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.mortal = cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def start_driver(store: str, *arguments: str, settings: list[str] = SWEEP) -> subprocess.Popen:
    command = [sys.executable, "-m", "sweeps", *settings, f"store={store}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_until(condition: Callable[[], bool], driver: subprocess.Popen) -> None:
    end = time.monotonic() + SECONDS
    while not condition() and driver.poll() is None:
        assert time.monotonic() < end, "nothing happens"
        time.sleep(0.02)


def assert_whole(store: str, undisturbed: xr.DataTree) -> None:
    tree = xr.open_datatree(store, engine="zarr").load()
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(tree[group].ds, undisturbed[group].ds)
    assert (tree["status"].simulation == 1).all()
    assert validate.main([store, "--repair"]) == 0
    assert validate.main([store]) == 0


def test_a_multirun_of_twelve_jobs_goes_on_after_a_kill(store):
    replicates = ["replicates=2", "compute=inline"]
    jobs = ["--multirun", "problem.width=1,2,3", "problem.noise=0.1,0.2,0.3,0.4", *replicates]
    driver = start_driver(store, *jobs, settings=PROBLEM)
    wait_until(lambda: len(read_log("end")) >= 5, driver)
    driver.kill()
    driver.wait()
    tasks, ended = 3 + 12, len(read_log("end"))  # the four noises of a width run in one task; theories
    assert 5 <= ended < tasks
    assert main([*PROBLEM, f"store={store}", *jobs]) == 0
    # Whatever ended is not run again; a task that had its status but was not logged yet is one less.
    assert tasks - 1 <= len(read_log("end")) <= tasks
    grid = store.replace("store.zarr", "grid.zarr")
    axes = ["grid.width=[1,2,3]", "grid.noise=[0.1,0.2,0.3,0.4]"]
    assert main([*PROBLEM, *axes, f"store={grid}", *replicates]) == 0
    assert_whole(store, xr.open_datatree(grid, engine="zarr").load())


def test_a_killed_node_loses_nothing(store, undisturbed, cluster):
    driver = start_driver(store, "compute=cluster", f"compute.address={cluster.address}")
    wait_until(lambda: len(read_log("end")) >= 3, driver)
    cluster.remove_node(cluster.mortal, allow_graceful=False)
    assert driver.wait(SECONDS) == 0, driver.stderr.read()
    assert_whole(store, undisturbed)


@pytest.mark.parametrize("compute", ["inline", pytest.param("local", marks=pytest.mark.slow)])
def test_sigterm_ends_a_sweep_in_order(store, undisturbed, monkeypatch, compute):
    with tempfile.TemporaryDirectory(
        prefix="t-", dir="/tmp"
    ) as scratch:  # names of Ray's sockets have a limit of length
        monkeypatch.setenv("TMPDIR", scratch)
        driver = start_driver(store, f"compute={compute}")
        wait_until(lambda: len(read_log("end")) >= 2, driver)
        driver.terminate()
        _, shown = driver.communicate(timeout=SECONDS)
        assert set(os.listdir(scratch)) <= {"ray"}
    *progress, last = shown.splitlines()
    assert last == "ended by SIGTERM; what is finished is kept, and the same command goes on from there"
    assert all("tasks, " in line for line in progress), shown
    assert driver.returncode == 128 + signal.SIGTERM
    assert not list(Path(store).parent.glob(".*.lock"))
    for worker in {process for process, _ in read_log("start")}:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)
    assert main([*SWEEP, f"store={store}", "compute=inline"]) == 0
    assert_whole(store, undisturbed)


def test_a_store_can_be_read_at_every_moment(store):
    driver = start_driver(store, "compute=inline", "replicates=6")
    reads = 0
    wait_until(lambda: Path(store, "zarr.json").exists() and len(read_log("start")) > 0, driver)
    while driver.poll() is None:
        status = xr.open_datatree(store, engine="zarr")["status"].simulation.load()  # before the data
        runs = xr.open_datatree(store, engine="zarr")["simulation"].load()
        assert runs.train_error.where(status == 1, 0).notnull().all()
        assert runs.test_error.where(status == 1, 0).notnull().all()
        reads += 1
    assert (driver.returncode, reads > 3) == (0, True)


def test_a_full_disk_ends_the_sweep_and_leaves_nothing_half_written(store, undisturbed, monkeypatch, capsys):
    write_bytes = objects._write_bytes
    left = 150

    def failing(path, data):
        nonlocal left
        left -= 1
        if left < 0:
            write_bytes(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_bytes(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(objects, "_write_bytes", failing)
        assert main([*SWEEP, f"store={store}", "compute=inline"]) == 1
    shown = capsys.readouterr().err.splitlines()[-1]
    assert "cannot be written" in shown
    assert os.strerror(errno.ENOSPC) in shown
    assert validate.main([store]) == 0
    assert status.main([store]) == 0
    assert main([*SWEEP, f"store={store}", "compute=inline"]) == 0
    assert_whole(store, undisturbed)


def test_what_a_power_cut_leaves_torn_is_computed_again(store, undisturbed, capsys):
    assert main([*SWEEP, f"store={store}", "compute=inline"]) == 0
    started = len(read_log("start"))

    def tear(name: str, size: int | None) -> None:
        path = Path(store, name)
        path.unlink() if size is None else os.truncate(path, size)

    tear("simulation/train_error/c.0.0.0", 0)
    tear("simulation/weight_gram/c.0.1.0.0.0", 100)
    tear("simulation/test_error/c.1.0.0", None)
    tear("status/simulation_facts/c.1.1.0", 8)
    tear("status/simulation/c.2.3", 0)
    tear("theory/test_error/c.2.0", 0)
    assert main([*SWEEP, f"store={store}", "compute=inline"]) == 0
    assert "5 results were cut short" in capsys.readouterr().err
    again = sorted(task.rpartition("noise=")[2] for _, task in read_log("start")[started:])
    assert again == ["0.1, replicates 0..1", "0.1, replicates 2..3", "0.2, replicates 0..1", "0.2, replicates 2..3",
                     "0.3", "0.3, replicates 6..7"]  # fmt: skip
    assert_whole(store, undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_hundred_kills_at_random_moments(store, cluster, capsys):
    moments = random.Random(0)
    longer = [*SWEEP, "problem.n=600", "problem.d=400", "problem.steps=20", "theory.samples=512"]
    path = store.replace("store.zarr", "undisturbed.zarr")
    assert main([*longer, f"store={path}", "compute=inline"]) == 0
    undisturbed = xr.open_datatree(path, engine="zarr").load()
    kills = dict.fromkeys(("worker", "driver", "node"), 0)
    executed = sweeps = 0
    while sum(kills.values()) < KILLS:
        sweeps += 1
        location = store.replace("store.zarr", f"store{sweeps}.zarr")
        Path(os.environ[LOG]).unlink(missing_ok=True)
        finished = False
        while not finished:
            where = ("compute=cluster", f"compute.address={cluster.address}")
            driver = start_driver(location, *where, settings=longer)
            begun = len(read_log("start"))
            wait_until(lambda begun=begun: len(read_log("start")) > begun, driver)
            time.sleep(moments.uniform(0, 2))
            what = moments.choice(list(kills))
            if driver.poll() is None:
                if what == "driver":
                    driver.kill()
                elif what == "worker":
                    try:
                        os.kill(read_log("start")[-1][0], signal.SIGKILL)
                    except ProcessLookupError:  # it went with an earlier node
                        what = None
                else:
                    cluster.remove_node(cluster.mortal, allow_graceful=False)
                    cluster.mortal = cluster.add_node(num_cpus=1)
                if what is not None:
                    kills[what] += 1
            finished = driver.wait(SECONDS) == 0
            assert finished or driver.returncode == -signal.SIGKILL, driver.stderr.read()
        executed += len(read_log("start"))
        assert_whole(location, undisturbed)
    with capsys.disabled():
        print(f"\n{kills} in {sweeps} sweeps: {executed} executions of {sweeps * TASKS} tasks")
    # A kill costs the tasks that were running, or on their way to be recorded, and no more.
    assert executed - sweeps * TASKS <= 4 * sum(kills.values())
