"""Commands on some cells of a store: words such as ``noise=0.5 n=100,200`` choose them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sedyn.errors import InvalidInput
from sweeps.application.command import parser_of
from sweeps.application.rows import value_of
from sweeps.store import Store, only_driver
from sweeps.terminal import say

__all__ = ["change_cells"]


def change_cells(
    name: str, arguments: Sequence[str] | None, change: Callable[[Store, Mapping[str, list[Any]]], str]
) -> int:
    """Change the cells of a store that a command line chooses, while no sweep runs on it.

    Parameters
    ----------
    name : str
        Of the command.
    arguments : sequence of str, optional
        Words after its name; those of the process by default.
    change : callable
        Takes the store and the choice, and says what was done.

    Returns
    -------
    int
        Exit status: 0, or 2 if there is no store, no such cell, or a sweep that runs.
    """
    parser = parser_of(name)
    parser.add_argument("path", help="path or URL of the store")
    parser.add_argument("words", metavar="FIELD=VALUE,VALUE", nargs="*", help="which cells: those with these values")
    parser.add_argument("--all", action="store_true", help="every cell")
    options = parser.parse_intermixed_args(arguments)
    try:
        where = _where(options.words)
        if options.all == bool(where):
            raise InvalidInput("cells", " ".join(options.words), "name values, as in noise=0.5 n=100,200, or --all")
        with only_driver(options.path):
            say(change(Store.open(options.path), where))
    except InvalidInput as error:
        say(error, error=True)
        return 2
    except OSError as error:
        say(f"store={options.path!r} cannot be read or written: {error}", error=True)
        return 2
    return 0


def _where(words: Sequence[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for word in words:
        name, equals, values = word.removeprefix("problem.").removeprefix("grid.").partition("=")
        if not equals or not values or name in found:
            raise InvalidInput("cells", word, "FIELD=VALUE,VALUE, each field once, as in noise=0.5 n=100,200")
        found[name] = [value_of(text) for text in values.removeprefix("[").removesuffix("]").split(",")]
    return found
