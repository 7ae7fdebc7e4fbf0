"""Exponents of n of any positive statistic that can be resampled (docs/theory.md#exponent)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.intervals import Interval, student
from analysis.statistics.loglog import line_fit, weights

__all__ = ["PowerLaw", "power_law"]


class PowerLaw(NamedTuple):
    """Exponents of each group of lines with a slope in common, and of all lines, with their intervals."""

    grouped: Interval
    common: Interval


def power_law(n: np.ndarray, drawn: np.ndarray, replicates: int, *, level: float = 0.95) -> PowerLaw:
    """Fit log statistic against log n.

    Parameters
    ----------
    n : ndarray, shape (sizes,)
        Sizes.
    drawn : ndarray, shape (1 + draws, groups, sizes, lines)
        The statistic, positive, NaN or 0 where there is none; and its draws, made from whole replicates.
    replicates : int
        Independent replicates behind each value: degrees of freedom of the interval.
    level : float
        Coverage of the intervals.

    Returns
    -------
    PowerLaw
        Of shapes (groups,) and (). NaN where fewer than 3 sizes have a value.

    Notes
    -----
    Weights are inverse bootstrap variances of the log statistic, averaged over the sizes of a line: the relative
    precision of a mean over replicates hardly depends on n, and weights from single variances are too noisy to take
    for known.
    """
    drawn = np.moveaxis(drawn, 2, 1)
    sizes, groups, lines = drawn.shape[1:]
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(drawn[0]) & (drawn > 0).all(0)
    valid &= valid.sum(0) >= LEAST_SIZES
    y = np.log(np.where(valid, drawn, 1.0))
    variance = np.broadcast_to(y[1:].var(0).sum(0) / np.maximum(valid.sum(0), 1), valid.shape)
    weight = weights(variance, valid).reshape(sizes, -1)
    fit = line_fit(np.log(n.astype(float)), y.reshape(len(y), sizes, -1), weight)
    slopes = fit.reshape((groups, lines)).common_slope, fit.common_slope
    return PowerLaw(*(student(slope, replicates, level) for slope in slopes))
