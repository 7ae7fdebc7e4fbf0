"""Two drivers that both believe to hold a store: the one that lost it writes nothing more, and a mixture is seen."""

from __future__ import annotations

import time

import fsspec
import numpy as np
import pytest
import xarray as xr

from sweeps import validate
from sweeps.application.sweep import main
from sweeps.executors import InlineExecutor
from sweeps.plan import SimulationTask
from sweeps.provenance import Environment
from sweeps.schedule import missing_tasks
from sweeps.store import DONE, Store, StoreTaken, claims, states, writing
from sweeps.worker import Worker, WorkerSetup, execute
from tests.sweeps.stores import finish, spec_of, tree_of

SPEC = spec_of({"noise": (0.1, 0.5)})
OTHER = spec_of({"noise": (0.1, 0.5, 0.9)}, replicates=6)


@pytest.fixture(params=["disk", "url"])
def place(request, tmp_path):
    return str(tmp_path / "stores" / "a.zarr") if request.param == "disk" else f"memory://{tmp_path}/a.zarr"


def assert_like_new(place):
    finish(place, OTHER)
    fresh = "memory://fresh.zarr"
    finish(fresh, OTHER)
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(tree_of(place)[group].ds, tree_of(fresh)[group].ds)


def test_what_lost_the_store_writes_nothing(place):
    lost = Store.prepare(place, SPEC, owner="first")
    tasks = missing_tasks(lost, SPEC)
    worker = Worker(WorkerSetup(place, "cpu", owner="first"))
    worker.run(tasks[0], 1)
    Store.prepare(place, OTHER, owner="second")
    before = {name: variable.copy() for name, variable in tree_of(place)["status"].data_vars.items()}
    for write in (
        lambda: worker.run(tasks[1], 1),
        lambda: execute(tasks[1], lost, device="cpu"),
        lambda: lost.become(lost.settings | {"replicates": 100}),
        lambda: lost.record_environment(Environment(1, "{}")),
        lambda: Worker(WorkerSetup(place, "cpu", owner="first")),
    ):
        with pytest.raises(StoreTaken, match="another driver has taken the store over"):
            write()
    for name, variable in tree_of(place)["status"].data_vars.items():
        xr.testing.assert_identical(variable, before[name])
    assert_like_new(place)


def test_a_store_that_is_taken_between_results_and_status_keeps_no_status(place, monkeypatch):
    lost = Store.prepare(place, SPEC, owner="first")
    task = next(task for task in missing_tasks(lost, SPEC) if isinstance(task, SimulationTask))
    write_results = writing.write_results

    def slow(*arguments):
        written = write_results(*arguments)
        Store.prepare(place, OTHER, owner="second")
        return written

    monkeypatch.setattr("sweeps.worker.write_results", slow)
    with pytest.raises(StoreTaken):
        execute(task, lost, device="cpu")
    assert not (states(Store.open(place), "simulation") == DONE).any()
    monkeypatch.undo()
    assert_like_new(place)


def test_results_of_two_writers_are_told_apart_and_computed_again(place, capsys):
    """Where one was held up for so long in the middle of a write that nothing could stop it."""
    finish(place, OTHER)
    store = Store.open(place)
    for name in ("test_error", "weight_gram"):
        written = store.array("simulation", name)[1, 2:4]
        store.array("simulation", name)[1, 2:4] = np.asarray(written) * (1 + 1e-15)
    store.array("theory", "test_error")[2] = np.asarray(store.array("theory", "test_error")[2]) * (1 + 1e-15)
    assert validate.main([place]) == 1
    shown = capsys.readouterr().out
    assert "simulation at (1, 1) is not what its status recorded" in shown
    assert "theory at (2,) is not what its status recorded" in shown
    assert "2 faults" in shown
    assert validate.main([place, "--repair"]) == 0
    assert len(finish(place, OTHER)) == 2
    assert validate.main([place]) == 0
    assert_like_new(place)


@pytest.mark.parametrize("lose", ["claim", "lock"])
def test_a_sweep_that_loses_its_store_ends_in_one_line(tmp_path, monkeypatch, capsys, lose):
    place = f"memory://{tmp_path}/a.zarr" if lose == "claim" else str(tmp_path / "stores" / "a.zarr")
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    collect, ended = InlineExecutor.collect, []

    def losing(*arguments):
        ended.extend(collect(*arguments))
        if lose == "claim":
            fsspec.filesystem("memory").rm(f"{tmp_path}/a.zarr.claims", recursive=True)
            time.sleep(0.2)  # the claim is looked at
        else:
            (tmp_path / "stores" / ".a.zarr.lock").unlink()
        return ended[-1:]

    monkeypatch.setattr(InlineExecutor, "collect", losing)
    settings = ["problem.n=40", "problem.d=20", "problem.steps=2", "theory.samples=64", "theory.randomizations=2"]
    assert main([*settings, "replicates=6", "block=1", "compute=inline", f"store={place}"]) == 1
    assert len(ended) == 1
    (shown,) = [line for line in capsys.readouterr().err.splitlines() if "tasks, " not in line]
    assert shown.startswith(f"store={place!r} cannot be written: ")
    assert "taken" in shown
