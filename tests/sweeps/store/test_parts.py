"""Cells of one store whose problems have different variables."""

import numpy as np

from sweeps.store import Store
from sweeps.store.integrity import find_damage, mend
from tests.sweeps.stores import finish, spec_of, tree_of

LABELS = {"outputs": (2,), "signals": (2,), "labels": ("additive", "classes")}


def test_a_store_grows_by_problems_with_more_variables(tmp_path):
    location = str(tmp_path / "stores" / "sweep.zarr")
    assert len(finish(location, spec_of())) > 0
    before = tree_of(location)["simulation"].to_dataset()
    assert "biases" not in before
    grown = spec_of({"bias": ("none", "all")})
    tasks = finish(location, grown)
    assert {task.problem.bias for task in tasks} == {"all"}
    after = tree_of(location)
    for group in ("simulation", "theory"):
        biases = after[group].biases
        assert biases.sel(bias="none").isnull().all()
        assert biases.sel(bias="all").notnull().any("bias_layer").all()
    np.testing.assert_array_equal(after["simulation"].train_error.sel(bias="none"), before.train_error)
    assert find_damage(Store.open(location)).faults == []
    assert finish(location, grown) == []


def test_a_lost_chunk_of_such_a_variable_is_missed_where_it_belongs(tmp_path):
    location = str(tmp_path / "stores" / "sweep.zarr")
    spec = spec_of(LABELS)
    finish(location, spec)
    store = Store.open(location)
    rates = store.array("simulation", "test_error_rate")
    lost = sorted((tmp_path / "stores" / "sweep.zarr" / rates.path).glob("c*"))[0]
    lost.unlink()
    damage = find_damage(store)
    (fault,) = damage.faults
    assert "test_error_rate" in fault.reason
    mend(store, damage)
    assert len(finish(location, spec)) == 1
    assert find_damage(Store.open(location)).faults == []
