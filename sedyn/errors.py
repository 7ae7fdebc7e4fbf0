"""The one exception for a request that cannot be met, worded for the person who made it."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Callable, Collection, Iterable

__all__ = ["InvalidInput", "require_flag", "require_known", "require_number", "require_whole"]


class InvalidInput(ValueError):
    """A request that cannot be met, told in one line: the field, its value, and what would work.

    Command lines print the message alone and exit with status 2; no work has started when it is raised.

    Parameters
    ----------
    field : str
        Name of the offending field, as the user writes it.
    value : object
        The value that was given.
    remedy : str
        What would work, completing the sentence "``field=value``: ...".
    """

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field}={value!r}: {remedy}")
        self.field, self.value, self.remedy = field, value, remedy

    def __reduce__(self) -> tuple:
        # Exceptions with several arguments need this to survive the trip back from a worker process.
        return type(self), (self.field, self.value, self.remedy)

    @classmethod
    def unknown(cls, field: str, value: object, known: Iterable[str]) -> InvalidInput:
        """Build the message for a name that is not known, with the nearest known one first.

        Parameters
        ----------
        field : str
            Name of the field, as the user writes it.
        value : object
            What was given.
        known : iterable of str
            What would work.
        """
        known = list(known)
        near = difflib.get_close_matches(str(value), known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return cls(field, value, f"{hint}known: {', '.join(known)}")


def require_known(field: str, names: Iterable[object], known: Collection[str]) -> None:
    """Refuse the first of some names that is not known.

    Parameters
    ----------
    field : str
        What the names are of, as the user writes it.
    names : iterable
    known : collection of str

    Raises
    ------
    InvalidInput
        Naming the nearest known one.
    """
    for name in names:
        if name not in known:
            raise InvalidInput.unknown(field, name, known)


def require_whole(field: str, value: object, least: int) -> int:
    """Refuse what is no whole number of at least so much.

    Parameters
    ----------
    field : str
        Name of the field, as the user writes it.
    value : object
        What was given.
    least : int

    Returns
    -------
    int
        The number, of numpy's or another kind before.

    Raises
    ------
    InvalidInput
        If it is something else, a truth value for example.
    """
    try:
        whole = least - 1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        whole = least - 1
    if whole < least:
        raise InvalidInput(field, value, f"a whole number >= {least}")
    return whole


def require_number(field: str, value: object, condition: str, valid: Callable[[float], bool]) -> float:
    """Refuse what is no finite number that meets a condition.

    Parameters
    ----------
    field : str
        Name of the field, as the user writes it.
    value : object
        What was given.
    condition : str
        What would work, in words.
    valid : callable
        Whether a number meets it.

    Returns
    -------
    float
        The number.

    Raises
    ------
    InvalidInput
        If it is something else, a truth value for example.
    """
    number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and valid(number)):
        raise InvalidInput(field, value, condition)
    return number


def require_flag(field: str, value: object) -> None:
    """Refuse what is neither true nor false.

    Parameters
    ----------
    field : str
        Name of the field, as the user writes it.
    value : object
        What was given.

    Raises
    ------
    InvalidInput
        If it is something else.
    """
    if not isinstance(value, bool):
        raise InvalidInput(field, value, "true or false")
