"""What a reader must know of a store's theory that its standard errors do not say."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import xarray as xr

from analysis.answers.words import cell_words, cells
from analysis.statistics.datasets import features_of, grid_axes
from sedyn import Problem
from sedyn.model.problem import DEFAULTS
from sedyn.theory.drift import spectrum_drift

__all__ = ["cautions"]

MOST = 24
"""Cells that are looked at; each takes a second or so."""


def cautions(simulation: xr.Dataset) -> list[str]:
    """Say in which cells theory changes with d by more than it should (`sedyn.theory.drift`), at the largest n.

    Parameters
    ----------
    simulation : Dataset
        The group of that name.

    Returns
    -------
    list of str
        A sentence for each such cell; none where the spectrum of the features is the same for every d.
    """
    found = []
    for cell in _looked_at(simulation):
        drift = spectrum_drift(_problem(simulation, cell))
        if drift.noticed:
            found.append(f"{cell_words(cell) or 'all runs'}: {drift}")
    return found


def _looked_at(simulation: xr.Dataset) -> list[dict[Hashable, Any]]:
    template = simulation["train_error"]
    if "covariance" not in {*grid_axes(template), *simulation.attrs}:
        return []
    grid = cells(template.isel(replicate=0, iteration=0, n=-1))
    return [cell for cell in grid if _problem(simulation, cell).spectrum_law.changes_with_d][:MOST]


def _problem(simulation: xr.Dataset, cell: dict[Hashable, Any]) -> Problem:
    here = simulation.isel(n=-1).sel(cell)
    sizes = {"n": int(simulation.n.values[-1]), "d": int(features_of(here))}
    known = {name: simulation.attrs[name] for name in DEFAULTS if name in simulation.attrs}
    return Problem.from_mapping({**known, **{str(axis): value for axis, value in cell.items()}, **sizes})
