"""Rates in each slice of a store: one exponent and one verdict for every value of some axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import xarray as xr

from analysis.rates import rates

__all__ = ["rates_along"]


def rates_along(simulation: xr.Dataset, theory: xr.Dataset, axes: Sequence[str], **options: Any) -> xr.Dataset:
    """Measure `analysis.rates` apart for every combination of the values of some grid axes.

    Parameters
    ----------
    simulation, theory : Dataset
        As for `analysis.rates`.
    axes : sequence of str
        Grid axes of the runs, not among them ``n``.
    **options
        Passed to `analysis.rates`.

    Returns
    -------
    Dataset
        The variables of `analysis.rates`, all of them along `axes`: ``overall_exponent`` is that of a slice.
    """
    coordinates = [simulation[axis].values.tolist() for axis in axes]
    slices = []
    for values in product(*coordinates):
        here = dict(zip(axes, values, strict=True))
        slices.append(rates(simulation.sel(here, drop=True), theory.sel(here, drop=True), **options))
    flat = xr.concat(slices, "slice", combine_attrs="override")
    shape = dict(zip(axes, map(len, coordinates), strict=True))
    result = xr.Dataset(
        {
            name: xr.Variable(
                (*axes, *variable.dims[1:]),
                variable.values.reshape(*shape.values(), *variable.shape[1:]),
                variable.attrs,
            )
            for name, variable in flat.transpose("slice", ...).data_vars.items()
        },
        coords={**{k: v for k, v in flat.coords.items() if k != "slice"}, **dict(zip(axes, coordinates, strict=True))},
        attrs=flat.attrs,
    )
    return result
