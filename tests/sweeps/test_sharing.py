"""Sweeps that share a cluster: places are given out fairly, and given back while others need them."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import xarray as xr

from sweeps.application.sweep import main
from sweeps.sharing import NAMESPACE, Sharing, fair_shares
from tests.sweeps.execution_log import LOG, read_log
from tests.sweeps.slurm import slow_tasks

ROOT = Path(__file__).parents[2]
WORDS = ["problem.n=40", "problem.d=20", "problem.steps=3", "problem.depth=2", "block=1"]
WORDS += ["theory.samples=64", "theory.randomizations=2"]
WORDS += ["imports=[tests.sweeps.slurm.slow_tasks,tests.sweeps.execution_log]"]
PATIENCE = 300.0


def test_places_are_given_out_until_none_is_left_and_nobody_has_less_who_wants_more():
    for *demands, capacity in itertools.product(range(5), range(5), range(5), range(9)):
        wanted = dict(zip("abc", demands, strict=True))
        shares = fair_shares(wanted, capacity)
        assert sum(shares.values()) == min(capacity, sum(demands))
        assert all(shares[sweep] <= wanted[sweep] for sweep in wanted)
        for poor, rich in itertools.permutations(wanted, 2):
            assert shares[poor] == wanted[poor] or shares[poor] >= shares[rich] - 1


class Cluster:
    """What a sweep asks Ray: what there is, and which actors live."""

    def __init__(self, **resources: float) -> None:
        self.util = self
        self.present = resources
        self.actors: list[dict[str, str]] = []

    def cluster_resources(self):
        return self.present

    def list_named_actors(self, all_namespaces):
        return [{"namespace": "", "name": "a stranger's"}, *self.actors]

    def add(self, sharing: Sharing, count: int) -> Sharing:
        self.actors += [sharing.options() for _ in range(count)]
        return sharing


def test_a_sweep_alone_has_all_that_it_wants_with_and_without_work():
    cluster = Cluster(CPU=2.0)
    alone = cluster.add(Sharing(cluster, 0.0), 4)
    assert alone.part(4, needed=1) == 4
    assert all(actor["namespace"] == NAMESPACE for actor in cluster.actors)


def test_cores_are_shared_by_the_sweeps_that_have_or_wait_for_workers():
    cluster = Cluster(CPU=4.0)
    first, second = (cluster.add(Sharing(cluster, 0.0), 4) for _ in range(2))
    assert first.part(4, needed=4) == second.part(4, needed=4) == 2
    assert first.others == 1
    assert first.part(4, needed=1) == 1
    del cluster.actors[1:4]  # the first sweep has let three go
    assert second.part(4, needed=4) == 3
    del cluster.actors[0]  # and has ended
    assert second.part(4, needed=4) == 4
    assert second.others == 0


def test_gpus_are_shared_apart_from_cores_and_in_each_sweeps_own_portions():
    cluster = Cluster(CPU=10.0, GPU=2.0)
    whole, quarters = cluster.add(Sharing(cluster, 1.0), 2), cluster.add(Sharing(cluster, 0.25), 8)
    cores = cluster.add(Sharing(cluster, 0.0), 10)
    assert whole.part(2, needed=2) == 1
    assert quarters.part(8, needed=8) == 4
    assert cores.part(10, needed=10) == 10
    other = cluster.add(Sharing(cluster, 0.0), 10)
    assert cores.part(10, needed=10) + other.part(10, needed=10) == 0 + 2  # ten workers of GPUs take a core each


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Of a cluster of two cores, whose workers are slow and write down what they do."""
    from ray.cluster_utils import Cluster

    (tmp_path / "stores").mkdir()
    for name, value in {
        LOG: str(tmp_path / "stores" / "log.txt"),
        slow_tasks.SECONDS: "1",
        "PYTHONPATH": str(ROOT),
    }.items():
        monkeypatch.setenv(name, value)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


class Sweep:
    """A sweep of some amounts of noise, which tell its tasks from another's, run by a process of its own."""

    def __init__(self, store: Path, address: str, noises: str, *words: str) -> None:
        self.noises = tuple(f"noise={noise}" for noise in noises.split(","))
        command = [sys.executable, "-m", "sweeps", *WORDS, f"grid.noise=[{noises}]", *words, f"store={store}"]
        command += ["compute=cluster", f"compute.address={address}"]
        self.driver = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.said: list[str] = []
        self.reader = threading.Thread(target=lambda: self.said.extend(self.driver.stderr))
        self.reader.start()

    def begun(self) -> list[tuple[int, str]]:
        """List process and name of the tasks that were begun."""
        return [(process, name) for process, name in read_log("start") if any(noise in name for noise in self.noises)]

    def close(self) -> None:
        self.driver.kill()
        self.reader.join()


def workers(begun: list[tuple[int, str]]) -> int:
    return len({process for process, _ in begun})


def wait_until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_that_comes_later_gets_its_part_and_what_it_leaves_is_taken_back(tmp_path, address, monkeypatch):
    inline, shared, other = (tmp_path / "stores" / f"{name}.zarr" for name in ("inline", "shared", "other"))
    monkeypatch.setenv(slow_tasks.SECONDS, "0")
    assert main([*WORDS, "grid.noise=[0.1,0.2,0.3]", "replicates=16", f"store={inline}", "compute=inline"]) == 0
    Path(os.environ[LOG]).unlink(missing_ok=True)
    sweeps = [Sweep(shared, address, "0.1,0.2,0.3", "replicates=16")]
    try:
        wait_until(lambda: workers(sweeps[0].begun()) == 2)
        sweeps.append(Sweep(other, address, "0.4,0.5", "replicates=3"))
        first, later = sweeps
        assert later.driver.wait(PATIENCE) == 0, later.said
        assert first.driver.poll() is None  # a tenth of its work has not waited for its end
        assert workers(later.begun()) == 1
        before = len(first.begun())
        wait_until(lambda: workers(first.begun()[before:]) == 2)
        assert first.driver.wait(PATIENCE) == 0, first.said
    finally:
        for sweep in sweeps:
            sweep.close()
    assert any("1 of 2 workers, for 2 sweeps share the cluster" in line for line in first.said)
    begun = [name for _, name in first.begun()]
    assert len(begun) == len(set(begun))  # nobody was sent away from a task
    trees = [xr.open_datatree(path, engine="zarr").load() for path in (inline, shared)]
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(trees[1][group].ds, trees[0][group].ds)
