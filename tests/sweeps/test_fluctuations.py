"""Sweeps whose theory also predicts how far runs are from it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import sedyn
from sedyn.errors import InvalidInput
from sedyn.model.observables import beside_theory, parts_of
from sweeps import validate
from sweeps.cost import memory_of, seconds_of
from sweeps.schedule import missing_tasks
from sweeps.status import summary
from sweeps.store import Store, find_damage, mend
from tests.sweeps.stores import finish, spec_of, tree_of

GRID = {"n": (40, 80), "bias": ("none", "all")}
BASE = {"d": 20, "steps": 2, "depth": 2, "width": 2}


def spec(**changes):
    return spec_of(
        GRID, BASE, **{"features_at": {40: 20, 80: 40}, "aspect": 2.0, "replicates": 2, "samples": 256, **changes}
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A finished store, and the same without."""
    folder = tmp_path_factory.mktemp("stores")
    for fluctuations in (True, False):
        finish(str(folder / f"{fluctuations}.zarr"), spec(fluctuations=fluctuations))
    return {fluctuations: str(folder / f"{fluctuations}.zarr") for fluctuations in (True, False)}


def test_a_store_has_them_beside_theory_and_all_else_is_the_same(stored):
    with_them, without = (tree_of(stored[known]) for known in (True, False))
    for group in ("simulation", "theory"):
        names = list(without[group].data_vars)
        xr.testing.assert_identical(with_them[group].to_dataset()[names], without[group].to_dataset())
    problem = sedyn.Problem(n=80, **{**BASE, "d": 40}, bias="all")
    alone = sedyn.fluctuations(problem, samples=32, randomizations=2)
    theory = with_them["theory"].to_dataset().sel(bias="all")
    for name, beside in beside_theory(parts_of(problem)).items():
        for n in GRID["n"]:  # which share the solution
            xr.testing.assert_equal(
                theory[beside].sel(n=n, drop=True).drop_vars(["bias", "d"], errors="ignore"), alone[name]
            )
    assert theory.test_error_covariance.dims == ("n", "iteration", "iteration_")
    assert theory.biases_covariance.notnull().any()
    assert with_them["theory"].biases_covariance.sel(bias="none").isnull().all()


def test_what_is_damaged_is_computed_again(stored, capsys):
    assert validate.main([stored[True]]) == 0
    capsys.readouterr()
    store, chosen = Store.open(stored[True]), spec(fluctuations=True)
    array = store.array("theory", "test_error_covariance")
    place = store.position({"n": 40, "bias": "none"})
    before = array[place]
    array[place] = before + 1.0
    damage = find_damage(store)
    assert [fault.lead for fault in damage.faults] == [place]
    mend(store, damage)
    (task,) = finish(stored[True], chosen)
    assert task.solved_at is not None  # the other size has the solution: it is copied
    np.testing.assert_array_equal(Store.open(stored[True]).array("theory", "test_error_covariance")[place], before)
    assert "theory: 4 of 4 cells done (100%)" in "\n".join(summary(Store.open(stored[True])))


def test_it_grows(stored, location):
    first = spec_of({"n": (40,), "bias": ("none",)}, BASE, features_at={40: 20}, aspect=2.0, replicates=2, samples=256)
    finish(
        location,
        spec_of(first.axes, BASE, features_at={40: 20}, aspect=2.0, replicates=2, samples=256, fluctuations=True),
    )
    finish(location, spec(fluctuations=True))
    xr.testing.assert_identical(*(tree_of(where)["theory"].to_dataset() for where in (location, stored[True])))


def test_a_store_with_them_is_not_one_without(stored):
    with pytest.raises(InvalidInput, match="fluctuations was False and is now True; name another store"):
        Store.prepare(stored[False], spec(fluctuations=True))


def test_the_plan_knows_their_seconds_and_memory():
    plain, more = (
        [task for task in missing_tasks(None, spec(fluctuations=known, samples=2**14)) if task.group == "theory"]
        for known in (False, True)
    )
    for one, other in zip(plain, more, strict=True):
        assert seconds_of(other) > 2 * seconds_of(one)
        assert memory_of(other) > memory_of(one)


def test_what_cannot_be_predicted_is_refused_before_any_work(sweep, capsys):
    assert sweep("fluctuations=true", "problem.activation=relu") == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("activation='relu': has a kink")


def test_the_command_line_asks_for_them(sweep, read):
    assert sweep("fluctuations=true", "replicates=1") == 0
    variance = np.diagonal(read()["theory"].test_error_covariance)
    assert (variance[1:] > 0).all()
