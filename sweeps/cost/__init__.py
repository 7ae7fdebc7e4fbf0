"""Every prediction of what a sweep takes, seconds and bytes: it knows tasks, and no store and no worker."""

from sweeps.cost.memory import GPU_CONTEXT_BYTES, largest_memory, memory_of
from sweeps.cost.probe import CostModel, calibrate, makespan
from sweeps.cost.work import TASK_SECONDS, block_of, fluctuations_work, seconds_of, work_of

__all__ = [
    "GPU_CONTEXT_BYTES",
    "TASK_SECONDS",
    "CostModel",
    "block_of",
    "calibrate",
    "fluctuations_work",
    "largest_memory",
    "makespan",
    "memory_of",
    "seconds_of",
    "work_of",
]
