"""How long tasks take on one core of a current server: what sizes and orders them, and what a probe scales."""

from __future__ import annotations

import math
from typing import NamedTuple

from sedyn.descent.engines import GPU_BYTES, predicted_seconds, replicates_together
from sedyn.descent.halves import half_of
from sedyn.deviations.fluctuations import observed_entries
from sedyn.estimate.protocol import no_estimate_because
from sedyn.model.network import has_kink
from sedyn.model.problem import Problem
from sedyn.theory.drift import drift_solutions
from sedyn.theory.inputs import randomizations_together
from sweeps.plan import Bundle, SweepSpec, Task, TheoryTask

__all__ = [
    "TASK_SECONDS",
    "Work",
    "block_of",
    "fluctuations_work",
    "laws_work",
    "seconds_of",
    "simulation_work",
    "theory_work",
    "work_of",
]

TASK_SECONDS = 1.0  # of a task that may choose: long against its overhead, short against the wait for the last one
COPY_SECONDS = 1e-3  # of a theory solution that is in the store, for each cell it is copied to


class Work(NamedTuple):
    """Predicted seconds, in two kinds that machines differ in.

    Attributes
    ----------
    calls : float
        In calls of the array library, whatever the size of the arrays.
    arithmetic : float
        In what the calls compute.
    """

    calls: float
    arithmetic: float


def simulation_work(
    problem: Problem,
    engine: str,
    replicates: int = 1,
    dtype: str = "float64",
    estimate: bool = True,
    device: str = "cpu",
) -> Work:
    """Predict the work of replicates; those that run side by side share their calls, but for what is drawn for each.

    Parameters
    ----------
    problem : Problem
    engine : {'dense', 'deferred'}
    replicates : int, optional
    dtype, estimate : optional
        As for `sedyn.simulate`.
    device : {'cpu', 'gpu'}, optional
        On a GPU all share their calls, and what they compute is what its memory moves.
    """
    if device == "gpu":
        moved = predicted_seconds(problem, engine, device=device, dtype=dtype, replicates=replicates)
        if estimate and no_estimate_because(problem) is None:
            moved += 8 * replicates * problem.n * (problem.width * problem.steps) ** 2 / GPU_BYTES
        return Work(0.015 + 2.5e-3 * problem.steps, moved)
    calls = -(-replicates // replicates_together(problem, engine, dtype=dtype))
    arithmetic = predicted_seconds(problem, engine, dtype=dtype) + 1e-7 * problem.n * problem.width * problem.steps
    if estimate and no_estimate_because(problem) is None:
        arithmetic += 8e-9 * problem.n * problem.width**2 * problem.steps**2
    return Work(calls * (0.015 + 2.5e-3 * problem.steps) + 1e-3 * replicates, replicates * arithmetic)


def laws_work(problem: Problem, samples: int, replicates: int) -> Work:
    """Predict what comparing laws adds: calls, and sorting and merging.

    Parameters
    ----------
    problem : Problem
    samples : int
        Of the theory.
    replicates : int
    """
    iterations = problem.steps + 1
    rows = 3e-7 * (problem.n + problem.d) + 1.3e-7 * samples
    return Work(replicates * 3e-3 * iterations, replicates * problem.width * iterations * rows)


def theory_work(problem: Problem, samples: int, randomizations: int) -> Work:
    """Predict the work of a theory solution: to draw and meet the network, in the adjoint, and for twice the features.

    Randomizations that are side by side share their calls, but for what is drawn for each.

    Parameters
    ----------
    problem : Problem
    samples, randomizations : int
        As for `sedyn.state_evolution`.
    """
    width, steps = problem.width, problem.steps
    of_a_sample = 1.8e-7 * width * steps
    if not has_kink(problem):
        of_a_sample += (4.7e-9 * width**2 + 0.95e-9 * width**3) * steps**2
    groups = math.ceil(randomizations / randomizations_together(samples, randomizations))
    of_drift, samples_each = drift_solutions(problem)
    # Every sample twice: with its randomization alone, and with those that are put together.
    met = 2 * samples * randomizations + of_drift * samples_each
    calls = 2e-3 * steps * (2 * groups + of_drift) + 1.5e-3 * randomizations
    return Work(calls, 0.9 * met * of_a_sample)


def fluctuations_work(problem: Problem, samples: int, randomizations: int) -> Work:
    """Predict the work of fluctuations: from every iteration a pass back to the start, for all that is observed.

    Parameters
    ----------
    problem : Problem
    samples, randomizations : int
        As for `sedyn.fluctuations`.
    """
    points, iterations = samples * randomizations, problem.steps + 1
    arithmetic = 1e-7 * points * observed_entries(problem) * problem.units * iterations**2
    return Work(1e-3 * randomizations * iterations**2, arithmetic)


def work_of(task: Task, device: str = "cpu") -> Work:
    """Predict the work of a task.

    Parameters
    ----------
    task : Task
    device : {'cpu', 'gpu'}, optional
        One core, or a GPU; a theory is as on a core.

    Returns
    -------
    Work
    """
    if isinstance(task, Bundle):
        return Work(*(task.count * seconds for seconds in work_of(task.like, device)))
    if isinstance(task, TheoryTask):
        if task.solved_at is not None:
            return Work(COPY_SECONDS * task.size, 0.0)
        plain = theory_work(task.problem, task.settings.samples, task.settings.randomizations)
        if task.fluctuations is None:
            return plain
        return _sum(plain, fluctuations_work(task.problem, task.fluctuations.samples, task.fluctuations.randomizations))
    first = task.parts[0]
    problems = [first.problem, *([half_of(first.problem)] * 2 if first.halves else [])]
    how = first.engine, task.size, first.dtype, first.estimate, device
    works = [simulation_work(each, *how) for each in problems]
    if first.laws is not None:
        works.append(laws_work(first.problem, first.laws.samples, task.size))
    return _sum(*works)


def _sum(*works: Work) -> Work:
    return Work(*map(sum, zip(*works, strict=True)))


def seconds_of(task: Task, device: str = "cpu") -> float:
    """Predict how long a task takes; roughly, as it orders tasks and sizes blocks, no more.

    Parameters
    ----------
    task : Task
    device : {'cpu', 'gpu'}, optional
        As for `work_of`.

    Returns
    -------
    float
        Seconds.
    """
    return sum(work_of(task, device))


def block_of(spec: SweepSpec) -> int:
    """Choose the replicates of one block: those asked for, else alike, and such that the longest takes a second."""
    if spec.block is not None:
        return spec.block
    slowest = max(seconds_of(spec.simulation_task(cell, (), (0,))) for cell in spec.table.kinds)
    blocks = math.ceil(spec.replicates * slowest / TASK_SECONDS)
    return math.ceil(spec.replicates / blocks) if blocks < spec.replicates else 1
