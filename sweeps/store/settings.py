"""What a store was made with, and whether a sweep may go on in it: plain mappings that JSON keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sedyn.errors import InvalidInput
from sedyn.model.observables import dimension_coordinates
from sweeps.cost import block_of
from sweeps.plan import PROBLEM_FIELDS, SweepSpec
from sweeps.store.metadata import FORMAT

__all__ = ["grown", "require_known", "require_same", "settings_of", "with_axes"]

_OLDEST_FORMAT = 4  # that opens, validates and grows

_OF_SPEC = ("aspect", "seed", "engine", "dtype", "laws", "estimate")


def settings_of(spec: SweepSpec) -> dict[str, Any]:
    """Describe the store that a sweep needs; where it computes is no part of it."""
    sizes: dict[str, int] = {}
    for cell in spec.cells:
        for dim, values in dimension_coordinates(cell.problem).items():
            sizes[dim] = max(sizes.get(dim, 0), len(values))
    return {
        "format": FORMAT,
        "problem": dict(spec.base),
        **{name: getattr(spec, name) for name in _OF_SPEC},
        "theory": {"samples": spec.samples, "randomizations": spec.randomizations},
        "axes": {axis: list(values) for axis, values in spec.axes.items()},
        "d": {str(n): d for n, d in spec.features_at.items()},
        "replicates": spec.replicates,
        "block": block_of(spec),
        "sizes": sizes,
        "environments": {},
        "ready": True,
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
    if isinstance(form, int) and form > FORMAT:
        raise InvalidInput(
            "store", location, f"has format {form}, and this version knows none after {FORMAT}; {upgrade}"
        )
    if isinstance(form, int) and form < _OLDEST_FORMAT:
        raise InvalidInput("store", location, f"has format {form}, older than {_OLDEST_FORMAT}; name another store")
    shapes = {"format": int, "replicates": int, "block": int, "problem": dict, "axes": dict, "d": dict, "sizes": dict}
    shapes |= {"theory": dict, "environments": dict}
    wrong = [name for name, kind in shapes.items() if not isinstance(known.get(name), kind)]
    if wrong:
        raise InvalidInput("store", location, f"its zarr.json is damaged ({', '.join(wrong)}); name another store")


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
        "axes": {axis: values[axis] for axis in PROBLEM_FIELDS if axis in values},
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
        Naming every difference.
    """
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


def grown(known: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Add what a sweep asks for; new values go to the end of an axis, since what is stored stays where it is.

    Parameters
    ----------
    known, asked : mapping
        Settings of the store, and those that the sweep needs; with the same axes.

    Returns
    -------
    dict
        Settings of the store that has both.
    """
    return {
        **known,
        "axes": {
            axis: [*values, *(value for value in asked["axes"][axis] if value not in values)]
            for axis, values in known["axes"].items()
        },
        "d": {**known["d"], **asked["d"]},
        "replicates": max(known["replicates"], asked["replicates"]),
        "sizes": {dim: max(size, asked["sizes"][dim]) for dim, size in known["sizes"].items()},
        "ready": True,
    }


def _must_agree(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What stays as it is when a store grows, by the keys that a user writes."""
    plain = {name: settings.get(name) for name in _OF_SPEC}
    return plain | {f"{key}.{name}": value for key in ("problem", "theory") for name, value in settings[key].items()}
