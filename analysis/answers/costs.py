"""The table of what a choice by the estimated test error costs, of every question that asks so."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr

from analysis.answers.section import Tabulated
from analysis.answers.words import cell_values, cells

__all__ = ["at_largest_known", "cost_table"]


def at_largest_known(measured: xr.Dataset, cell: Mapping[Hashable, Any]) -> xr.Dataset | None:
    """Take what a choice costs in a cell at the largest n at which something is known of it.

    Parameters
    ----------
    measured : Dataset
        As `analysis.statistics.selection.cost` makes it, on (grid axes..., n, replicate).
    cell : mapping
        From grid axes to values.

    Returns
    -------
    Dataset or None
        None where no run of the cell is finished, at any n.
    """
    here = measured.sel(cell)
    known = here.isel(n=here.mean_regret.notnull().values)
    return known.isel(n=-1) if known.sizes["n"] else None


def cost_table(measured: xr.Dataset, title: str, otherwise: str, means: Mapping[str, str] | None = None) -> Tabulated:
    """Tabulate regrets, a line for each cell and size.

    Parameters
    ----------
    measured : Dataset
        As `analysis.statistics.selection.cost` makes it, on (grid axes..., n, replicate).
    title : str
    otherwise : str
        What the rule that the choice is compared with does, as in ``going on``.
    means : mapping of str to str, optional
        Further columns: a variable of `measured`, on replicates, to the heading of its mean.

    Returns
    -------
    Tabulated
    """
    means = means or {}
    lines = []
    for cell in cells(measured.saved):
        for n in measured.n.values:
            here = measured.sel(cell).sel(n=n)
            if not bool(here.mean_regret.notnull()):
                continue  # never asked for, or not finished
            least = f"{float(here.oracle_test_error.mean()):.4f}"
            numbers = (f"{float(here[key]):.4f}" for key in ("mean_regret", "mean_regret_stderr", "mean_otherwise"))
            further = (f"{float(here[key].mean()):.1f}" for key in means)
            lines.append((*cell_values(cell), f"{int(n):,}", least, *numbers, *further))
    axes = [str(axis) for axis in cells(measured.saved)[0]]
    headings = ("n", "least", "regret", "its standard error", f"regret of {otherwise}", *means.values())
    return Tabulated(title, (*axes, *headings), lines)
