from __future__ import annotations

import numpy as np
import pytest

import sedyn
from sweeps.schedule import missing_tasks
from sweeps.store import DONE, FAILED, Store, facts, failures, is_done, missing, states
from sweeps.worker import execute
from tests.sweeps.stores import finish, spec_of

AXES = {"width": (1, 2), "noise": (0.1, 0.5)}


@pytest.fixture
def half(location, monkeypatch):
    """A store of which one noise failed."""
    simulate = sedyn.simulate_together

    def failing(cells, **options):
        if any(problem.noise == 0.5 for problem, _ in cells):
            raise FloatingPointError("no luck")
        return simulate(cells, **options)

    spec = spec_of(AXES, replicates=3)
    store = Store.prepare(location, spec)
    with monkeypatch.context() as patched:
        patched.setattr(sedyn, "simulate_together", failing)
        for task in missing_tasks(store, spec):
            execute(task, store, device="cpu")
    return store


def test_states_facts_and_failures_of_every_result(half):
    found = states(half, "simulation")
    assert found.tolist() == [[[DONE] * 3, [FAILED] * 3]] * 2
    assert (states(half, "theory") == DONE).all()
    assert failures(half, "simulation") == ["FloatingPointError: no luck"] * 6
    assert failures(half, "theory") == []
    assert (facts(half, "simulation", "attempt") == 1).all()


def test_what_is_missing_is_what_failed_and_what_a_sweep_adds(half):
    spec = spec_of(AXES | {"noise": (0.1, 0.5, 0.7)}, replicates=4)
    found = missing(half, spec)
    assert [(cell.values, position, lacks) for cell, position, lacks in found.replicates[:3]] == [
        ((1, 0.1), (0, 0), [3]),
        ((1, 0.5), (0, 1), [0, 1, 2, 3]),
        ((1, 0.7), None, [0, 1, 2, 3]),
    ]
    assert [(task.problem.width, task.problem.noise) for task in found.theories] == [(1, 0.7), (2, 0.7)]
    done = [is_done(half, spec.simulation_task(cell, (0, k), (0, 1, 2))) for k, cell in enumerate(spec.cells[:2])]
    assert done == [True, False]


def test_without_a_store_all_is_missing_and_with_a_finished_one_nothing(location):
    spec = spec_of(AXES)
    found = missing(None, spec)
    assert [lacks for *_, lacks in found.replicates] == [[0, 1, 2, 3, 4]] * 4
    assert len(found.theories) == 4
    finish(location, spec)
    found = missing(Store.open(location), spec)
    assert ([lacks for *_, lacks in found.replicates], found.theories) == ([[]] * 4, [])


def test_states_on_a_disk_are_those_that_zarr_reads(half):
    for kind in ("simulation", "theory"):
        np.testing.assert_array_equal(states(half, kind), half.array("status", kind)[...])


@pytest.mark.parametrize("axes", [{}, {"width": (1, 2)}, {"noise": (0.1, 0.5)}])
def test_cells_that_a_store_has_no_place_for_are_told_from_those_that_it_has(location, axes):
    store = Store.prepare(location, spec_of(axes, replicates=3))
    spec = spec_of({"width": (2, 3), "noise": (0.5, 0.3, 0.1), "steps": (3, 4)}, replicates=3)
    positions, there = store.positions(spec)
    for index, cell in enumerate(spec.cells):
        expected = store.position(store.values_of(spec, cell))
        assert there[index] == (expected is not None)
        assert expected is None or tuple(positions[index]) == expected
