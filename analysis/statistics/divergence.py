"""When a run has diverged: the one rule by which measures and figures leave it out."""

from __future__ import annotations

import xarray as xr

from sweeps.refinement import BOUND

__all__ = ["BOUND", "bounded", "without_diverged"]

ERRORS = ("train_error", "test_error")
"""The error that the rule looks at: the first of these that there is."""
MARK = "divergence_bound"


def bounded(error: xr.DataArray) -> xr.DataArray:
    """Tell up to which iteration an error has stayed within `BOUND` times that at the start.

    What a network gains or loses by training is a factor of order one of the error it starts from, in whatever units
    the labels are; peaks on the way, as of a learning rate near the edge of stability, are one or two powers of ten
    above it. A run beyond three grows without end, and it is the whole run that does: none of its observables says
    anything about theory from there on, and none can come back.

    Parameters
    ----------
    error : DataArray
        On (..., iteration), the start first; NaN stands for an overflow. The start is the median over replicates, if
        there are replicates.

    Returns
    -------
    DataArray of bool
        True up to the last iteration before a divergence; false throughout for what has not begun.
    """
    start = error.isel(iteration=0, drop=True)
    if "replicate" in start.dims:
        start = start.median("replicate")
    # A comparison with NaN is false.
    return (abs(error) <= BOUND * start).cumprod("iteration").astype(bool)


def without_diverged(group: xr.Dataset) -> xr.Dataset:
    """Leave out of every observable what has diverged.

    Parameters
    ----------
    group : Dataset
        Runs or theory, on (..., iteration, ...), the start first.

    Returns
    -------
    Dataset
        The same, NaN from where a run (or theory) diverges. Its attribute ``divergence_bound`` says that this is done:
        a part of the iterations is not judged again from where it starts.
    """
    error = next((group[name] for name in ERRORS if name in group), None)
    if error is None or MARK in group.attrs:
        return group
    kept = bounded(error)
    if not bool(kept.all()):
        along = {name: values for name, values in group.data_vars.items() if {*kept.dims} <= {*values.dims}}
        group = group.assign({name: values.where(kept) for name, values in along.items()})
    return group.assign_attrs({MARK: BOUND})
