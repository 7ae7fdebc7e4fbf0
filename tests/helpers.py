"""Comparisons in units of standard errors, used by every statistical test."""

import numpy as np

from sedyn.model.initialization import initial_weights_and_signals
from sedyn.model.seeds import single_streams

# Rounding that recursions of a few dozen steps leave on quantities of order one.
ROUNDING = 1e-12


def assert_within_se(actual, expected, *standard_errors, multiple=5.0, rounding=ROUNDING):
    """Assert that two results differ by at most `multiple` of their combined standard errors, everywhere.

    NaN must stand at the same places in both; a standard error of NaN counts as zero.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(expected))
    combined = np.sqrt(sum(np.nan_to_num(np.asarray(se)) ** 2 for se in standard_errors))
    excess = np.abs(actual - expected) / (multiple * combined + rounding * np.maximum(1, np.abs(expected)))
    worst = np.nanmax(excess, initial=0.0)
    assert worst <= 1, f"{worst * multiple:.1f} combined standard errors apart at {np.argwhere(excess == worst)}"


def mean_and_se(values, dim="replicate"):
    """Mean of a DataArray over replicates and its standard error."""
    return values.mean(dim), values.std(dim, ddof=1) / np.sqrt(values.sizes[dim])


def stream(seed):
    """Random numbers as a single replicate has them."""
    return single_streams("a test", seed).features


def orders_of(n, seed):
    """Random orders of n samples, one for each step."""
    return lambda step: stream(seed).orders(n, step)[0]


def start_of(problem, seed):
    """First layer and signals of a problem."""
    return initial_weights_and_signals(problem, stream(seed).normals(problem.units + problem.signals, problem.d)[0])
