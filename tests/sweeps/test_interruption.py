"""How a program ends that is told to: in order, once, with one line and its own status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from sweeps import interruption
from sweeps.interruption import stoppable
from tests.sweeps.stores import finish, spec_of


def terminate():
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [("SIGTERM", 143, "ended by SIGTERM"), ("SIGHUP", 129, "ended by SIGHUP"), ("SIGINT", 130, "stopped")],
)
def test_a_signal_ends_a_program_in_order(number, status, word, capsys):
    closed = []
    # In the background of a shell Ctrl-C is ignored, and with nohup SIGHUP, in the tests' own process too.
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {each: signal.signal(each, handler) for each, handler in handlers.items()}

    @stoppable("nothing is lost")
    def program(arguments=None):
        try:
            signal.raise_signal(getattr(signal, number))
        finally:
            closed.append(True)
        return 0

    terminated = signal.getsignal(signal.SIGTERM)
    try:
        assert program([]) == status
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert closed == [True]
    assert capsys.readouterr().err == f"{word}; nothing is lost\n"
    assert signal.getsignal(signal.SIGTERM) is terminated


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


def test_six_signals_in_a_row_end_a_program_once(capsys):
    closed = []
    asked = signal.signal(signal.SIGINT, signal.default_int_handler)

    @stoppable("nothing is lost")
    def program(arguments=None):
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            for _ in range(5):
                signal.raise_signal(signal.SIGINT)
            closed.append(True)
        return 0

    try:
        assert program([]) == 130
        signal.raise_signal(signal.SIGINT)  # the row goes on when the program has ended
    finally:
        signal.signal(signal.SIGINT, asked)
    assert closed == [True]
    assert capsys.readouterr().err == "stopped; nothing is lost\n"


def test_a_signal_long_after_the_first_ends_what_takes_too_long(monkeypatch):
    monkeypatch.setattr(interruption, "HURRY_SECONDS", 0.0)
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
    assert closed == []


def test_a_signal_that_the_process_ignores_stays_ignored(capsys):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup

    @stoppable("nothing is lost")
    def program(arguments=None):
        signal.raise_signal(signal.SIGHUP)
        return 0

    try:
        assert program([]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_fails_on_the_way_out_is_not_told(capsys):
    @stoppable("nothing is lost")
    def program(arguments=None):
        try:
            terminate()
        finally:
            raise OSError("the storage is away")
        return 0

    assert program([]) == 143
    assert capsys.readouterr().err == "ended by SIGTERM; nothing is lost\n"


def test_a_failure_without_a_signal_is_told():
    @stoppable("nothing is lost")
    def program(arguments=None):
        raise OSError("the storage is away")

    with pytest.raises(OSError, match="away"):
        program([])


def test_a_program_in_a_program_ends_once(capsys):
    inner = stoppable("the inner is kept")(lambda arguments=None: terminate())
    assert stoppable("the outer is kept")(inner)([]) == 143
    assert capsys.readouterr().err == "ended by SIGTERM; the inner is kept\n"


@pytest.mark.parametrize(
    "words", [["--help"], ["sweep", "--help"], ["sweep", "--cfg", "job"], ["nonsense"], ["status", "{store}"]]
)
def test_a_reader_that_goes_early_ends_a_command_without_a_trace(words, location):
    finish(location, spec_of(replicates=1))
    program = "import sys; from sweeps.application.command import program; program(sys.argv[1:])"
    command = [sys.executable, "-c", program, *(word.format(store=location) for word in words)]
    reader, writer = os.pipe()
    os.close(reader)
    stream = {"stderr": writer, "stdout": subprocess.DEVNULL} if words == ["nonsense"] else {"stdout": writer}
    ended = subprocess.run(command, **{"stderr": subprocess.PIPE, **stream}, text=True, check=False)
    os.close(writer)
    # argparse itself passes over a help that nobody reads.
    assert ended.returncode == (0 if words == ["sweep", "--help"] else 128 + signal.SIGPIPE)
    assert not ended.stderr
