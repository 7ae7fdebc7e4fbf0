"""The cluster's configuration, and a job submitted to a Ray that the test starts on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import jsonschema
import pytest
import ray
import xarray as xr
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from sedyn.errors import InvalidInput
from sweeps import validate
from sweeps.compute import Compute
from sweeps.placement import place, resources_of
from tests.sweeps.raycluster import SCHEMA

ROOT = Path(__file__).parents[2]


def test_the_cluster_configuration_keeps_rays_schema():
    config = prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    validate_config(config)
    types = config["available_node_types"]
    assert set(types) == {"head", "cpu", "gpu"}
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["gpu"]["resources"]["GPU"] == 1
    assert all(types[name]["max_workers"] > types[name]["min_workers"] for name in ("cpu", "gpu"))


def test_the_manifest_for_kuberay_keeps_its_schema_and_says_what_the_configuration_does():
    manifest = yaml.safe_load((ROOT / "kuberay.yaml").read_text())
    jsonschema.validate(manifest, SCHEMA)
    assert manifest["spec"]["rayVersion"] == ray.__version__
    assert manifest["spec"]["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    types = yaml.safe_load((ROOT / "cluster.yaml").read_text())["available_node_types"]
    for group in manifest["spec"]["workerGroupSpecs"]:
        there = types[group["groupName"]]
        assert (group["minReplicas"], group["maxReplicas"]) == (there["min_workers"], there["max_workers"])
        for container in group["template"]["spec"]["containers"]:
            asked = container["resources"]["limits"]
            assert int(asked["cpu"]) == there["resources"]["CPU"]
            assert int(asked.get("nvidia.com/gpu", 0)) == there["resources"].get("GPU", 0)
    for wrong in ({"rayversion": "2"}, {"workerGroupSpecs": []}, {"authOptions": {"mode": "none"}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**manifest, "spec": {**manifest["spec"], **wrong}}, SCHEMA)


def test_the_image_is_made_of_what_is_there():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1] for line in lines if line.startswith("COPY")]
    assert copied == ["requirements", "."]
    assert all((ROOT / name).exists() for name in copied)
    assert any("--require-hashes --requirement requirements/environment.lock" in line for line in lines)
    assert (ROOT / "requirements/environment.lock").exists()


@pytest.mark.parametrize(
    ("resources", "compute", "expected"),
    [
        ({"CPU": 8}, Compute(address="auto"), ("cpu", 8, 0.0)),
        ({"CPU": 8, "GPU": 2}, Compute(address="auto"), ("gpu", 2, 1.0)),
        ({"CPU": 8, "GPU": 2}, Compute(address="auto", gpus_per_worker=0.25), ("gpu", 8, 0.25)),
        ({"CPU": 8, "GPU": 2}, Compute(address="auto", gpus_per_worker=0.25, workers=3), ("gpu", 3, 0.25)),
        ({"CPU": 8, "GPU": 2}, Compute(address="auto", gpus_per_worker=None), ("gpu", 2, 1.0)),
        ({"CPU": 8, "GPU": 2}, Compute(address="auto", device="cpu"), ("cpu", 8, 0.0)),
    ],
)
def test_workers_are_placed_by_what_the_cluster_has(resources, compute, expected):
    assert place(resources, compute, "cpu", 1) == expected


@pytest.mark.parametrize(
    ("resources", "compute", "message"),
    [
        ({"CPU": 8}, Compute(address="auto", device="gpu"), "the cluster has 0 GPUs"),
        ({"CPU": 8, "GPU": 1}, Compute(address="auto", gpus_per_worker=2), "room for 1 GPUs"),
        ({"CPU": 8}, Compute(address="auto", workers=9), "room for 8"),
        ({}, Compute(address="auto"), "no node with a core"),
    ],
)
def test_what_the_cluster_lacks_is_refused_at_once(resources, compute, message):
    with pytest.raises(InvalidInput, match=message):
        place(resources, compute, "cpu", 1)


@pytest.mark.parametrize(
    ("present", "compute", "expected"),
    [
        ({}, Compute(address="auto", workers=4), ("cpu", 4, 0.0)),
        ({"CPU": 2}, Compute(address="auto", workers=4), ("cpu", 4, 0.0)),
        ({"CPU": 8}, Compute(address="auto", workers=4), ("cpu", 4, 0.0)),
        ({"CPU": 8}, Compute(address="auto", workers=4, device="gpu", gpus_per_worker=0.5), ("gpu", 4, 0.5)),
    ],
)
def test_workers_that_were_asked_for_by_number_are_waited_for_on_a_cluster_that_may_grow(present, compute, expected):
    class Ray:
        """A cluster as it is before it grows."""

        @staticmethod
        def cluster_resources():
            return present

    assert place(resources_of(Ray, compute), compute, "cpu", 1) == expected


def test_a_share_of_gpus_that_is_absent_is_refused_before_there_is_a_store(sweep, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sweeps.compute.resolve_device", lambda device: "gpu")
    monkeypatch.setattr("sweeps.compute.gpu_count", lambda: 1)
    assert sweep("compute=local", "compute.gpus_per_worker=2") == 2
    assert "compute.gpus_per_worker=2.0: there is room for 1 GPUs" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_submitted_job_leaves_a_valid_store(tmp_path):
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    command = str(Path(sys.executable).with_name("ray"))
    dashboard, store = f"http://127.0.0.1:{free_port()}", tmp_path / "stores" / "job.zarr"
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # socket names have a limit of length
        start = [command, "start", "--head", "--block", f"--port={free_port()}", "--num-cpus=2", f"--temp-dir={folder}"]
        start += [f"--dashboard-port={dashboard.rpartition(':')[2]}", "--include-dashboard=true"]
        start += [f"--dashboard-agent-listen-port={free_port()}"]  # another Ray on this machine may have the usual one
        head = subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            end = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(f"{dashboard}/api/version", timeout=5).close()
                    break
                except OSError:
                    assert time.monotonic() < end, "Ray's dashboard does not answer"
                    time.sleep(0.5)
            submit = [command, "job", "submit", f"--address={dashboard}", "--working-dir=."]
            submit += ['--runtime-env-json={"excludes": [".venv", ".git", "stores"]}', "--"]
            sweep = [sys.executable, "-m", "sweeps", "experiment=quickstart", "grid.n=[64,128]", "replicates=4"]
            sweep += ["theory.samples=512", "report=null", "compute=cluster", f"store={store}"]
            while True:
                ended = subprocess.run(
                    [*submit, *sweep], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
                )
                if "No available agent" not in ended.stderr:  # the dashboard answers before the node's agent does
                    break
                assert time.monotonic() < end, "Ray's agent does not answer"
                time.sleep(0.5)
        finally:
            head.terminate()
            head.wait(60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert validate.main([str(store)]) == 0
    assert (xr.open_datatree(store, engine="zarr")["status"].simulation == 1).all()
