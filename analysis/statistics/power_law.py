"""Exponents of n of any positive statistic that can be resampled (docs/theory.md#exponent)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from analysis.statistics.datasets import LEAST_SIZES, larger_half
from analysis.statistics.intervals import Interval, student
from analysis.statistics.laws import f_tail
from analysis.statistics.loglog import LineFit, line_fit, weights

__all__ = ["Exponents", "Fits", "PowerLaw", "fit_powers", "leverages", "power_law"]

ROUNDING = 1e-10
"""Of the variance of residuals: what is below it, relative to the largest, is none."""


class Exponents(NamedTuple):
    """An exponent of n in several ways, which tell a power that is another from one that is not reached yet.

    What n^-1/2 is corrected by as n grows is of relative order 1/n where everything is smooth, and nobody knows of
    which order elsewhere.

    Attributes
    ----------
    whole : Interval
        Over all sizes.
    larger : Interval
        Over the larger half of the sizes.
    corrected : Interval
        Over all sizes, with a correction of relative order 1/n whose amplitude is fitted too.
    rooted : Interval
        The same with a correction of relative order n^-1/2.
    twice : Interval
        With corrections of both orders; NaN for fewer than 4 sizes.
    approach : Interval
        What the correction of order 1/n adds to the exponent over all sizes.
    misfit : float or array
        Probability that residuals are as large as those of the fit with corrections of both orders, if sizes follow
        it; 1 for fewer than 5 sizes.
    """

    whole: Interval
    larger: Interval
    corrected: Interval
    rooted: Interval
    twice: Interval
    approach: Interval
    misfit: Any

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
        *names, misfit = _names(name)
        return cls._make([*(Interval.of(measured, one) for one in names), measured[misfit].values[()]])

    def variables(self, name: str, *dims: Any, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
        """Name all arrays as variables of a dataset, as `Interval.variables` does.

        Parameters
        ----------
        name, *dims, shape
            As there; `name` has the word exponent in it, before which ``larger_`` and so on come, or in whose place
            ``misfit`` is.

        Returns
        -------
        dict
        """
        *names, misfit = _names(name)
        found: dict[str, Any] = {}
        for one, interval in zip(names, self, strict=False):
            found |= interval.variables(one, *dims, shape=shape)
        return found | {misfit: (dims, np.asarray(self.misfit) if shape is None else np.reshape(self.misfit, shape))}


def _names(name: str) -> list[str]:
    """Variables of the fields of `Exponents`, by that of the first."""
    before = (f"{field}_exponent" for field in Exponents._fields[1:-1])
    return [name, *(name.replace("exponent", one) for one in before), name.replace("exponent", "misfit")]


class Fits(NamedTuple):
    """Lines through a logarithm against log n, in the ways of `Exponents`."""

    whole: LineFit
    larger: LineFit
    corrected: LineFit
    rooted: LineFit
    twice: LineFit

    def reshape(self, shape: tuple[int, ...]) -> Fits:
        """Give the groups a shape; exponents then pool the last axis."""
        return Fits(*(fit.reshape(shape) for fit in self))

    def exponents(self, n: np.ndarray, replicates: int, level: float) -> Exponents:
        """Put intervals around the slopes that groups have in common.

        Parameters
        ----------
        n : ndarray, shape (sizes,)
            Sizes.
        replicates : int
            Independent replicates behind each value: degrees of freedom of the intervals.
        level : float
            Coverage of the intervals.

        Returns
        -------
        Exponents
            Of the shape of the groups without the last axis.
        """
        slopes = [fit.common_slope for fit in self]
        slopes.append(slopes[2] - slopes[0])
        terms = np.stack([np.ones(len(n)), np.log(n), *_corrections(n)], -1)
        misfit = lack_of_fit(self.twice.common_residual, terms, replicates)
        return Exponents._make([*(student(slope, replicates, level) for slope in slopes), misfit])


def _corrections(n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Those of order 1/n and n^-1/2."""
    return n[0] / n, np.sqrt(n[0] / n)


class PowerLaw(NamedTuple):
    """Exponents of each group of lines with a slope in common, and of all lines, with their intervals."""

    grouped: Exponents
    common: Exponents


def fit_powers(n: np.ndarray, y: np.ndarray, weight: np.ndarray) -> Fits:
    """Fit a logarithm against log n in the ways of `Exponents`.

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
    Fits
    """
    x, late = np.log(n.astype(float)), np.arange(len(n)) >= larger_half(len(n))
    once, root = _corrections(n)
    return Fits(
        line_fit(x, y, weight),
        line_fit(x, y, weight * late[:, None]),
        *(line_fit(x, y, weight, corrections) for corrections in ([once], [root], [once, root])),
    )


def lack_of_fit(residual: np.ndarray, columns: np.ndarray, replicates: int) -> np.ndarray:
    """Find how probable residuals as large as these are, if it is noise alone that they come from.

    Parameters
    ----------
    residual : ndarray, shape (1 + draws, ..., sizes)
        What a fit leaves, and what it leaves of draws; orthogonal to the columns.
    columns : ndarray, shape (sizes, terms)
        Of the fit.
    replicates : int
        Independent replicates behind each value.

    Returns
    -------
    ndarray, shape (...)
        By the residuals' square in the metric of their covariance over draws; 1 where a fit can leave nothing.
    """
    basis = np.linalg.svd(columns)[0][:, columns.shape[1] :]
    left = np.nan_to_num(residual @ basis)
    off = left[1:] - left[1:].mean(0)
    variance, axes = np.linalg.eigh(np.einsum("d...i,d...j->...ij", off, off) / len(off))
    seen = variance > ROUNDING * variance.max(-1, initial=0.0, keepdims=True)
    shares = np.einsum("...i,...ij->...j", left[0], axes) ** 2 / np.where(seen, variance, np.inf)
    terms, freedom = seen.sum(-1), max(replicates - 1, 1)
    mean_square = shares.sum(-1) * freedom / (freedom + 1) / np.maximum(terms, 1)
    return np.where(terms > 0, f_tail(mean_square, np.maximum(terms, 1), freedom), 1.0)


def leverages(n: np.ndarray) -> tuple[np.ndarray, ...]:
    """Say what each size has to do with the exponents of `Fits`.

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
    fits = fit_powers(n, np.eye(len(n))[:, :, None], np.ones((len(n), 1)))
    return tuple(fit.common_slope**2 for fit in fits)


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
    fits = fit_powers(n, y.reshape(len(y), sizes, -1), weight)
    return PowerLaw(*(each.exponents(n, replicates, level) for each in (fits.reshape((groups, lines)), fits)))
