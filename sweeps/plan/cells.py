"""The specification of a sweep and the cells of its grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from sedyn.checks import COUNT, FLAG, SEED, Check, one_of, optional, whole
from sedyn.descent.engines import DTYPES, ENGINES, choose_engine, require_results_memory
from sedyn.descent.simulation import MOST_REPLICATES
from sedyn.deviations.fluctuations import require_fluctuations
from sedyn.errors import InvalidInput
from sedyn.model.problem import Problem
from sedyn.theory.inputs import RANDOMIZATIONS, least_samples, require_samples
from sedyn.theory.memory import require_theory_memory
from sweeps.plan.kinds import ROW, Cell, Cells
from sweeps.plan.tasks import SimulationTask, TheorySettings, TheoryTask, fluctuation_randomizations
from sweeps.plan.values import key_of

__all__ = [
    "ESTIMATE",
    "MANY_CELLS",
    "MOST_CELLS",
    "PROBLEM_FIELDS",
    "SEEDS",
    "Cell",
    "SweepSpec",
    "no_field",
    "require_few_cells",
    "require_fields",
]

PROBLEM_FIELDS = tuple(f.name for f in fields(Problem))
SEEDS = "replicates=N gives N independent runs of each cell from one seed; another seed needs another store"
ESTIMATE = "estimated_test_error"  # the observable that a sweep can leave out


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
MOST_CELLS = 10**6
MANY_CELLS = 2**11  # that make a sweep a large one


def no_field(field: str, name: object) -> InvalidInput:
    """Build the message for what is no field of a problem.

    Parameters
    ----------
    field : str
        Where it was given.
    name : object

    Returns
    -------
    InvalidInput
        Naming the key of a sweep that is meant, or the nearest field.
    """
    if name == "seed":
        return InvalidInput(field, name, f"this is no field of a problem; {SEEDS}, by its key seed=N")
    if name in _CHECKS:
        return InvalidInput(field, name, f"this is no field of a problem; the whole sweep has one, {name}=VALUE")
    return InvalidInput.unknown(field, name, PROBLEM_FIELDS)


def require_fields(field: str, names: Iterable[object]) -> None:
    """Refuse the first of some names that is no field of a problem.

    Parameters
    ----------
    field : str
        Where they were given.
    names : iterable

    Raises
    ------
    InvalidInput
        As `no_field` builds it.
    """
    for name in names:
        if name not in PROBLEM_FIELDS:
            raise no_field(field, name)


def require_few_cells(sizes: Mapping[str, int]) -> None:
    """Refuse more cells than a sweep may have.

    Parameters
    ----------
    sizes : mapping of str to int
        How many values there are of what varies by itself, by its name.

    Raises
    ------
    InvalidInput
        Naming them.
    """
    if math.prod(sizes.values()) > MOST_CELLS:
        product = " x ".join(f"{name} ({size})" for name, size in sizes.items())
        raise InvalidInput("grid", product, f"{MOST_CELLS} cells at most; make several sweeps of it")


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
    rows : sequence of mapping, optional
        What varies together: a list of values of the same `Problem` fields, none of them an axis. The cells are every
        row at every place of the grid; a row that stands twice is one. None: there is nothing but the grid.

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
    rows: Sequence[Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        for said, check in _CHECKS.items():
            name = said.rpartition(".")[2]
            object.__setattr__(self, name, check(said, getattr(self, name)))
        self._require_axes()
        self._require_rows()
        sizes = {axis: len(values) for axis, values in self.axes.items()}
        if self.rows is not None:
            sizes = {"rows": len(self.rows), **sizes}
        require_few_cells(sizes)
        # The order of a problem's fields, not of the request: a store looks the same however its axes were named.
        given = {axis: self.axes[axis] for axis in PROBLEM_FIELDS if axis in self.axes}
        first = {axis: values[0] for axis, values in given.items()}
        row = {} if self.rows is None else dict(self.rows[0])
        # Every value once as Problem keeps it: noise=1 and noise=1.0 are one value, and the store sees one type.
        axes = {
            axis: tuple(getattr(self.problem_at({**row, **first, axis: value}), axis) for value in values)
            for axis, values in given.items()
        }
        for axis, values in axes.items():
            if len(set(map(key_of, values))) < len(values):
                raise InvalidInput(f"grid.{axis}", list(values), "a value stands twice; list each once")
        plain = self.problem_at({**row, **first}).to_dict()
        object.__setattr__(self, "rows", None if self.rows is None else self._kept_rows(first))
        varying = {*axes, *row, *(("d",) if self.features_at else ())}
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "base", {name: plain[name] for name in PROBLEM_FIELDS if name not in varying})

    def _require_axes(self) -> None:
        require_fields("grid", self.axes)
        for axis, values in self.axes.items():
            if isinstance(values, str | Mapping) or not isinstance(values, Sequence) or not values:
                raise InvalidInput(f"grid.{axis}", values, f"a list of values, as in grid.{axis}=[VALUE,VALUE]")
            if any(isinstance(value, Sequence) and not isinstance(value, str) for value in values):
                raise InvalidInput(f"grid.{axis}", values, "the values on an axis are single numbers or names")

    def _require_rows(self) -> None:
        if self.rows is None:
            return
        if not self.rows or not self.rows[0]:
            raise InvalidInput("rows", self.rows, "at least one row, of at least one field")
        for row in self.rows:
            require_fields("rows", row)
            if row.keys() != self.rows[0].keys():
                raise InvalidInput("rows", dict(row), f"every row has a value of {', '.join(self.rows[0])}")
            for name, value in row.items():
                if isinstance(value, Sequence | Mapping) and not isinstance(value, str):
                    raise InvalidInput(name, value, "the values of a cell are single numbers or names")
        if twice := [name for name in self.rows[0] if name in self.axes]:
            raise InvalidInput(
                f"grid.{twice[0]}", list(self.axes[twice[0]]), "each row has a value of it; leave one out"
            )

    def _kept_rows(self, first: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        """Every row once, as `Problem` keeps its values, in the order of the fields."""
        kept: dict[Any, Mapping[str, Any]] = {}
        for row in self.rows or ():
            problem = self.problem_at({**first, **row})
            values = {name: getattr(problem, name) for name in PROBLEM_FIELDS if name in row}
            kept.setdefault(key_of(tuple(values.values())), values)
        return tuple(kept.values())

    @cached_property
    def tied(self) -> tuple[str, ...]:
        """Fields that vary together, row by row; empty where there are no rows."""
        return () if self.rows is None else tuple(self.rows[0])

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Fields that vary, in the order of those of `Problem`."""
        return tuple(name for name in PROBLEM_FIELDS if name in self.axes or name in self.tied)

    @property
    def description(self) -> str:
        """The shape of the sweep in a few words."""
        rows = [] if self.rows is None else [f"{', '.join(self.tied)} ({len(self.rows)} together)"]
        axes = [f"{axis} ({len(values)})" for axis, values in self.axes.items()]
        return " x ".join([*rows, *axes]) or "single problem"

    def problem_at(self, values: Mapping[str, Any]) -> Problem:
        """Build the problem at these values of the axes."""
        named = {**self.base, **values}
        if self.features_at:
            named["d"] = self.features_at.get(named["n"])
        return Problem.from_mapping(named)

    def spelled(self, known: Mapping[str, Iterable[Any]]) -> SweepSpec:
        """Describe the same cells with values as they stand elsewhere, where they differ by rounding alone.

        Parameters
        ----------
        known : mapping of str to iterable
            Fields to the values that are there.
        """
        there = {name: {key_of(value): value for value in values} for name, values in known.items()}

        def as_there(name: str, value: Any) -> Any:
            return there.get(name, {}).get(key_of(value), value)

        base = {name: as_there(name, value) for name, value in self.base.items()}
        axes = {name: tuple(as_there(name, value) for value in values) for name, values in self.axes.items()}
        rows = None
        if self.rows is not None:
            rows = tuple({name: as_there(name, value) for name, value in row.items()} for row in self.rows)
        same = (base, axes, rows) == (self.base, self.axes, self.rows)
        return self if same else replace(self, base=base, axes=axes, rows=rows)

    def along(self, name: str) -> tuple[str | None, Sequence[Any]]:
        """Say what a field varies along: an axis, the rows (`ROW`) or nothing; and its values there.

        Parameters
        ----------
        name : str
            A field of `Problem`.
        """
        if name in self.axes:
            return name, self.axes[name]
        if name in self.tied:
            return ROW, [row[name] for row in self.rows or ()]
        if name == "d" and self.features_at:
            dim, sizes = self.along("n")
            return dim, [self.features_at[n] for n in sizes]
        return None, [self.base[name]]

    @cached_property
    def table(self) -> Cells:
        """Every cell, made when it is asked for: row by row, and of each row the last axis fastest.

        Raises
        ------
        InvalidInput
            If a cell is no valid problem, its engine does not apply, it needs more memory than the device has, its
            theory needs more samples or more memory, or its fluctuations are wanted and cannot be predicted.
        """
        return Cells(self.rows or ({},), self.axes, self.fields, self.problem_at, self._engine_of)

    @cached_property
    def cells(self) -> Sequence[Cell]:
        """Every cell, as in `table`; all made at once where they are few, so that each is made once."""
        return self.table if self.is_large else list(self.table)

    @property
    def is_large(self) -> bool:
        """Whether it has so many cells that they share files and tasks, and are not made all at once."""
        return len(self.table) >= MANY_CELLS

    def _engine_of(self, problem: Problem) -> str:
        require_samples(problem, self.samples, "theory.samples")
        require_theory_memory(
            problem, self.samples, self.randomizations, self.device, prefix="theory.", keep_samples=self.laws
        )
        if (settings := self._fluctuation_settings(problem)) is not None:
            require_fluctuations(problem, settings.samples, "theory.samples")
        if self.block is not None:
            require_results_memory(problem, self.block, "block", halves=self.halves)
        how = {name: getattr(self, name) for name in ("dtype", "estimate", "device", "halves")}
        return choose_engine(problem, self.engine, **how).engine

    @cached_property
    def theories(self) -> np.ndarray:
        """The number of the theory solution of every cell, in the order of `cells`; cells share some."""
        return self.table.theories()

    @property
    def theory_count(self) -> int:
        """How many theory solutions there are."""
        return int(self.theories.max()) + 1

    @cached_property
    def theory_groups(self) -> dict[int, list[Cell]]:
        """The cells that share each theory solution."""
        groups: dict[int, list[Cell]] = {}
        for cell, number in zip(self.cells, self.theories.tolist(), strict=True):
            groups.setdefault(number, []).append(cell)
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
        how = cell.engine, self.dtype, laws, self.fields, self.estimate, self.halves
        return SimulationTask(cell.problem, position, replicates, self.seed, *how)

    def theory_task(
        self,
        cell: Cell,
        positions: tuple[tuple[int, ...], ...],
        solved_at: tuple[int, ...] | None = None,
        samples: int = 0,
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
        samples : int
            With so many, if these are more than the sweep's.
        """
        settings = self.theory_settings._replace(samples=max(self.samples, samples))
        how = settings, self.fields, self._fluctuation_settings(cell.problem)
        return TheoryTask(cell.problem, positions, solved_at, *how)
