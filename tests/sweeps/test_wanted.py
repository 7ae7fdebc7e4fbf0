"""What is left of a sweep whose target gave its cells unlike numbers of replicates."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.watch.snapshot import Watcher
from sweeps.precision import PreciseTasks
from sweeps.redo import main as redo
from sweeps.status import summary
from sweeps.store import Store, states
from sweeps.target import Target
from sweeps.wanted import awaited, replicates_wanted
from tests.sweeps.stores import finish, run_out_of_order, spec_of

NOISES = (0.01, 0.3, 3.0)
SPEC = spec_of({"noise": NOISES}, replicates=4)
TARGET = Target("train_error", 0.05, 20)


@pytest.fixture
def location(tmp_path):
    """A store of a sweep that met its target, with another number of replicates in every cell."""
    place = str(tmp_path / "stores" / "a.zarr")
    run_out_of_order(PreciseTasks(Store.prepare(place, SPEC), SPEC, TARGET, "cpu"), place, 0)
    return place


def test_cells_that_met_their_target_want_no_more(location):
    store = Store.open(location)
    done = (states(store, "simulation") == 1).sum(axis=-1)
    assert done[0] < done[-1] == store.replicates
    assert (awaited(store, states(store, "simulation")).sum(axis=-1) == done).all()
    assert (replicates_wanted(store) <= done).all()
    line = next(line for line in summary(store) if line.startswith("simulation"))
    assert line.startswith(f"simulation: {done.sum()} of {done.sum()} replicates done (100%), 0 failed, 0 left")
    snapshot = Watcher(location).look()
    assert [cell.wanted for cell in snapshot.cells] == done.tolist()
    assert snapshot.share == 1


def test_a_later_sweep_wants_as_many_as_it_asks_for_and_a_new_cell_too(location):
    wider = spec_of({"noise": (*NOISES, 1.0)}, replicates=6)
    store = Store.prepare(location, wider)
    wants = replicates_wanted(store)
    assert wants[3] == 6
    assert (wants >= 6).all()
    finish(location, wider)
    state = states(Store.open(location), "simulation")
    assert (awaited(store, state) == (state == 1)).all()


def test_a_store_without_a_target_wants_all_that_it_has_room_for(tmp_path):
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), SPEC)
    assert replicates_wanted(store).tolist() == [4, 4, 4]
    assert awaited(store, states(store, "simulation")).all()


def test_redo_says_which_sweep_computes_the_replicates_that_a_target_added(location, capsys):
    assert redo([location, "noise=3.0"]) == 0
    said = capsys.readouterr().out
    assert "1 cells are computed again by the next sweep" in said
    assert "; replicates after the first 4 by one with target.stderr=0.05: " in said
    store = Store.open(location)
    assert np.flatnonzero(awaited(store, states(store, "simulation"))[2]).size == replicates_wanted(store)[2] > 4
