"""Laws that a problem names in text, as ``gaussian`` or ``student_t(5)``: a registered family, with its numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sedyn.errors import InvalidInput
from sedyn.model.registry import Registry

__all__ = ["Family", "Law", "read_law"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Laws that differ in numbers alone: one entry of a registry.

    Parameters
    ----------
    parameters : tuple of str, optional
        What the numbers in ``name(number, ...)`` mean.
    valid : callable, optional
        ``valid(*numbers)``: whether they are allowed, if they are finite.
    condition : str, optional
        The same in words.
    numbers : tuple of float, optional
        What they are where the name stands alone; without, they have to be given.
    """

    parameters: tuple[str, ...] = ()
    valid: Callable[..., bool] = lambda *numbers: True
    condition: str = ""
    numbers: tuple[float, ...] = ()


AnyFamily = TypeVar("AnyFamily", bound=Family)


@dataclass(frozen=True)
class Law(Generic[AnyFamily]):
    """A member of a family.

    Parameters
    ----------
    text : str
        As it was written.
    family : Family
    numbers : tuple of float
        One for each of the family's parameters.
    """

    text: str
    family: AnyFamily
    numbers: tuple[float, ...]


def read_law(text: str, families: Registry[AnyFamily]) -> tuple[str, AnyFamily, tuple[float, ...]]:
    """Find what ``name`` or ``name(number, ...)`` says.

    Parameters
    ----------
    text : str
    families : Registry
        Known families by name, of the field that the text was given for.

    Returns
    -------
    text, family, numbers
        What a `Law` is made of.

    Raises
    ------
    InvalidInput
        If the text is of neither form, the name is unknown, or its numbers are missing, unwanted or out of range.
    """
    match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(?:\(([-+.,\s\deE]+)\))?\s*", str(text))
    try:
        if match is None:
            raise ValueError
        name, given = match[1], () if match[2] is None else tuple(float(number) for number in match[2].split(","))
    except ValueError:
        raise InvalidInput(families.kind, text, "write a name, or a name with numbers as in student_t(5)") from None
    family = families[name]
    numbers = given or family.numbers
    if not family.parameters and numbers:
        raise InvalidInput(families.kind, text, f"{name} takes no number; write {name}")
    allowed = len(numbers) == len(family.parameters) and all(map(math.isfinite, numbers))
    if not (allowed and family.valid(*numbers)):
        remedy = f"write {name}({', '.join(family.parameters)}) with {family.condition}"
        raise InvalidInput(families.kind, text, remedy)
    return text, family, numbers
