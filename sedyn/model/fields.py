"""A field of a dataclass with all that is known about it, and what follows: lists of names, and the docstring."""

from __future__ import annotations

import dataclasses
import inspect
import re
from functools import cache
from typing import Any, TypeVar

from sedyn.checks import Check

__all__ = ["check_fields", "documented", "field", "kept_fields", "names_where"]

Class = TypeVar("Class", bound=type)


def field(
    default: Any,
    check: Check | None,
    description: str,
    *,
    invisible_to_theory: bool = False,
    individual: bool = False,
    training: bool = False,
    amount: bool = False,
) -> Any:
    """Declare a field of `sedyn.Problem`, or of an estimator, with all that is known about it.

    Parameters
    ----------
    default : object
    check : callable or None
        ``check(name, value)`` returns the value as it is kept, or raises `sedyn.errors.InvalidInput`; None where that
        takes more than the value.
    description : str
        One sentence or two, on one line; it stands in the docstring and in the configuration.
    invisible_to_theory : bool, optional
        Whether the limit as n and d grow cannot see it.
    individual : bool, optional
        Whether replicates that run side by side may differ in it: numbers of the update, which are arrays there, and
        what is only seen by the draws that each replicate has for itself.
    training : bool, optional
        Whether it says how a network is trained, on a user's data too; the others describe simulated data.
    amount : bool, optional
        Whether it is a number of which neither cost nor validity know more than whether it is 0, and its default.

    Returns
    -------
    dataclasses.Field
        With everything but the default in its ``metadata``.
    """
    known = {"check": check, "description": description, "invisible_to_theory": invisible_to_theory}
    known |= {"individual": individual, "training": training, "amount": amount}
    return dataclasses.field(default=default, metadata=known)


def names_where(cls: type, mark: str) -> tuple[str, ...]:
    """List the fields of a dataclass that have a mark.

    Parameters
    ----------
    cls : type
    mark : {'invisible_to_theory', 'individual', 'training', 'amount'}

    Returns
    -------
    tuple of str
        In the order of the fields.
    """
    return tuple(known.name for known in dataclasses.fields(cls) if known.metadata[mark])


def kept_fields(instance: Any, prefix: str = "") -> dict[str, Any]:
    """Pass the fields of a dataclass to their checks.

    Parameters
    ----------
    instance : dataclass
        Its fields are declared by `field`.
    prefix : str, optional
        What precedes their names where a user writes them, as ``compute.``.

    Returns
    -------
    dict of str to object
        Every field that has a check, in the form that is kept.

    Raises
    ------
    InvalidInput
        Naming the first field that does not pass.
    """
    cls: Any = type(instance)
    return {name: check(f"{prefix}{name}", getattr(instance, name)) for name, check in _checks(cls)}


@cache
def _checks(cls: type) -> tuple[tuple[str, Check], ...]:
    """List the fields of a dataclass that have a check, once; a sweep makes a problem for every cell."""
    named = ((known.name, known.metadata["check"]) for known in dataclasses.fields(cls))
    return tuple((name, check) for name, check in named if check)


def check_fields(instance: Any, prefix: str = "") -> None:
    """Put every field of a dataclass in the form that its check keeps, while it is made; as `kept_fields`.

    Parameters
    ----------
    instance : dataclass
        Its fields are declared by `field`.
    prefix : str, optional
        What precedes their names where a user writes them.
    """
    for name, value in kept_fields(instance, prefix).items():
        object.__setattr__(instance, name, value)


def documented(cls: Class) -> Class:
    """Complete the docstring of a dataclass: the section of parameters, before its first section."""
    lines = ["Parameters", "----------"]
    for known in dataclasses.fields(cls):
        lines += [f"{known.name} : {known.type}", f"    {known.metadata['description']}"]
    section = "\n".join(lines)
    docstring = inspect.cleandoc(cls.__doc__ or "")
    cls.__doc__ = re.sub(r"\n(?=\w+\n-{3,}\n)", lambda _: f"\n{section}\n\n", docstring, count=1)
    return cls
