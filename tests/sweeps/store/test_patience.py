"""How long a storage is waited for, told by a clock that a busy machine makes run fast."""

from __future__ import annotations

import asyncio

import pytest

from sweeps.store import patience
from sweeps.store.patience import Patience


class Nobody(ConnectionRefusedError):
    """As where no program listens at an address."""


class SilenceTimeout(Exception):
    """As from a client that waited in vain."""


@pytest.fixture
def passed(monkeypatch):
    """Seconds that have passed; pauses and calls add to them."""
    seconds = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: seconds[0])

    def sleep(pause):
        assert pause > 0
        seconds[0] += pause

    async def sleep_async(pause):
        sleep(pause)

    monkeypatch.setattr(patience.time, "sleep", sleep)
    monkeypatch.setattr(patience.asyncio, "sleep", sleep_async)
    return seconds


def failing(passed, times, error, seconds):
    """Make a call that fails so many times before it gives an answer; every one of them takes so many seconds."""
    left = [error] * times

    def call():
        passed[0] += seconds
        if left:
            raise left.pop()
        return "answer"

    return call


def asked(call, seconds=60.0, *, together):
    """Ask once, by whichever of the two ways."""
    if not together:
        return Patience(seconds).ask(call)

    async def awaited():
        return call()

    return asyncio.run(Patience(seconds).ask_async(awaited))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("seconds", [0.01, 0.5, 4.0])
def test_requests_that_fail_are_repeated_however_busy_the_machine_is(passed, together, seconds):
    call = failing(passed, patience.TRIES - 1, ConnectionResetError("busy"), seconds)
    assert asked(call, together=together) == "answer"


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("error", "seconds", "most"),
    [
        (ConnectionResetError("busy"), 0.01, 2.0),
        (Nobody("no one"), 0.01, 2.0),
        (Nobody("no such name"), 2.0, 2.0),
        (SilenceTimeout(), 2.0, 2.0),
    ],
)
def test_who_never_answers_is_given_up_soon(passed, together, error, seconds, most):
    with pytest.raises(OSError, match="the storage does not answer"):
        asked(failing(passed, 1000, error, seconds), together=together)
    assert patience.FIRST_SECONDS <= passed[0] <= most


def test_who_has_answered_is_waited_for(passed):
    asking = Patience(60.0)
    asking.ask(lambda: None)
    with pytest.raises(OSError, match="does not answer"):
        asking.ask(failing(passed, 1000, ConnectionResetError(), 0.1))
    assert 60 <= passed[0] < 64
