"""What workers do on a GPU, as far as it can be seen without one: placement, memory, and its end."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager

import pytest
import ray
import xarray as xr

import sedyn
from sedyn.arrays import backend
from sedyn.errors import InvalidInput
from sweeps import executors, placement, worker
from sweeps.attempts import Attempt
from sweeps.compute import Compute
from sweeps.executors import RayExecutor
from sweeps.placement import place
from sweeps.schedule import missing_tasks
from sweeps.store import Store, settings_of
from sweeps.worker import Outcome, Worker, WorkerSetup, execute
from tests.sedyn.conftest import pretend_gpu  # noqa: F401 - a fixture
from tests.sweeps.stores import finish, spec_of, tree_of

GIBIBYTE = 2**30


class Placed:
    """In the place of a worker: says which GPU it sees."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.setup = setup

    def run(self, task: object, attempt: int) -> Outcome:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return Outcome(0.0, f"{self.setup.device} {self.setup.gpu_share} {visible} {os.getpid()}")


def test_two_actors_share_a_gpu(tmp_path, ray_session, monkeypatch):
    monkeypatch.setattr(executors, "Worker", Placed)
    compute = Compute(device="gpu", gpus_per_worker=0.5)
    seen = set()
    with closing(RayExecutor(compute, WorkerSetup(str(tmp_path), "gpu"), 1)) as executor:
        while len(seen) < 2:
            while executor.has_room():
                executor.submit(Attempt(None))
            seen |= {outcome.error for _, outcome in executor.collect(0.5)}
        assert ray.available_resources().get("GPU", 0.0) == 0.0
    devices, shares, visible, processes = zip(*(text.split() for text in seen), strict=True)
    assert (set(devices), set(shares), set(visible), len(set(processes))) == ({"gpu"}, {"0.5"}, {"0"}, 2)


@pytest.mark.parametrize(("share", "limits"), [(0.25, [0.25]), (1.0, [])])
def test_a_worker_takes_no_more_memory_than_its_share(tmp_path, monkeypatch, share, limits):
    found = []
    monkeypatch.setattr(backend, "limit_gpu_memory", found.append)
    monkeypatch.setattr(worker, "environment", lambda *facts: None)
    location = str(tmp_path / "stores" / "a.zarr")
    Store.prepare(location, spec_of())
    Worker(WorkerSetup(location, "gpu", gpu_share=share))
    assert found == limits


def test_more_gpu_than_there_is_is_refused_at_once(tmp_path, ray_session):
    for compute, message in (
        (Compute(device="gpu", gpus_per_worker=0.5, workers=3), "room for 2"),
        (Compute(device="gpu", gpus_per_worker=2.0), "room for 1 GPUs"),
    ):
        with pytest.raises(InvalidInput, match=message):
            RayExecutor(compute, WorkerSetup(str(tmp_path), "gpu"), 1)


@pytest.mark.parametrize(
    ("memory", "cores", "expected"),
    [
        (3 * GIBIBYTE, 16, (4, 0.25)),  # 0.8 of 20 GiB are four times 3.5 GiB
        (15 * GIBIBYTE, 16, (1, 1.0)),
        (100 * GIBIBYTE, 16, (1, 1.0)),
        (GIBIBYTE, 2, (2, 0.5)),
    ],
)
def test_workers_on_a_gpu_are_as_many_as_its_memory_allows(monkeypatch, memory, cores, expected):
    monkeypatch.setattr(backend, "gpu_memory", lambda: (GIBIBYTE, 20 * GIBIBYTE))
    monkeypatch.setattr(placement, "memory_limit", lambda: 10**15)
    resources = {"CPU": cores, "GPU": 1.0}
    assert place(resources, Compute(gpus_per_worker=None), "gpu", memory) == ("gpu", *expected)


@pytest.mark.parametrize("most", [1, 2])
def test_a_block_that_does_not_fit_is_halved_and_gives_the_same_numbers(tmp_path, monkeypatch, most):
    whole, halved = (str(tmp_path / "stores" / name) for name in ("a.zarr", "b.zarr"))
    spec = spec_of(replicates=5, block=5)
    finish(whole, spec)
    simulate, free, tried, freed = sedyn.simulate_together, backend.free_device_memory, [], []

    def limited(cells, **options):
        tried.append(sum(len(replicates) for _, replicates in cells))
        if tried[-1] > most:
            raise MemoryError("out of memory")
        return simulate(cells, **options)

    monkeypatch.setattr(sedyn, "simulate_together", limited)
    monkeypatch.setattr(
        backend, "free_device_memory", lambda device, beyond=0.0: freed.append(device) or free(device, beyond)
    )
    finish(halved, spec)
    assert tried[0] == 5
    assert max(tried[1:]) < 5
    assert "cpu" in freed
    xr.testing.assert_identical(*(tree_of(location)["simulation"].to_dataset() for location in (whole, halved)))


def test_a_replicate_that_does_not_fit_is_a_failure_of_its_task(tmp_path, monkeypatch):
    def too_large(*arguments, **options):
        raise MemoryError("out of memory")

    spec = spec_of(replicates=2)
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), spec)
    monkeypatch.setattr(sedyn, "simulate_together", too_large)
    errors = {execute(task, store, device="cpu").error for task in missing_tasks(store, spec)}
    assert errors == {"", "MemoryError: out of memory"}


@pytest.mark.usefixtures("pretend_gpu")
def test_a_problem_that_the_gpu_cannot_hold_is_refused_before_any_work(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sweeps.compute.resolve_device", lambda device: device)
    large = ("problem.n=2000", "problem.d=2000", "problem.features=rademacher")
    assert sweep(*large, "compute.device=gpu") == 2
    assert "GB (dense) of 0.0 GB; shrink n or d" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("pretend_gpu")
def test_engines_are_chosen_for_the_memory_of_the_gpu(monkeypatch):
    large = {"n": 800, "d": 800, "steps": 5}
    on_cpu, on_gpu, on_larger = (spec_of(base=large, device=device) for device in ("cpu", "gpu", "gpu"))
    assert on_gpu.cells[0].engine == "deferred"
    monkeypatch.setattr(backend, "gpu_memory", lambda: (2**30, 2**30))
    assert on_larger.cells[0].engine == "dense"
    assert settings_of(on_cpu) == settings_of(on_gpu) == settings_of(on_larger)


def test_peak_memory_of_the_gpu_is_recorded(tmp_path, monkeypatch):
    @contextmanager
    def watch(device):
        yield lambda: 12345

    monkeypatch.setattr(backend, "watch_device_memory", watch)
    location = str(tmp_path / "stores" / "a.zarr")
    finish(location, spec_of(replicates=2))
    status = tree_of(location)["status"]
    assert (status.simulation_facts.sel(fact="gpu_peak_memory") == 12345).all()
    assert (status.theory_facts.sel(fact="gpu_peak_memory") == 12345).all()
