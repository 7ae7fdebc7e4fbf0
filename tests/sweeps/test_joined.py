"""Cells of one shape that run in one task: the store is what it would be without, whatever happens."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import sedyn
from sedyn.arrays import backend
from sedyn.descent.engines import ENOUGH
from sweeps import validate
from sweeps.driver import FixedTasks, run_tasks
from sweeps.plan import JoinedTask
from sweeps.progress import Progress
from sweeps.store import DONE, FAILED, PENDING, Store
from sweeps.worker import execute
from tests.sweeps.test_driver import LosingExecutor
from tests.sweeps.test_store import finish, spec_of, tree_of

AXES = {"width": (2, 3), "noise": (0.1, 0.2, 0.4), "learning_rate": (0.4, 0.8)}


def joining(**changes):
    return spec_of(AXES, **{"block": None, "replicates": 3} | changes)


def joined(tasks):
    return [task for task in tasks if isinstance(task, JoinedTask)]


@pytest.fixture
def location(tmp_path):
    return str(tmp_path / "stores" / "a.zarr")


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
    parts = [len(task.parts) for task in joined(finish(together, joining()))]
    assert parts == [5, 5]  # fifteen replicates; the sixth cell of each width is by itself
    assert not joined(finish(apart, joining(block=3)))
    assert_whole(together, apart)
    facts = tree_of(together)["status"].simulation_facts
    assert (facts.sel(fact="seconds") > 0).all()


def test_what_is_joined():
    def tasks(spec, device="cpu", replicates=range(3)):
        return list(spec.joined((spec.simulation_task(cell, (), tuple(replicates)) for cell in spec.cells), device))

    for task in tasks(joining()):
        cells = {(part.problem.stack_key, part.engine) for part in task.parts}
        assert len(cells) == 1
        assert sum(len(part.replicates) for part in task.parts) <= ENOUGH
    assert [len(task.parts) for task in tasks(joining(), "gpu")] == [6, 6]
    for spec in (joining(block=3), joining(laws=True)):
        assert not joined(tasks(spec))
    assert not joined(tasks(joining(), replicates=range(ENOUGH)))
    large = joining(base={"n": 2000, "d": 1000, "steps": 3, "depth": 2})
    assert not joined(tasks(large))
    everything = [part for task in tasks(joining()) for part in task.parts]
    assert sorted(part.name for part in everything) == sorted(
        joining().simulation_task(cell, (), (0, 1, 2)).name for cell in joining().cells
    )


def test_a_joined_task_that_stops_half_way_loses_nothing(location, expected, monkeypatch):
    store = Store.prepare(location, joining())
    task = joined(store.missing_tasks(joining()))[0]
    write, written = Store.write_simulation, []

    def dying(store, part, runs):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(part.position)
        write(store, part, runs)

    monkeypatch.setattr(Store, "write_simulation", dying)
    with pytest.raises(KeyboardInterrupt):
        execute(task, store, device="cpu")
    monkeypatch.setattr(Store, "write_simulation", write)
    states = store.states("simulation")
    assert {position for position in np.ndindex(states.shape[:-1]) if (states[position] == DONE).all()} == {*written}
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
        errors = {execute(task, store, device="cpu").error for task in store.missing_tasks(joining())}
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
    monkeypatch.setattr(backend, "free_device_memory", lambda device: None)
    finish(location, joining())
    assert tried[:4] == [[3] * 5, [3, 3], [3], [1]]
    assert_whole(location, expected)


def test_a_joined_task_whose_worker_is_lost_fails_in_every_cell_that_is_not_done(location, monkeypatch):
    monkeypatch.setattr("sweeps.driver.FIRST_BACK_OFF", 0.01)
    store = Store.prepare(location, joining())
    tasks = joined(store.missing_tasks(joining()))[:1]
    done, *lost = tasks[0].parts
    assert not execute(done, store, device="cpu").error
    summary = run_tasks(FixedTasks(tasks), store, LosingExecutor(store.location, 100), Progress(tasks))
    assert len(summary.failures) == 1
    states = store.states("simulation")
    expected = {done.position: DONE} | {part.position: FAILED for part in lost}
    for position in np.ndindex(states.shape[:-1]):
        assert (states[position] == expected.get(position, PENDING)).all()
