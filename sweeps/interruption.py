"""Ending in order when a process is told to stop: whatever was begun is closed, and one line says what was kept."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, ParamSpec

from sweeps.terminal import OutputClosed, say, take_any_character

__all__ = ["abandon", "answer_again", "leave", "stoppable"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
UNREAD = 128 + signal.SIGPIPE  # the exit status of a program whose reader has gone
HURRY_SECONDS = 5.0

_ABANDONED: list[Callable[[], None]] = []  # each with what is left to do when this process ends

P = ParamSpec("P")


class _Stop:
    """Answers the first signal with `KeyboardInterrupt`, and a later one only if the end takes long.

    Ctrl-C several times in a row would otherwise cut short what the first one ends in order.
    """

    def __init__(self) -> None:
        self.answers = True
        self.number: int | None = None
        self._since = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number, self._since = number, time.monotonic()
        elif time.monotonic() - self._since < HURRY_SECONDS:
            return
        raise KeyboardInterrupt


def stoppable(kept: str) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Decorate a program such that signals end it in order, with one line and their exit status.

    Ctrl-C, SIGTERM, as from a batch system whose time is up, and SIGHUP, as from a terminal that is closed, all do; one
    that the process was started to ignore stays ignored. Output that nobody reads ends it as well, without a word.

    Parameters
    ----------
    kept : str
        What the line says of the work that was done.

    Returns
    -------
    callable
        The decorator. Exit status of what it makes: 128 + the number of the signal.
    """

    def decorate(main: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(main)
        def stopping(*arguments: P.args, **options: P.kwargs) -> int:
            take_any_character()
            with _answering() as stop:
                try:
                    try:
                        return main(*arguments, **options)
                    finally:
                        sys.stdout.flush()  # here rather than at the end of the process, where nothing answers
                except (OutputClosed, BrokenPipeError):
                    _write_nowhere()
                    return UNREAD
                except BaseException as error:
                    if stop.number is None and not isinstance(error, KeyboardInterrupt):
                        raise
                    # What fails on the way out follows from the signal.
                    number = signal.Signals(stop.number or signal.SIGINT)
                    with contextlib.suppress(OutputClosed):
                        say(
                            f"{'stopped' if number is signal.SIGINT else f'ended by {number.name}'}; {kept}", error=True
                        )
                    return 128 + number

        return stopping

    return decorate


@contextmanager
def _answering() -> Iterator[_Stop]:
    """Answer signals while a program runs; a program that another one runs has the same answer."""
    answers = {number: signal.getsignal(number) for number in SIGNALS}
    known = next((answer for answer in answers.values() if isinstance(answer, _Stop) and answer.answers), None)
    if known is not None or threading.current_thread() is not threading.main_thread():  # no other may
        yield known or _Stop()
        return
    stop = _Stop()
    taken = {number: answer for number, answer in answers.items() if answer not in (signal.SIG_IGN, None)}
    for number in taken:
        signal.signal(number, stop)
    try:
        yield stop
    finally:
        stop.answers = False
        for number, answer in taken.items():
            if number != stop.number or answer is not signal.default_int_handler:
                signal.signal(number, answer)
            # Else what is left of a row of Ctrl-C must not hit a process that is on its way out; later ones do as ever.


def answer_again() -> None:
    """Put this process's answers to signals back, where a library has its own in their place without Python knowing."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if (answer := signal.getsignal(number)) is not None:
                signal.signal(number, answer)


def abandon(tidy: Callable[[], None]) -> None:
    """Take note of something that goes on and that the end of this process must not wait for.

    Parameters
    ----------
    tidy : callable
        Called at that end, after whatever goes on may have left more.
    """
    _ABANDONED.append(tidy)


def leave(status: int) -> NoReturn:
    """End this process.

    Parameters
    ----------
    status : int
    """
    if _ABANDONED:
        for tidy in _ABANDONED:
            tidy()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


def _write_nowhere() -> None:
    """Let what is still to be flushed go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
