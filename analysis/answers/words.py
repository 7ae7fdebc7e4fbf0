"""How numbers, intervals, observables and cells of a grid are written."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from analysis.statistics.intervals import Interval

__all__ = [
    "cell_values",
    "cell_words",
    "cells",
    "exponent_texts",
    "interval_text",
    "number_text",
    "power_text",
    "short_text",
    "title_of",
]

_TITLES = {"row_average": "averages over rows"}
_POWERS = {-0.5: "n^-1/2", -1.0: "1/n"}
_INNER = ("n", "replicate", "iteration")


def title_of(observable: str) -> str:
    """Name of an observable as a reader writes it."""
    return _TITLES.get(observable, observable.replace("_", " "))


def power_text(exponent: float) -> str:
    """Write a power of n: ``n^-1/2``."""
    return _POWERS.get(exponent, f"n^{exponent:g}")


def number_text(value: float) -> str:
    """Write an exponent or another signed number, or a dash where there is none."""
    return f"{float(value):+.3f}" if np.isfinite(value) else "-"


def interval_text(interval: Interval) -> str:
    """Write an interval, whose ends may be infinite, or a dash where there is none."""
    ends = interval.low, interval.high
    return "-" if np.isnan(ends).any() else f"[{ends[0]:+.3f}, {ends[1]:+.3f}]"


def exponent_texts(interval: Interval) -> tuple[str, str]:
    """Write a number and its interval, as two entries of a line of a table."""
    return number_text(interval.value), interval_text(interval)


def short_text(interval: Interval) -> str:
    """Write a number with its interval, to two digits after the point."""
    return f"{interval.value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


def cells(array: xr.DataArray | xr.Dataset, extra: Iterable[Hashable] = ()) -> list[dict[Hashable, Any]]:
    """List the cells of a grid.

    Parameters
    ----------
    array : DataArray or Dataset
        On (grid axes..., others...) in any order.
    extra : iterable of str
        Dimensions that are no grid axes, besides n, replicate and iteration.

    Returns
    -------
    list of dict
        From the grid axes to their values, one for every combination; without those that nobody asked for
        (`analysis.store`), if there are any.
    """
    left_out = {*_INNER, *extra}
    axes = [d for d in array.dims if d not in left_out]
    every = [
        dict(zip(axes, values, strict=True)) for values in product(*(array[axis].values.tolist() for axis in axes))
    ]
    asked = array.coords.get("asked")
    return every if asked is None else [cell for cell in every if bool(_at(asked, cell).any())]


def _at(asked: xr.DataArray, cell: Mapping[Hashable, Any]) -> xr.DataArray:
    return asked.sel({axis: value for axis, value in cell.items() if axis in asked.dims})


def cell_values(cell: Mapping[Any, Any]) -> tuple[str, ...]:
    """Write the values of a cell, as the first entries of a line of a table."""
    return tuple(f"{value:g}" if isinstance(value, float) else str(value) for value in cell.values())


def cell_words(cell: Mapping[Hashable, Any]) -> str:
    """Name a cell by its values: ``depth 2, noise 0.1``."""
    return ", ".join(f"{title_of(str(axis))} {value}" for axis, value in zip(cell, cell_values(cell), strict=True))
