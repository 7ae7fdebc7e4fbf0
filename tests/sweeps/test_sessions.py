"""Ray sessions: private to the user who started them, refused in seconds, and what ends them said in one line."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sedyn.errors import InvalidInput
from sweeps import sessions
from sweeps.application.sweep import main
from sweeps.compute import Compute

ROOT = Path(__file__).parents[2]
SMALL = ["problem.n=20", "problem.d=10", "problem.steps=2", "theory.samples=64", "theory.randomizations=2"]

LOOK = """
import json, os, stat, sys
from contextlib import closing
from sweeps.compute import Compute
from sweeps.sessions import Session

with closing(Session(Compute(workers=1))) as session:
    ray = session.ray
    ray.get(ray.remote(lambda: None).remote())
    import ray  # noqa: F401 - brings psutil
    import psutil
    names = {word for p in psutil.Process().children(recursive=True) for word in p.cmdline()[1:3]}
    assert not any(word.endswith(("dashboard.py", "log_monitor.py", "monitor.py")) for word in names), names
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [list(c.laddr) for p in family for c in p.net_connections() if c.status == "LISTEN"]
    mode = stat.S_IMODE(os.stat(session._scratch).st_mode)
    print(json.dumps([listening, mode, str(session._scratch)]), flush=True)
    sys.stdin.readline()
"""

INTRUDE = """
import sys
from ray._raylet import GcsClient
print(GcsClient(address=sys.argv[1]).get_all_node_info())
"""


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for Ray's files of a name that is short enough for sockets; whatever is left there fails the test."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        yield Path(folder)
        assert os.listdir(folder) == []


def start(*words: str, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "sweeps", *SMALL, *words]
    where = os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"} | environment
    return subprocess.Popen(command, cwd=ROOT, env=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_session_of_this_machine_lets_nobody_in(scratch):
    # Whoever has switched tokens off for clusters has not done so for this machine.
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOOK]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as owner:
        listening, mode, folder = json.loads(owner.stdout.readline())
        assert len(listening) >= 8
        assert {address.removeprefix("::ffff:") for address, _ in listening} == {"127.0.0.1"}
        assert mode == 0o700
        assert Path(folder).parent == scratch
        (gcs,) = Path(folder).glob("r/session_2*/gcs_server_port_*")
        for token in ({"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
            intruder = subprocess.run(
                [sys.executable, "-c", INTRUDE, f"127.0.0.1:{gcs.read_text()}"],
                env=os.environ | token, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert intruder.returncode != 0
            assert "Unauthenticated" in intruder.stderr
        owner.stdin.write("\n")
        owner.stdin.flush()
        assert owner.wait(60) == 0


@pytest.mark.parametrize("process", [pytest.param("gcs_server", marks=pytest.mark.slow), "raylet"])
def test_a_process_of_rays_that_dies_in_the_start_is_named_within_seconds(scratch, tmp_path, process):
    import ray  # noqa: F401 - brings psutil

    import psutil  # isort: skip

    driver = start(f"store={tmp_path}/stores/a.zarr")
    found: list[psutil.Process] = []
    while not found:
        assert driver.poll() is None
        time.sleep(0.01)
        with contextlib.suppress(psutil.NoSuchProcess):  # others come and go
            found = [child for child in psutil.Process(driver.pid).children() if child.name() == process]
    found[0].kill()
    killed = time.monotonic()
    _, shown = driver.communicate(timeout=60)
    assert time.monotonic() - killed < 30
    assert driver.returncode == 1
    assert shown.startswith(f"compute: Ray's process {process} ended in its start")
    assert shown.count("\n") == 1
    assert not list((tmp_path / "stores").glob(".*.lock"))


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:9", "no Ray cluster answers; start one with `ray start --head`"),
        ("127.0.0.1:{silent}", "no Ray cluster answers"),
        ("no-such-host.invalid:6379", "no Ray cluster answers"),
        ("ray://127.0.0.1:9", "no Ray cluster answers"),
        ("somewhere", "auto, or HOST:PORT"),
        ("host:port", "no Ray cluster answers"),
        ("auto", "no Ray cluster answers at 127.0.0.1:9"),
    ],
)
def test_a_cluster_that_is_not_there_is_refused_within_seconds(address, reason, silent, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    begun = time.monotonic()
    with pytest.raises(InvalidInput, match=reason):
        sessions.Session(Compute(address=address.format(silent=silent)))
    assert time.monotonic() - begun < sessions.ANSWER_SECONDS + 5


def test_a_cluster_that_is_not_there_leaves_no_store(tmp_path, monkeypatch, capsys):
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    where = ["compute=cluster", "compute.address=127.0.0.1:9", f"store={tmp_path}/stores/a.zarr"]
    assert main([*SMALL, *where]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_long_tmpdir_has_a_shorter_one_in_its_place(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(long))
    folder = sessions._make_scratch()
    folder.rmdir()
    assert folder.parent == Path("/tmp")
    assert not list(long.iterdir())
    long.rmdir()


def test_without_a_place_for_rays_files_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "absent"))
    monkeypatch.setattr(sessions, "SOCKET_PATH", 10)
    with pytest.raises(InvalidInput, match="no place for Ray's files"):
        sessions._make_scratch()
    with pytest.raises(InvalidInput, match="No such file or directory"):
        sessions._make_scratch()


def test_workers_that_die_in_their_start_end_the_sweep(scratch, tmp_path):
    module = tmp_path / "stores" / "deadly.py"
    module.parent.mkdir()
    module.write_text('import os\nif "RAY_RAYLET_PID" in os.environ:\n    os._exit(3)\n')
    path = f"{ROOT}{os.pathsep}{module.parent}"
    words = ["imports=[deadly]", "compute.workers=1", f"store={tmp_path}/stores/a.zarr"]
    driver = start(*words, PYTHONPATH=path)
    _, shown = driver.communicate(timeout=120)
    assert driver.returncode == 2, shown
    last = shown.splitlines()[-1]
    assert last.startswith("compute='ray': no worker can start: its process ended (")
    assert last.endswith("; each first imports deadly")
    assert "Traceback" not in shown


@pytest.mark.slow
def test_workers_of_other_code_than_the_drivers_say_which_file(scratch, tmp_path):
    module, store = tmp_path / "stores" / "changing.py", tmp_path / "stores" / "a.zarr"
    module.parent.mkdir()
    module.write_text("")
    path = f"{ROOT}{os.pathsep}{module.parent}"
    driver = start("imports=[changing]", "compute.workers=1", f"store={store}", PYTHONPATH=path)
    while not store.exists():
        assert driver.poll() is None
        time.sleep(0.01)
    module.write_text("# another one\n")  # before a worker has started
    _, shown = driver.communicate(timeout=120)
    assert driver.returncode == 2, shown
    assert "no worker can start: imports=['changing']: a worker on " in shown
    assert "has another changing.py than the driver; start again with one of them" in shown.splitlines()[-1]


def test_a_worker_that_does_not_start_beside_others_that_do_is_named(tmp_path, ray_session, monkeypatch):
    import ray

    from sweeps import executors
    from sweeps.worker import WorkerSetup

    monkeypatch.setattr(executors, "REFUSALS", 1)
    setup = WorkerSetup(str(tmp_path / "stores" / "absent.zarr"), "cpu")
    executor = executors.RayExecutor(Compute(workers=1), setup, 1)
    executor.has_room()
    executor._load[1] = 0  # as if another one had come
    while executor._invited:
        executor.collect(0.1)
    assert executor.hindrance().startswith("1 of 1 workers cannot start: store=")
    assert ray.is_initialized()


def test_what_is_added_to_a_session_while_its_folder_goes_goes_too(tmp_path, monkeypatch):
    """By its start, which goes on where Ctrl-C did not wait for it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(sessions, "SOCKET_PATH", 1000)
    session = sessions.Session.__new__(sessions.Session)
    session._owner, session._scratch = None, sessions._make_scratch()
    (session._scratch / "r").mkdir()
    removing, added = os.rmdir, []

    def rmdir(path, **options):
        if not added:
            added.append(path)
            (session._scratch / "r" / "late.log").touch()
        removing(path, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    session.close()
    assert added
    assert not session._scratch.exists()
