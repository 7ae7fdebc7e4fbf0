"""How what is missing is divided into tasks."""

from __future__ import annotations

import numpy as np
import pytest

from sedyn.descent.engines import ENOUGH
from sedyn.errors import InvalidInput
from sweeps.compute import Compute
from sweeps.cost import block_of, seconds_of
from sweeps.forecast import forecast
from sweeps.plan import JoinedTask, SimulationTask, TheoryTask
from sweeps.schedule import joined, missing_tasks, simulation_tasks
from tests.sweeps.stores import spec_of

AXES = {"width": (2, 3), "noise": (0.1, 0.2, 0.4), "learning_rate": (0.4, 0.8)}


def joining(**changes):
    return spec_of(AXES, **{"block": None, "replicates": 3} | changes)


def joined_of(tasks):
    return [task for task in tasks if isinstance(task, JoinedTask)]


def test_tasks_are_as_long_as_a_second_allows_unless_a_block_is_asked_for():
    def counts(**settings):
        spec = spec_of(axes={"n": (40, 20000)}, replicates=64, **{"block": None, **settings})
        each = (simulation_tasks(spec, cell, (), range(64), block_of(spec)) for cell in spec.cells)
        return [[len(task.replicates) for task in tasks] for tasks in each]

    small, large = counts()
    assert len(small) < len(large)
    assert sum(small) == sum(large) == 64
    assert counts(block=2) == [[2] * 32] * 2


def test_tasks_are_sized_by_a_second_of_the_device():
    spec = spec_of(axes={"n": (2000,)}, replicates=512, block=None, base={"d": 1000, "steps": 10})
    each = {
        device: [task.size for task in simulation_tasks(spec, spec.cells[0], (), range(512), block_of(spec), device)]
        for device in ("cpu", "gpu")
    }
    assert sum(each["cpu"]) == sum(each["gpu"]) == 512
    assert len(each["cpu"]) > 8
    assert len(each["gpu"]) == 1
    assert seconds_of(spec.simulation_task(spec.cells[0], (), range(512)), "gpu") < 1


def test_what_is_joined():
    def tasks(spec, device="cpu", replicates=range(3)):
        return list(joined(spec, (spec.simulation_task(cell, (), tuple(replicates)) for cell in spec.cells), device))

    for task in tasks(joining()):
        cells = {(part.problem.stack_key, part.engine) for part in task.parts}
        assert len(cells) == 1
        assert sum(len(part.replicates) for part in task.parts) <= ENOUGH
    assert [len(task.parts) for task in tasks(joining(), "gpu")] == [6, 6]
    for spec in (joining(block=3), joining(laws=True)):
        assert not joined_of(tasks(spec))
    assert not joined_of(tasks(joining(), replicates=range(ENOUGH)))
    large = joining(base={"n": 100_000, "d": 50_000, "steps": 3, "depth": 2})
    assert not joined_of(tasks(large))
    everything = [part for task in tasks(joining()) for part in task.parts]
    assert sorted(part.name for part in everything) == sorted(
        joining().simulation_task(cell, (), (0, 1, 2)).name for cell in joining().cells
    )


def test_without_a_store_everything_is_a_task_and_the_longest_is_first():
    spec = spec_of({"width": (2, 3), "n": (40, 80)}, replicates=4, block=None)
    tasks = missing_tasks(None, spec)
    runs = [part for task in tasks for part in task.parts if isinstance(part, SimulationTask)]
    done = {(part.problem.width, part.problem.n): part.replicates for part in runs}
    assert done == {(width, n): (0, 1, 2, 3) for width in (2, 3) for n in (40, 80)}
    assert sum(isinstance(task, TheoryTask) for task in tasks) == len(spec.theory_groups) == 4
    durations = [seconds_of(task) for task in tasks]
    assert durations == sorted(durations, reverse=True)


def test_the_plan_lists_the_tasks_that_the_run_on_a_clusters_gpus_would_have(tmp_path):
    # On a CPU at most ENOUGH replicates share a task, on a GPU all those of cells that may.
    spec = spec_of({**AXES, "noise": (0.1, 0.2, 0.4, 0.8, 1.6)}, block=None, replicates=4)
    compute = Compute(device="gpu", address="auto")
    tasks = {device: missing_tasks(None, spec, device) for device in ("cpu", "gpu")}
    assert len(tasks["gpu"]) < len(tasks["cpu"])
    said = list(forecast(spec, compute, None, str(tmp_path / "a.zarr")))
    assert any(line.startswith(f"tasks: {len(tasks['gpu'])} (") for line in said), said


@pytest.mark.parametrize(
    ("compute", "device"),
    [
        (Compute(address="auto"), "cpu"),
        (Compute(address="auto", device="gpu"), "gpu"),
        (Compute(device="cpu"), "cpu"),
        (Compute("inline", device="auto", address="auto"), "cpu"),
    ],
)
def test_the_device_that_tasks_are_planned_for(monkeypatch, compute, device):
    monkeypatch.setattr("sweeps.compute.resolve_device", lambda asked: "cpu" if asked == "auto" else asked)
    assert compute.task_device == device


def test_where_to_compute_is_checked():
    assert Compute(workers=np.int64(3)).workers == 3
    assert Compute(gpus_per_worker=np.float64(0.5)).gpus_per_worker == 0.5
    for name, values in {
        "workers": (True, 0, 1.5, "many"),
        "gpus_per_worker": (True, 0, float("inf"), float("nan"), "half"),
        "executor": ("rya", None),
        "device": ("tpu", True),
    }.items():
        for value in values:
            with pytest.raises(InvalidInput, match=f"^compute.{name}="):
                Compute(**{name: value})
