from __future__ import annotations

import contextlib
import os
import shutil

import pytest
import xarray as xr
import zarr

from sedyn.errors import InvalidInput
from sweeps.plan import SimulationTask
from sweeps.store import Store, metadata, objects
from sweeps.store.migration import add_axes
from tests.sweeps.stores import finish, spec_of, tree_of


@pytest.mark.parametrize("base", ["stores", "memory"])
def test_a_constant_becomes_an_axis_and_only_new_cells_run(tmp_path, base):
    location = f"memory://{tmp_path}/a.zarr" if base == "memory" else str(tmp_path / "stores" / "a.zarr")
    finish(location, spec_of({"width": (1, 2)}, replicates=3))
    before = tree_of(location)
    grown = spec_of({"width": (1, 2), "noise": (0.3, 0.5), "momentum": (0.0, 0.5)}, replicates=3)
    tasks = finish(location, grown)
    simulated = {task.problem for task in tasks if isinstance(task, SimulationTask)}
    assert {(problem.noise, problem.momentum) for problem in simulated} == {(0.3, 0.5), (0.5, 0.0), (0.5, 0.5)}
    after = tree_of(location)
    for group in ("simulation", "theory"):
        old = after[group].to_dataset().sel(noise=0.3, momentum=0.0, drop=True)
        xr.testing.assert_equal(old, before[group].to_dataset())
    assert after["simulation"].train_error.dims == ("width", "noise", "momentum", "replicate", "iteration")
    assert "noise" not in after["simulation"].attrs
    assert (after["status"].simulation == 1).all()
    fresh = location.replace("a.zarr", "b.zarr")
    finish(fresh, grown)
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(after[group].to_dataset(), tree_of(fresh)[group].to_dataset())


@pytest.mark.parametrize("base", ["stores", "memory"])
def test_a_tree_that_is_held_open_stays_what_it_was(tmp_path, base):
    location = f"memory://{tmp_path}/held.zarr" if base == "memory" else str(tmp_path / "stores" / "a.zarr")
    finish(location, spec_of({"width": (1, 2)}, replicates=3))
    before = tree_of(location)
    held = [xr.open_datatree(location, engine="zarr") for _ in range(2)]
    finish(location, spec_of({"width": (1, 2), "noise": (0.3, 0.5)}, replicates=4))
    between = tree_of(location), xr.open_datatree(location, engine="zarr")
    xr.testing.assert_identical(held[0].load(), before)
    finish(location, spec_of({"width": (1, 2, 3), "noise": (0.3, 0.5), "momentum": (0.0, 0.5)}, replicates=5))
    xr.testing.assert_identical(held[1].load(), before)
    xr.testing.assert_identical(between[1].load(), between[0])


def test_a_single_problem_gains_n_as_an_axis_with_d_along_it(location):
    finish(location, spec_of(features_at={40: 20}, base={"n": 40, "steps": 3, "depth": 2, "width": 2}, aspect=2.0))
    grown = spec_of({"n": (20, 40)}, {"steps": 3, "depth": 2, "width": 2}, features_at={20: 10, 40: 20}, aspect=2.0)
    finish(location, grown)
    runs = tree_of(location)["simulation"]
    assert (runs.n.values.tolist(), runs.d.values.tolist()) == ([40, 20], [20, 10])
    assert runs.train_error.notnull().all()


def test_one_value_of_a_stored_axis_may_be_asked_for(location):
    finish(location, spec_of({"noise": (0.3, 0.5)}))
    assert finish(location, spec_of()) == []
    assert len(finish(location, spec_of(base={**spec_of().base, "noise": 0.7}))) == 4
    assert tree_of(location)["simulation"].noise.values.tolist() == [0.3, 0.5, 0.7]


def test_a_schedule_of_learning_rates_is_no_value_on_an_axis(location):
    Store.prepare(location, spec_of(base={**spec_of().base, "learning_rate": (0.1, 0.2, 0.3)}))
    with pytest.raises(InvalidInput, match="learning_rate"):
        Store.prepare(location, spec_of({"learning_rate": (0.1, 0.2)}))


def test_the_opening_line_sorts_what_came_late(location):
    finish(location, spec_of({"noise": (0.3, 0.5)}, replicates=1))
    assert "sortby" not in Store.open(location).opening_line
    finish(location, spec_of({"noise": (0.1, 0.4)}, replicates=1))
    store = Store.open(location)
    opened = eval(store.opening_line, {"xarray": xr})
    assert opened["simulation"].noise.values.tolist() == [0.1, 0.3, 0.4, 0.5]
    assert opened["simulation"].train_error.sel(noise=slice(0.1, 0.4)).notnull().all()


class Killed(BaseException):
    """Ends a process at once, as far as the code under test can tell."""


def kill_at(monkeypatch, moment):
    """Die at the n-th change of the file system."""
    left = moment

    def dying(function):
        def call(*arguments, **options):
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            return function(*arguments, **options)

        return call

    for owner, name in ((objects, "write"), (objects, "delete"), (os, "link")):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))
    return lambda: moment - left


def test_an_interrupted_migration_is_finished_by_whoever_comes_next(location, tmp_path, monkeypatch):
    old = spec_of({"width": (1, 2)}, replicates=3)
    grown = spec_of({"width": (1, 2), "noise": (0.3, 0.5)}, replicates=3)
    finish(location, old)
    before = tree_of(location)["simulation"].to_dataset()
    copy = str(tmp_path / "stores" / "copy.zarr")

    def die(moment):
        shutil.copytree(location, copy)
        with monkeypatch.context() as patched:
            count = kill_at(patched, moment)
            root = zarr.open_group(copy, mode="r+", use_consolidated=False)
            with contextlib.suppress(Killed):
                add_axes(root, metadata.stored_settings(root), ["noise"])
            return count()

    changes = die(10**9)
    shutil.rmtree(copy)
    assert changes > 100
    for moment in range(0, changes, changes // 5):
        die(moment)
        for opened in (tree_of(copy), None):  # as it was left, then as the next start leaves it
            tree = opened
            if tree is None:
                assert finish(copy, old) == []
                tree = tree_of(copy)
                names = [name for name in os.listdir(f"{copy}/status/simulation") if name.startswith("c.")]
                assert {name.count(".") for name in names} == ({2, 3} if moment else {2})  # the old ones stay
                old_names = [name for name in names if name.count(".") == 2]
                renamed = {".".join([*name.split(".")[:2], "0", name.split(".")[2]]) for name in old_names}
                assert renamed == {name for name in names if name.count(".") == 3} or not moment
            runs = tree["simulation"].to_dataset()
            xr.testing.assert_equal(runs.squeeze("noise", drop=True) if "noise" in runs.dims else runs, before)
        assert "noise" in runs.dims or moment == 0
        shutil.rmtree(copy)
    finish(location, grown)
    assert (tree_of(location)["status"].simulation == 1).all()
