"""Sweeps on Ray that are ended from outside: one line, their own status, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONG = ["problem.n=600", "problem.d=400", "problem.steps=20", "replicates=400", "block=4"]
LONG += ["theory.samples=256", "theory.randomizations=2"]
KEPT = "what is finished is kept, and the same command goes on from there"
SECONDS = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for Ray's files that a sweep leaves empty."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        yield Path(folder)
        assert os.listdir(folder) == []


def start(store: str, *words: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "sweeps", *LONG, f"store={store}", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    pipes |= {"start_new_session": True, "preexec_fn": heed_signals}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, **pipes)


def heed_signals() -> None:
    """Undo what the tests were started with: in the background of a shell Ctrl-C is ignored, under nohup SIGHUP."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def wait_for(condition: Callable[[], object], driver: subprocess.Popen) -> None:
    """Wait while a program and all that it started take the processor: a busy machine takes longer by the clock."""
    next_look = time.monotonic() + SECONDS
    try:
        while not condition():
            assert driver.poll() is None, driver.stderr.read()
            if time.monotonic() > next_look:
                assert processor_seconds(driver.pid) < SECONDS, "nothing happens"
                next_look += 10
            time.sleep(0.01)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL)
        raise


def processor_seconds(pid: int) -> float:
    import ray  # noqa: F401 - brings psutil

    import psutil  # isort: skip

    total = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:2])
    return total


def relatives(mark: str) -> list[str]:
    """Processes whose environment, or command, has a text in it."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().decode(errors="replace"))
    return found


def assert_nothing_left(scratch: Path, store: str) -> None:
    end = time.monotonic() + 10
    while relatives(f"TMPDIR={scratch}") and time.monotonic() < end:
        time.sleep(0.1)
    assert relatives(f"TMPDIR={scratch}") == []
    assert not list(Path(store).parent.glob(".*.lock"))


@pytest.mark.parametrize(
    ("number", "times", "when", "status", "word"),
    [
        (signal.SIGHUP, 1, "stores/a.zarr/status/simulation/c.0", 129, "ended by SIGHUP"),
        (signal.SIGTERM, 1, "sedyn-*/r/session_2*", 143, "ended by SIGTERM"),
        (signal.SIGINT, 6, "stores/a.zarr/status/simulation/c.0", 130, "stopped"),
        (signal.SIGINT, 6, "sedyn-*/r/session_2*", 130, "stopped"),
        (signal.SIGINT, 6, "sedyn-*/r/session_2*/sockets/raylet", 130, "stopped"),
    ],
)
def test_signals_to_a_sweep_and_all_it_started_end_it_in_order(scratch, tmp_path, number, times, when, status, word):
    store = f"{tmp_path}/stores/a.zarr"
    driver = start(store)
    wait_for(lambda: [*scratch.glob(when), *tmp_path.glob(when)], driver)
    for _ in range(times):  # as a terminal sends them: to the whole group of processes
        with contextlib.suppress(ProcessLookupError):
            os.killpg(driver.pid, number)
        time.sleep(0.05)
    _, shown = driver.communicate(timeout=SECONDS)
    assert driver.returncode == status, shown
    *progress, last = shown.splitlines()
    assert last == f"{word}; {KEPT}"
    assert all("tasks, " in line for line in progress), shown
    assert_nothing_left(scratch, store)


@pytest.mark.parametrize("process", ["raylet", "gcs_server"])
def test_a_process_of_rays_that_dies_amid_a_sweep_is_named(scratch, tmp_path, process):
    import ray  # noqa: F401 - brings psutil

    import psutil  # isort: skip

    store = f"{tmp_path}/stores/a.zarr"
    driver = start(store)
    wait_for(Path(store, "status/simulation/c.0").exists, driver)
    (victim,) = [child for child in psutil.Process(driver.pid).children() if child.name() == process]
    victim.kill()
    shown_out, shown = driver.communicate(timeout=SECONDS)
    assert (driver.returncode, shown_out) == (1, "")
    *progress, last = shown.splitlines()
    assert last.startswith(f"compute: Ray's process {process} has ended")
    assert last.endswith(KEPT)
    assert all("tasks, " in line for line in progress), shown
    assert_nothing_left(scratch, store)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_head_node_that_is_lost_amid_a_sweep_is_named(scratch, tmp_path):
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        environment = {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        ray, address = str(Path(sys.executable).with_name("ray")), f"127.0.0.1:{free_port()}"
        begin = [ray, "start", "--head", "--block", f"--port={address.rpartition(':')[2]}", "--num-cpus=1"]
        begin += [f"--temp-dir={folder}", "--include-dashboard=false", f"--dashboard-agent-listen-port={free_port()}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        head = subprocess.Popen(begin, env=os.environ | environment, start_new_session=True, **quiet)
        try:
            wait_for(lambda: list(Path(folder).glob("session_2*/sockets/raylet")), head)
            store = f"{tmp_path}/stores/a.zarr"
            driver = start(store, "compute=cluster", f"compute.address={address}", **environment)
            wait_for(Path(store, "status/simulation/c.0").exists, driver)
            os.killpg(head.pid, signal.SIGKILL)
            _, shown = driver.communicate(timeout=SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)
    assert driver.returncode == 1, shown
    *progress, last = shown.splitlines()
    assert last == f"compute: the cluster's head at {address} does not answer any more; {KEPT}"
    assert all("tasks, " in line for line in progress), shown
    assert not list(Path(store).parent.glob(".*.lock"))
