"""The specification of a sweep and the cells of its grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

from sedyn.checks import COUNT, FLAG, SEED, Check, one_of, optional, whole
from sedyn.descent.engines import DTYPES, ENGINES, choose_engine, require_results_memory
from sedyn.descent.simulation import MOST_REPLICATES
from sedyn.deviations.fluctuations import require_fluctuations
from sedyn.errors import InvalidInput, require_known
from sedyn.model.problem import Problem
from sedyn.theory.inputs import RANDOMIZATIONS, least_samples, require_samples
from sedyn.theory.memory import require_theory_memory
from sweeps.plan.tasks import SimulationTask, TheorySettings, TheoryTask, fluctuation_randomizations

__all__ = ["ESTIMATE", "PROBLEM_FIELDS", "Cell", "SweepSpec"]

PROBLEM_FIELDS = tuple(f.name for f in fields(Problem))
ESTIMATE = "estimated_test_error"  # the observable that a sweep can leave out


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


# What is given as it is, by the names that a user knows it by.
_CHECKS: dict[str, Check] = {
    "replicates": whole(1, MOST_REPLICATES),
    "block": optional(whole(1, MOST_REPLICATES)),
    "seed": SEED,
    "engine": one_of("auto", *ENGINES),
    "dtype": one_of(*DTYPES),
    "theory.samples": COUNT,
    "theory.randomizations": RANDOMIZATIONS,
    "laws": partial(FLAG, condition="true or false"),
    "estimate": partial(FLAG, condition="true or false"),
    "halves": partial(FLAG, condition="true or false"),
    "fluctuations": partial(FLAG, condition="true or false"),
}
MOST_CELLS = 10**5


@dataclass(frozen=True)
class SweepSpec:
    """What a sweep computes; of where it computes, only what engines are chosen for.

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
    halves : bool
        Whether every simulation also runs as two halves, see `sedyn.simulate`.
    fluctuations : bool
        Whether theory also predicts how far runs are from it.
    device : {'cpu', 'gpu'}
        Of this machine, whose memory and speed decide on each cell's engine; a store does not keep it.

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
    halves: bool = False
    fluctuations: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        require_known("grid", self.axes, PROBLEM_FIELDS)
        for axis, values in self.axes.items():
            if isinstance(values, str | Mapping) or not isinstance(values, Sequence) or not values:
                raise InvalidInput(f"grid.{axis}", values, f"a list of values, as in grid.{axis}=[VALUE,VALUE]")
            if any(isinstance(value, Sequence) and not isinstance(value, str) for value in values):
                raise InvalidInput(f"grid.{axis}", values, "the values on an axis are single numbers or names")
        for said, check in _CHECKS.items():
            name = said.rpartition(".")[2]
            object.__setattr__(self, name, check(said, getattr(self, name)))
        if math.prod(map(len, self.axes.values())) > MOST_CELLS:
            sizes = " x ".join(f"{axis} ({len(values)})" for axis, values in self.axes.items())
            raise InvalidInput("grid", sizes, f"{MOST_CELLS} cells at most; make several sweeps of it")
        # The order of a problem's fields, not of the request: a store looks the same however its axes were named.
        given = {axis: self.axes[axis] for axis in PROBLEM_FIELDS if axis in self.axes}
        first = {axis: values[0] for axis, values in given.items()}
        # Every value once as Problem keeps it: noise=1 and noise=1.0 are one value, and the store sees one type.
        axes = {
            axis: tuple(getattr(self.problem_at({**first, axis: value}), axis) for value in values)
            for axis, values in given.items()
        }
        for axis, values in axes.items():
            if len(set(values)) < len(values):
                raise InvalidInput(f"grid.{axis}", list(values), "a value stands twice; list each once")
        plain = self.problem_at(first).to_dict()
        varying = {*axes, *(("d",) if self.features_at else ())}
        object.__setattr__(self, "axes", axes)
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
            If a cell is no valid problem, its engine does not apply, it needs more memory than the device has, its
            theory needs more samples or more memory, or its fluctuations are wanted and cannot be predicted.
        """
        cells = []
        how = {name: getattr(self, name) for name in ("dtype", "estimate", "device", "halves")}
        for values in itertools.product(*self.axes.values()):
            problem = self.problem_at(dict(zip(self.axes, values, strict=True)))
            require_samples(problem, self.samples, "theory.samples")
            require_theory_memory(
                problem, self.samples, self.randomizations, self.device, prefix="theory.", keep_samples=self.laws
            )
            if (settings := self._fluctuation_settings(problem)) is not None:
                require_fluctuations(problem, settings.samples, "theory.samples")
            if self.block is not None:
                require_results_memory(problem, self.block, "block", halves=self.halves)
            cells.append(Cell(values, problem, choose_engine(problem, self.engine, **how).engine))
        return cells

    @cached_property
    def theory_groups(self) -> dict[str, list[Cell]]:
        """The cells that share each theory solution."""
        groups: dict[str, list[Cell]] = {}
        for cell in self.cells:
            groups.setdefault(cell.problem.theory_key, []).append(cell)
        return groups

    @property
    def theory_settings(self) -> TheorySettings:
        """How the theory is solved."""
        return TheorySettings(self.samples, self.randomizations, self.seed)

    def _fluctuation_settings(self, problem: Problem) -> TheorySettings | None:
        """How a problem's fluctuations are predicted, if they are: they need not be as precise as theory itself."""
        if not self.fluctuations:
            return None
        samples = max(self.samples // 8, least_samples(problem))
        return TheorySettings(samples, fluctuation_randomizations(self.randomizations), self.seed)

    def simulation_task(self, cell: Cell, position: tuple[int, ...], replicates: tuple[int, ...]) -> SimulationTask:
        """Make the task of some replicates of a cell.

        Parameters
        ----------
        cell : Cell
        position : tuple of int
            Where the cell is in the store.
        replicates : tuple of int
            Which, increasing.
        """
        laws = self.theory_settings if self.laws else None
        how = cell.engine, self.dtype, laws, tuple(self.axes), self.estimate, self.halves
        return SimulationTask(cell.problem, position, replicates, self.seed, *how)

    def theory_task(
        self, cell: Cell, positions: tuple[tuple[int, ...], ...], solved_at: tuple[int, ...] | None = None
    ) -> TheoryTask:
        """Make the task of the theory that some cells share.

        Parameters
        ----------
        cell : Cell
            One of them.
        positions : tuple of tuple of int
            Where those that lack the solution are in the store.
        solved_at : tuple of int, optional
            Where one is that has it.
        """
        how = self.theory_settings, tuple(self.axes), self._fluctuation_settings(cell.problem)
        return TheoryTask(cell.problem, positions, solved_at, *how)
