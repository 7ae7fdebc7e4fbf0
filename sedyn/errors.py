"""The one exception for a request that cannot be met, and the checks of single values that raise it.

A check is ``require_...(field, value, ...)``: it returns the value in the form that is kept, or refuses it in one line
that names the field, the value and what would work.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator
import reprlib
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

__all__ = [
    "LARGEST",
    "InvalidInput",
    "require_flag",
    "require_known",
    "require_number",
    "require_one_of",
    "require_whole",
]

LARGEST = 2**53  # up to here every whole number is a float too, as predictions of time and memory take it
MOST_ENTRIES = 8  # of an array, that a message shows one by one
NEAR_AMONG = 60  # of a name's letters, what the nearest known one is looked for with
_WRITER = reprlib.Repr()
_WRITER.maxstring = _WRITER.maxother = 300
_WRITER.maxlist = _WRITER.maxtuple = _WRITER.maxdict = _WRITER.maxset = 30


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
        super().__init__(" ".join(f"{field}={_shown(value)}: {remedy}".splitlines()))
        self.field, self.value, self.remedy = field, value, remedy

    def __reduce__(self) -> tuple:
        # Exceptions with several arguments need this to survive the trip back from a worker process.
        return type(self), (self.field, self.value, self.remedy)

    @classmethod
    def unknown(cls, field: str, value: object, known: Iterable[str]) -> InvalidInput:
        """Build the message for a name that is not among the known ones, with the nearest of them first.

        Parameters
        ----------
        field : str
        value : object
            The name that was given.
        known : iterable of str
            What would work.

        Returns
        -------
        InvalidInput
        """
        known = list(known)
        near = difflib.get_close_matches(value[:NEAR_AMONG], known, n=1) if isinstance(value, str) else []
        hint = f"did you mean {near[0]!r}? " if near else ""
        return cls(field, value, f"{hint}known: {', '.join(known)}")


def _shown(value: object) -> str:
    """Write a value as in Python, on one line and without end; of arrays and tables with many entries the shape."""
    try:
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple) and math.prod(shape) > MOST_ENTRIES:
            return f"{type(value).__name__} of shape {shape}"
        return " ".join(_WRITER.repr(value).splitlines())
    except Exception:  # a user's object may fail in any way; a number may have more digits than Python writes
        return f"<{type(value).__name__}>"


def require_one_of(field: str, value: Any, known: Collection[str]) -> str:
    """Refuse a name that is not among the known ones.

    Parameters
    ----------
    field : str
    value : object
        The name that was given.
    known : collection of str
        What would work.

    Returns
    -------
    str
        The name.

    Raises
    ------
    InvalidInput
        Naming the nearest known one.
    """
    if not (isinstance(value, str) and value in known):
        raise InvalidInput.unknown(field, value, known)
    return str(value)


def require_known(field: str, names: Iterable[object], known: Collection[str]) -> None:
    """Refuse the first of some names that is not known.

    Parameters
    ----------
    field : str
    names : iterable
        What was given.
    known : collection of str
        What would work.

    Raises
    ------
    InvalidInput
        Naming the nearest known one.
    """
    for name in names:
        require_one_of(field, name, known)


def require_whole(field: str, value: Any, least: int, most: int = LARGEST, *, condition: str = "") -> int:
    """Refuse what is no whole number, or too small or too large a one.

    Parameters
    ----------
    field : str
    value : object
    least, most : int
        The smallest and the largest allowed number.
    condition : str, optional
        What would work, if there is more to say than ``a whole number >= least``.

    Returns
    -------
    int

    Raises
    ------
    InvalidInput
    """
    try:
        whole = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        whole = None
    if whole is not None and whole > most:
        raise InvalidInput(field, value, f"a whole number from {least} to {most}")
    if whole is None or whole < least:
        raise InvalidInput(field, value, condition or f"a whole number >= {least}")
    return whole


def require_number(field: str, value: Any, condition: str, valid: Callable[[float], bool] = math.isfinite) -> float:
    """Refuse what is no finite number, or one that is not valid.

    Parameters
    ----------
    field : str
    value : object
    condition : str
        What would work, as in ``a number > 0``.
    valid : callable, optional
        Whether a finite number is allowed.

    Returns
    -------
    float

    Raises
    ------
    InvalidInput
    """
    try:
        real = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:
        raise InvalidInput(field, value, f"{condition}, and no larger than a float can be") from None
    if not (math.isfinite(real) and valid(real)):
        raise InvalidInput(field, value, condition)
    return real


def require_flag(field: str, value: Any, *, condition: str = "True or False") -> bool:
    """Refuse what is neither true nor false.

    Parameters
    ----------
    field : str
    value : object
        A bool of Python or of numpy.
    condition : str, optional
        The two values, as they are written where the field is.

    Returns
    -------
    bool

    Raises
    ------
    InvalidInput
    """
    if not isinstance(value, bool | np.bool_):
        raise InvalidInput(field, value, condition)
    return bool(value)
