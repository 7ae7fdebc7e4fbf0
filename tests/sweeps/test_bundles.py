"""Tasks of a sweep of many cells do what those of few do."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr

from sweeps.cost import seconds_of
from sweeps.plan import Bundle, SimulationTask, TheoryTask
from sweeps.plan import cells as plan_cells
from sweeps.schedule import missing_tasks
from sweeps.store import DONE, Store, states
from sweeps.worker import execute
from tests.sweeps.stores import finish, spec_of, tree_of

AXES = {"features": ("gaussian", "uniform"), "noise": (0.0, 0.1, 0.3), "width": (1, 2)}


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(plan_cells, "MANY_CELLS", 2)


def places_of(tasks):
    found = {"simulation": set(), "theory": set()}
    for part in (part for task in tasks for part in task.parts):
        for position in part.positions:
            for replicate in part.replicates if isinstance(part, SimulationTask) else [0]:
                assert (position, replicate) not in found[part.group]
                found[part.group].add((position, replicate))
    return found


def test_bundles_have_what_is_missing_once_and_give_the_same_numbers(location, monkeypatch):
    spec, other = spec_of(AXES, block=None), location.replace("a.zarr", "b.zarr")
    finish(other, spec)
    plain = places_of(missing_tasks(Store.prepare(location, spec), spec))
    monkeypatch.setattr(plan_cells, "MANY_CELLS", 2)
    spec = spec_of(AXES, block=None)
    store = Store.open(location)
    tasks = missing_tasks(store, spec)
    assert all(isinstance(task, Bundle) for task in tasks)
    assert places_of(tasks) == plain
    for task in tasks[::2]:
        assert not execute(pickle.loads(pickle.dumps(task)), store, device="cpu").error
    rest = missing_tasks(store, spec)
    assert sum(map(seconds_of, rest)) < sum(map(seconds_of, tasks))
    assert all(len(found) < len(plain[group]) for group, found in places_of(rest).items())
    for task in rest:
        assert not execute(task, store, device="cpu").error
    assert missing_tasks(store, spec) == []
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(tree_of(location)[group].ds, tree_of(other)[group].ds)


def test_what_lacks_unlike_replicates_is_in_bundles_of_its_own(large, location):
    spec = spec_of({"noise": (0.1, 0.2, 0.3)}, block=None, replicates=3)
    finish(location, spec)
    more = spec_of({"noise": (0.1, 0.2, 0.3, 0.4)}, block=None, replicates=5)
    store = Store.prepare(location, more)
    found = places_of(missing_tasks(store, more))
    assert {replicate for _, replicate in found["simulation"]} == set(range(5))
    assert found["simulation"] == {((k,), r) for k in range(4) for r in range(5) if k == 3 or r > 2}
    assert found["theory"] == {((3,), 0)}
    finish(location, more)
    assert (states(Store.prepare(location, more), "simulation") == DONE).all()


def test_a_bundle_is_planned_without_its_problems_and_sent_without_its_sweep(large):
    spec = spec_of({"noise": tuple(k / 1000 for k in range(1, 301)), "momentum": tuple(k / 1000 for k in range(300))})
    tasks = missing_tasks(None, spec)
    sizes = {kind: np.mean([task.count for task in tasks if isinstance(task.like, kind)]) for kind in (TheoryTask,)}
    assert sizes[TheoryTask] > 1
    assert len(tasks) < 90_000
    most = max(tasks, key=lambda task: task.count)
    sent = pickle.dumps(most)
    assert len(sent) < 2000 * len(most.parts)
    assert pickle.loads(sent).parts == most.parts
    assert pickle.loads(sent).name == most.name
