"""The command ``sedyn watch``."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live

from analysis.watch.server import Page
from analysis.watch.snapshot import Watcher
from analysis.watch.view import on_terminal
from sedyn.errors import InvalidInput
from sweeps.application.command import parser_of
from sweeps.interruption import stoppable
from sweeps.terminal import say

__all__ = ["main"]

SECONDS = 2.0  # between two looks


@stoppable("the sweep goes on")
def main(arguments: Sequence[str] | None = None) -> int:
    """Show a sweep until it has ended, or on a page until it is told to stop; exit status 0, or 2 without a store.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the command's name; those of the process by default.
    """
    parser = parser_of("watch")
    parser.add_argument("path", help="path or URL of the store")
    parser.add_argument("--web", action="store_true", help="show it on a page of this machine, and print its address")
    options = parser.parse_args(arguments)
    try:
        watcher = Watcher(options.path)
        if options.web:
            page = Page(watcher)
            say(f"{page.address} (this machine alone; Ctrl-C ends it)")
            page.serve()
            return 0
        snapshot = watcher.look()
        with Live(on_terminal(snapshot), console=Console(), auto_refresh=False) as live:
            while snapshot.running:
                time.sleep(SECONDS)
                snapshot = watcher.look()
                live.update(on_terminal(snapshot), refresh=True)
    except InvalidInput as error:
        say(error, error=True)
        return 2
    return 0
