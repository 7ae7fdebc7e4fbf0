"""Where cells are in the arrays of a store, and which of the places were asked for.

Dimensions of a store are the fields that vary on their own, and before them `CELL` where fields vary together
(`TIED`, an entry of the settings): each of its places has a value of every one of these, as coordinates along it. A
place is asked for if a sweep ever asked for it, and none was told to drop it since: a store that grew unevenly has
places that nobody did (`ASKED`). What stands in the settings is a list of what was asked for and dropped, in its order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sedyn.errors import InvalidInput
from sweeps.plan import PROBLEM_FIELDS, key_of

__all__ = [
    "ASKED",
    "CELL",
    "DIMENSIONS",
    "MOST_PLACES",
    "TIED",
    "asking",
    "axes_of",
    "block_of",
    "columns",
    "indexed",
    "is_asked",
    "place_of_cell",
    "require_room",
    "without",
]

CELL = "cell"
DIMENSIONS = (CELL, *PROBLEM_FIELDS)  # that cells may vary along, in the order of the arrays
TIED = "tied"  # among the settings: the fields that vary along `CELL`
ASKED = "asked"  # among the settings: what was asked for and dropped, where that is not all there is
MOST_PLACES = 10**7


def columns(settings: Mapping[str, Any]) -> dict[str, tuple[str, list[Any]]]:
    """Find every field that varies, with its dimension and its values along that.

    Parameters
    ----------
    settings : mapping
        Of a store.

    Returns
    -------
    dict of str to (str, list)
    """
    found = {axis: (axis, values) for axis, values in settings["axes"].items() if axis != CELL}
    for number, name in enumerate(settings.get(TIED, ())):
        found[name] = CELL, [row[number] for row in settings["axes"][CELL]]
    return found


def place_of_cell(values: Mapping[str, Any], tied: Sequence[str]) -> dict[str, Any]:
    """Say where a cell belongs, by its value on every dimension.

    Parameters
    ----------
    values : mapping
        Of every field that varies.
    tied : sequence of str
        Those of them that vary along one dimension.

    Returns
    -------
    dict
        In the order of `DIMENSIONS`.
    """
    found = {CELL: [values[name] for name in tied]} if tied else {}
    return found | {name: values[name] for name in PROBLEM_FIELDS if name in values and name not in tied}


def axes_of(blocks: Iterable[Mapping[str, Sequence[Any]]]) -> dict[str, list[Any]]:
    """List the values on every dimension that some blocks of places have, in the order in which they come first.

    Parameters
    ----------
    blocks : iterable of mapping
        Dimensions to values on them.
    """
    found: dict[str, dict[Any, Any]] = {}
    for block in blocks:
        for axis, values in block.items():
            known = found.setdefault(axis, {})
            for value in values:
                known.setdefault(key_of(value), value)
    return {axis: list(values.values()) for axis, values in found.items()}


def indexed(settings: Mapping[str, Any]) -> dict[str, dict[Any, int]]:
    """Number the places along every dimension by `sweeps.plan.key_of` of their values."""
    return {axis: {key_of(value): k for k, value in enumerate(values)} for axis, values in settings["axes"].items()}


def block_of(settings: Mapping[str, Any], where: Mapping[str, Sequence[Any]]) -> Any:
    """Index a block of places; a dimension that is not named was a constant then, the first of its values now.

    Parameters
    ----------
    settings : mapping
        Of a store.
    where : mapping of str to sequence
        Dimensions to values on them.

    Returns
    -------
    tuple
        What indexes an array of all places.
    """
    return _block(indexed(settings), where)


def _block(places: Mapping[str, Mapping[Any, int]], where: Mapping[str, Sequence[Any]]) -> Any:
    if not places:
        return ()
    return np.ix_(
        *([known[key_of(value)] for value in where[axis]] if axis in where else [0] for axis, known in places.items())
    )


def is_asked(settings: Mapping[str, Any]) -> np.ndarray:
    """Say of every place whether it was asked for.

    Parameters
    ----------
    settings : mapping
        Of a store.

    Returns
    -------
    ndarray of bool, shape (cell axes)
    """
    places = indexed(settings)
    found = np.full([len(values) for values in places.values()], ASKED not in settings)
    for entry in settings.get(ASKED, ()):
        found[_block(places, entry["where"])] = entry["asked"]
    return found


def asking(
    settings: Mapping[str, Any], blocks: Sequence[Mapping[str, Sequence[Any]]], before: Mapping[str, Any]
) -> dict[str, Any]:
    """Add to what was asked for some blocks of places.

    Parameters
    ----------
    settings : mapping
        Of a store that has room for them.
    blocks : sequence of mapping
        Dimensions to values on them; no place is in two.
    before : mapping of str to list
        The values on every dimension before there was this room.

    Returns
    -------
    dict
        Settings of the store in which they are asked for.
    """
    places = indexed(settings)
    known = settings.get(ASKED) or [{"asked": True, "where": dict(before)}]
    values = axes_of(blocks)
    whole = sum(map(_size, blocks)) == _size(values)  # all combinations
    added: list[dict[str, Any]] = [{"asked": True, "where": dict(where)} for where in ([values] if whole else blocks)]
    found = is_asked({**settings, ASKED: known})
    entries = list(known)
    for entry in added:
        block = _block(places, entry["where"])
        if not found[block].all():
            found[block] = True
            entries.append(entry)
    return _with_entries(settings, entries, found)


def _size(block: Mapping[str, Sequence[Any]]) -> int:
    return math.prod(len(values) for values in block.values())


def without(settings: Mapping[str, Any], where: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Take from what was asked for the places with some values.

    Parameters
    ----------
    settings : mapping
        Of a store.
    where : mapping of str to sequence
        Dimensions to values on them; every value where one is not named.

    Returns
    -------
    dict
        Settings of the store in which nobody asks for them.
    """
    known = settings.get(ASKED) or [{"asked": True, "where": dict(settings["axes"])}]
    entries = [*known, {"asked": False, "where": {**settings["axes"], **where}}]
    return _with_entries(settings, entries, is_asked({**settings, ASKED: entries}))


def require_room(location: str, settings: Mapping[str, Any]) -> None:
    """Refuse a store of more places than there may be: cells far apart on many axes make most of them empty.

    Parameters
    ----------
    location : str
        Path or URL of the store, for the message.
    settings : mapping
        What it would be.

    Raises
    ------
    InvalidInput
        Naming the axes.
    """
    sizes = {axis: len(values) for axis, values in settings["axes"].items()}
    if np.prod([float(size) for size in sizes.values()]) > MOST_PLACES:
        product = " x ".join(f"{axis} ({size})" for axis, size in sizes.items())
        remedy = f"it would have {product} places, and {MOST_PLACES} are the most; name another store for these cells"
        raise InvalidInput("store", location, remedy)


def _with_entries(settings: Mapping[str, Any], entries: list[Any], found: np.ndarray) -> dict[str, Any]:
    plain = {key: value for key, value in settings.items() if key != ASKED}
    return plain if found.all() else {**plain, ASKED: entries}
