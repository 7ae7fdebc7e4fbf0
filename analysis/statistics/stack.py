"""One observable of runs and theory as plain arrays, its grid axes stacked to cells."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from analysis.statistics.datasets import ENTRY_DIMS, grid_axes
from analysis.statistics.solver_error import freedom

__all__ = ["Stack", "stack"]


class Stack(NamedTuple):
    """One observable as plain arrays.

    Attributes
    ----------
    simulated : ndarray, shape (cell, n, replicate, iteration, entry)
        Replicates.
    readout : ndarray, shape (cell, n, replicate, iteration, entry)
        Standard error with which a simulation knows its own observable, zero for what it knows exactly.
    predicted, solver : ndarray, shape (cell, n, iteration, entry)
        Theory and its standard error (NaN where the store has none).
    axes : dict
        Coordinates of the grid axes that were stacked to cells, in their order.
    n, iteration : ndarray, shapes (n,) and (iteration,)
        Coordinates.
    freedom : float
        Degrees of freedom of `solver`.
    """

    simulated: np.ndarray
    readout: np.ndarray
    predicted: np.ndarray
    solver: np.ndarray
    axes: dict[Hashable, np.ndarray]
    n: np.ndarray
    iteration: np.ndarray
    freedom: float = np.inf

    def solutions(self) -> np.ndarray:
        """Number the solutions of theory, which cells and sizes may share: ndarray of int, shape (cell, n)."""
        numbers: dict[bytes, int] = {}
        keys = [[one.tobytes() for one in cell] for cell in self.predicted]
        return np.array([[numbers.setdefault(key, len(numbers)) for key in cell] for cell in keys])

    def on_grid(self, values: np.ndarray, *dims: Hashable) -> tuple[tuple[Hashable, ...], np.ndarray]:
        """Undo the stacking of the grid axes to cells.

        Parameters
        ----------
        values : ndarray, shape (..., cell, ...)
            One of its axes is that of the cells.
        *dims : str
            Names of its axes, ``cell`` among them.

        Returns
        -------
        tuple of (dims, ndarray)
            A variable of a dataset, the grid axes in the place of the cells.
        """
        at, sizes = dims.index("cell"), [len(labels) for labels in self.axes.values()]
        shape = (*values.shape[:at], *sizes, *values.shape[at + 1 :])
        return (*dims[:at], *self.axes, *dims[at + 1 :]), values.reshape(shape)


def stack(name: str, simulation: xr.Dataset, theory: xr.Dataset) -> Stack:
    """Bring one observable of both datasets to plain arrays.

    Parameters
    ----------
    name : str
        The observable.
    simulation : Dataset
        The observable on (grid axes..., n, replicate, iteration, entries...) in any order, and ``<name>_stderr`` if it
        has one. Without ``n`` among its dimensions it is one size, the one its coordinate or attribute names.
    theory : Dataset
        The same without ``replicate``.

    Returns
    -------
    Stack
    """
    simulated, predicted = simulation[name], theory[name]
    known = f"{name}_stderr"
    solver = theory[known] if known in theory else xr.full_like(predicted, np.nan)
    readout = simulation[known] if known in simulation else xr.zeros_like(simulated)
    if "n" not in simulated.dims:
        size = simulation.coords["n"].item() if "n" in simulation.coords else simulation.attrs.get("n", 0)
        simulated, readout, predicted, solver = (
            array.drop_vars("n", errors="ignore").expand_dims(n=[size])
            for array in (simulated, readout, predicted, solver)
        )
    simulated, readout, predicted, solver = xr.align(simulated, readout, predicted, solver, join="left", copy=False)
    axes, sizes = grid_axes(simulated), simulated.sizes
    entries = [dim for dim in simulated.dims if dim in ENTRY_DIMS]

    def arrays(values: xr.DataArray, *inner: str) -> Any:
        # Without coordinates, which are the same now: with them this would be most of what a small measure costs.
        dims = (*axes, "n", *inner, "iteration", *entries)
        whole = values.variable.set_dims({dim: sizes[dim] for dim in dims})
        cells = int(np.prod([sizes[axis] for axis in axes], dtype=int))
        width = int(np.prod([sizes[entry] for entry in entries], dtype=int))
        shape = (cells, *whole.shape[len(axes) : whole.ndim - len(entries)], width)
        return np.ascontiguousarray(whole.values).reshape(shape)  # sums do not depend on how numbers lie in memory

    return Stack(
        arrays(simulated, "replicate"),
        arrays(readout, "replicate"),
        arrays(predicted),
        arrays(solver),
        {axis: simulated[axis].values for axis in axes},
        simulated["n"].values,
        simulated["iteration"].values,
        freedom(theory),
    )
