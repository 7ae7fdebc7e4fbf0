"""An axis that gets more values where the verdict changes."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from sweeps import worker
from sweeps.bisection import diverges
from sweeps.driver import ATTEMPTS
from sweeps.refinement import BOUND

WORDS = ("grid.learning_rate=[0.5,40]", "grid.noise=[0.1,0.5]", "problem.activation=identity", "problem.link=identity")
WORDS += ("problem.width=1", "problem.depth=1", "problem.steps=12", "replicates=2", "estimate=false")


def test_half_of_the_runs_make_a_verdict():
    start, good, bad = 1.0, 0.5, 2 * BOUND
    assert not diverges(np.array([[start, good], [start, good], [start, bad]]))
    assert diverges(np.array([[start, good], [start, bad]]))
    assert diverges(np.array([[start, np.nan]]))


def test_the_boundary_of_divergence_is_bisected_in_every_line_and_again_nothing_is_missing(sweep, read, capsys):
    assert sweep(*WORDS, "refine.axis=learning_rate", "refine.within=0.1") == 0
    simulation = read().simulation.to_dataset()
    assert (read().status.simulation == 1).all()
    for noise in (0.1, 0.5):
        line = simulation.isel(cell=simulation.noise.values == noise).sortby("learning_rate")
        rates = line.learning_rate.values
        verdicts = [diverges(runs) for runs in line.train_error.values]
        assert verdicts == sorted(verdicts)  # small ones converge, large ones diverge
        first = verdicts.index(True)
        low, high = rates[first - 1 : first + 1]
        assert 0 < high - low <= 0.1 * high
        # A bisection, and nothing but one: each value halves the interval that is left, 39.5 to begin with.
        assert len(rates) == 2 + np.ceil(np.log2(39.5 / (high - low)))
    before = simulation.train_error.values
    capsys.readouterr()
    assert sweep(*WORDS, "refine.axis=learning_rate", "refine.within=0.1") == 0
    assert "nothing was missing" in capsys.readouterr().out
    np.testing.assert_array_equal(read().simulation.train_error.values, before)


def test_a_refinement_that_was_stopped_goes_on_to_the_same_cells(sweep, read, monkeypatch):
    assert sweep(*WORDS, "refine.axis=learning_rate", "store=stores/whole.zarr") == 0
    calls, original = itertools.count(), worker.write_status

    class Stopped(BaseException):
        """As a signal stops a sweep."""

    def stop(*arguments, **options):
        if next(calls) == 9:  # in the second round: the first is four simulations and four theories
            raise Stopped
        return original(*arguments, **options)

    with monkeypatch.context() as patched, pytest.raises(Stopped):  # noqa: PT012
        patched.setattr(worker, "write_status", stop)
        sweep(*WORDS, "refine.axis=learning_rate", "store=stores/part.zarr")
    assert sweep(*WORDS, "refine.axis=learning_rate", "store=stores/part.zarr") == 0
    whole, part = read("stores/whole.zarr").simulation, read("stores/part.zarr").simulation
    np.testing.assert_array_equal(whole.learning_rate, part.learning_rate)
    np.testing.assert_array_equal(whole.train_error, part.train_error)


def test_whole_numbers_are_bisected_to_neighbours(sweep, read):
    words = ("problem.learning_rate=1.5", "grid.steps=[2,40]", "refine.axis=steps", "refine.within=0.001")
    assert sweep(*WORDS[2:6], "problem.noise=0.1", "replicates=2", "estimate=false", *words) == 0
    simulation = read().simulation.to_dataset().sortby("steps")
    steps = simulation.steps.values
    ends = [diverges(runs[:, : count + 1]) for runs, count in zip(simulation.train_error.values, steps, strict=True)]
    first = ends.index(True)
    assert steps[first] - steps[first - 1] == 1


def test_a_cell_that_fails_is_not_asked_for_again_and_again(sweep, monkeypatch):
    given, original = [], worker._compute

    def compute(task, *arguments):
        given.append(task.name)
        if task.parts[0].problem.learning_rate not in (0.5, 40):
            raise ValueError("of the second round")
        return original(task, *arguments)

    monkeypatch.setattr(worker, "_compute", compute)
    assert sweep(*WORDS, "refine.axis=learning_rate") == 1
    # Of two lines the ends and a middle, and each of these has a simulation and a theory; no other cell follows.
    assert len({*given}) == 2 * 3 * 2
    assert max(map(given.count, given)) <= ATTEMPTS


def test_a_plan_says_what_a_refinement_adds_and_then_that_nothing_is(sweep, read, capsys):
    words = (*WORDS, "refine.axis=learning_rate", "refine.within=0.5")
    assert sweep(*words, "plan=true") == 0
    said = capsys.readouterr().out
    match = re.search(r"up to (\d+) values of learning_rate follow, one by one, in each of 2 lines", said)
    assert sweep(*words) == 0
    added = read().simulation.sizes["cell"] - 4
    assert 0 < added <= 2 * int(match[1])
    capsys.readouterr()
    assert sweep(*words, "plan=true") == 0
    assert "refine: nothing is to be added" in capsys.readouterr().out
    assert sweep(*WORDS, "refine.axis=learning_rate", "refine.within=0.2", "plan=true") == 0
    assert "refine: the next round adds " in capsys.readouterr().out
