"""Sweeps whose simulations also run as two halves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sedyn
from sedyn.errors import InvalidInput
from sedyn.model.problem import Problem
from sweeps.cost import seconds_of
from sweeps.store import DONE, Store, find_damage, mend, metadata, states
from sweeps.store.lifecycle import open_root
from tests.sweeps.stores import finish, spec_of, tree_of

AXES = {"noise": (0.1, 0.5), "labels": ("additive", "classes")}
CLASSES = {"n": 40, "d": 20, "steps": 3, "depth": 2, "width": 2, "outputs": 3, "signals": 3}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same sweep with halves and without, by the same engine."""
    folder, found = tmp_path_factory.mktemp("stores"), {}
    for halves in (True, False):
        location = str(folder / f"{halves}.zarr")
        spec = spec_of(AXES, CLASSES, halves=halves, engine="auto" if halves else "deferred")
        finish(location, spec)
        found[halves] = location
    return found


def test_a_store_with_halves_has_all_else_too(stores):
    halves, plain = (tree_of(stores[halves])["simulation"].to_dataset() for halves in (True, False))
    xr.testing.assert_equal(halves[list(plain)].drop_vars("half", errors="ignore"), plain)
    for name in plain:
        assert (f"{name}_halves" in halves) == (not str(name).endswith("_stderr"))
    assert halves.train_error_halves.dims == ("noise", "labels", "replicate", "half", "iteration")
    of_classes = halves.test_error_rate_halves.notnull().all(["noise", "replicate", "half", "iteration"])
    assert of_classes.values.tolist() == [False, True]  # a part that some cells have
    assert halves.train_error_halves.notnull().all()


def test_replicates_are_those_of_simulate_whatever_their_blocks(stores, location):
    finish(location, spec_of(AXES, CLASSES, halves=True, block=3, replicates=4))
    found, other = (tree_of(each)["simulation"].to_dataset() for each in (stores[True], location))
    xr.testing.assert_equal(found.isel(replicate=slice(4)), other)
    problem = Problem(**CLASSES, noise=0.5)
    alone = sedyn.simulate(problem, [3], halves=True)
    at = other.sel(noise=0.5, labels="additive", replicate=[3])
    np.testing.assert_array_equal(
        at.weight_gram_halves.transpose(*alone.weight_gram_halves.dims), alone.weight_gram_halves
    )


def test_a_damaged_half_is_seen_and_computed_again(location):
    spec = spec_of(halves=True)
    finish(location, spec)
    store = Store.open(location)
    assert not find_damage(store).faults
    before = tree_of(location)
    next((Path(location) / "simulation/train_error_halves").glob("c*")).unlink()
    (fault,) = find_damage(store).faults
    assert "simulation/train_error_halves has no whole chunk" in str(fault)
    mend(store, find_damage(store))
    assert len(finish(location, spec)) == 1
    assert (states(store, "simulation") == DONE).all()
    xr.testing.assert_equal(tree_of(location)["simulation"].to_dataset(), before["simulation"].to_dataset())


@pytest.mark.parametrize("first", [True, False])
def test_a_store_with_halves_is_not_one_without(stores, first):
    spec = spec_of(AXES, CLASSES, halves=not first, engine="auto" if first else "deferred")
    with pytest.raises(InvalidInput, match=f"halves was {first} and is now {not first}"):
        Store.prepare(stores[first], spec)


def test_a_store_from_before_there_were_halves_grows(location):
    finish(location, spec_of())
    store = Store.open(location)
    settings = {name: value for name, value in store.settings.items() if name != "halves"}
    settings["sizes"] = {name: size for name, size in settings["sizes"].items() if name != "half"}
    metadata.publish(open_root(location, consolidated=False).store, _paths(location), settings)
    assert len(finish(location, spec_of(replicates=7))) > 0
    assert tree_of(location)["simulation"].train_error.notnull().all()


def _paths(location):
    tree = xr.open_datatree(location, engine="zarr")
    groups = {name: tree[name].to_dataset() for name in ("simulation", "theory", "status")}
    return [f"{group}/{name}" for group, one in groups.items() for name in one.variables]


def test_the_plan_knows_what_they_cost():
    times = {}
    for halves in (True, False):
        spec = spec_of(base={**CLASSES, "n": 400000, "d": 200000}, halves=halves, engine="deferred")
        times[halves] = seconds_of(spec.simulation_task(spec.cells[0], (), (0,)))
    assert 1.95 < times[True] / times[False] < 2.1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["halves=perhaps"], "halves='perhaps': true or false"),
        (
            ["halves=true", "problem.features=rademacher"],
            "halves=True: only Gaussian features are drawn as innovations, not features=rademacher;",
        ),
        (["halves=true", "engine=dense"], "engine='dense': its entries are no innovations that halves share;"),
        (["halves=true", "problem.n=41"], "halves=True: n=41 has no half; make it even; or set halves=false"),
    ],
)
def test_refusals(sweep, capsys, arguments, said):
    assert sweep(*arguments) == 2
    assert capsys.readouterr().err.strip().startswith(said)


def test_the_command_line_runs_them(sweep, read):
    assert sweep("halves=true") == 0
    simulation = read()["simulation"]
    assert np.isfinite(simulation.test_error_halves).all()
