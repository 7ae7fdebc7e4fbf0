"""The report of one store: table, figures, measure and one self-contained page, written beside the store.

Run as ``python -m analysis.report PATH``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console

from analysis.figures import learning_curves, rates_figure
from analysis.page import page
from analysis.rates import OBSERVABLES, rates
from analysis.tables import rates_table, verdict_lines

__all__ = ["NothingToReport", "Written", "main", "report"]


class NothingToReport(ValueError):
    """A store that is missing, is no store of this project, or has nothing finished; the message is one line."""


class Written(NamedTuple):
    """What a report left beside the store."""

    learning_curves: Path
    rates_figure: Path
    rates: Path
    page: Path


def report(path: str | Path, *, console: Console | None = None) -> Written:
    """Measure, print, draw and write the report of a store.

    Parameters
    ----------
    path : path
        A Zarr store with the groups ``simulation`` and ``theory``. From ``stores/quickstart.zarr`` come
        ``stores/quickstart.learning_curves.png``, ``.rates.png``, ``.rates.zarr`` and ``.report.html``.
    console : rich.console.Console, optional
        Where the table is printed; standard output unless given.

    Returns
    -------
    Written
        The paths of the files.

    Raises
    ------
    NothingToReport
        If the store is missing, is not a sweep's, or has no cell with both simulation and theory.
    """
    simulation, theory, attributes = _read(path)
    store = _beside(path)
    measured = rates(simulation, theory)
    measured.attrs["store"] = store.name
    console = console or Console()
    console.print(rates_table(measured))
    for line in verdict_lines(measured):
        console.print(line, soft_wrap=True, highlight=False)

    stem = store.name.removesuffix(".zarr")
    written = Written(
        *(
            store.with_name(f"{stem}.{ending}")
            for ending in ("learning_curves.png", "rates.png", "rates.zarr", "report.html")
        )
    )
    curves, distances = learning_curves(simulation, theory), rates_figure(measured)
    curves_png, distances_png = _png(curves), _png(distances)
    written.learning_curves.write_bytes(curves_png)
    written.rates_figure.write_bytes(distances_png)
    measured.to_zarr(written.rates, mode="w", consolidated=False)
    written.page.write_text(page(stem, measured, attributes, curves_png, distances_png), encoding="utf-8")
    for words, file in zip(("learning curves", "rates figure", "measure", "report"), written, strict=True):
        console.print(f"{words}: {file}", soft_wrap=True, highlight=False)
    return written


def _read(path: str | Path) -> tuple[xr.Dataset, xr.Dataset, dict[str, Any]]:
    if not _is_url(path) and not Path(path).is_dir():
        raise NothingToReport(f"{path}: no store there")
    try:
        tree = xr.open_datatree(str(path), engine="zarr", consolidated=False)
        groups = [tree[name].to_dataset() for name in ("simulation", "theory")]
    except (KeyError, OSError, ValueError) as error:
        raise NothingToReport(f"{path}: not a store with the groups simulation and theory ({error})") from error
    simulation, theory = (group.load() for group in groups)
    attributes = {**tree.attrs, **theory.attrs, **simulation.attrs}
    ready = [
        name
        for name in OBSERVABLES
        if name in simulation
        and name in theory
        and bool(simulation[name].notnull().any())
        and bool(theory[name].notnull().any())
    ]
    if not ready:
        raise NothingToReport(f"{path}: nothing finished yet; run the sweep again, it continues where it stopped")
    return simulation, theory, attributes


def _is_url(path: str | Path) -> bool:
    return "://" in str(path)


def _beside(path: str | Path) -> Path:
    """Where files about a store go: beside it, or in the working directory if it is not on this machine."""
    return Path(str(path).rstrip("/").rpartition("/")[2]) if _is_url(path) else Path(path)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Report the store named on the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name.

    Returns
    -------
    int
        Exit status: 0 done, 2 nothing to report.
    """
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Measure and draw a store.")
    parser.add_argument("path", metavar="PATH", help="a Zarr store that a sweep wrote")
    try:
        report(parser.parse_args(arguments).path)
    except NothingToReport as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
