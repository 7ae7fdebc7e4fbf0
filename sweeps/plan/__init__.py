"""What a sweep consists of, its cells and its tasks: nothing here predicts, stores or runs anything."""

from sweeps.plan.cells import ESTIMATE, MOST_CELLS, PROBLEM_FIELDS, Cell, SweepSpec, require_few_cells
from sweeps.plan.tasks import (
    JoinedTask,
    SimulationTask,
    Task,
    TheorySettings,
    TheoryTask,
    blocks,
    fluctuation_randomizations,
    name_of,
)
from sweeps.plan.values import key_of, plain

__all__ = [
    "ESTIMATE",
    "MOST_CELLS",
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
    "key_of",
    "name_of",
    "plain",
    "require_few_cells",
]
