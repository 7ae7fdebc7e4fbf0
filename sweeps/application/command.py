"""The command ``sedyn``: one name for each thing that is done on a command line. It imports what the name asks for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, NoReturn

from sweeps.interruption import leave, stoppable
from sweeps.terminal import say

__all__ = ["COMMANDS", "main", "parser_of", "program"]


class Command(NamedTuple):
    """One of the commands.

    Attributes
    ----------
    module : str
        Whose ``main`` takes the words after the name.
    purpose : str
        What it is for, in a sentence.
    examples : tuple of str
        Lines that work as they stand.
    """

    module: str
    purpose: str
    examples: tuple[str, ...]


COMMANDS = {
    "sweep": Command(
        "sweeps.application.sweep",
        "Run a grid of problems, or whatever its store lacks of it.",
        (
            "sedyn sweep experiment=quickstart plan=true   # what it would take, before any work",
            "sedyn sweep experiment=quickstart             # runs it; repeated, goes on where it stopped",
            "sedyn sweep 'grid.n=[500,1000,2000]' problem.width=5 store=stores/mine.zarr",
            "sedyn sweep --multirun problem.width=2,4 problem.noise=0.1,0.5",
        ),
    ),
    "status": Command(
        "sweeps.status",
        "Say how far a sweep is, what failed, and what computed it.",
        ("sedyn status stores/quickstart.zarr",),
    ),
    "watch": Command(
        "analysis.watch",
        "Show a sweep while it runs: every cell, what failed and why, and which findings are open.",
        (
            "sedyn watch stores/quickstart.zarr",
            "sedyn watch stores/quickstart.zarr --web   # on a page of this machine",
        ),
    ),
    "validate": Command(
        "sweeps.validate",
        "Compare what a store holds with what its status says.",
        (
            "sedyn validate stores/quickstart.zarr",
            "sedyn validate stores/quickstart.zarr --repair   # the next sweep computes again what is damaged",
        ),
    ),
    "doctor": Command(
        "sweeps.doctor",
        "Say what works on this machine, what is missing, and how fast each kernel is.",
        ("sedyn doctor --store /shared/stores",),
    ),
    "redo": Command(
        "sweeps.redo",
        "Mark cells of a store such that the next sweep computes them again.",
        ("sedyn redo stores/quickstart.zarr noise=0.5 n=128,256",),
    ),
    "drop": Command(
        "sweeps.drop",
        "Take cells out of a store, with all that was computed of them.",
        ("sedyn drop stores/quickstart.zarr noise=0.5",),
    ),
    "report": Command(
        "analysis.report",
        "Measure and draw stores, and write one page about them.",
        (
            "sedyn report stores/quickstart.zarr",
            "sedyn report stores/rates.zarr stores/universality.zarr --output page.html",
        ),
    ),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message}; --help says what it takes", error=True)
        self.exit(2)


def parser_of(name: str, kind: type[argparse.ArgumentParser] = _Parser) -> argparse.ArgumentParser:
    """Make the parser of a command, whose help has its purpose and its examples.

    Parameters
    ----------
    name : str
        Of the command.
    kind : type, optional
        Class of the parser.

    Returns
    -------
    ArgumentParser
        Without arguments of its own.
    """
    command = COMMANDS[name]
    return kind(
        prog=f"sedyn {name}",
        description=command.purpose,
        epilog="\n  ".join(["examples:", *command.examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


@stoppable("nothing had begun")
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first word names on those that follow.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status of the command; 2 without one.
    """
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or [""]
    if name in COMMANDS:
        sys.path.append(os.getcwd())  # as for ``python -m``: a user's own modules are found in the working folder
        return import_module(COMMANDS[name].module).main(rest)
    if name in ("-h", "--help", ""):
        print(_usage(), file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    if name == "--completion":
        from sweeps.application.completion import completion

        print(completion(COMMANDS))
        return 0
    import sedyn

    if name == "--version":
        print(f"sedyn {sedyn.__version__}")
        return 0
    say(sedyn.InvalidInput.unknown("command", name, COMMANDS), error=True)
    return 2


def program(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `main` as all that this process is for, and end the process.

    Parameters
    ----------
    arguments : sequence of str, optional
        As for `main`.
    """
    leave(main(arguments))


_COMPLETION = "Tab completion in bash (in zsh after bashcompinit): source <(sedyn --completion)"


def _usage() -> str:
    lines = ["usage: sedyn COMMAND ...", "", "Gradient descent on finite-width networks beside its state evolution."]
    for name, command in COMMANDS.items():
        lines += ["", f"{name}: {command.purpose}", f"  {command.examples[0]}"]
    return "\n".join(
        [*lines, "", "`sedyn COMMAND --help` says more; `sedyn --version` names the version.", _COMPLETION]
    )
