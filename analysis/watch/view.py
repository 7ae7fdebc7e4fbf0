"""A snapshot as HTML and on a terminal; whatever a store says is text there, and never markup or a code."""

from __future__ import annotations

from html import escape

from rich import box
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analysis.watch.snapshot import CellState, Snapshot
from sweeps.terminal import visible

__all__ = ["html", "on_terminal"]

HEADINGS = ("cell", "replicates", "failed", "theory", "seconds")
SHOWN = 5  # reasons, and open findings
CELLS_IN_TERMINAL, CELLS_ON_PAGE = 20, 1000


def html(snapshot: Snapshot) -> str:
    """Write a snapshot as a piece of a page.

    Parameters
    ----------
    snapshot : Snapshot

    Returns
    -------
    str
    """
    shown, more = _shown(snapshot, CELLS_ON_PAGE)
    rows = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in _row(cell))}</tr>" for cell in shown)
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    parts = [
        f"<p>{escape(visible(snapshot.store))}: {escape(snapshot.line)}</p>",
        f'<progress max="1" value="{snapshot.share:.4f}"></progress>',
        _listed("failures", _reasons(snapshot)),
        _listed("open findings", snapshot.findings[:SHOWN]),
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{escape(more)}",
    ]
    return f'<div class="sedyn-watch">{"".join(parts)}</div>'


def on_terminal(snapshot: Snapshot) -> Group:
    """Lay a snapshot out for a terminal.

    Parameters
    ----------
    snapshot : Snapshot

    Returns
    -------
    rich.console.Group
    """
    shown, more = _shown(snapshot, CELLS_IN_TERMINAL)
    table = Table(*HEADINGS, box=box.SIMPLE)
    for cell in shown:
        table.add_row(*(Text(visible(text)) for text in _row(cell)))
    lines = [*_reasons(snapshot), *(f"open: {finding}" for finding in snapshot.findings[:SHOWN]), more]
    return Group(
        Text(visible(f"{snapshot.store}: {snapshot.line}")),
        ProgressBar(total=1.0, completed=snapshot.share),
        table,
        *(Text(visible(line)) for line in lines if line),
    )


def _shown(snapshot: Snapshot, most: int) -> tuple[list[CellState], str]:
    """Choose the cells that there is room for: what is not finished first."""
    ordered = sorted(snapshot.cells, key=lambda cell: (cell.done == cell.wanted, not cell.failed))
    left = len(ordered) - most
    return ordered[:most], f"and {left} cells more" if left > 0 else ""


def _row(cell: CellState) -> tuple[str, ...]:
    return cell.name, f"{cell.done} of {cell.wanted}", str(cell.failed), cell.theory, f"{cell.seconds:.1f}"


def _reasons(snapshot: Snapshot) -> list[str]:
    return [f"failed {count} times: {reason}" for reason, count in list(snapshot.failures.items())[:SHOWN]]


def _listed(title: str, lines: list[str]) -> str:
    entries = "".join(f"<li>{escape(visible(line))}</li>" for line in lines)
    return f"<p>{title}</p><ul>{entries}</ul>" if lines else ""
