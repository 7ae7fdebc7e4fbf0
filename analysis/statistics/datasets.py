"""What the measures do with datasets in common: which dimensions are what, and how a result is put together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sedyn.errors import InvalidInput

__all__ = [
    "ENTRY_DIMS",
    "LEAST_SIZES",
    "by_observable",
    "diagonal",
    "features_of",
    "grid_axes",
    "in_both",
    "larger_half",
    "mean_square",
    "stacked",
    "standard_error",
    "worded",
]

ENTRY_DIMS = (
    *("neuron", "neuron_", "index", "function", "probability", "scale"),
    *("layer", "bias_layer", "fan_in", "fan_out"),
)
"""Dimensions of the entries of vector and matrix observables."""

LEAST_SIZES = 3
"""Values of n that a power of n is fitted to at least."""

_SUFFIXES = {"_stderr": "standard error: ", "_low": "lower end of interval: ", "_high": "upper end of interval: "}


def grid_axes(runs: xr.DataArray | xr.Dataset) -> list[Hashable]:
    """Dimensions along which the problem varies, other than n."""
    inner = ("n", "replicate", "half", "iteration", "iteration_", *ENTRY_DIMS)
    return [dim for dim in runs.dims if dim not in inner]


def in_both(names: Iterable[str], simulation: xr.Dataset, theory: xr.Dataset) -> list[str]:
    """Those of the names that both datasets have.

    Parameters
    ----------
    names : iterable of str
        Names of observables.
    simulation, theory : Dataset
        The groups of a store, of any dimensions.

    Returns
    -------
    list of str
    """
    return [name for name in names if name in simulation and name in theory]


def by_observable(names: Sequence[str], measure: Callable[[str], xr.Dataset]) -> xr.Dataset:
    """Measure observables one after another.

    Parameters
    ----------
    names : sequence of str
        Names of observables.
    measure : callable
        From a name to a dataset; all datasets have the same variables, on one grid.

    Returns
    -------
    Dataset
        The variables of `measure`, along ``observable`` in the order of `names`.

    Raises
    ------
    InvalidInput
        If there are no names.
    """
    if not names:
        raise InvalidInput("observables", [], "none of those asked for is in both simulation and theory")
    together = stacked("observable", [measure(name) for name in names])
    return together.assign_coords(observable=np.array(names, dtype=object))


def stacked(dim: str, parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put datasets of the same variables on one grid side by side, with attributes and coordinates of the first.

    By hand: a library compares coordinates and looks for missing variables, a fifth of what rates take.

    Parameters
    ----------
    dim : str
        Of the datasets; new, and the first of every variable.
    parts : sequence of Dataset
    """
    first = parts[0]
    variables = {
        name: ((dim, *one.dims), np.stack([part.variables[name].values for part in parts]), one.attrs)
        for name, one in first.data_vars.items()
    }
    return xr.Dataset(variables, first.coords, first.attrs)


def worded(result: xr.Dataset, words: Mapping[str, str], **settings: Any) -> xr.Dataset:
    """Describe the variables of a measure, and keep the settings it was made with.

    Parameters
    ----------
    result : Dataset
        A measure, of any dimensions; changed in place.
    words : mapping
        From names of variables to their ``long_name``. Variables that end in ``_stderr``, ``_low`` or ``_high`` follow
        from the name before; a variable that is not there is passed over.
    **settings
        Attributes of the dataset.

    Returns
    -------
    Dataset
        `result`.
    """
    for name, said in words.items():
        for suffix, prefix in {"": "", **_SUFFIXES}.items():
            if f"{name}{suffix}" in result and (not suffix or f"{name}{suffix}" not in words):
                result.variables[f"{name}{suffix}"].attrs["long_name"] = f"{prefix}{said}"
    result.attrs |= settings
    return result


def standard_error(runs: xr.DataArray) -> xr.DataArray:
    """Standard error of the mean over replicates, on all dimensions but ``replicate``; NaN are left out."""
    return runs.std("replicate", ddof=1) / np.sqrt(runs.count("replicate"))


def diagonal(matrix: xr.DataArray) -> xr.DataArray:
    """Diagonal of a matrix on units, (..., neuron, neuron_) to (..., neuron); NaN stays where a unit is not there."""
    return matrix.where(matrix["neuron"] == matrix["neuron_"]).sum("neuron_", min_count=1)


def mean_square(values: xr.DataArray) -> xr.DataArray:
    """Mean square over the entries of an observable, on all other dimensions."""
    return (values**2).mean([dim for dim in values.dims if dim in ENTRY_DIMS])


def features_of(runs: xr.Dataset) -> xr.DataArray:
    """Number of features d, which follows n as a coordinate unless it is fixed, an attribute."""
    return runs["d"] if "d" in runs.coords else xr.DataArray(int(runs.attrs["d"]))


def larger_half(sizes: int) -> int:
    """Position of the first of the larger half of so many sizes, which has at least `LEAST_SIZES` if there are."""
    return max(0, sizes - max(LEAST_SIZES, -(-sizes // 2)))
