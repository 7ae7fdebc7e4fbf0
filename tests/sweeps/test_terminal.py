"""What a stranger wrote reaches neither a shell nor a terminal as more than text."""

from __future__ import annotations

import io
import shlex
import subprocess
import sys

import pytest

from sweeps.terminal import OutputClosed, say, shell_word, take_any_character, visible

HOSTILE = [
    "\x1b]0;owned\x07",
    "a\nb",
    "\x9b2J",
    "\u202egnp.exe",
    "\x7f",
    "tab\t",
    "\udcff",
    "$(touch x)",
    "`id`",
    "it's",
    "\\",
    "-x",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_line_shows_what_a_terminal_would_obey(text):
    assert visible(text).isprintable()
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_shell_reads_one_word(text):
    word = shell_word(text)
    assert word.isprintable()
    shown = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout
    assert shown == text.encode(errors="surrogateescape")


def test_a_plain_word_is_as_shlex_writes_it():
    for text in ("noise=0.5", "a b", "it's", "grid.n=[1,2]"):
        assert shell_word(text) == shlex.quote(text)


def test_a_terminal_that_lacks_a_character_shows_its_code(monkeypatch):
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    take_any_character()
    say("µ = 1")
    assert ascii_only.buffer.getvalue() == b"\\xb5 = 1\n"


def test_output_that_nobody_reads_says_so(monkeypatch):
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    with pytest.raises(OutputClosed):
        say("anything")
