"""How much memory tasks take: bytes of the arrays at their peak, those of the process itself apart."""

from __future__ import annotations

from sedyn.descent.engines import DOUBLE, adjoint_memory, memory_needed
from sedyn.model.problem import Problem
from sweeps.plan import SweepSpec, Task, TheoryTask

__all__ = ["GPU_CONTEXT_BYTES", "largest_memory", "memory_of"]

GPU_CONTEXT_BYTES = 2**29  # of a GPU's memory that a process takes for itself


def memory_of(task: Task, device: str = "cpu") -> int:
    """Predict the bytes of a device's memory that a task takes; of one replicate, as more run where there is room.

    Parameters
    ----------
    task : Task
    device : {'cpu', 'gpu'}, optional
    """
    if isinstance(task, TheoryTask):
        return _of_theory(task.problem, task.settings.samples, device)
    part = task.parts[0]
    descent = memory_needed(part.problem, part.engine, dtype=part.dtype, estimate=part.estimate, device=device)
    if part.laws is None:
        return descent
    samples = part.laws.samples
    # What a theory keeps for comparing laws, and sorted copies of it.
    kept = DOUBLE * samples * 4 * part.problem.width * (part.problem.steps + 1)
    return kept + max(descent, _of_theory(part.problem, samples, device))


def largest_memory(spec: SweepSpec) -> int:
    """Predict the bytes of its device's memory that one replicate of a sweep's largest cell needs."""
    return max(
        memory_needed(cell.problem, cell.engine, dtype=spec.dtype, estimate=spec.estimate, device=spec.device)
        for cell in spec.cells
    )


def _of_theory(problem: Problem, samples: int, device: str) -> int:
    """Draws, gradients and curvatures of all iterations, and what a step works with."""
    width, steps = problem.width, problem.steps
    rows = problem.signals + 2 * width * (steps + 1) + width**2 * steps + 20 * width
    return DOUBLE * samples * rows + (adjoint_memory(problem, samples) if device == "gpu" else 0)
