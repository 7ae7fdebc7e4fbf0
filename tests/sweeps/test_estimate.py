"""Sweeps that leave out the test error estimated from training data."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from analysis.report.sections import SECTIONS
from analysis.store import open_store
from sedyn.errors import InvalidInput
from sedyn.estimate.protocol import no_estimate_because
from sedyn.model.problem import Problem
from sweeps.store import Store
from tests.sweeps.stores import finish, spec_of, tree_of

NAME = "estimated_test_error"


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same sweep with the estimate and without."""
    folder, found = tmp_path_factory.mktemp("stores"), {}
    for estimate in (True, False):
        finish(str(folder / f"{estimate}.zarr"), spec_of({"noise": (0.1, 0.5)}, estimate=estimate))
        found[estimate] = str(folder / f"{estimate}.zarr")
    return found


def test_a_store_without_it_has_all_else(stores):
    with_it, without = (tree_of(stores[estimate])["simulation"].to_dataset() for estimate in (True, False))
    assert NAME not in without
    assert with_it[NAME].notnull().all()
    xr.testing.assert_identical(with_it.drop_vars(NAME), without)


def test_sections_that_need_it_say_so_in_one_line(stores):
    simulation, _ = open_store(stores[False])
    lacking = {s.name: s.unanswerable(simulation) for s in SECTIONS}
    assert {name for name, words in lacking.items() if words and "estimate=true" in words} == {
        "generalization_estimate",
        "early_stopping",
        "tuning",
    }


@pytest.mark.parametrize("first", [True, False])
def test_a_store_with_it_is_not_one_without(stores, first):
    with pytest.raises(InvalidInput, match=f"estimate was {first} and is now {not first}; name another store"):
        Store.prepare(stores[first], spec_of({"noise": (0.1, 0.5)}, estimate=not first))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["estimate=perhaps"], "estimate='perhaps': true or false"),
        (
            ["estimate=false", "target.stderr=0.1", f"target.observable={NAME}"],
            f"target.observable='{NAME}': the runs have none; set estimate=true",
        ),
        (
            ["grid.activation=[tanh,relu]", "target.stderr=0.1", f"target.observable={NAME}"],
            f"target.observable='{NAME}': {no_estimate_because(Problem(n=2, d=2, activation='relu', width=1))}",
        ),
    ],
)
def test_refusals(sweep, capsys, arguments, said):
    assert sweep(*arguments) == 2
    assert capsys.readouterr().err.strip() == said


def test_the_command_line_leaves_it_out(sweep, read):
    assert sweep("estimate=false") == 0
    simulation = read()["simulation"]
    assert NAME not in simulation
    assert np.isfinite(simulation.test_error).all()
