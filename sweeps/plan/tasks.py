"""The tasks of a sweep: what each computes, and for which places of the store."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from sedyn.model.problem import Problem

__all__ = [
    "Bundle",
    "JoinedTask",
    "SimulationTask",
    "Task",
    "TheorySettings",
    "TheoryTask",
    "blocks",
    "fluctuation_randomizations",
    "kind_of",
    "name_of",
]


class TheorySettings(NamedTuple):
    """How a theory is solved: arguments of `sedyn.state_evolution`, or of `sedyn.fluctuations`."""

    samples: int
    randomizations: int
    seed: int


@dataclass(frozen=True)
class SimulationTask:
    """Simulate some replicates of one cell.

    Parameters
    ----------
    problem : Problem
        The cell's problem.
    position : tuple of int
        Where the cell is in the store.
    replicates : tuple of int
        Which replicates, increasing; of one or more blocks.
    seed, engine, dtype
        Passed to `sedyn.simulate`.
    laws : TheorySettings, optional
        Of the theory that laws are compared with, where they are.
    axes : tuple of str
        Of the grid, to name the cell by.
    estimate, halves : bool
        Passed to `sedyn.simulate`.

    Attributes
    ----------
    group : str
        What the task computes, by the name of its group in the store.
    """

    problem: Problem
    position: tuple[int, ...]
    replicates: tuple[int, ...]
    seed: int
    engine: str
    dtype: str = "float64"
    laws: TheorySettings | None = None
    axes: tuple[str, ...] = ()
    estimate: bool = True
    halves: bool = False

    group: ClassVar[str] = "simulation"

    @property
    def positions(self) -> tuple[tuple[int, ...]]:
        """Where its results belong in the store."""
        return (self.position,)

    @property
    def size(self) -> int:
        """How many results share its computing time: replicates."""
        return len(self.replicates)

    @property
    def parts(self) -> tuple[SimulationTask]:
        """The task itself, of one cell."""
        return (self,)

    @property
    def name(self) -> str:
        """What a message calls this task."""
        first, last = self.replicates[0], self.replicates[-1]
        return f"simulation of {name_of(self.problem, self.axes)}, replicates {first}..{last}"


@dataclass(frozen=True)
class JoinedTask:
    """Simulate some replicates of several cells side by side; see `sedyn.simulate_together`.

    Parameters
    ----------
    parts : tuple of SimulationTask
        With one `Problem.stack_key`, engine, dtype, estimate and halves.
    """

    parts: tuple[SimulationTask, ...]

    @property
    def size(self) -> int:
        """Replicates of all cells."""
        return sum(part.size for part in self.parts)

    @property
    def name(self) -> str:
        """What a message calls this task."""
        return f"{self.parts[0].name}, and {len(self.parts) - 1} cells more"


@dataclass(frozen=True)
class TheoryTask:
    """Solve the state evolution once for all cells that share it.

    Parameters
    ----------
    problem : Problem
        The problem of one of the cells.
    positions : tuple of tuple of int
        Where the cells are in the store that lack the solution.
    solved_at : tuple of int, optional
        A cell that has the solution already; it is copied from there.
    settings : TheorySettings
    axes : tuple of str
        Of the grid, to name one of the cells by.
    fluctuations : TheorySettings, optional
        Arguments of `sedyn.fluctuations`, where runs' fluctuations are predicted as well.

    Attributes
    ----------
    group : str
        What the task computes, by the name of its group in the store.
    """

    problem: Problem
    positions: tuple[tuple[int, ...], ...]
    solved_at: tuple[int, ...] | None
    settings: TheorySettings
    axes: tuple[str, ...] = ()
    fluctuations: TheorySettings | None = None

    group: ClassVar[str] = "theory"

    @property
    def size(self) -> int:
        """How many results share its computing time: cells."""
        return len(self.positions)

    @property
    def parts(self) -> tuple[TheoryTask]:
        """The task itself, one solution."""
        return (self,)

    @property
    def name(self) -> str:
        """What a message calls this task."""
        return f"theory of {name_of(self.problem, self.axes)}"


@dataclass(frozen=True)
class Bundle:
    """Tasks of many cells that one worker does in turn; they are made when they are asked for, or sent.

    Parameters
    ----------
    like : SimulationTask, JoinedTask or TheoryTask
        What each of them takes as much as.
    count : float
        How many times as much all take.
    make : callable
        Makes them.
    """

    like: SimulationTask | JoinedTask | TheoryTask
    count: float
    make: Callable[[], tuple[SimulationTask | JoinedTask | TheoryTask, ...]]

    def made(self) -> Bundle:
        """Make its tasks once, and let go of what they are made from."""
        return _made(self.like, self.count, self.make())

    def __reduce__(self) -> tuple[Any, ...]:
        """Send what was made."""
        return _made, (self.like, self.count, self.make())

    @property
    def parts(self) -> tuple[SimulationTask | TheoryTask, ...]:
        """The tasks of single cells and theories."""
        return tuple(part for task in self.make() for part in task.parts)

    @property
    def name(self) -> str:
        """What a message calls this task."""
        parts = self.parts
        return parts[0].name if len(parts) == 1 else f"{parts[0].name}, and {len(parts) - 1} more"


def _made(
    like: SimulationTask | JoinedTask | TheoryTask,
    count: float,
    tasks: tuple[SimulationTask | JoinedTask | TheoryTask, ...],
) -> Bundle:
    return Bundle(like, count, lambda: tasks)


Task = SimulationTask | JoinedTask | TheoryTask | Bundle


def kind_of(task: Task) -> SimulationTask | TheoryTask:
    """Find a task of a single cell, or a theory, that is of the same kind."""
    parts: tuple[SimulationTask, ...] | tuple[TheoryTask] = task.like.parts if isinstance(task, Bundle) else task.parts
    return parts[0]


def blocks(replicates: Iterable[int], block: int) -> Iterator[tuple[int, ...]]:
    """Split replicates at the multiples of a number.

    Parameters
    ----------
    replicates : iterable of int
        Increasing.
    block : int

    Yields
    ------
    tuple of int
        Those of one block.
    """
    for _, group in itertools.groupby(replicates, key=lambda replicate: replicate // block):
        yield tuple(group)


def fluctuation_randomizations(randomizations: int) -> int:
    """Count the randomizations that fluctuations are predicted with, where theory is solved with so many."""
    return max(randomizations // 2, 2)


def name_of(problem: Problem, axes: Iterable[str]) -> str:
    """Name a problem by its size and its value on each axis.

    Parameters
    ----------
    problem : Problem
    axes : iterable of str
        Of a grid.
    """
    values = {name: getattr(problem, name) for name in dict.fromkeys(("n", "d", *axes))}
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )
