"""The ways in to a report: what measures and draws is loaded when one is called, and not to find it by its name.

Run as ``sedyn report PATH [PATH ...]``, or ``python -m analysis.report``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.report.refusal import NothingToReport
from sedyn.checks import checked, instance_of, listed, optional, path
from sedyn.errors import InvalidInput
from sweeps.application.command import parser_of
from sweeps.interruption import stoppable
from sweeps.target import Open, Standing
from sweeps.terminal import say

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["main", "report", "standing"]


def _paths(field: str, value: Any) -> tuple[str, ...]:
    """Check the paths of stores, of which there must be one at least."""
    paths = listed(path, "paths or URLs of stores")(field, value)
    if not paths:
        raise InvalidInput(field, value, "the path or URL of a store at least")
    return paths


def _console(field: str, value: Any) -> Console:
    """Check where a report is printed."""
    from rich.console import Console

    return instance_of(Console, "a rich.console.Console")(field, value)


@checked(paths=_paths, output=optional(path), console=optional(_console))
def report(*paths: str | Path, output: str | Path | None = None, console: Console | None = None) -> list[Path]:
    """Measure, print, draw and write the report of stores.

    Parameters
    ----------
    *paths : path or URL
        Zarr stores with the groups ``simulation`` and ``theory``. From ``stores/quickstart.zarr`` come the figures
        ``stores/quickstart.<figure>.png`` and the measures ``stores/quickstart.<section>.zarr``.
    output : path, optional
        Where the page goes: beside the store (``stores/quickstart.report.html``) unless given, and for several
        stores ``report.html`` beside the first.
    console : rich.console.Console, optional
        Where tables and findings are printed; standard output unless given.

    Returns
    -------
    list of Path
        The files written, the page last.

    Raises
    ------
    NothingToReport
        If a store is missing, is not a sweep's, or has nothing that both simulation and theory know.
    InvalidInput
        If an argument is no path, the page's folder is missing, or a file cannot be written.
    """
    if output is not None and not Path(output).absolute().parent.is_dir():
        raise InvalidInput("output", output, "there is no such folder; make it, or name another")
    from rich.console import Console

    from analysis.report.chapter import read_chapter
    from analysis.report.sections import SECTIONS
    from analysis.report.writing import write

    return write(paths, [read_chapter(store, SECTIONS) for store in paths], output, console or Console())


def _prepare() -> None:
    """Load what a report takes, for whoever has something else to wait for."""
    for name in ("sections", "writing"):
        import_module(f"analysis.report.{name}")


report.prepare = _prepare  # type: ignore[attr-defined]


@checked(path=path)
def standing(path: str | Path) -> Standing:
    """Judge every finding that the report has of a store.

    Parameters
    ----------
    path : path or URL
        A store that a sweep wrote.

    Returns
    -------
    Standing
        Of a store of which nothing can be said yet, without findings.

    Raises
    ------
    InvalidInput
        If there is no store.
    """
    from analysis.report.chapter import findings_on
    from analysis.report.sections import SECTIONS

    try:
        found = findings_on(path, SECTIONS)
    except NothingToReport:
        return Standing(0, ())
    open_ = [
        Open(f"{section.name}: {finding.subject}", lack.runs, lack.cells, lack.leverage, lack.samples)
        for section, finding in found
        if finding.verdict == "undecided"
        for lack in (finding.lack,)
    ]
    return Standing(len(found) - len(open_), open_)


@stoppable("what is written is whole")
def main(arguments: Sequence[str] | None = None) -> int:
    """Report the stores named on the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name.

    Returns
    -------
    int
        Exit status: 0 done, 2 nothing to report.
    """
    parser = parser_of("report")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a Zarr store that a sweep wrote")
    parser.add_argument("--output", metavar="FILE", help="where the page goes, instead of beside the first store")
    words = parser.parse_args(arguments)
    try:
        report(*words.paths, output=words.output)
    except InvalidInput as error:
        say(error, error=True)
        return 2
    return 0
