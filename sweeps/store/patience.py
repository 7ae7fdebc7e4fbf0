"""Asking a storage again that did not answer: every exchange with one behind a URL goes through here."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["FIRST_SECONDS", "ask", "ask_async", "options_of"]

FIRST_SECONDS = 5.0  # of patience with a storage that never answered; its address may be wrong
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0
# What another try does not change: an answer about the object, or a mistake of the program.
_ANSWERS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_MISTAKES = (AssertionError, AttributeError, ImportError, LookupError, NotImplementedError, TypeError, ValueError)

# A client that asks again by itself, five times five, would take minutes before it says that nobody answers.
_OPTIONS = {"s3": {"config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 5, "read_timeout": 10}}}

T = TypeVar("T")


def options_of(location: str) -> dict[str, Any]:
    """Choose the options of the client of a storage: it asks once, since whoever uses it asks again.

    Parameters
    ----------
    location : str
        URL of a store.

    Returns
    -------
    dict
        For `fsspec`; a user's own, in the configuration of fsspec, stand.
    """
    from fsspec.config import conf

    scheme = {"s3a": "s3"}.get(found := location.partition("://")[0], found)
    return {name: value for name, value in _OPTIONS.get(scheme, {}).items() if name not in conf.get(scheme, {})}


def ask(call: Callable[[], T], seconds: float) -> T:
    """Call what asks a storage, again and again while it does not answer.

    Parameters
    ----------
    call : callable
        May be repeated.
    seconds : float
        Patience, from the first failure.

    Raises
    ------
    OSError
        If the storage never answers. What it answers is raised as it is, such as that an object is not there.
    """
    pauses = _Pauses(seconds)
    while True:
        try:
            return call()
        except Exception as error:
            time.sleep(pauses.after(error))


async def ask_async(call: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Do as `ask` does, with a call to await.

    Parameters
    ----------
    call : callable
    seconds : float
    """
    pauses = _Pauses(seconds)
    while True:
        try:
            return await call()
        except Exception as error:
            await asyncio.sleep(pauses.after(error))


class _Pauses:
    """Pauses that double, and vary, so that many workers do not ask again in the same moment."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, FIRST_PAUSE
        self._end: float | None = None

    def after(self, error: Exception) -> float:
        if isinstance(error, _ANSWERS + _MISTAKES):
            raise error
        if self._end is None:
            self._end = time.monotonic() + self._seconds
        if time.monotonic() >= self._end:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise OSError(f"the storage does not answer ({reason})") from error
        pause, self._next = self._next, min(2 * self._next, LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1)
