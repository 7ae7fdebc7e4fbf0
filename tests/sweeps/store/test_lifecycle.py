from __future__ import annotations

import pytest
import xarray as xr

from sedyn.errors import InvalidInput
from sweeps.plan import SimulationTask, TheoryTask
from sweeps.store import Store
from tests.sweeps.stores import BASE, finish, spec_of, tree_of


def test_growth_runs_only_what_is_missing_and_keeps_the_rest(location):
    finish(location, spec_of({"noise": (0.1, 0.5)}))
    before = tree_of(location)["simulation"].to_dataset()
    grown = spec_of({"noise": (0.05, 0.1, 0.3, 0.5)}, replicates=6)
    tasks = finish(location, grown)
    simulations = [task for task in tasks if isinstance(task, SimulationTask)]
    # The last replicate of each old cell, and three blocks of each of the two new ones.
    assert sorted(task.replicates for task in simulations) == [(0, 1)] * 2 + [(2, 3)] * 2 + [(4, 5)] * 2 + [(5,)] * 2
    assert sum(isinstance(task, TheoryTask) for task in tasks) == 2
    tree = tree_of(location)
    after = tree["simulation"].to_dataset()
    assert (tree["status"].simulation == 1).all()
    xr.testing.assert_identical(
        after.sel(noise=before.noise, replicate=before.replicate).train_error, before.train_error
    )
    fresh = location.replace("a.zarr", "b.zarr")
    finish(fresh, grown)
    xr.testing.assert_equal(after.sortby("noise"), tree_of(fresh)["simulation"].to_dataset())


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"samples": 128}, "theory.samples was 64 and is now 128"),
        ({"base": BASE | {"width": 3}}, "problem.width was 2 and is now 3"),
        ({"dtype": "float32"}, "dtype was 'float64' and is now 'float32'"),
        ({"base": BASE | {"d": 10}}, "problem.d was 20 and is now 10"),
    ],
)
def test_other_settings_are_refused_with_the_difference(location, changes, difference):
    Store.prepare(location, spec_of({"noise": (0.1,)}))
    with pytest.raises(InvalidInput, match=difference):
        Store.prepare(location, spec_of(**({"axes": {"noise": (0.1,)}} | changes)))


def test_the_block_of_a_store_stands(location):
    Store.prepare(location, spec_of(block=2))
    assert Store.prepare(location, spec_of(block=3)).block == 2


def test_an_interrupted_creation_is_taken_up_again(location, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(
            "sweeps.store.lifecycle.lay_out", lambda root, settings: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            Store.prepare(location, spec_of())
    finish(location, spec_of())
    assert (tree_of(location)["status"].simulation == 1).all()


def test_what_is_no_sweep_is_left_alone(tmp_path):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="is no Zarr store"):
        Store.prepare(str(tmp_path / "stores"), spec_of())
    with pytest.raises(InvalidInput, match="holds no sweep"):
        Store.open(str(tmp_path / "absent.zarr"))
