"""How much memory tasks take: bytes of the arrays at their peak, those of the process itself apart."""

from __future__ import annotations

from sedyn.descent.engines import DOUBLE, memory_needed
from sedyn.deviations.fluctuations import fluctuations_memory
from sedyn.theory.memory import theory_memory
from sweeps.plan import Bundle, SweepSpec, Task, TheoryTask

__all__ = ["GPU_CONTEXT_BYTES", "largest_memory", "memory_of"]

GPU_CONTEXT_BYTES = 2**29  # of a GPU's memory that a process takes for itself


def memory_of(task: Task, device: str = "cpu") -> int:
    """Predict the bytes of a device's memory that a task takes; of one replicate, as more run where there is room.

    Parameters
    ----------
    task : Task
    device : {'cpu', 'gpu'}, optional
    """
    if isinstance(task, Bundle):
        return memory_of(task.like, device)
    if isinstance(task, TheoryTask):
        alone = theory_memory(task.problem, task.settings.samples, task.settings.randomizations, device)
        if task.fluctuations is None or device == "gpu":  # fluctuations take none of a GPU's memory
            return alone
        return max(alone, fluctuations_memory(task.problem, task.fluctuations.samples))
    part = task.parts[0]
    descent = memory_needed(part.problem, part.engine, dtype=part.dtype, estimate=part.estimate, device=device)
    if part.laws is None:
        return descent
    samples, randomizations = part.laws.samples, part.laws.randomizations
    # What a theory keeps for comparing laws, and sorted copies of it.
    kept = DOUBLE * samples * 4 * part.problem.width * (part.problem.steps + 1)
    return kept + max(descent, theory_memory(part.problem, samples, randomizations, device, keep_samples=True))


def largest_memory(spec: SweepSpec) -> int:
    """Predict the bytes of its device's memory that the largest task of a sweep needs, of one replicate or a theory."""
    tasks: list[Task] = [spec.simulation_task(cell, (), (0,)) for cell in spec.table.kinds]
    tasks += [spec.theory_task(cell, ()) for cell in spec.table.kinds]
    return max(memory_of(task, spec.device) for task in tasks)
