"""The time that is left: right within 30 % from a tenth of the work on, whatever the predictions are wrong by."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from sweeps.cost import seconds_of, work_of
from sweeps.pace import Pace
from sweeps.plan import TheoryTask
from sweeps.schedule import missing_tasks
from tests.sweeps.stores import spec_of

SIZES = {n: n // 2 for n in (256, 512, 1024, 2048, 4096)}
SPEC = spec_of(
    {"n": tuple(SIZES), "noise": (0.1, 0.2, 0.3, 0.4), "width": (2, 4, 8)},
    {"depth": 2, "steps": 20},
    features_at=SIZES,
    replicates=64,
    block=None,
    samples=2**13,
    randomizations=8,
)


def run(tasks, seconds, workers, pace):
    """Simulate workers that take the next task when they are free; yields the time, the work done and what is left."""
    free = [3.0] * workers  # they take a while to start
    ends = []
    for task in tasks:
        start = heapq.heappop(free)
        heapq.heappush(free, start + seconds[id(task)])
        ends.append((start + seconds[id(task)], task))
    total, done = sum(seconds.values()), 0.0
    for now, task in sorted(ends, key=lambda end: end[0]):
        pace.finish(task, seconds[id(task)])
        done += seconds[id(task)]
        yield now, done / total, pace.seconds_left(workers)


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("factors", [(1, 1, 1), (4, 4, 4), (0.2, 0.2, 0.2), (3, 1, 1.2)])
def test_it_is_right_within_30_percent_from_a_tenth_of_the_work_on(workers, factors):
    """Calls, arithmetic and theory take other multiples of what was predicted, and every task 20 % more or less."""
    rng = np.random.default_rng(0)
    tasks = missing_tasks(None, SPEC)
    assert len(tasks) > 100
    seconds = {}
    for task in tasks:
        calls, arithmetic = work_of(task)
        plain = factors[0] * calls + factors[1] * arithmetic
        plain = factors[2] * seconds_of(task) if isinstance(task, TheoryTask) else plain
        seconds[id(task)] = plain * rng.uniform(0.8, 1.2)
    pace = Pace()
    pace.add(tasks)
    assert pace.seconds_left(workers) is None
    found = list(run(tasks, seconds, workers, pace))
    end = found[-1][0]
    longest = max(seconds.values())
    wrong = [
        (share, left, end - now)
        for now, share, left in found
        if share >= 0.1 and abs(left - (end - now)) > 0.3 * (end - now) + longest / workers
    ]
    assert wrong == []


def test_tasks_that_nobody_timed_are_left_out_of_what_is_left():
    tasks = missing_tasks(None, SPEC)[:4]
    pace = Pace()
    pace.add(tasks)
    pace.finish(tasks[0], 2.0)
    before = pace.seconds_left(1)
    pace.finish(tasks[1], float("nan"))
    assert pace.seconds_left(1) < before


def test_the_first_tasks_of_workers_which_load_what_they_need_do_not_mislead():
    tasks = [task for task in missing_tasks(None, SPEC) if not isinstance(task, TheoryTask)]
    seconds = {id(task): seconds_of(task) + (20.0 if k < 2 else 0.0) for k, task in enumerate(tasks)}
    pace = Pace()
    pace.add(tasks)
    found = list(run(tasks, seconds, 2, pace))
    end, longest = found[-1][0], max(map(seconds_of, tasks))
    looks = [(left, end - now) for now, _, left in found[10:]]
    assert all(abs(left - true) <= 0.3 * true + longest for left, true in looks)
