"""The table of what a choice by the estimated test error costs, of every question that asks so."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from analysis.answers.section import Tabulated
from analysis.answers.words import cell_values, cells

__all__ = ["cost_table"]


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
            least = f"{float(here.oracle_test_error.mean()):.4f}"
            numbers = (f"{float(here[key]):.4f}" for key in ("mean_regret", "mean_regret_stderr", "mean_otherwise"))
            further = (f"{float(here[key].mean()):.1f}" for key in means)
            lines.append((*cell_values(cell), f"{int(n):,}", least, *numbers, *further))
    axes = [str(axis) for axis in cells(measured.saved)[0]]
    headings = ("n", "least", "regret", "its standard error", f"regret of {otherwise}", *means.values())
    return Tabulated(title, (*axes, *headings), lines)
