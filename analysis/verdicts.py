"""What a measured exponent says, in one plain sentence: the words of the table and the report."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.rates import REASONS

__all__ = ["interval_text", "title_of", "verdict"]

EXPECTED = -0.5
NEIGHBOURS = (-0.75, -0.25)
"""An interval that holds -1/2 decides only if it excludes the exponents half-way to 0 and to -1."""
DOMINANT = 0.5
"""Share of the squared distance at the largest n above which a bias is called dominant."""


def verdict(measured: xr.Dataset, observable: str) -> str:
    """Say whether an observable approaches theory like n^-1/2.

    Parameters
    ----------
    measured : Dataset
        From `analysis.rates`.
    observable : str
        Which row.
    """
    row = measured.sel(observable=observable)
    whole = row.sel(part="distance")
    low, high = float(whole.overall_exponent_low), float(whole.overall_exponent_high)
    if int(row.overall_reason) != 0:
        return f"no exponent: {REASONS[int(row.overall_reason)]}"
    if not np.isfinite([low, high]).all():
        return "no interval: too few replicates"
    if np.isnan(row.overall_solver_ratio):
        return "undecided: the solver's own error is not known"
    if not bool(row.overall_solver_negligible):
        return "undecided: the solver's own error is not negligible; raise its samples"
    biased = float(row.bias_share[-1]) > DOMINANT
    if low > EXPECTED:
        if biased or high >= 0:
            return "fails: the bias stays as n grows, so theory and simulation do not converge"
        if low > NEIGHBOURS[1]:
            return "fails: slower than n^-1/2"
        return "undecided: slower than n^-1/2 over these n; more replicates or larger n decide"
    if high < EXPECTED:
        return "faster than n^-1/2 over these n" + _fluctuation_alone(row)
    if NEIGHBOURS[0] < low and high < NEIGHBOURS[1]:
        return "holds: consistent with n^-1/2"
    return "undecided at this precision: consistent with n^-1/2, but the interval is wide"


def _fluctuation_alone(row: xr.Dataset) -> str:
    part = row.sel(part="fluctuation")
    low, high = float(part.overall_exponent_low), float(part.overall_exponent_high)
    if low <= EXPECTED <= high:
        return "; the fluctuation alone is consistent with it, the bias falls faster"
    return "; so is the fluctuation alone" if high < EXPECTED else ""


def interval_text(low: float, high: float) -> str:
    """Write an interval, or a dash where there is none."""
    return f"[{low:+.3f}, {high:+.3f}]" if np.isfinite([low, high]).all() else "-"


def title_of(observable: str) -> str:
    """Name of an observable as a reader writes it."""
    return observable.replace("_", " ")
