"""What a sweep consists of, its cells and its tasks: nothing here predicts, stores or runs anything."""

from sweeps.plan.cells import (
    ESTIMATE,
    MOST_CELLS,
    PROBLEM_FIELDS,
    SEEDS,
    SweepSpec,
    no_field,
    require_few_cells,
    require_fields,
)
from sweeps.plan.kinds import ROW, Cell, Cells
from sweeps.plan.tasks import (
    Bundle,
    JoinedTask,
    SimulationTask,
    Task,
    TheorySettings,
    TheoryTask,
    blocks,
    fluctuation_randomizations,
    kind_of,
    name_of,
)
from sweeps.plan.values import key_of, plain

__all__ = [
    "ESTIMATE",
    "MOST_CELLS",
    "PROBLEM_FIELDS",
    "ROW",
    "SEEDS",
    "Bundle",
    "Cell",
    "Cells",
    "JoinedTask",
    "SimulationTask",
    "SweepSpec",
    "Task",
    "TheorySettings",
    "TheoryTask",
    "blocks",
    "fluctuation_randomizations",
    "key_of",
    "kind_of",
    "name_of",
    "no_field",
    "plain",
    "require_few_cells",
    "require_fields",
]
