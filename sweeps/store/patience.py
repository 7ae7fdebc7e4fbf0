"""Asking a storage again that did not answer: every exchange with one behind a URL goes through here."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["Patience", "ask_once", "options_of"]

FIRST_SECONDS = 1.5  # of patience with a storage that never answered; its address may be wrong
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0
TRIES = 5  # at least, where somebody was reached: on a busy machine one try may take all the seconds
# In the names of exceptions where nobody was reached; each storage's client has its own.
_UNREACHED = ("Timeout", "Endpoint", "Connector", "Refused")
# What another try does not change: an answer about the object, or a mistake of the program.
_ANSWERS = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_MISTAKES = (AssertionError, AttributeError, ImportError, LookupError, NotImplementedError, TypeError, ValueError)

# A client that asks again by itself, five times five, would take minutes before it says that nobody answers.
_TIMEOUTS = {"connect_timeout": 2, "read_timeout": 10}
_OPTIONS = {"s3": {"config_kwargs": {"retries": {"max_attempts": 0}, **_TIMEOUTS}}}

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


def ask_once(files: Any) -> None:
    """Keep a client from asking again by itself where no option does; that of S3 would, five times.

    Parameters
    ----------
    files : fsspec.AbstractFileSystem
        The client, made with `options_of`, and so nobody else's.
    """
    if hasattr(files, "retries"):
        files.retries = 1


class Patience:
    """How long a storage is waited for: briefly before it has ever answered, then as long as is said.

    Parameters
    ----------
    seconds : float
        From the first time that a call is made to the last. A storage that was reached is asked `TRIES` times however
        long that takes, since seconds that go by on a busy machine say nothing of it.

    Attributes
    ----------
    answered : bool
        Whether the storage ever did.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.answered = False

    def ask(self, call: Callable[[], T]) -> T:
        """Call what asks the storage, again and again while it does not answer.

        Parameters
        ----------
        call : callable
            May be repeated.

        Raises
        ------
        OSError
            If the storage never answers. What it answers is raised as it is, such as that an object is not there.
        """
        tries = self._tries()
        while True:
            try:
                answer = call()
            except Exception as error:
                time.sleep(self._after(error, tries))
            else:
                self.answered = True
                return answer

    async def ask_async(self, call: Callable[[], Awaitable[T]]) -> T:
        """Do as `ask` does, with a call to await."""
        tries = self._tries()
        while True:
            try:
                answer = await call()
            except Exception as error:
                await asyncio.sleep(self._after(error, tries))
            else:
                self.answered = True
                return answer

    def _tries(self) -> _Tries:
        seconds = self._seconds if self.answered else min(FIRST_SECONDS, self._seconds)
        return _Tries(time.monotonic() + seconds)

    def _after(self, error: Exception, tries: _Tries) -> float:
        """Seconds to the next try after one that failed; raises what no other try would change."""
        if isinstance(error, _ANSWERS + _MISTAKES):
            self.answered = self.answered or isinstance(error, _ANSWERS)
            raise error
        names = [kind.__name__ for kind in type(error).__mro__]
        reason = " ".join(str(error).split()) or names[0]
        if "Credential" in names[0]:
            raise PermissionError(f"no credentials for this storage are set: {reason}") from error
        reached = not any(word in name for name in names for word in _UNREACHED)
        if (pause := tries.pause(reached=reached)) is None:
            raise OSError(f"the storage does not answer ({reason})") from error
        return pause


class _Tries:
    """The tries of one call, until a moment: pauses between them double.

    They vary too, so that many workers do not ask again in the same moment.
    """

    def __init__(self, end: float) -> None:
        self._end, self._pause, self._made = end, FIRST_PAUSE, 0

    def pause(self, *, reached: bool) -> float | None:
        """Seconds to wait after a try that failed, whether or not it reached somebody; None if it was the last."""
        self._made += 1
        left = self._end - time.monotonic()
        if left <= 0 and (not reached or self._made >= TRIES):
            return None
        pause = self._pause * random.uniform(0.5, 1)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return min(pause, left) if left > 0 else pause
