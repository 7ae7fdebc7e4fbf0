"""How a program ends that is told to: in order, once, with one line and its own status."""

from __future__ import annotations

import signal
import sys
import threading

import pytest

from sweeps.interruption import keep_answer_to_sigterm, stoppable


def terminate():
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("number", "status", "word"), [("SIGTERM", 143, "ended by SIGTERM"), ("SIGINT", 130, "stopped")]
)
def test_a_signal_ends_a_program_in_order(number, status, word, capsys):
    closed = []
    # In the background of a shell Ctrl-C is ignored, in the tests' own process too.
    asked = signal.signal(signal.SIGINT, signal.default_int_handler)

    @stoppable("nothing is lost")
    def program(arguments=None):
        try:
            signal.raise_signal(getattr(signal, number))
        finally:
            closed.append(True)
        return 0

    before = signal.getsignal(signal.SIGTERM)
    try:
        assert program([]) == status
    finally:
        signal.signal(signal.SIGINT, asked)
    assert closed == [True]
    assert capsys.readouterr().err == f"{word}; nothing is lost\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_does_not_cut_the_end_short(capsys):
    closed = []

    @stoppable("nothing is lost")
    def program(arguments=None):
        try:
            terminate()
        finally:
            terminate()
            closed.append(True)
        return 0

    assert program([]) == 143
    assert closed == [True]


def test_a_program_that_is_not_told_to_end_goes_on():
    assert stoppable("nothing is lost")(lambda arguments=None: len(arguments))(["a", "b"]) == 2


def test_outside_the_main_thread_the_answer_stays():
    answers = []

    @stoppable("nothing is lost")
    def program(arguments=None):
        answers.append(signal.getsignal(signal.SIGTERM))
        return 0

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=program)
    thread.start()
    thread.join()
    assert answers == [before]


@pytest.mark.parametrize("when", ["while it starts", "afterwards"])
def test_a_library_that_answers_itself_is_overruled(when, capsys):
    @stoppable("nothing is lost")
    def program(arguments=None):
        with keep_answer_to_sigterm():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
            if when == "while it starts":
                terminate()
        terminate()
        return 0

    assert program([]) == 143
    assert capsys.readouterr().err == "ended by SIGTERM; nothing is lost\n"
