"""The report of stores: on the terminal, as figures and measures beside each store, and as one self-contained page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.answers.section import Tabulated
from analysis.answers.style import png
from analysis.report.chapter import Answer, Chapter, is_url
from analysis.report.claims import what_decides
from analysis.report.page import page
from analysis.store import Seconds
from sedyn.errors import InvalidInput
from sweeps.terminal import visible

__all__ = ["terminal_table", "write"]


def write(
    paths: Sequence[str | Path], chapters: Sequence[Chapter], output: str | Path | None, console: Console
) -> list[Path]:
    """Print, draw and write what stores were found to say.

    Parameters
    ----------
    paths : sequence of path or URL
        Of the stores.
    chapters : sequence of Chapter
        What they say, in this order.
    output, console
        As for `report`.

    Returns
    -------
    list of Path
        The files written, the page last.

    Raises
    ------
    InvalidInput
        If a file cannot be written.
    """
    written: list[Path] = []
    images: dict[tuple[str, str], bytes] = {}
    for store, chapter in zip(paths, chapters, strict=True):
        for caution in chapter.cautions:
            _say(console, f"caution: {caution}")
        for answer in chapter.answers:
            _print(console, answer, chapter.seconds)
        for words, file in _write(_beside(store), chapter, images):
            written.append(file)
            _say(console, f"{words}: {file}")
    first = _beside(paths[0])
    beside = first.with_name("report.html" if len(paths) > 1 else f"{chapters[0].name}.report.html")
    at = beside if output is None else Path(output)
    text = page(chapters, images)
    with _writing(at):
        at.write_text(text, encoding="utf-8")
    _say(console, f"report: {at}")
    return [*written, at]


def _write(store: Path, chapter: Chapter, images: dict[tuple[str, str], bytes]) -> list[tuple[str, Path]]:
    """Write figures and measures beside a store; keep the images for the page."""
    files = []
    figures = [chapter.learning_curves, *(figure for answer in chapter.answers for figure in answer.figures)]
    for captioned in figures:
        images[chapter.name, captioned.name] = png(captioned.figure)
        file = store.with_name(f"{chapter.name}.{captioned.name}.png")
        with _writing(file):
            file.write_bytes(images[chapter.name, captioned.name])
        files.append((f"figure of {captioned.name.replace('_', ' ')}", file))
    for answer in chapter.answers:
        file = store.with_name(f"{chapter.name}.{answer.section.name}.zarr")
        with _writing(file):
            answer.measured.to_zarr(file, mode="w", consolidated=False)
        files.append((f"measure of {answer.section.name.replace('_', ' ')}", file))
    return files


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput("output", str(file), f"cannot be written ({error.strerror or error})") from None


def _print(console: Console, answer: Answer, seconds: Seconds) -> None:
    """Print the first table of a section and its findings."""
    for table in answer.tables[:1]:
        console.print(terminal_table(table))
    for finding in answer.findings:
        _say(console, f"{finding}{what_decides(finding, seconds)}")


def _say(console: Console, line: object) -> None:
    """Print a line as it is: names may be a stranger's, and are no markup and no codes of a terminal."""
    console.print(visible(line), soft_wrap=True, highlight=False, markup=False)


def terminal_table(table: Tabulated) -> Table:
    """Lay out a table for the terminal; headings break into lines no wider than what stands below them."""
    laid_out = Table(
        title=Text(visible(table.title)),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for index, heading in enumerate(table.headings):
        widest = max((len(line[index]) for line in table.lines), default=0)
        words = textwrap.wrap(heading, max(widest, *map(len, heading.split()), 1), break_on_hyphens=False)
        laid_out.add_column(Text("\n".join(map(visible, words))), justify="right" if index else "left", no_wrap=True)
    for line in table.lines:
        laid_out.add_row(*(Text(visible(cell)) for cell in line))
    return laid_out


def _beside(path: str | Path) -> Path:
    """Where files about a store go: beside it, or in the working directory if it is not on this machine."""
    return Path(str(path).rstrip("/").rpartition("/")[2]) if is_url(path) else Path(path)
