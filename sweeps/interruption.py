"""Ending in order when a process is told to stop: whatever was begun is closed, and one line says what was kept."""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, ParamSpec

__all__ = ["INTERRUPTED", "TERMINATED", "keep_answer_to_sigterm", "stoppable"]

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

P = ParamSpec("P")


def stoppable(kept: str) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Decorate a program such that Ctrl-C and SIGTERM end it in order, with one line and their exit status.

    SIGTERM, as from a batch system whose time is up, interrupts like Ctrl-C.

    Parameters
    ----------
    kept : str
        What the line says of the work that was done.

    Returns
    -------
    callable
        The decorator. Exit status of what it makes: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def decorate(main: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(main)
        def stopping(*arguments: P.args, **options: P.kwargs) -> int:
            terminated = False

            def interrupt(number: int, frame: object) -> NoReturn:
                nonlocal terminated
                terminated = True
                _answer_sigterm(signal.SIG_IGN)  # what the first one ends in order, a second must not cut short
                raise KeyboardInterrupt

            before = _answer_to_sigterm()
            _answer_sigterm(interrupt)
            try:
                return main(*arguments, **options)
            except KeyboardInterrupt:
                print(f"{'ended by SIGTERM' if terminated else 'stopped'}; {kept}", file=sys.stderr)
                return TERMINATED if terminated else INTERRUPTED
            finally:
                _answer_sigterm(before)

        return stopping

    return decorate


@contextmanager
def keep_answer_to_sigterm() -> Iterator[None]:
    """Keep this process's answer to SIGTERM while a library starts that puts its own in place, such as Ray."""
    before = _answer_to_sigterm()
    try:
        yield
    except SystemExit:  # the library's own answer, given on the way
        _answer_sigterm(before)
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        _answer_sigterm(before)


def _answer_to_sigterm() -> Any:
    return signal.getsignal(signal.SIGTERM) or signal.SIG_DFL


def _answer_sigterm(answer: Any) -> None:
    if threading.current_thread() is threading.main_thread():  # no other may
        signal.signal(signal.SIGTERM, answer)
