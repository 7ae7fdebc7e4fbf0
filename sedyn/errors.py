"""The one exception for a request that cannot be met, and the checks of single values that raise it.

A check is ``require_...(field, value, ...)``: it returns the value in the form that is kept, or refuses it in one line
that names the field, the value and what would work.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

import numpy as np

__all__ = ["InvalidInput", "require_flag", "require_known", "require_number", "require_one_of", "require_whole"]

Value = TypeVar("Value")


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
        near = difflib.get_close_matches(str(value), known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return cls(field, value, f"{hint}known: {', '.join(known)}")


def require_one_of(field: str, value: Value, known: Collection[str]) -> Value:
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
    object
        The name as it was given.

    Raises
    ------
    InvalidInput
        Naming the nearest known one.
    """
    if value not in known:
        raise InvalidInput.unknown(field, value, known)
    return value


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


def require_whole(field: str, value: Any, least: int, *, condition: str = "") -> int:
    """Refuse what is no whole number, or too small a one.

    Parameters
    ----------
    field : str
    value : object
    least : int
        The smallest allowed number.
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
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (real and math.isfinite(value) and valid(value)):
        raise InvalidInput(field, value, condition)
    return float(value)


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
