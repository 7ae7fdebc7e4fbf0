"""What a store was made with, and whether a sweep may go on in it: plain mappings that JSON keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sedyn.errors import InvalidInput
from sedyn.model.observables import PARTS, dimension_sizes, parts_of
from sedyn.model.problem import DEFAULTS
from sweeps.cost import block_of
from sweeps.plan import PROBLEM_FIELDS, SweepSpec, key_of
from sweeps.sources import Code, differing
from sweeps.store.places import ASKED, CELL, DIMENSIONS, TIED, asking, axes_of, columns, place_of_cell

__all__ = [
    "CHECKED_FORMAT",
    "FORMAT",
    "NEWEST_FORMAT",
    "SHARDED_FORMAT",
    "SHARDED_FORMATS",
    "SHARDS",
    "SOLVED_WITH",
    "TARGET",
    "WANTED",
    "completed",
    "grown",
    "is_of_code",
    "places_of",
    "require_known",
    "require_same",
    "require_same_code",
    "settings_of",
    "with_axes",
    "with_code",
]

TARGET = "sought"  # among the settings: what further replicates were for, and how many the first round had
WANTED = "wanted"  # among the settings: replicates of single cells, where a target needed more
SOLVED_WITH = "solved_with"  # among the settings: samples that theories of single cells are solved with, likewise
FORMAT = 10  # of a new store of few cells
SHARDED_FORMAT = 11  # of one of many: their chunks lie in shards, and come there by logs
SHARDED_FORMATS = (7, 9, SHARDED_FORMAT)  # of all that have shards
NEWEST_FORMAT = 11
CHECKED_FORMAT = 5  # the first in which documents, chunks and results have checksums
# What replicates were before a format; such stores do not grow.
_OTHER_REPLICATES = {
    6: "whose replicates drew from other random streams than this version's",
    10: "whose test errors are averages over other points than this version's",
}
_OLDEST_FORMAT = 4  # that opens and validates
_FILES_NAMED = 3
_MOST = 2**32  # of anything that a store counts
SHARDS = "shards"  # among the settings: cells of a chunk and of a shard along each axis, where there are shards
_OF_SPEC = ("aspect", "seed", "engine", "dtype", "laws", "estimate", "halves", "fluctuations")


def places_of(spec: SweepSpec, known: Mapping[str, Any] | None = None) -> list[dict[str, list[Any]]]:
    """Say where the cells of a sweep belong, as blocks of places: values on every dimension of its store.

    Parameters
    ----------
    spec : SweepSpec
    known : mapping, optional
        Settings of the store; that of the sweep's own has what varies together along one dimension.
    """
    tied, fields = (spec.tied, spec.fields) if known is None else (known.get(TIED, ()), (*columns(known), *spec.fields))
    along = {name: spec.along(name) for name in fields}
    dims = {name: CELL if name in tied else dim for name, (dim, _) in along.items()}
    if list(tied) == list(spec.tied) and all(dim in (None, CELL, name) for name, dim in dims.items()):  # one block
        rows = {CELL: [[row[name] for name in tied] for row in spec.rows or ()]} if tied else {}
        alone = {name: list(along[name][1]) for name in PROBLEM_FIELDS if name in fields and name not in tied}
        return [rows | alone]
    places = (place_of_cell({name: getattr(cell.problem, name) for name in fields}, tied) for cell in spec.cells)
    return [{axis: [value] for axis, value in place.items()} for place in places]


def settings_of(spec: SweepSpec, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describe the store that a sweep needs; where it computes is no part of it.

    Parameters
    ----------
    spec : SweepSpec
    known : mapping, optional
        Settings of a store, whose dimensions it takes over as far as they go.
    """
    sizes: dict[str, int] = {}
    for cell in spec.table.kinds:
        for dim, size in dimension_sizes(cell.problem).items():
            sizes[dim] = max(sizes.get(dim, 0), size)
    tied = list(spec.tied if known is None else known.get(TIED, ()))
    varying = () if known is None else columns(known)
    return {
        "format": FORMAT,
        "problem": {name: value for name, value in spec.base.items() if name not in varying},
        **{name: getattr(spec, name) for name in _OF_SPEC},
        "theory": {"samples": spec.samples, "randomizations": spec.randomizations},
        "axes": axes_of(places_of(spec, known)),
        **({TIED: tied} if tied else {}),
        "d": {str(n): d for n, d in spec.features_at.items()},
        "replicates": spec.replicates,
        "block": block_of(spec),
        "sizes": sizes,
        "parts": _in_order(part for cell in spec.table.kinds for part in parts_of(cell.problem)),
        "environments": {},
        "ready": True,
    }


def _in_order(parts: Iterable[str]) -> list[str]:
    found = set(parts)
    return [part for part in PARTS if part in found]


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the settings of a store what none could have when it was made.

    Fields of the problem that came later are at their defaults, and dimensions as large as these make them.

    Parameters
    ----------
    settings : mapping
        As they are stored.

    Returns
    -------
    dict
    """
    sizes, varying = settings["sizes"], {"n", "d", *settings["axes"], *settings.get(TIED, ())}
    defaults = {name: value for name, value in DEFAULTS.items() if name not in varying}
    return {
        "estimate": True,
        "halves": False,
        "fluctuations": False,
        "parts": [],
        **settings,
        "problem": {**defaults, **settings["problem"]},
        "sizes": {"bias_layer": sizes["layer"] + 1, "half": 2, **sizes},
    }


def require_known(location: str, known: Mapping[str, Any]) -> None:
    """Refuse settings that this version does not understand.

    Parameters
    ----------
    location : str
        Path or URL of the store, for the message.
    known : mapping
        What stands in the store.

    Raises
    ------
    InvalidInput
        If its format is older or newer than what is known here, or something is lacking.
    """
    form, upgrade = known.get("format"), "update sedyn, or name another store"
    if isinstance(form, int) and form > NEWEST_FORMAT:
        raise InvalidInput(
            "store", location, f"has format {form}, and this version knows none after {NEWEST_FORMAT}; {upgrade}"
        )
    if isinstance(form, int) and form < _OLDEST_FORMAT:
        raise InvalidInput("store", location, f"has format {form}, older than {_OLDEST_FORMAT}; name another store")
    wrong = [name for name, fits in _NEEDED.items() if not fits(known.get(name))]
    wrong += [name for name, fits in _ADDED.items() if name in known and not fits(known[name])]
    if wrong:
        raise InvalidInput("store", location, f"its zarr.json is damaged ({', '.join(wrong)}); name another store")


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST


def _maps_to(fits: Callable[[Any], bool], *names: str) -> Callable[[object], bool]:
    """Make the check of a mapping whose every value fits, and that has some names."""
    return lambda value: isinstance(value, dict) and {*names} <= {*value} and all(map(fits, value.values()))


def _lists(fits: Callable[[Any], bool]) -> Callable[[object], bool]:
    """Make the check of a list whose every value fits."""
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_environment(value: object) -> bool:
    try:
        found = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return False
    return isinstance(found, dict) and {"host", "device", "commit"} <= {*found}


def _is_value(value: object) -> bool:
    """Whether a field of a problem may have it: what several fields have together, and layers, are lists."""
    return all(map(_is_value, value)) if isinstance(value, list) else not isinstance(value, dict)


def _is_values(value: object) -> bool:
    return isinstance(value, list) and bool(value) and _is_value(value)


def _is_of_cell(value: object) -> bool:
    """Whether it names a cell by its values, and a number of it."""
    if not isinstance(value, list) or len(value) != 2:
        return False
    cell, count = value
    return isinstance(cell, dict) and all(map(_is_value, cell.values())) and _is_count(count)


def _is_asking(value: object) -> bool:
    return isinstance(value, dict) and _is_flag(value.get("asked")) and _maps_to(_is_values)(value.get("where"))


# What settings are made of: those that every store has, and those that came later.
_NEEDED: dict[str, Callable[[Any], bool]] = {
    "format": lambda value: isinstance(value, int),
    "replicates": _is_count,
    "block": _is_count,
    "problem": lambda value: isinstance(value, dict),
    "axes": _maps_to(_is_values),
    "d": _maps_to(_is_count),
    "sizes": _maps_to(lambda size: size == 0 or _is_count(size), "layer"),  # no deep layers, for example
    "theory": _maps_to(_is_count, "samples", "randomizations"),
    "environments": _maps_to(_is_environment),
    "laws": _is_flag,
}
_ADDED: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("estimate", "halves", "fluctuations"), _is_flag),
    "parts": _lists(lambda part: isinstance(part, str) and part in PARTS),
    TIED: _lists(lambda name: isinstance(name, str)),
    ASKED: _lists(_is_asking),
    **dict.fromkeys((WANTED, SOLVED_WITH), _lists(_is_of_cell)),
    TARGET: lambda value: isinstance(value, dict) and _is_count(value.get("replicates")),
    SHARDS: _maps_to(lambda sides: isinstance(sides, list) and len(sides) == 2 and all(map(_is_count, sides))),
    "codes": _lists(lambda code: isinstance(code, dict) and isinstance(code.get("files"), dict) and "digest" in code),
}


def with_axes(known: Mapping[str, Any], axes: Iterable[str]) -> dict[str, Any]:
    """Turn constants into axes of one value; what is no constant, or an axis already, stays as it is.

    Parameters
    ----------
    known : mapping
        Settings of a store.
    axes : iterable of str
        Fields of the problem.

    Returns
    -------
    dict
        Settings of the same store with these axes.
    """
    problem = known["problem"]
    constants = {axis: problem[axis] for axis in axes if axis in problem and not isinstance(problem[axis], list)}
    values = {**known["axes"], **{axis: [value] for axis, value in constants.items()}}
    return {
        **known,
        "problem": {name: value for name, value in problem.items() if name not in constants},
        "axes": {axis: values[axis] for axis in DIMENSIONS if axis in values},
    }


def require_same(location: str, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse a sweep that differs from its store in more than what the store can grow by.

    Parameters
    ----------
    location : str
        Path or URL of the store, for the message.
    known, asked : mapping
        Settings of the store, and those that the sweep needs.

    Raises
    ------
    InvalidInput
        Naming every difference; or if the store is of a format whose replicates had other numbers.
    """
    for form, otherwise in _OTHER_REPLICATES.items():
        if known["format"] < form:
            reason = f"has format {known['format']}, {otherwise}: it can be read and validated, and takes no more"
            raise InvalidInput("store", location, f"{reason}; name another store")
    old, new = _must_agree(known), _must_agree(asked)
    differences = [
        f"{name} was {old.get(name)!r} and is now {new.get(name)!r}"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    if set(known["axes"]) != set(asked["axes"]):
        differences.insert(
            0, f"its axes were {', '.join(known['axes']) or 'none'} and are now {', '.join(asked['axes']) or 'none'}"
        )
    differences += [
        f"d at n={n} was {known['d'][n]} and is now {d}" for n, d in asked["d"].items() if known["d"].get(n, d) != d
    ]
    if differences:
        raise InvalidInput(
            "store", location, f"was made with other settings: {'; '.join(differences)}; name another store"
        )


def is_of_code(known: Mapping[str, Any], code: Code) -> bool:
    """Tell whether a store had this code last, or never said which it had.

    Parameters
    ----------
    known : mapping
        Settings of the store.
    code : Code

    Returns
    -------
    bool
    """
    past = known.get("codes", [])
    return not past or past[-1]["digest"] == code.digest


def require_same_code(location: str, known: Mapping[str, Any], code: Code) -> None:
    """Refuse to go on in a store with other code than it had last, unless that was asked for.

    Parameters
    ----------
    location : str
        Path or URL of the store, for the message.
    known : mapping
        Settings of the store. Of older stores nobody knows what code made them; the first that goes on counts.
    code : Code
        What would compute.

    Raises
    ------
    InvalidInput
        Naming the files that have changed.
    """
    if code.replaces or is_of_code(known, code):
        return
    names = differing(known["codes"][-1]["files"], code.files)
    more = f" and {len(names) - _FILES_NAMED} more files" if len(names) > _FILES_NAMED else ""
    remedy = (
        f"was made by other code: {', '.join(names[:_FILES_NAMED])}{more} changed; name another store, or go on with "
    )
    raise InvalidInput("store", location, remedy + "code=any, and each replicate says which code made it")


def with_code(known: Mapping[str, Any], code: Code) -> dict[str, Any]:
    """Add the code that goes on in a store to its settings, as the last one.

    Parameters
    ----------
    known : mapping
        Settings of the store.
    code : Code

    Returns
    -------
    dict
    """
    others = [past for past in known.get("codes", []) if past["digest"] != code.digest]
    return {**known, "codes": [*others, {"digest": code.digest, "files": dict(code.files)}]}


def grown(
    known: Mapping[str, Any], asked: Mapping[str, Any], blocks: Sequence[Mapping[str, Sequence[Any]]] = ()
) -> dict[str, Any]:
    """Add what a sweep asks for; new values go to the end of an axis, since what is stored stays where it is.

    Parameters
    ----------
    known, asked : mapping
        Settings of the store, and those that the sweep needs; with the same axes.
    blocks : sequence of mapping, optional
        The places of the sweep's cells (`places_of`), which are asked for from now on.

    Returns
    -------
    dict
        Settings of the store that has both.
    """
    axes, target = {}, known.get(TARGET)
    for axis, values in known["axes"].items():
        there = set(map(key_of, values))
        axes[axis] = [*values, *(value for value in asked["axes"][axis] if key_of(value) not in there)]
    settings = {
        **known,
        "axes": axes,
        "d": {**known["d"], **asked["d"]},
        "replicates": max(known["replicates"], asked["replicates"]),
        **({TARGET: {**target, "replicates": max(target["replicates"], asked["replicates"])}} if target else {}),
        "sizes": {dim: max(size, asked["sizes"][dim]) for dim, size in known["sizes"].items()},
        "parts": _in_order([*known["parts"], *asked["parts"]]),
        "ready": True,
    }
    return asking(settings, blocks, known["axes"])


def _must_agree(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What stays as it is when a store grows, by the keys that a user writes."""
    plain = {name: settings.get(name) for name in _OF_SPEC}
    return plain | {f"{key}.{name}": value for key in ("problem", "theory") for name, value in settings[key].items()}
