"""What a sweep consists of, its cells and its tasks: nothing here predicts, stores or runs anything."""

from sweeps.plan.cells import ESTIMATE, PROBLEM_FIELDS, Cell, SweepSpec
from sweeps.plan.tasks import (
    JoinedTask,
    SimulationTask,
    Task,
    TheorySettings,
    TheoryTask,
    blocks,
    fluctuation_randomizations,
)

__all__ = [
    "ESTIMATE",
    "PROBLEM_FIELDS",
    "Cell",
    "JoinedTask",
    "SimulationTask",
    "SweepSpec",
    "Task",
    "TheorySettings",
    "TheoryTask",
    "blocks",
    "fluctuation_randomizations",
]
