"""What a sweep consists of: its specification, its cells and its tasks. Nothing here runs or stores anything."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from sedyn.descent.engines import ENOUGH, choose_engine, memory_needed, predicted_seconds, replicates_together
from sedyn.descent.estimate import no_estimate_because
from sedyn.descent.simulation import DTYPES
from sedyn.errors import InvalidInput, require_known
from sedyn.model.network import has_kink
from sedyn.model.problem import Problem
from sedyn.theory.inputs import require_samples

__all__ = [
    "Cell",
    "JoinedTask",
    "SimulationTask",
    "SweepSpec",
    "Task",
    "TheorySettings",
    "TheoryTask",
    "blocks",
    "laws_work",
    "simulation_work",
    "theory_work",
]

PROBLEM_FIELDS = tuple(f.name for f in fields(Problem))
ESTIMATE = "estimated_test_error"  # the observable that a sweep can leave out
TARGET_TASK_SECONDS = 1.0  # long against the overhead of a task, short against the wait for the last one


class Cell(NamedTuple):
    """One fully resolved problem of a grid.

    Attributes
    ----------
    values : tuple
        Its value on each axis, in the order of `SweepSpec.axes`.
    problem : Problem
        The problem itself.
    engine : str
        The engine that simulates it, resolved where the sweep is planned: workers may have other amounts of memory,
        and another engine would give other numbers.
    """

    values: tuple[Any, ...]
    problem: Problem
    engine: str


@dataclass(frozen=True)
class SweepSpec:
    """What a sweep computes; where it computes is no part of it.

    Parameters
    ----------
    base : mapping
        The `Problem` fields that are the same in every cell, completed by the defaults. `d` is absent where it
        follows n.
    axes : mapping of str to tuple
        Grid axes: a `Problem` field to its distinct values. They are kept in the order of the fields of `Problem`.
    features_at : mapping of int to int
        For each n, the d that belongs to it; empty where `d` is in `base` or an axis of its own.
    aspect : float, optional
        The aspect ratio that `features_at` was made from.
    replicates : int
        Simulations of each cell.
    block : int, optional
        Replicates of one task; None chooses by predicted duration. It changes no number.
    seed : int
        Base seed of simulation and theory.
    engine, dtype : str
        Passed to `sedyn.simulate`.
    samples, randomizations : int
        Passed to `sedyn.state_evolution`.
    laws : bool
        Whether every simulation compares the laws of its rows and pre-activations with this theory.
    estimate : bool
        Whether every simulation estimates its test error from its training data.

    Raises
    ------
    InvalidInput
        If an axis or a field is unknown, a value is wrong, or a cell of the grid is no valid problem.
    """

    base: Mapping[str, Any]
    axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    features_at: Mapping[int, int] = field(default_factory=dict)
    aspect: float | None = None
    replicates: int = 16
    block: int | None = None
    seed: int = 0
    engine: str = "auto"
    dtype: str = "float64"
    samples: int = 2**14
    randomizations: int = 8
    laws: bool = False
    estimate: bool = True

    def __post_init__(self) -> None:
        require_known("grid", self.axes, PROBLEM_FIELDS)
        for axis, values in self.axes.items():
            if isinstance(values, str | Mapping) or not isinstance(values, Sequence) or not values:
                raise InvalidInput(f"grid.{axis}", values, f"a list of values, as in grid.{axis}=[VALUE,VALUE]")
            if any(isinstance(value, Sequence) and not isinstance(value, str) for value in values):
                raise InvalidInput(f"grid.{axis}", values, "the values on an axis are single numbers or names")
        # The order of a problem's fields, not of the request: a store looks the same however its axes were named.
        object.__setattr__(self, "axes", {axis: self.axes[axis] for axis in PROBLEM_FIELDS if axis in self.axes})
        for name, least in (("replicates", 1), ("seed", 0), ("samples", 1), ("randomizations", 2)):
            _require_whole(
                f"theory.{name}" if name in ("samples", "randomizations") else name, getattr(self, name), least
            )
        if self.block is not None:
            _require_whole("block", self.block, 1)
        if self.dtype not in DTYPES:
            raise InvalidInput.unknown("dtype", self.dtype, DTYPES)
        for name in ("laws", "estimate"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidInput(name, getattr(self, name), "true or false")
        # Every value once as Problem keeps it: noise=1 and noise=1.0 are one value, and the store sees one type.
        first = {axis: values[0] for axis, values in self.axes.items()}
        object.__setattr__(
            self,
            "axes",
            {
                axis: tuple(getattr(self.problem_at({**first, axis: value}), axis) for value in values)
                for axis, values in self.axes.items()
            },
        )
        for axis, values in self.axes.items():
            if len(set(values)) < len(values):
                raise InvalidInput(f"grid.{axis}", list(values), "a value stands twice; list each once")
        plain = self.problem_at({axis: values[0] for axis, values in self.axes.items()}).to_dict()
        varying = {*self.axes, *(("d",) if self.features_at else ())}
        object.__setattr__(self, "base", {name: plain[name] for name in PROBLEM_FIELDS if name not in varying})

    def problem_at(self, values: Mapping[str, Any]) -> Problem:
        """Build the problem at these values of the axes."""
        named = {**self.base, **values}
        if self.features_at:
            named["d"] = self.features_at.get(named["n"])
        return Problem.from_mapping(named)

    def along(self, axes: Iterable[str]) -> SweepSpec:
        """Describe the same cells with these fields as axes, of one value where they are constants."""
        constants = {axis: (self.base[axis],) for axis in axes if axis in self.base}
        return replace(self, axes={**self.axes, **constants}) if constants else self

    @cached_property
    def cells(self) -> list[Cell]:
        """Every cell, the last axis fastest.

        Raises
        ------
        InvalidInput
            If a cell is no valid problem, its engine does not apply, it needs more memory than there is, or its
            theory needs more samples.
        """
        cells = []
        for values in itertools.product(*self.axes.values()):
            problem = self.problem_at(dict(zip(self.axes, values, strict=True)))
            require_samples(problem, self.samples, "theory.samples")
            choice = choose_engine(problem, self.engine, dtype=self.dtype, estimate=self.estimate)
            cells.append(Cell(values, problem, choice.engine))
        return cells

    @property
    def theory_settings(self) -> TheorySettings:
        """How the theory is solved."""
        return TheorySettings(self.samples, self.randomizations, self.seed)

    def simulation_task(self, cell: Cell, position: tuple[int, ...], replicates: tuple[int, ...]) -> SimulationTask:
        """Make the task of some replicates of a cell."""
        laws = self.theory_settings if self.laws else None
        how = cell.engine, self.dtype, laws, tuple(self.axes), self.estimate
        return SimulationTask(cell.problem, position, replicates, self.seed, *how)

    def simulation_tasks(
        self, cell: Cell, position: tuple[int, ...], replicates: Iterable[int], block: int
    ) -> Iterator[SimulationTask]:
        """Make the tasks of some replicates of a cell: a block each; if none was asked for, what a second allows."""
        count = block
        while self.block is None and 2 * count <= self.replicates:
            if self.simulation_task(cell, position, tuple(range(2 * count))).seconds > TARGET_TASK_SECONDS:
                break
            count *= 2
        for together in blocks(replicates, count):
            yield self.simulation_task(cell, position, together)

    def joined(self, tasks: Iterable[SimulationTask], device: str = "cpu") -> Iterator[SimulationTask | JoinedTask]:
        """Join tasks of cells that differ in `INDIVIDUAL` fields alone, unless blocks of a size were asked for.

        As many as a second allows; on a CPU no more than share their calls to advantage.
        """
        waiting: dict[str, list[SimulationTask]] = {}
        for task in tasks:
            together = replicates_together(task.problem, task.engine, dtype=self.dtype)
            if self.block is not None or self.laws or task.engine == "deferred" or (device == "cpu" and together == 1):
                yield task
                continue
            key = task.problem.stack_key
            more = JoinedTask((*waiting.get(key, ()), task))
            enough = device == "cpu" and more.count > min(ENOUGH, together)
            if key in waiting and (enough or more.seconds > TARGET_TASK_SECONDS):
                yield _one_of(waiting.pop(key))
            waiting.setdefault(key, []).append(task)
        yield from map(_one_of, waiting.values())

    def theory_task(
        self, cell: Cell, positions: tuple[tuple[int, ...], ...], solved_at: tuple[int, ...] | None = None
    ) -> TheoryTask:
        """Make the task of the theory that a cell shares with those at these positions."""
        return TheoryTask(cell.problem, positions, solved_at, self.theory_settings, tuple(self.axes))

    def memory(self, device: str = "cpu") -> int:
        """Bytes of a device's memory that one replicate of the largest cell needs."""
        how: dict[str, Any] = {"dtype": self.dtype, "estimate": self.estimate, "device": device}
        return max(memory_needed(cell.problem, cell.engine, **how) for cell in self.cells)

    @cached_property
    def theory_groups(self) -> dict[str, list[Cell]]:
        """The cells that share each theory solution."""
        groups: dict[str, list[Cell]] = {}
        for cell in self.cells:
            groups.setdefault(cell.problem.theory_key, []).append(cell)
        return groups

    @cached_property
    def automatic_block(self) -> int:
        """Replicates of one task such that the longest task takes about a second and blocks are alike."""
        slowest = max(self.simulation_task(cell, (), (0,)).seconds for cell in self.cells)
        blocks = math.ceil(self.replicates * slowest / TARGET_TASK_SECONDS)
        return math.ceil(self.replicates / blocks) if blocks < self.replicates else 1


class TheorySettings(NamedTuple):
    """How a theory is solved: arguments of `sedyn.state_evolution`."""

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
    estimate : bool
        Passed to `sedyn.simulate`.
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

    @cached_property
    def seconds(self) -> float:
        """Predicted duration; roughly, as it orders tasks and sizes blocks, no more."""
        return sum(self.work)

    @property
    def work(self) -> tuple[float, float]:
        """Predicted seconds in calls and in arithmetic."""
        plain = simulation_work(self.problem, self.engine, len(self.replicates), self.dtype, self.estimate)
        calls, arithmetic = map(sum, zip(plain, laws_work(self), strict=True))
        return calls, arithmetic

    @property
    def parts(self) -> tuple[SimulationTask]:
        """The task itself, of one cell."""
        return (self,)

    @property
    def name(self) -> str:
        """What a message calls this task."""
        first, last = self.replicates[0], self.replicates[-1]
        return f"simulation of {_describe(self.problem, self.axes)}, replicates {first}..{last}"


@dataclass(frozen=True)
class JoinedTask:
    """Simulate some replicates of several cells side by side; see `sedyn.simulate_together`.

    Parameters
    ----------
    parts : tuple of SimulationTask
        With one `Problem.stack_key`, engine, dtype and estimate.
    """

    parts: tuple[SimulationTask, ...]

    @property
    def count(self) -> int:
        """Replicates of all cells."""
        return sum(len(part.replicates) for part in self.parts)

    @cached_property
    def seconds(self) -> float:
        """Predicted duration."""
        return sum(self.work)

    @property
    def work(self) -> tuple[float, float]:
        """Predicted seconds in calls and in arithmetic."""
        first = self.parts[0]
        return simulation_work(first.problem, first.engine, self.count, first.dtype, first.estimate)

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
    """

    problem: Problem
    positions: tuple[tuple[int, ...], ...]
    solved_at: tuple[int, ...] | None
    settings: TheorySettings
    axes: tuple[str, ...] = ()

    @cached_property
    def seconds(self) -> float:
        """Predicted duration."""
        if self.solved_at is not None:
            return 1e-3 * len(self.positions)
        return sum(theory_work(self.problem, self.settings.samples, self.settings.randomizations))

    @property
    def parts(self) -> tuple[TheoryTask]:
        """The task itself, one solution."""
        return (self,)

    @property
    def name(self) -> str:
        """What a message calls this task."""
        return f"theory of {_describe(self.problem, self.axes)}"


Task = SimulationTask | JoinedTask | TheoryTask


def simulation_work(
    problem: Problem, engine: str, replicates: int = 1, dtype: str = "float64", estimate: bool = True
) -> tuple[float, float]:
    """Seconds of replicates on one core of a current server: in calls, whatever the size, and in arithmetic.

    Replicates that run side by side share their calls, but for what is drawn for each.
    """
    calls = -(-replicates // replicates_together(problem, engine, dtype=dtype))
    arithmetic = predicted_seconds(problem, engine, dtype=dtype) + 1e-7 * problem.n * problem.width * problem.steps
    if estimate and no_estimate_because(problem) is None:
        arithmetic += 8e-9 * problem.n * problem.width**2 * problem.steps**2
    return calls * (0.015 + 2.5e-3 * problem.steps) + 1e-3 * replicates, replicates * arithmetic


def laws_work(task: SimulationTask) -> tuple[float, float]:
    """Seconds that comparing laws adds to a task: in calls, and in sorting and merging."""
    if task.laws is None:
        return 0.0, 0.0
    problem, iterations, count = task.problem, task.problem.steps + 1, len(task.replicates)
    rows = 3e-7 * (problem.n + problem.d) + 1.3e-7 * task.laws.samples
    return count * 3e-3 * iterations, count * problem.width * iterations * rows


def theory_work(problem: Problem, samples: int, randomizations: int) -> tuple[float, float]:
    """Seconds of a theory solution: in calls, and in arithmetic, to draw and meet the network, and in the adjoint."""
    width, steps = problem.width, problem.steps
    of_a_sample = 1.8e-7 * width * steps
    if not has_kink(problem):
        of_a_sample += (4.7e-9 * width**2 + 0.95e-9 * width**3) * steps**2
    return 3e-3 * steps * randomizations, samples * randomizations * of_a_sample


def _one_of(parts: Sequence[SimulationTask]) -> SimulationTask | JoinedTask:
    return parts[0] if len(parts) == 1 else JoinedTask(tuple(parts))


def blocks(replicates: Iterable[int], block: int) -> Iterator[tuple[int, ...]]:
    """Split increasing replicate indices at the multiples of `block`."""
    for _, group in itertools.groupby(replicates, key=lambda replicate: replicate // block):
        yield tuple(group)


def _require_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInput(name, value, f"a whole number >= {least}")


def _describe(problem: Problem, axes: Iterable[str]) -> str:
    """Name a problem by its size and its value on each axis."""
    values = {name: getattr(problem, name) for name in dict.fromkeys(("n", "d", *axes))}
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )
