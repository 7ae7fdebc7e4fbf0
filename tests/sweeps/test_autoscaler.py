"""A cluster that grows and shrinks with the work: Ray's own autoscaler, whose nodes are processes of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import xarray as xr

from sweeps.application.sweep import main
from sweeps.store import DONE, Store, states
from tests.sweeps.slurm import slow_tasks

ROOT = Path(__file__).parents[2]
HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
WORDS = ["problem.n=40", "problem.d=20", "problem.steps=3", "problem.depth=2", "replicates=6", "block=1"]
WORDS += ["theory.samples=64", "theory.randomizations=2", "imports=[tests.sweeps.slurm.slow_tasks]"]
WORDS += ["grid.noise=[0.1,0.2,0.3,0.4,0.5]"]
PATIENCE = 300.0
UNUSED = ("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands")
UNUSED += ("head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files")
UNUSED += ("rsync_exclude", "rsync_filter")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def cluster():
    """A head without cores that adds up to two nodes of one core; yields its address and a list of its nodes."""
    from ray.util import get_node_ip_address

    address = f"{get_node_ip_address()}:{free_port()}"
    config = {
        "cluster_name": "fake",
        "max_workers": 2,
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 2.0,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": address,
            "head_node_id": HEAD,
            "launch_multiple": True,
        },
        "auth": {},
        **{key: [] for key in UNUSED},
        "file_mounts": {},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "cpu": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
    }
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": HEAD,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
        slow_tasks.SECONDS: "1",
    }
    ray = str(Path(sys.executable).with_name("ray"))
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        described = Path(folder) / "fake.json"
        described.write_text(json.dumps(config))
        start = [ray, "start", "--head", "--block", f"--port={address.rpartition(':')[2]}", "--num-cpus=0"]
        start += [f"--autoscaling-config={described}", f"--temp-dir={folder}/r", "--include-dashboard=false"]
        start += ["--object-store-memory=100000000", f"--dashboard-agent-listen-port={free_port()}"]
        head = subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)

        def nodes() -> list[int]:
            return [number for number in _raylets(folder) if _kind(number) == "cpu"]

        try:
            yield address, nodes
        finally:
            head.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                head.wait(60)
            for number in _raylets(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)


def _raylets(folder: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_text().split("\0")
            if words[0].endswith("/raylet") and any(folder in word for word in words):
                found.append(int(path.parent.name))
    return found


def _kind(process: int) -> str:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/environ").read_text().split("\0"):
            if line.startswith("RAY_NODE_TYPE_NAME="):
                return line.partition("=")[2]
    return ""


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_nodes_come_with_the_work_are_replaced_when_they_die_and_go_when_it_is_done(tmp_path, cluster):
    address, nodes = cluster
    inline, location = (tmp_path / "stores" / name for name in ("inline.zarr", "cluster.zarr"))
    assert main([*WORDS, "compute=inline", f"store={inline}"]) == 0
    wait_until(lambda: _listens(address))
    assert not nodes()
    command = [sys.executable, "-m", "sweeps", *WORDS, "compute=cluster", f"compute.address={address}"]
    command += ["compute.workers=2", f"store={location}"]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    sweep = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(sweep.stderr))
    reader.start()
    try:
        wait_until(lambda: len(nodes()) == 2 and done(location) >= 3)
        victim = nodes()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(set(nodes()) - {victim}) == 2 or sweep.poll() is not None)
        assert sweep.wait(PATIENCE) == 0, said
    finally:
        sweep.kill()
        reader.join()
    trees = [xr.open_datatree(path, engine="zarr").load() for path in (inline, location)]
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(trees[1][group].ds, trees[0][group].ds)
    wait_until(lambda: not nodes())


def done(location: Path) -> int:
    with contextlib.suppress(Exception):
        return int((states(Store.open(str(location)), "simulation") == DONE).sum())
    return 0


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError):
        socket.create_connection((host, int(port)), timeout=1).close()
        return True
    return False
