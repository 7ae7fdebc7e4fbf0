"""What tasks will take on this machine: the work that is predicted of them, scaled by a short probe."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import threadpoolctl

import sedyn
from sedyn.descent.engines import ENGINES, replicates_together
from sedyn.model.problem import Problem
from sedyn.theory.inputs import least_samples
from sweeps.cost.work import Work, simulation_work, theory_work, work_of
from sweeps.plan import Bundle, SimulationTask, SweepSpec, Task, TheoryTask, kind_of
from sweeps.provenance import peak_memory

__all__ = ["CostModel", "calibrate", "makespan", "shrunk"]

PROBE_SECONDS = 0.15  # predicted duration of one probe
PROBE_STEPS = 20
THEORY_PROBE_SECONDS, PROBE_RANDOMIZATIONS = 0.6, 2
THEORY = "theory"


@dataclass(frozen=True)
class CostModel:
    """Predicts the duration of tasks on one core (or GPU) of this machine.

    Parameters
    ----------
    factors : dict
        For each engine, and for the theory, how much longer calls and arithmetic take than `Work` says.
    resident : int
        Bytes of a worker process that computes nothing.
    device : {'cpu', 'gpu'}, optional
        Whose work `Work` is.
    """

    factors: dict[str, tuple[float, float]]
    resident: int
    device: str = "cpu"

    def seconds(self, task: Task) -> float:
        """Predict how long a task takes."""
        first = kind_of(task)
        for_calls, for_arithmetic = self.factors[THEORY if isinstance(first, TheoryTask) else first.engine]
        calls, arithmetic = work_of(task, self.device)
        return for_calls * calls + for_arithmetic * arithmetic

    def durations(self, tasks: Iterable[Task], workers: int) -> list[float]:
        """Predict every task; where laws are compared, each worker solves each theory when it first needs it.

        Parameters
        ----------
        tasks : iterable of Task
        workers : int

        Returns
        -------
        list of float
            Seconds of each.
        """
        durations: list[float] = []
        solved: Counter[str] = Counter()
        for task in tasks:
            durations.append(self.seconds(task))
            first = kind_of(task)
            if not isinstance(first, SimulationTask) or first.laws is None:
                continue
            solution = self.seconds(TheoryTask(first.problem, ((),), None, first.laws))
            if isinstance(task, Bundle):  # its cells have theories of their own
                durations[-1] += task.count * solution
            elif solved[first.problem.theory_key] < workers:
                solved[first.problem.theory_key] += 1
                durations[-1] += solution
        return durations


def makespan(durations: Sequence[float], workers: int) -> float:
    """Predict when all tasks are done if each goes, the longest first, to the worker that is free first.

    Parameters
    ----------
    durations : sequence of float
        Seconds of each task.
    workers : int
    """
    free_at = [0.0] * workers
    for duration in sorted(durations, reverse=True):
        heapq.heapreplace(free_at, free_at[0] + duration)
    return max(free_at)


def calibrate(spec: SweepSpec) -> CostModel:
    """Time small problems like those of a sweep on its device, two for each engine and two for the theory."""
    factors = {}
    with threadpoolctl.threadpool_limits(1):
        for engine in ENGINES:
            problems = [cell.problem for cell in spec.table.kinds if cell.engine == engine]
            if problems:
                largest = max(problems, key=lambda problem: sum(simulation_work(problem, engine, device=spec.device)))
                factors[engine] = _fit_simulation(largest, engine, spec)
        problems = [cell.problem for cell in spec.table.kinds]
        largest = max(problems, key=lambda problem: theory_work(problem, 1, 1).arithmetic)
        factors[THEORY] = _fit_theory(largest, spec.samples, spec.device)
    return CostModel(factors, peak_memory(), spec.device)


def _fit_simulation(problem: Problem, engine: str, spec: SweepSpec) -> tuple[float, float]:
    how: dict[str, Any] = {"dtype": spec.dtype, "estimate": spec.estimate, "device": spec.device}
    small = shrunk(problem, 1e-9, engine, **how)
    medium = shrunk(problem, PROBE_SECONDS, engine, **how)
    many = _replicates_to_probe(medium, engine, **how)

    def run(probe: Problem, replicates: int) -> float:
        return _seconds(lambda: sedyn.simulate(probe, replicates, engine=engine, **how), spec.device)

    run(small, 1)  # compiles and loads what the first call needs
    if spec.device == "gpu":
        run(medium, many)  # kernels are compiled for sizes
    of_small, of_medium = (simulation_work(probe, engine, r, **how) for probe, r in ((small, 1), (medium, many)))
    return _solve(of_small, run(small, 1), of_medium, run(medium, many))


def _replicates_to_probe(problem: Problem, engine: str, **how: Any) -> int:
    """One on a core; on a GPU, where one is all calls, as many side by side as it takes to see what they compute."""
    if how["device"] != "gpu":
        return 1
    room = replicates_together(problem, engine, how["device"], how["dtype"], estimate=how["estimate"])
    return max(1, min(room, int(PROBE_SECONDS / simulation_work(problem, engine, 1, **how).arithmetic)))


def _fit_theory(problem: Problem, samples: int, device: str) -> tuple[float, float]:
    problem = shrunk(problem, 1e-9, "dense")

    def run(samples: int) -> float:
        how: dict[str, Any] = {"samples": samples, "randomizations": PROBE_RANDOMIZATIONS, "device": device}
        return _seconds(lambda: sedyn.state_evolution(problem, **how), device)

    def of(samples: int) -> Work:
        return theory_work(problem, samples, PROBE_RANDOMIZATIONS)

    few = least_samples(problem)
    many = 8 * few
    # Until arithmetic takes far longer than calls, else it is not seen; and leaves the caches, as it will.
    while 2 * many <= samples and of(2 * many).arithmetic <= THEORY_PROBE_SECONDS:
        many *= 2
    run(few)
    return _solve(of(few), run(few), of(many), run(many))


def shrunk(problem: Problem, seconds: float, engine: str, **how: Any) -> Problem:
    """Reduce steps, then n and d alike, until the predicted work is at most so many seconds or no less is possible.

    Features are uncorrelated: a spectrum costs next to nothing, and may not be one of so few features.

    Parameters
    ----------
    problem : Problem
    seconds : float
        Of arithmetic.
    engine : {'dense', 'deferred'}
    **how
        Further arguments of `sweeps.cost.work.simulation_work`.
    """
    steps = min(problem.steps, PROBE_STEPS)
    per_step: dict[str, Any] = {
        "learning_rate": max(problem.learning_rates),
        "deep_learning_rate": max(problem.deep_learning_rates) or None,
        "batch_fraction": problem.batch_share,
        "batch_size": None,
        "epochs": None,
    }
    problem = replace(problem, steps=steps, **per_step, covariance="identity")
    least = max(2, problem.units + problem.signals)
    while simulation_work(problem, engine, **how).arithmetic > seconds and min(problem.n, problem.d) >= 2 * least:
        if round(problem.batch_share * (problem.n // 2)) < 1:
            break
        problem = replace(problem, n=problem.n // 2, d=problem.d // 2)
    return problem


def _solve(small: Work, small_seconds: float, large: Work, large_seconds: float) -> tuple[float, float]:
    """Find two non-negative factors, for calls and for arithmetic, from two timings."""
    determinant = small.calls * large.arithmetic - small.arithmetic * large.calls
    if determinant > 0:
        calls = (small_seconds * large.arithmetic - small.arithmetic * large_seconds) / determinant
        arithmetic = (small.calls * large_seconds - small_seconds * large.calls) / determinant
        if calls >= 0 and arithmetic >= 0:
            return calls, arithmetic
    ratio = large_seconds / sum(large)
    return ratio, ratio


def _seconds(run: Callable[[], object], device: str) -> float:
    # On one thread of a CPU, time at work is what the clock will show when nothing else runs.
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    run()
    return clock() - start
