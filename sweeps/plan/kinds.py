"""The cells of a grid as a table: a cell is made when it is asked for, and what cells of a kind share is found once.

Cells are of one kind if their problems differ in amounts alone (`sedyn.model.problem.AMOUNTS`): whether they are valid,
the engine, sizes and costs are those of any of them. A million problems one by one would take minutes and gigabytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple, overload

import numpy as np

from sedyn.model.problem import AMOUNTS, DEFAULTS, INVISIBLE_TO_THEORY, Problem

__all__ = ["ROW", "Cell", "Cells"]

ROW = "row"  # the dimension along which fields vary together
# What theory knows of these it knows of them together: n/d, and shares of n in a batch.
_TOGETHER = ("n", "d", "covariance", "batch_size", "batch_fraction", "epochs", "steps")


class Cell(NamedTuple):
    """One fully resolved problem of a grid.

    Attributes
    ----------
    values : tuple
        Its value of each field that varies, in the order of `SweepSpec.fields`.
    problem : Problem
        The problem itself.
    engine : str
        The engine that simulates it, resolved where the sweep is planned: workers may have other amounts of memory,
        and another engine would give other numbers.
    """

    values: tuple[Any, ...]
    problem: Problem
    engine: str


class Cells(Sequence[Cell]):
    """Every cell: row by row, and of each row the last axis fastest.

    Parameters
    ----------
    rows : sequence of mapping
        What varies together; a single empty one where nothing does.
    axes : mapping of str to tuple
        Values of what varies by itself.
    fields : tuple of str
        All that varies, in the order of a cell's values.
    problem_at : callable
        From the values of a cell to its problem.
    engine_of : callable
        From a problem to its engine; raises what there is to be said against it.

    Attributes
    ----------
    kind : ndarray of int, shape (cells,)
        The kind of each.
    kinds : list of Cell
        The first of each kind.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        axes: Mapping[str, tuple[Any, ...]],
        fields: tuple[str, ...],
        problem_at: Callable[[Mapping[str, Any]], Problem],
        engine_of: Callable[[Problem], str],
    ) -> None:
        self._rows, self._axes, self._fields, self._problem_at = rows, axes, fields, problem_at
        self.shape = (len(rows), *(len(values) for values in axes.values()))
        kinds = [_numbered(tuple(_kind_of(*item) for item in row.items()) for row in rows)]
        kinds += [_numbered(_kind_of(axis, value) for value in values) for axis, values in axes.items()]
        firsts, self.kind = _in_order(_combined(kinds))
        self._engines = [engine_of(self.problem(index)) for index in firsts]
        self.kinds = [self[index] for index in firsts]

    def __len__(self) -> int:
        return math.prod(self.shape)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> list[Cell]: ...
    def __getitem__(self, index: int | slice) -> Cell | list[Cell]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        place = self._place(index % len(self))
        values = tuple(place[name] for name in self._fields)
        return Cell(values, self._problem_at(place), self._engines[self.kind[index]])

    def problem(self, index: int) -> Problem:
        """Make the problem of one cell."""
        return self._problem_at(self._place(index))

    def _place(self, index: int) -> dict[str, Any]:
        row, *numbers = map(int, np.unravel_index(index, self.shape))
        axes = zip(self._axes.items(), numbers, strict=True)
        return {**self._rows[row], **{axis: values[k] for (axis, values), k in axes}}

    def theories(self) -> np.ndarray:
        """Number the theory solutions that the cells need, in their order; cells with one number share it.

        Returns
        -------
        ndarray of int, shape (cells,)
        """
        visible = [name for name in self._axes if name not in INVISIBLE_TO_THEORY]
        dims = [ROW, *self._axes]
        together = [k for k, dim in enumerate(dims) if dim in _TOGETHER or (dim == ROW and len(self._rows) > 1)]
        sizes = [self.shape[k] for k in together]
        numbers: dict[str, int] = {}
        label = np.zeros([size if k in together else 1 for k, size in enumerate(self.shape)], np.int64)
        for place in np.ndindex(*sizes):
            whole = [0] * len(dims)
            for k, index in zip(together, place, strict=True):
                whole[k] = index
            key = self.problem(int(np.ravel_multi_index(whole, self.shape))).theory_key
            label[tuple(whole)] = numbers.setdefault(key, len(numbers))
        alone = [
            np.arange(size) if dim in visible and k not in together else np.zeros(size, np.int64)
            for k, (dim, size) in enumerate(zip(dims, self.shape, strict=True))
        ]
        spread = np.broadcast_to(label, self.shape).ravel() * max(1, math.prod(int(each.max()) + 1 for each in alone))
        return _in_order(spread + _combined(alone))[1]


def _kind_of(name: str, value: Any) -> Any:
    if name in AMOUNTS and isinstance(value, Real):
        return "amount", value == 0, value == DEFAULTS[name]
    return tuple(value) if isinstance(value, list) else value


def _numbered(values: Iterable[Any]) -> np.ndarray:
    """Number different values in the order in which they come first."""
    known: dict[Any, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values])


def _in_order(labels: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Find where each label comes first, and number them in that order."""
    _, first, found = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order].tolist(), np.argsort(order)[found]


def _combined(labels: Sequence[np.ndarray]) -> np.ndarray:
    """Number the combinations of labels along several dimensions, of all places one after another."""
    found = np.zeros((), np.int64)
    for each in labels:
        found = found[..., None] * (int(each.max()) + 1) + each
    return found.ravel()
