"""Rates in each slice of a store: exponents and verdicts for every value of some axes, or window of iterations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.datasets import stacked
from analysis.statistics.divergence import without_diverged
from analysis.statistics.rates import compared, rates
from sedyn.errors import require_one_of

__all__ = ["BY", "doubling_windows", "rates_along", "rates_in_windows", "rates_with_slices"]

BY = "_by_"
"""``<variable>_by_<axis>`` is a variable of `rates` along that axis."""

SLICED = (
    *("overall_exponent", "overall_reason", "bias_exponent", "bias_p_value", "bias_bound"),
    *("halves_exponent", "halves_p_value", "halves_bound"),
)
SLICE_DRAWS = 200


@measure("n")
def rates_along(simulation: xr.Dataset, theory: xr.Dataset, axes: Sequence[str], **options: Any) -> xr.Dataset:
    """Measure `analysis.statistics.rates` apart for every combination of the values of some grid axes.

    Parameters
    ----------
    simulation, theory : Dataset
        As for `rates`.
    axes : sequence of str
        Grid axes of the runs, not among them ``n``.
    **options
        Passed to `rates`.

    Returns
    -------
    Dataset
        The variables of `rates`, all of them along `axes`: ``overall_exponent`` is that of a slice.
    """
    for axis in axes:
        require_one_of("axes", axis, [str(dim) for dim in simulation.dims])
    options.setdefault("observables", compared(simulation, theory))  # the same in every slice
    coordinates = [simulation[axis].values.tolist() for axis in axes]
    slices = []
    for values in product(*coordinates):
        here = dict(zip(axes, values, strict=True))
        slices.append(rates(simulation.sel(here, drop=True), theory.sel(here, drop=True), **options))
    flat = stacked("slice", slices)
    shape = dict(zip(axes, map(len, coordinates), strict=True))
    return xr.Dataset(
        {
            name: xr.Variable(
                (*axes, *variable.dims[1:]),
                variable.values.reshape(*shape.values(), *variable.shape[1:]),
                variable.attrs,
            )
            for name, variable in flat.data_vars.items()
        },
        coords={**flat.coords, **dict(zip(axes, coordinates, strict=True))},
        attrs=flat.attrs,
    )


def rates_in_windows(
    simulation: xr.Dataset, theory: xr.Dataset, windows: Sequence[np.ndarray], **options: Any
) -> xr.Dataset:
    """Measure `analysis.statistics.rates` apart in windows of iterations.

    Parameters
    ----------
    simulation, theory : Dataset
        As for `rates`.
    windows : sequence of ndarray of int, each of shape (iterations of the window,)
        Positions of the iterations of each window.
    **options
        Passed to `rates`.

    Returns
    -------
    Dataset
        The variables of `rates` that have no iterations, along ``window``; coordinates ``begin`` and ``end`` are the
        first and last iteration of each.
    """
    options.setdefault("observables", compared(simulation, theory))
    simulation, theory = without_diverged(simulation), without_diverged(theory)
    found = [
        rates(simulation.isel(iteration=window), theory.isel(iteration=window), **options).drop_dims("iteration")
        for window in windows
    ]
    iteration = simulation.iteration.values
    return stacked("window", found).assign_coords(
        begin=("window", [iteration[window[0]] for window in windows]),
        end=("window", [iteration[window[-1]] for window in windows]),
    )


def doubling_windows(count: int) -> list[np.ndarray]:
    """Positions of the iterations 0, 1, 2 to 3, 4 to 7 and so on; a last window not half full joins the one before.

    Examples
    --------
    >>> [(int(window[0]), int(window[-1])) for window in doubling_windows(9)]
    [(0, 0), (1, 1), (2, 3), (4, 8)]
    """
    edges = [0, 1]
    while edges[-1] < count:
        edges.append(2 * edges[-1])
    edges[-1] = count
    if len(edges) > 3 and 2 * (count - edges[-2]) < edges[-2]:
        del edges[-2]
    return [np.arange(begin, end) for begin, end in pairwise(edges) if end > begin]


def rates_with_slices(simulation: xr.Dataset, theory: xr.Dataset, **options: Any) -> xr.Dataset:
    """Measure `rates` over all cells together, and what depends on each axis of the grid and on the iteration.

    Parameters
    ----------
    simulation, theory : Dataset
        As for `rates`.
    **options
        Passed to `rates`.

    Returns
    -------
    Dataset
        The variables of `rates`; for every axis of more than one value, and for ``window``
        (`rates_in_windows` with `doubling_windows`), the exponents of each slice, named ``overall_exponent_by_<axis>``,
        ``bias_exponent_by_<axis>`` and so on.
    """
    result = rates(simulation, theory, **options)
    options = {"draws": SLICE_DRAWS, **options}
    axes = [str(dim) for dim in result.reason.dims if dim not in ("observable", "iteration") and result.sizes[dim] > 1]
    slices = {axis: rates_along(simulation, theory, [axis], **options) for axis in axes}
    windows = doubling_windows(simulation.sizes["iteration"])
    if len(windows) > 1:
        slices["window"] = rates_in_windows(simulation, theory, windows, **options)
    for axis, sliced in slices.items():
        names = [name for name in sliced.data_vars if str(name).startswith(SLICED)]
        result = result.assign({f"{name}{BY}{axis}": sliced[name] for name in names})
    return result
