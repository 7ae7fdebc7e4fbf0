"""When a run has diverged: the one rule by which measures and figures leave it out."""

from __future__ import annotations

import xarray as xr

__all__ = ["BOUND", "bounded"]

BOUND = 1e3
"""A run whose error exceeds that at the start so many times has diverged; it is left out from there on."""


def bounded(error: xr.DataArray) -> xr.DataArray:
    """Tell up to which iteration an error has stayed within `BOUND` times that at the start.

    Parameters
    ----------
    error : DataArray
        On (..., iteration), the start first; NaN stands for an overflow.

    Returns
    -------
    DataArray of bool
        True up to the last iteration before a divergence; false throughout for what has not begun.
    """
    # A comparison with NaN is false.
    return (error < BOUND * error.isel(iteration=0, drop=True)).cumprod("iteration").astype(bool)
