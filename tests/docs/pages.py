"""What a page shows, run: its blocks of Python in order, and what stands under a block compared with what it prints."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sweeps.application.command import main

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^ *```$', re.M | re.S
)
NUMBER = re.compile(r"-?\d+\.\d+|-?\d+")


class Block(NamedTuple):
    """A fence of a page."""

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    """Fences of a page, in order."""
    found = BLOCK.finditer((DOCS / f"{page}.md").read_text())
    return [Block(match["language"], match["title"] or "", match["text"]) for match in found]


def commands(block: Block) -> list[list[str]]:
    """Arguments of each command of the project that a console block shows, its continued lines joined."""
    lines = re.findall(r"^\$ sedyn ((?:.*\\\n)*.*)$", block.text, flags=re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " ")) for line in lines]


def smaller(arguments: list[str], *changes: str) -> list[str]:
    """Arguments of a sweep with some of them changed, or added."""
    keys = {change.split("=")[0] for change in changes}
    return [argument for argument in arguments if argument.split("=")[0] not in keys] + list(changes)


def run_page(found: list[Block], names: dict, *, tolerance: float, changes: Sequence[str] = ("compute=inline",)) -> int:
    """Do what a page says: blocks of Python in one namespace, commands, and files that blocks with a title are.

    A block of text right after one of Python is what that prints. Words have to be the same, and numbers agree within
    the tolerance, relative to their size.

    Parameters
    ----------
    found : list of Block
    names : dict
        The namespace.
    tolerance : float
    changes : sequence of str
        Words that are put in place of those of a sweep, or added.

    Returns
    -------
    int
        Blocks of Python that printed what stands under them.
    """
    compared = 0
    for block, after in zip(found, [*found[1:], Block("", "", "")], strict=True):
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text)
        if block.language == "console":
            for name, *words in commands(block):
                assert main([name, *(smaller(words, *changes) if name == "sweep" else words)]) == 0
        if block.language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, block.title or "<page>", "exec"), names)
        if after.language == "text":
            assert_same_output(printed.getvalue(), after.text, tolerance)
            compared += 1
    return compared


def assert_same_output(printed: str, shown: str, tolerance: float) -> None:
    """Compare what was printed with what a page shows."""

    def words(text: str) -> list[str]:
        return NUMBER.sub("#", text).split()

    assert words(printed) == words(shown), f"prints\n{printed}\nbut shows\n{shown}"
    numbers = [np.array([float(number) for number in NUMBER.findall(text)]) for text in (printed, shown)]
    np.testing.assert_allclose(
        *numbers, rtol=tolerance, atol=tolerance, err_msg=f"prints\n{printed}\nbut shows\n{shown}"
    )
