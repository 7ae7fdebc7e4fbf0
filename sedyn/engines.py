"""Which design simulates a problem: predicted time and memory of each, and the choice between them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from sedyn.errors import InvalidInput
from sedyn.problem import Problem

__all__ = ["ENGINES", "Choice", "choose_engine", "memory_limit", "memory_needed"]

ENGINES = ("dense", "deferred")
# Nanoseconds on one core of a current server, measured with benchmarks/gradient_descent.py: for a standard normal,
# for a multiply-add that streams from memory (products with a matrix), and for one in cache.
NORMAL, STREAMED, CACHED = 9.0, 0.35, 0.12
DOUBLE = 8
SHARE_OF_MEMORY = 0.8


class Choice(NamedTuple):
    """An engine and why it was chosen.

    Attributes
    ----------
    engine : str
    reason : str
    """

    engine: str
    reason: str


def memory_limit() -> int:
    """Bytes of memory this process may count on: the machine's, or its container's if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such file, or "max"
        return total


def memory_needed(problem: Problem, engine: str = "auto") -> int:
    """Bytes that simulating one replicate takes at its peak.

    Parameters
    ----------
    problem : Problem
    engine : {'auto', 'dense', 'deferred'}, optional

    Raises
    ------
    InvalidInput
        As for `choose_engine`.
    """
    return _bytes(problem, choose_engine(problem, engine).engine if engine == "auto" else engine)


def predicted_seconds(problem: Problem, engine: str) -> float:
    """Time of the products of one replicate on one core; a guide for choosing, not a promise."""
    n, d, q, steps = problem.n, problem.d, problem.width, problem.steps
    if engine == "dense":
        return 1e-9 * n * d * (NORMAL + STREAMED * (2 * steps + 1) * max(1.0, q / 4))
    block = q * (n + d)
    directions = q * steps * (steps + 1) / 2
    return 1e-9 * block * (NORMAL * steps + CACHED * 14 * directions)


def choose_engine(problem: Problem, engine: str = "auto", *, dtype: str = "float64", estimate: bool = True) -> Choice:
    """Choose the engine: the one asked for, or the fastest that applies and fits in memory.

    The choice depends on the problem and the machine's total memory, not on what else is running, so that a sweep
    gives the same numbers whatever runs beside it.

    Raises
    ------
    InvalidInput
        If the engine is unknown, does not apply to the feature law, or needs more memory than there is.
    """
    if engine not in ("auto", *ENGINES):
        raise InvalidInput.unknown("engine", engine, ("auto", *ENGINES))
    applicable = ENGINES if problem.features == "gaussian" else ("dense",)
    if engine != "auto" and engine not in applicable:
        raise InvalidInput("engine", engine, f"needs Gaussian features; with features={problem.features} use dense")
    candidates = applicable if engine == "auto" else (engine,)
    room = SHARE_OF_MEMORY * memory_limit()
    fitting = [name for name in candidates if _bytes(problem, name) <= room]
    if not fitting:
        needs = " and ".join(f"{_bytes(problem, name) / 1e9:.1f} GB ({name})" for name in candidates)
        raise InvalidInput(
            "n", problem.n, f"with d={problem.d} this needs {needs} of {room / 1e9:.1f} GB; shrink n or d"
        )
    best = min(fitting, key=lambda name: predicted_seconds(problem, name))
    if engine != "auto":
        return Choice(best, "asked for")
    if len(applicable) == 1:
        return Choice(best, f"the only one for {problem.features} features")
    if len(fitting) == 1:
        return Choice(best, "the only one that fits in memory")
    times = ", ".join(f"{name} {predicted_seconds(problem, name):.3g} s" for name in ENGINES)
    return Choice(best, f"predicted faster ({times})")


def _bytes(problem: Problem, engine: str) -> int:
    n, d, q, steps = problem.n, problem.d, problem.width, problem.steps
    history = n * steps * q * (1 + q)  # gradients and curvatures, for the data-driven estimate
    # Two basis and two image blocks; growing one copies it.
    matrix = n * d if engine == "dense" else 2 * (n + d) * (q * (steps + 1) + problem.signals) * 3 // 2
    return DOUBLE * (matrix + history + 20 * q * (n + d))
