"""Cells of one shape that run in one task: the store is what it would be without, whatever happens."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import sedyn
from sedyn.arrays import backend
from sweeps import validate, worker
from sweeps.driver import FixedTasks, run_tasks
from sweeps.progress import Progress
from sweeps.schedule import missing_tasks
from sweeps.store import DONE, FAILED, PENDING, Store, states
from sweeps.worker import execute
from tests.sweeps.stores import finish, tree_of
from tests.sweeps.test_driver import LosingExecutor
from tests.sweeps.test_schedule import joined_of, joining


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """A store that nothing disturbed."""
    location = str(tmp_path_factory.mktemp("expected") / "store.zarr")
    finish(location, joining())
    return location


def assert_whole(location, expected):
    assert validate.main([location]) == 0
    tree = tree_of(location)
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(tree[group].ds, tree_of(expected)[group].ds)
    assert (tree["status"].simulation == DONE).all()


def test_joined_tasks_store_what_each_cell_stores_by_itself(tmp_path):
    together, apart = (str(tmp_path / "stores" / name) for name in ("a.zarr", "b.zarr"))
    parts = [len(task.parts) for task in joined_of(finish(together, joining()))]
    assert parts == [5, 5]  # fifteen replicates; the sixth cell of each width is by itself
    assert not joined_of(finish(apart, joining(block=3)))
    assert_whole(together, apart)
    facts = tree_of(together)["status"].simulation_facts
    assert (facts.sel(fact="seconds") > 0).all()


def test_a_joined_task_that_stops_half_way_loses_nothing(location, expected, monkeypatch):
    store = Store.prepare(location, joining())
    task = joined_of(missing_tasks(store, joining()))[0]
    write, written = worker.write_results, []

    def dying(store, part, runs):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(part.position)
        write(store, part, runs)

    with monkeypatch.context() as patched:
        patched.setattr(worker, "write_results", dying)
        with pytest.raises(KeyboardInterrupt):
            execute(task, store, device="cpu")
    found = states(store, "simulation")
    assert {position for position in np.ndindex(found.shape[:-1]) if (found[position] == DONE).all()} == {*written}
    assert validate.main([location]) == 0
    again = [part.position for task in finish(location, joining()) for part in task.parts if hasattr(part, "position")]
    assert not {*again} & {*written}
    assert not execute(task, store, device="cpu").error  # and once more, as a driver that did not see it end
    assert_whole(location, expected)


def test_a_cell_that_fails_among_others_fails_alone(location, expected, monkeypatch):
    simulate = sedyn.simulate_together

    def failing(cells, **options):
        if any(problem.noise == 0.2 for problem, _ in cells):
            raise FloatingPointError("no luck")
        return simulate(cells, **options)

    store = Store.prepare(location, joining())
    with monkeypatch.context() as patched:
        patched.setattr(sedyn, "simulate_together", failing)
        errors = {execute(task, store, device="cpu").error for task in missing_tasks(store, joining())}
    assert errors == {"", "FloatingPointError: no luck"}
    status = tree_of(location)["status"]
    assert (status.simulation.sel(noise=0.2) == FAILED).all()
    assert (status.simulation.sel(noise=[0.1, 0.4]) == DONE).all()
    assert set(status.simulation_error.values.flatten().tolist()) == {"", "FloatingPointError: no luck"}
    finish(location, joining())
    assert_whole(location, expected)


def test_cells_that_do_not_fit_together_are_halved(location, expected, monkeypatch):
    simulate, tried = sedyn.simulate_together, []

    def limited(cells, **options):
        tried.append([len(replicates) for _, replicates in cells])
        if sum(tried[-1]) > 2:
            raise MemoryError("out of memory")
        return simulate(cells, **options)

    monkeypatch.setattr(sedyn, "simulate_together", limited)
    monkeypatch.setattr(backend, "free_device_memory", lambda device, beyond=0.0: None)
    finish(location, joining())
    assert tried[:4] == [[3] * 5, [3, 3], [3], [1]]
    assert_whole(location, expected)


def test_a_joined_task_whose_worker_is_lost_fails_in_every_cell_that_is_not_done(location, monkeypatch):
    monkeypatch.setattr("sweeps.driver.FIRST_BACK_OFF", 0.01)
    store = Store.prepare(location, joining())
    tasks = joined_of(missing_tasks(store, joining()))[:1]
    done, *lost = tasks[0].parts
    assert not execute(done, store, device="cpu").error
    summary = run_tasks(FixedTasks(tasks), store, LosingExecutor(store.location, 100), Progress(tasks))
    assert len(summary.failures) == 1
    found = states(store, "simulation")
    expected = {done.position: DONE} | {part.position: FAILED for part in lost}
    for position in np.ndindex(found.shape[:-1]):
        assert (found[position] == expected.get(position, PENDING)).all()
