from __future__ import annotations

import numpy as np
import pytest

from sedyn import Problem
from sweeps.cost import CostModel, block_of, memory_of, seconds_of
from sweeps.cost.work import simulation_work, theory_work
from sweeps.plan import SweepSpec
from tests.sweeps.stores import spec_of

LONG = {"n": 400, "d": 200, "steps": 36, "width": 2, "depth": 2}


def test_automatic_blocks_are_alike_and_shorter_for_longer_problems():
    small = SweepSpec({"n": 40, "d": 20, "steps": 3}, replicates=16)
    large = SweepSpec({"n": 4000, "d": 2000, "steps": 20}, replicates=16)
    assert block_of(small) == 16
    assert 1 < block_of(large) < 16


def test_randomizations_of_a_theory_share_their_calls():
    problem = Problem(**LONG)
    calls, work = theory_work(problem, 1024, 2)
    more_calls, same_work = theory_work(problem, 512, 4)
    assert same_work == pytest.approx(work)
    assert calls < more_calls < 1.1 * calls  # what is drawn for each
    # Where two groups are put together, each is solved by itself.
    assert theory_work(problem, 2**16, 4)[0] == pytest.approx(2 * calls)
    kinked = theory_work(Problem(**LONG, activation="relu"), 1024, 2)
    assert kinked[0] == calls
    assert kinked[1] < work


def test_a_spectrum_that_changes_with_d_takes_two_small_solutions_more():
    flat, drifting = (Problem(**LONG, covariance=name) for name in ("two_level(5, 0.25)", "power_law(0.3)"))
    (calls, work), (more_calls, more_work) = (theory_work(problem, 1024, 2) for problem in (flat, drifting))
    assert 1.9 * calls < more_calls < 2 * calls  # two more of steps, and nothing of drawing
    assert more_work == pytest.approx(work * (4 + 8) / 4)


def test_laws_are_predicted_to_take_longer():
    plain, laws = (spec_of(laws=laws) for laws in (False, True))
    seconds = [seconds_of(spec.simulation_task(spec.cells[0], (), (0, 1))) for spec in (plain, laws)]
    assert seconds[1] > seconds[0]
    assert np.isfinite(seconds).all()


def test_tasks_without_the_estimate_are_predicted_to_take_less_time_and_memory():
    model = CostModel({"dense": (1.0, 1.0)}, 0)
    big = {"n": 40_000, "d": 40, "steps": 20, "width": 8, "depth": 2}
    tasks = [
        spec.simulation_task(spec.cells[0], (), (0,))
        for spec in (spec_of(base=big, samples=1024, estimate=estimate) for estimate in (True, False))
    ]
    for predict in (model.seconds, memory_of):
        assert predict(tasks[1]) < predict(tasks[0]) / 3
    # Where it cannot be had it takes no time either.
    kinked = Problem(**big, activation="relu")
    assert simulation_work(kinked, "dense") == simulation_work(Problem(**big), "dense", estimate=False)
