"""Cells that are computed again, or dropped."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sweeps import drop, redo
from sweeps.plan import SimulationTask, TheoryTask
from sweeps.store import DONE, PENDING, Store, find_damage, is_asked, states
from tests.sweeps.stores import finish, spec_of, tree_of

GRID = spec_of({"noise": (0.1, 0.5), "features": ("gaussian", "rademacher")})
ROWS = spec_of({"noise": (0.1, 0.5)}, rows=[{"width": 2, "momentum": 0.0}, {"width": 3, "momentum": 0.5}])


def test_redone_cells_are_computed_again_and_give_the_same(location, capsys):
    finish(location, GRID)
    before = tree_of(location)
    assert redo.main([location, "noise=0.5", "features=rademacher"]) == 0
    # Both laws of features share a theory.
    assert "1 cells are computed again by the next sweep; theory also in 1 that share it" in capsys.readouterr().out
    store = Store.open(location)
    assert np.argwhere((states(store, "simulation") == PENDING).all(-1)).tolist() == [[1, 1]]
    assert np.argwhere(states(store, "theory") == PENDING).tolist() == [[1, 0], [1, 1]]
    tasks = finish(location, GRID)
    assert {type(task) for task in tasks} == {SimulationTask, TheoryTask}
    assert all(task.solved_at is None for task in tasks if isinstance(task, TheoryTask))
    xr.testing.assert_identical(tree_of(location).simulation.to_dataset(), before.simulation.to_dataset())
    xr.testing.assert_identical(tree_of(location).theory.to_dataset(), before.theory.to_dataset())


def test_dropped_cells_are_gone_and_asked_for_no_more_until_a_sweep_asks_again(location, capsys):
    finish(location, GRID)
    before = tree_of(location)
    assert drop.main([location, "noise=0.5", "features=gaussian"]) == 0
    assert "1 cells dropped" in capsys.readouterr().out
    store = Store.open(location)
    assert is_asked(store.settings).tolist() == [[True, True], [False, True]]
    assert np.argwhere((states(store, "simulation") == PENDING).all(-1)).tolist() == [[1, 0]]
    assert find_damage(store) == ([], [])
    tree = tree_of(location)
    assert tree.simulation.train_error.isel(noise=1, features=0).isnull().all()
    assert tree.status.asked.values.tolist() == [[True, True], [False, True]]
    part = spec_of({"noise": (0.1,), "features": ("gaussian", "rademacher")})
    assert finish(location, part) == []
    assert finish(location, GRID) != []
    assert is_asked(Store.open(location).settings).all()
    xr.testing.assert_identical(tree_of(location).simulation.to_dataset(), before.simulation.to_dataset())
    assert "asked" not in tree_of(location).status


def test_rows_are_chosen_by_any_of_their_fields(location):
    finish(location, ROWS)
    assert drop.main([location, "momentum=0.5", "noise=0.1"]) == 0
    assert is_asked(Store.open(location).settings).tolist() == [[True, True], [False, True]]
    assert redo.main([location, "width=2,3", "noise=0.5"]) == 0
    done = (states(Store.open(location), "simulation") == DONE).all(-1)
    assert done.tolist() == [[True, False], [False, False]]


def test_a_store_of_one_cell_says_how_to_choose_it(location, capsys):
    finish(location, spec_of())
    assert redo.main([location, "n=40"]) == 2
    assert capsys.readouterr().err == "n='40': the store has one cell; --all chooses it\n"
    assert redo.main([location, "--all"]) == 0


def test_all_cells_can_be_redone(location):
    finish(location, GRID)
    assert redo.main([location, "--all"]) == 0
    assert not (states(Store.open(location), "simulation") == DONE).any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name values, as in noise=0.5 n=100,200, or --all"),
        (["--all", "noise=0.5"], "name values"),
        (["noise"], "FIELD=VALUE,VALUE"),
        (["noise="], "FIELD=VALUE,VALUE"),
        (["nosie=0.5"], "did you mean 'noise'"),
        (["width=2"], "known: noise, features"),
        (["noise=0.3"], "the store has 0.1, 0.5"),
    ],
)
def test_a_choice_of_nothing_is_refused_in_one_line(location, capsys, words, message):
    finish(location, GRID)
    for command in (redo, drop):
        assert command.main([location, *words]) == 2
        shown = capsys.readouterr().err
        assert message in shown
        assert shown.count("\n") == 1
    assert (states(Store.open(location), "simulation") == DONE).all()
