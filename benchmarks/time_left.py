"""How right the time left would have been while stores were made: their tasks are played again as long as they took.

    python -m benchmarks.time_left EXPERIMENT=STORE ...

A store of an experiment knows what each of its results took. Workers take its tasks in the order in which a sweep gives
them out; after each, what a bar would say is left is held against what was.
"""

from __future__ import annotations

import heapq
import sys

import numpy as np

from sweeps.application.composition import compose
from sweeps.application.request import read_request
from sweeps.pace import Pace
from sweeps.plan import Task, TheoryTask
from sweeps.schedule import missing_tasks
from sweeps.store import Store, facts

WORKERS, FROM, GOAL = 2, 0.1, 0.3


def recorded(experiment: str, path: str) -> list[tuple[Task, float]]:
    """List the tasks of an experiment that its store has, with their seconds."""
    spec = read_request(compose([f"experiment={experiment}"])).spec
    store = Store.open(path)
    spec = store.spelled(spec)
    seconds = {kind: facts(store, kind, "seconds") for kind in ("simulation", "theory")}
    places = {cell.problem: store.position(store.values_of(spec, cell)) for cell in spec.cells}

    def taken(task: Task) -> float:
        total = 0.0
        for part in task.parts:
            place = places.get(part.problem)
            if place is None:
                return np.nan
            if isinstance(part, TheoryTask):
                total += seconds["theory"][place] * part.size
            else:
                known = seconds["simulation"][place]
                total += known[list(part.replicates)].sum() if part.replicates[-1] < known.size else np.nan
        return float(total)

    found = [(task, taken(task)) for task in missing_tasks(None, spec)]
    return [(task, time) for task, time in found if np.isfinite(time)]


def errors(tasks: list[tuple[Task, float]], workers: int) -> list[tuple[float, float]]:
    """Play the tasks; after each, the share of the work done, and by which part of the whole the time left is wrong."""
    free, ends = [0.0] * workers, []
    for task, seconds in tasks:
        end = heapq.heappop(free) + seconds
        heapq.heappush(free, end)
        ends.append((end, task, seconds))
    ends.sort(key=lambda one: one[0])
    last, total = ends[-1][0], sum(seconds for _, seconds in tasks)
    pace, done, found = Pace(), 0.0, []
    pace.add(task for task, _ in tasks)
    for now, task, seconds in ends:
        pace.finish(task, seconds)
        done += seconds
        said = pace.seconds_left(workers)
        left = last - now
        if said is not None and left > 0:
            found.append((done / total, (said - left) / last))
    return found


def main() -> None:
    for word in sys.argv[1:]:
        experiment, _, path = word.partition("=")
        tasks = recorded(experiment, path)
        if len(tasks) < 10:
            print(f"{experiment}: {len(tasks)} tasks, too few")
            continue
        after = np.array([error for share, error in errors(tasks, WORKERS) if share >= FROM])
        within = np.mean(abs(after) <= GOAL)
        print(
            f"{experiment}: {len(tasks)} tasks, {sum(time for _, time in tasks):.0f} s; from a tenth of the work on "
            f"within 30 % of the whole in {within:.0%} of the looks, worst {abs(after).max():.0%}"
        )


if __name__ == "__main__":
    main()
