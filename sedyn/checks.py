"""What every public argument is held to, said once where it is declared, and applied before any work.

A *check* is ``check(field, value)``: it returns the value in the form that is kept, or refuses it (`sedyn.errors`).
Functions declare one for each of their arguments (`checked`), dataclasses one for each of their fields
(`sedyn.model.fields.field`), and a sweep's configuration ends in these dataclasses; so a value is refused in the same
words wherever it is given. What two arguments must have to do with each other is for the function to say.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Set
from functools import partial
from itertools import islice
from typing import Any, ParamSpec, TypeVar

import numpy as np

from sedyn.errors import LARGEST, InvalidInput, require_flag, require_number, require_one_of, require_whole

__all__ = [
    "COUNT",
    "DEVICE",
    "FINITE",
    "FLAG",
    "NOT_NEGATIVE",
    "POSITIVE",
    "SEED",
    "Check",
    "checked",
    "dataset",
    "each",
    "elementwise",
    "function_of",
    "identifier",
    "instance_of",
    "listed",
    "mapping",
    "named",
    "number",
    "one_of",
    "optional",
    "path",
    "text",
    "tried",
    "whole",
]

Check = Callable[[str, Any], Any]

P = ParamSpec("P")
R = TypeVar("R")


def checked(**checks: Check) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a public function such that each of its arguments passes its check before anything else is done.

    Parameters
    ----------
    **checks : callable
        For every argument of the function, by its name. A default passes its check like any other value.

    Returns
    -------
    callable
        The decorator.

    Raises
    ------
    TypeError
        While the function is declared, if an argument has no check, or a check no argument.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        if unlike := signature.parameters.keys() ^ checks.keys():
            raise TypeError(f"{function.__name__}: checks and arguments differ in {', '.join(sorted(unlike))}")

        @functools.wraps(function)
        def checking(*arguments: P.args, **options: P.kwargs) -> R:
            given = signature.bind(*arguments, **options)
            given.apply_defaults()
            for name, value in given.arguments.items():
                given.arguments[name] = checks[name](name, value)
            return function(*given.args, **given.kwargs)

        return checking

    return decorate


def whole(least: int, most: int = LARGEST, *, condition: str = "") -> Check:
    """Make the check of a whole number in a range.

    Parameters
    ----------
    least : int
        The smallest allowed number.
    most : int, optional
        The largest.
    condition : str, optional
        What would work, if there is more to say.
    """
    return partial(require_whole, least=least, most=most, condition=condition)


def number(interval: str, valid: Callable[[float], bool]) -> Check:
    """Make the check of a finite number, in an interval that is said in words and as a function.

    Parameters
    ----------
    interval : str
        In words, as ``> 0``.
    valid : callable
        Whether a finite number is in it.
    """
    return partial(require_number, condition=f"a number {interval}", valid=valid)


def one_of(*known: str) -> Check:
    """Make the check of one among some names.

    Parameters
    ----------
    *known : str
        What is allowed.
    """
    return partial(require_one_of, known=known)


def named(find: Callable[[str], Any]) -> Check:
    """Make the check that a text names something that can be found.

    Parameters
    ----------
    find : callable
        Raises `InvalidInput` for a name that there is not.
    """

    def check(field: str, value: Any) -> str:
        if not isinstance(value, str):
            raise InvalidInput(field, value, "a name, in quotes in Python")
        find(value)
        return value

    return check


def optional(check: Check) -> Check:
    """Make the check of a value that may be left at None.

    Parameters
    ----------
    check : callable
        Of a value that is there.
    """
    return lambda field, value: None if value is None else check(field, value)


def listed(check: Check, words: str, *, most: int = 2**20) -> Check:
    """Make the check of several values that each pass another check; a text is not several.

    Parameters
    ----------
    check : callable
        Of each value.
    words : str
        What would work.
    most : int, optional
        How many there may be, where the values themselves set no bound.

    Returns
    -------
    callable
        The check; it returns a tuple.
    """

    def check_list(field: str, value: Any) -> tuple:
        found = list(islice(each(field, value, words), most + 1))
        if len(found) > most:  # before any is looked at, since a million of them take seconds
            raise InvalidInput(field, value, f"{words}, and no more than {most} of them")
        return tuple(check(field, one) for one in found)

    return check_list


def each(field: str, value: Any, words: str, *, ordered: bool = False) -> Any:
    """Iterate over what has several values; text, bytes and mappings are refused, though Python can iterate over them.

    Parameters
    ----------
    field : str
    value : iterable
    words : str
        What would work.
    ordered : bool, optional
        Whether a set is refused too.

    Returns
    -------
    iterator

    Raises
    ------
    InvalidInput
    """
    single = (str, bytes, bytearray, memoryview, Mapping, *((Set,) if ordered else ()))
    if isinstance(value, Iterable) and not isinstance(value, single):
        try:
            return iter(value)
        except TypeError:  # an array without dimensions
            pass
    raise InvalidInput(field, value, words)


def instance_of(kind: type, words: str) -> Check:
    """Make the check that a value is of a class.

    Parameters
    ----------
    kind : type
    words : str
        What would work.
    """

    def check(field: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise InvalidInput(field, value, words)
        return value

    return check


def dataset(words: str, *names: str) -> Check:
    """Make the check of an `xarray.Dataset` that has some dimensions and variables.

    Parameters
    ----------
    words : str
        What would work.
    *names : str
        Of both, in any order.
    """

    def check(field: str, value: Any) -> Any:
        import xarray as xr  # slow to load; whoever gives a dataset has it

        if not isinstance(value, xr.Dataset):
            raise InvalidInput(field, value, words)
        missing = [name for name in names if name not in value.dims and name not in value.variables]
        if missing:
            raise InvalidInput(field, f"a dataset without {', '.join(missing)}", words)
        return value

    return check


def function_of(count: int) -> Check:
    """Make the check of a function that can be called with so many arguments.

    Parameters
    ----------
    count : int
        Of its arguments.
    """
    words = f"a function of {count} {'argument' if count == 1 else 'arguments'}"

    def check(field: str, value: Any) -> Callable:
        if not callable(value):
            raise InvalidInput(field, value, words)
        try:
            inspect.signature(value).bind(*[None] * count)
        except TypeError:
            raise InvalidInput(field, value, words) from None
        except ValueError:  # a compiled function that does not tell
            pass
        return value

    return check


def tried(field: str, value: Any, trial: Callable[[], R], fails: str) -> R:
    """Try what a user gave, and refuse it in one line if that ends in an error of any kind.

    Parameters
    ----------
    field : str
        Its name, as the user writes it.
    value : object
        What was given.
    trial : callable
        Calls it with a few numbers.
    fails : str
        What the line says before the error.

    Returns
    -------
    object
        What the trial gives.

    Raises
    ------
    InvalidInput
        If the trial raises anything.
    """
    try:
        return trial()
    except Exception as error:
        raise InvalidInput(field, value, f"{fails} ({type(error).__name__}: {error})") from None


def elementwise(field: str, value: Any) -> Callable:
    """Check a function of arrays, element by element, by trying it on a few numbers.

    Parameters
    ----------
    field : str
        Its name, as the user writes it.
    value : object
        What was given.
    """
    function_of(1)(field, value)
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    words = "a function of an array of any shape that returns one of this shape"

    def on_numbers() -> tuple[np.ndarray, bool]:
        with np.errstate(all="ignore"):
            y = np.asarray(value(x))
        return y, y.dtype.kind in "biuf" and np.broadcast_shapes(y.shape, x.shape) == x.shape

    y, fits = tried(field, value, on_numbers, f"{words}; this one fails")
    if not fits:
        given = f"{y.dtype} of shape {y.shape}"
        raise InvalidInput(field, value, f"{words}; from shape {x.shape} this one gives {given}")
    return value


def identifier(field: str, value: Any) -> str:
    """Check a name that a user gives to something.

    Parameters
    ----------
    field : str
        Its name, as the user writes it.
    value : object
        What was given.
    """
    if not (isinstance(value, str) and value.isidentifier()):
        raise InvalidInput(field, value, "a name is letters, digits and underscores, not a digit first")
    return str(value)


def mapping(field: str, value: Any) -> dict[str, Any]:
    """Check a mapping from names to values.

    Parameters
    ----------
    field : str
        Its name, as the user writes it.
    value : object
        What was given.
    """
    if not (isinstance(value, Mapping) and all(isinstance(name, str) for name in value)):
        raise InvalidInput(field, value, "a mapping from names to values")
    return dict(value)


def text(field: str, value: Any) -> str:
    """Check a text that says something.

    Parameters
    ----------
    field : str
        Its name, as the user writes it.
    value : object
        What was given.
    """
    if not (isinstance(value, str) and value.strip()):
        raise InvalidInput(field, value, "a text, in quotes in Python")
    return value


def path(field: str, value: Any) -> str:
    """Check a path or URL; a home directory, ``~``, is put in its place.

    Parameters
    ----------
    field : str
        Its name, as the user writes it.
    value : object
        What was given.
    """
    words = "a path or URL"
    if not isinstance(value, str | os.PathLike):
        raise InvalidInput(field, value, words)
    given = os.fspath(value)
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        raise InvalidInput(field, value, words)
    expanded = os.path.expanduser(given)
    if expanded.startswith("~"):
        raise InvalidInput(field, value, f"{words}; there is no home directory of that user")
    return expanded


COUNT = whole(1)
SEED = whole(0, 2**128 - 1)  # as many bits as numpy's own seeds have
FINITE = partial(require_number, condition="a finite number")
NOT_NEGATIVE = number(">= 0", lambda x: x >= 0)
POSITIVE = number("> 0", lambda x: x > 0)
FLAG = require_flag
DEVICE = one_of("auto", "cpu", "gpu")
