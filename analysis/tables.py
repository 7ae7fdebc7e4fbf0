"""The table of exponents that a run ends with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from rich import box
from rich.table import Table

from analysis.verdicts import interval_text, title_of, verdict

__all__ = ["HEADINGS", "Row", "rates_table", "rows", "verdict_lines"]

HEADINGS = ("observable", "exponent", "interval", "fluctuation", "bias share", "solver")


class Row(NamedTuple):
    """One line of the table, as text.

    `fluctuation` is the exponent of the standard deviation over replicates, `bias_share` the squared bias over the
    squared distance at the smallest and the largest n, `solver` the solver's error over the distance.
    """

    observable: str
    exponent: str
    interval: str
    fluctuation: str
    bias_share: str
    solver: str


def rows(measured: xr.Dataset) -> Iterator[Row]:
    """Lines of the table: one for each observable, over all cells and iterations.

    Parameters
    ----------
    measured : Dataset
        From `analysis.rates`.
    """
    for name in measured.observable.values.tolist():
        one = measured.sel(observable=name)
        distance, fluctuation = one.sel(part="distance"), one.sel(part="fluctuation")
        share = one.bias_share.values
        solver = float(one.overall_solver_ratio)
        flag = "" if bool(one.overall_solver_negligible) else " (large)"
        yield Row(
            title_of(name),
            _number(distance.overall_exponent),
            interval_text(float(distance.overall_exponent_low), float(distance.overall_exponent_high)),
            _number(fluctuation.overall_exponent),
            f"{share[0]:.0%}, {share[-1]:.0%}" if np.isfinite(share[[0, -1]]).all() else "-",
            f"{solver:.2%}{flag}" if np.isfinite(solver) else "-",
        )


def rates_table(measured: xr.Dataset) -> Table:
    """Build the table for the terminal.

    Parameters
    ----------
    measured : Dataset
        From `analysis.rates`.
    """
    table = Table(
        title="Root-mean-square distance between simulation and theory ~ n^exponent",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    for heading in HEADINGS:
        words = f"{measured.attrs['level']:.0%} interval" if heading == "interval" else heading
        table.add_column(words, justify="left" if heading == "observable" else "right", no_wrap=True)
    for row in rows(measured):
        table.add_row(*row)
    return table


def verdict_lines(measured: xr.Dataset) -> Iterator[str]:
    """One plain sentence for each observable, printed below the table.

    Parameters
    ----------
    measured : Dataset
        From `analysis.rates`.
    """
    for name in measured.observable.values.tolist():
        yield f"{title_of(name)}: {verdict(measured, name)}"


def _number(value: xr.DataArray) -> str:
    return f"{float(value):+.3f}" if np.isfinite(value) else "-"
