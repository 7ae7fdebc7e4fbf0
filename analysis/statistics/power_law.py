"""Exponents of n of any positive statistic that can be resampled (docs/theory.md#exponent)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from analysis.statistics.datasets import LEAST_SIZES, larger_half
from analysis.statistics.intervals import Interval, student
from analysis.statistics.loglog import LineFit, line_fit, weights

__all__ = ["Exponents", "PowerLaw", "leverages", "power_law", "three_fits"]

FITS = ("", "larger_", "corrected_")
"""What stands before ``exponent`` in the names of the three fits of `Exponents`."""


class Exponents(NamedTuple):
    """An exponent of n in three ways, which tell a power that is another from one that is not reached yet.

    Attributes
    ----------
    whole : Interval
        Over all sizes.
    larger : Interval
        Over the larger half of the sizes.
    corrected : Interval
        Over all sizes, with a correction of relative order 1/n whose amplitude is fitted too.
    """

    whole: Interval
    larger: Interval
    corrected: Interval

    @classmethod
    def of(cls, measured: xr.Dataset, name: str) -> Exponents:
        """Read what `variables` wrote.

        Parameters
        ----------
        measured : Dataset
            Of any dimensions.
        name : str
            That of the exponent over all sizes.

        Returns
        -------
        Exponents
        """
        return cls(*(Interval.of(measured, name.replace("exponent", f"{fit}exponent")) for fit in FITS))

    def variables(self, name: str, *dims: Any, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
        """Name all arrays as variables of a dataset, as `Interval.variables` does.

        Parameters
        ----------
        name, *dims, shape
            As there; `name` has the word exponent in it, before which ``larger_`` and ``corrected_`` come.

        Returns
        -------
        dict
        """
        found: dict[str, Any] = {}
        for fit, interval in zip(FITS, self, strict=True):
            found |= interval.variables(name.replace("exponent", f"{fit}exponent"), *dims, shape=shape)
        return found


class PowerLaw(NamedTuple):
    """Exponents of each group of lines with a slope in common, and of all lines, with their intervals."""

    grouped: Exponents
    common: Exponents


def three_fits(n: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[LineFit, LineFit, LineFit]:
    """Fit a logarithm against log n in the three ways of `Exponents`.

    Parameters
    ----------
    n : ndarray, shape (sizes,)
        Sizes.
    y : ndarray, shape (..., sizes, lines)
        The logarithm.
    weight : ndarray, shape (sizes, lines)
        Weights, zero for points left out.

    Returns
    -------
    tuple of LineFit
    """
    x, late = np.log(n.astype(float)), np.arange(len(n)) >= larger_half(len(n))
    return (
        line_fit(x, y, weight),
        line_fit(x, y, weight * late[:, None]),
        line_fit(x, y, weight, correction=n[0] / n),
    )


def leverages(n: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say what each size has to do with the exponents of `three_fits`.

    Parameters
    ----------
    n : ndarray, shape (sizes,)
        Sizes, increasing.

    Returns
    -------
    tuple of ndarray, shape (sizes,)
        For each fit, with equal weights, the square of what the slope takes of each logarithm: its variance is the sum
        of these times the variances of the logarithms.
    """
    x, late = np.log(n.astype(float)), np.arange(len(n)) >= larger_half(len(n))
    found = []
    for used, more in ((np.ones(len(n), bool), ()), (late, ()), (np.ones(len(n), bool), (n[0] / n,))):
        columns = np.stack([np.ones(len(n)), x, *more], -1) * used[:, None]
        found.append(np.where(used, np.linalg.pinv(columns)[1] ** 2, 0.0))
    return found[0], found[1], found[2]


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
    fits = three_fits(n, y.reshape(len(y), sizes, -1), weight)
    grouped = (fit.reshape((groups, lines)).common_slope for fit in fits)
    common = (fit.common_slope for fit in fits)
    return PowerLaw(*(Exponents(*(student(slope, replicates, level) for slope in each)) for each in (grouped, common)))
