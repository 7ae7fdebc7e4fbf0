"""Cells that are chosen by their values: to be computed again, or to be dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sedyn.errors import InvalidInput
from sedyn.model.problem import Problem
from sweeps.plan import key_of
from sweeps.store.layout import layouts
from sweeps.store.lifecycle import Store
from sweeps.store.places import CELL, TIED, block_of, columns, is_asked, without

__all__ = ["chosen", "drop", "redo"]


def chosen(store: Store, where: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Find what on each dimension of a store has some values.

    Parameters
    ----------
    store : Store
    where : mapping of str to sequence
        Fields that vary to values of theirs; a field that is not named may have any.

    Returns
    -------
    dict of str to list
        Each dimension with those of its values that belong to the choice.

    Raises
    ------
    InvalidInput
        If a field does not vary, or has no such value.
    """
    varying = columns(store.settings)
    for name, values in where.items():
        if not varying:
            raise InvalidInput(name, ",".join(map(str, values)), "the store has one cell; --all chooses it")
        if name not in varying:
            raise InvalidInput.unknown("field", name, list(varying))
        there = {key_of(value) for value in varying[name][1]}
        for value in values:
            if key_of(value) not in there:
                raise InvalidInput(name, value, f"the store has {', '.join(map(str, dict.fromkeys(varying[name][1])))}")
    keys = {name: set(map(key_of, values)) for name, values in where.items()}
    found = {}
    for axis, values in store.axes.items():
        names = store.settings[TIED] if axis == CELL else [axis]
        rows = ((value, value if axis == CELL else [value]) for value in values)
        found[axis] = [
            value
            for value, row in rows
            if all(key_of(one) in keys.get(name, {key_of(one)}) for name, one in zip(names, row, strict=True))
        ]
    return found


def redo(store: Store, where: Mapping[str, Sequence[Any]]) -> tuple[int, int]:
    """Mark cells as not computed, simulations and theories alike, so that the next sweep computes them again.

    A theory solution that a cell shares with others is computed again for all of them.

    Parameters
    ----------
    store : Store
    where : mapping
        As for `chosen`.

    Returns
    -------
    cells, others : int
        How many were chosen, and how many more share their theories.
    """
    store.merge(last=True)
    mask = _places(store, chosen(store, where))
    sharing = _sharing(store, mask)
    _forget(store, ["status/simulation"], mask)
    _forget(store, ["status/theory"], sharing)
    return int(mask.sum()), int((sharing & ~mask).sum())


def solve_with(store: Store, counts: Sequence[tuple[Mapping[str, Any], int]]) -> None:
    """Mark theories of single cells as not solved, to be solved with another number of samples.

    Parameters
    ----------
    store : Store
    counts : sequence of (mapping, int)
        The values of a cell on every axis, and how many samples; all cells that share a theory have the same.
    """
    mask = np.zeros([len(values) for values in store.axes.values()], bool)
    for values, _ in counts:
        place = store.position(values)
        assert place is not None, "the store has the cell"
        mask[place] = True
    _forget(store, ["status/theory"], mask)  # first: who is stopped in between solves as before, and judges again
    store.want_samples(counts)


def drop(store: Store, where: Mapping[str, Sequence[Any]]) -> int:
    """Take cells out of what is asked for, and delete what was computed of them; a sweep may ask for them again.

    Parameters
    ----------
    store : Store
    where : mapping
        As for `chosen`.

    Returns
    -------
    int
        How many were asked for before.
    """
    store.merge(last=True)
    found = chosen(store, where)
    mask = _places(store, found)
    settings = without(store.settings, found)
    store.become(settings)
    kinds = [f"status/{kind}" for kind in ("simulation", "theory")]  # first, so that no result is promised and gone
    results = [f"{group}/{name}" for group, arrays in layouts(settings).items() for name in arrays]
    everywhere = np.zeros(mask.shape, bool)
    everywhere[block_of(settings, found)] = True
    _forget(store, [*kinds, *(path for path in results if path not in kinds)], everywhere)
    return int(mask.sum())


def _places(store: Store, found: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Say of every place whether it is chosen and was asked for."""
    mask = np.zeros([len(values) for values in store.axes.values()], bool)
    mask[block_of(store.settings, found)] = True
    return mask & is_asked(store.settings)


def _sharing(store: Store, mask: np.ndarray) -> np.ndarray:
    """Add to some places those that share a theory with one of them."""
    keys = {place: _problem_at(store, place).theory_key for place in map(tuple, np.argwhere(is_asked(store.settings)))}
    wanted = {keys[place] for place in map(tuple, np.argwhere(mask))}
    sharing = np.zeros(mask.shape, bool)
    for place, key in keys.items():
        sharing[place] = key in wanted
    return sharing


def _problem_at(store: Store, place: Sequence[int]) -> Problem:
    numbers = dict(zip(store.axes, place, strict=True))
    values = {name: along[numbers[axis]] for name, (axis, along) in columns(store.settings).items()}
    fields = {**store.settings["problem"], **values}
    if store.settings["d"]:
        fields["d"] = store.settings["d"][str(fields["n"])]
    return Problem.from_mapping(fields)


def _forget(store: Store, paths: Iterable[str], mask: np.ndarray) -> None:
    """Let what arrays have at some places read as missing."""
    for path in paths:
        group, _, name = path.partition("/")
        store.chunks.forget(store.array(group, name), mask)
