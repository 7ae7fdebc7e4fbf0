"""What tasks will take: seconds and memory, from a model that a short probe fits to this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import threadpoolctl

import sedyn
from sedyn.descent.engines import ENGINES, adjoint_memory, memory_needed
from sedyn.model.problem import Problem
from sweeps.plan import SweepSpec, Task, TheoryTask, simulation_work, theory_work
from sweeps.provenance import peak_memory

__all__ = ["CostModel", "calibrate", "theory_memory"]

PROBE_SECONDS = 0.15  # predicted duration of one probe
PROBE_STEPS = 20
THEORY_PROBE_SECONDS, PROBE_RANDOMIZATIONS = 0.6, 2
THEORY = "theory"


@dataclass(frozen=True)
class CostModel:
    """Predicts duration and memory of tasks on one core (or GPU) of this machine.

    Parameters
    ----------
    factors : dict
        For each engine, and for the theory, how much longer calls and work take than `sweeps.plan` says.
    resident : int
        Bytes of a worker process that computes nothing.
    """

    factors: dict[str, tuple[float, float]]
    resident: int

    def seconds(self, task: Task) -> float:
        """Predict how long a task takes."""
        if not isinstance(task, TheoryTask):
            kind, (calls, work) = task.parts[0].engine, task.work
        elif task.solved_at is not None:
            return task.seconds
        else:
            settings = task.settings
            kind, (calls, work) = THEORY, theory_work(task.problem, settings.samples, settings.randomizations)
        for_calls, for_work = self.factors[kind]
        return for_calls * calls + for_work * work

    def memory(self, task: Task, device: str = "cpu") -> int:
        """Predict the bytes that a task's arrays take of a device's memory at its peak, the process itself apart.

        Of one replicate: more run side by side where there is room.
        """
        if isinstance(task, TheoryTask):
            return theory_memory(task.problem, task.settings.samples, device)
        part = task.parts[0]
        how: dict[str, Any] = {"dtype": part.dtype, "estimate": part.estimate, "device": device}
        descent = memory_needed(part.problem, part.engine, **how)
        if part.laws is None:
            return descent
        return kept_memory(part.problem, part.laws.samples) + max(
            descent, theory_memory(part.problem, part.laws.samples, device)
        )


def theory_memory(problem: Problem, samples: int, device: str = "cpu") -> int:
    """Bytes of a state evolution: draws, gradients and curvatures of all iterations, and what a step works with."""
    width, steps = problem.width, problem.steps
    rows = problem.signals + 2 * width * (steps + 1) + width**2 * steps + 20 * width
    return 8 * samples * rows + (adjoint_memory(problem, samples) if device == "gpu" else 0)


def kept_memory(problem: Problem, samples: int) -> int:
    """Bytes of the samples that a theory keeps for comparing laws, and of their sorted copies."""
    return 8 * samples * 4 * problem.width * (problem.steps + 1)


def calibrate(spec: SweepSpec, device: str) -> CostModel:
    """Time small problems like those of the sweep, two for each engine and two for the theory.

    Parameters
    ----------
    spec : SweepSpec
    device : str
        ``cpu`` or ``gpu``.
    """
    factors = {}
    with threadpoolctl.threadpool_limits(1):
        for engine in ENGINES:
            cells = [cell for cell in spec.cells if cell.engine == engine]
            if cells:
                largest = max((cell.problem for cell in cells), key=lambda p: sum(simulation_work(p, engine)))
                factors[engine] = _fit_simulation(largest, engine, spec, device)
        largest = max((cell.problem for cell in spec.cells), key=lambda p: theory_work(p, 1, 1)[1])
        factors[THEORY] = _fit_theory(largest, spec.samples, device)
    return CostModel(factors, peak_memory())


def _fit_simulation(problem: Problem, engine: str, spec: SweepSpec, device: str) -> tuple[float, float]:
    how: dict[str, Any] = {"dtype": spec.dtype, "estimate": spec.estimate}
    small = shrunk(problem, 1e-9, engine, **how)
    medium = shrunk(problem, PROBE_SECONDS, engine, **how)

    def run(probe: Problem) -> float:
        return _seconds(lambda: sedyn.simulate(probe, 1, engine=engine, device=device, **how), device)

    def work(probe: Problem) -> tuple[float, float]:
        return simulation_work(probe, engine, **how)

    run(small)  # compiles and loads what the first call needs
    return _solve(work(small), run(small), work(medium), run(medium))


def _fit_theory(problem: Problem, samples: int, device: str) -> tuple[float, float]:
    problem = shrunk(problem, 1e-9, "dense")

    def run(samples: int) -> float:
        return _seconds(
            lambda: sedyn.state_evolution(problem, samples=samples, randomizations=PROBE_RANDOMIZATIONS, device=device),
            device,
        )

    def work(samples: int) -> tuple[float, float]:
        return theory_work(problem, samples, PROBE_RANDOMIZATIONS)

    few = least_samples(problem)
    many = 8 * few
    # Until arithmetic takes far longer than calls, else it is not seen; and leaves the caches, as it will.
    while 2 * many <= samples and work(2 * many)[1] <= THEORY_PROBE_SECONDS:
        many *= 2
    run(few)
    return _solve(work(few), run(few), work(many), run(many))


def least_samples(problem: Problem) -> int:
    """Samples that the theory needs at least, generously: as many as it draws normals, as a power of two."""
    return 2 ** (2 * (problem.signals + problem.width * (problem.steps + 1))).bit_length()


def shrunk(problem: Problem, seconds: float, engine: str, **how: Any) -> Problem:
    """Reduce steps, then n and d alike, until the predicted work is at most so many seconds or no less is possible.

    Features are uncorrelated: a spectrum costs next to nothing, and may not be one of so few features.
    """
    steps = min(problem.steps, PROBE_STEPS)
    problem = replace(problem, steps=steps, learning_rate=problem.learning_rates[0], covariance="identity")
    least = max(2, problem.width + problem.signals)
    while simulation_work(problem, engine, **how)[1] > seconds and min(problem.n, problem.d) >= 2 * least:
        if round(problem.batch_fraction * (problem.n // 2)) < 1:
            break
        problem = replace(problem, n=problem.n // 2, d=problem.d // 2)
    return problem


def _solve(
    small: tuple[float, float], small_seconds: float, large: tuple[float, float], large_seconds: float
) -> tuple[float, float]:
    """Find two non-negative factors, for calls and for work, from two timings."""
    determinant = small[0] * large[1] - small[1] * large[0]
    if determinant > 0:
        calls = (small_seconds * large[1] - small[1] * large_seconds) / determinant
        work = (small[0] * large_seconds - small_seconds * large[0]) / determinant
        if calls >= 0 and work >= 0:
            return calls, work
    ratio = large_seconds / sum(large)
    return ratio, ratio


def _seconds(run: Callable[[], object], device: str) -> float:
    # On one thread of a CPU, time at work is what the clock will show when nothing else runs.
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    run()
    return clock() - start
