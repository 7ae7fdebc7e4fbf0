"""Exponents of n of any positive statistic that can be resampled, and what an exponent says about a claim."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from analysis.loglog import LineFit, line_fit, weights
from analysis.section import Verdict

__all__ = ["Exponent", "PowerLaw", "judge", "power_law", "power_line"]


class Exponent(NamedTuple):
    """An exponent with its interval; arrays of one shape."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class PowerLaw(NamedTuple):
    """Exponents of each line, of each group of lines with a slope in common, and of all lines."""

    each: Exponent
    grouped: Exponent
    common: Exponent


def power_law(
    n: np.ndarray, statistic: np.ndarray, draws: np.ndarray, replicates: int, *, level: float = 0.95
) -> PowerLaw:
    """Fit log statistic against log n.

    Parameters
    ----------
    n : ndarray, shape (sizes,)
        Sizes.
    statistic : ndarray, shape (sizes, groups, lines)
        Positive; NaN or 0 where there is none.
    draws : ndarray, shape (draws, sizes, groups, lines)
        Its bootstrap draws, made from whole replicates.
    replicates : int
        Independent replicates behind each value: degrees of freedom of the interval.
    level : float
        Coverage of the intervals.

    Returns
    -------
    PowerLaw
        Of shapes (groups, lines), (groups,) and (). NaN where fewer than 3 sizes have a value.

    Notes
    -----
    Weights are inverse bootstrap variances of the log statistic, averaged over the sizes of a line: the relative
    precision of a mean over replicates hardly depends on n, and weights from single variances are too noisy to take
    for known. The interval is exponent -+ t s, with s the bootstrap standard deviation times sqrt(R/(R-1)).
    """
    sizes, groups, lines = statistic.shape
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(statistic) & (statistic > 0) & (draws > 0).all(0)
    valid &= valid.sum(0) >= 3
    y = np.log(np.where(valid, statistic, 1.0))
    again = np.log(np.where(valid, draws, 1.0))
    spread = np.broadcast_to(again.var(0).sum(0) / np.maximum(valid.sum(0), 1), valid.shape)
    weight = weights(spread, valid).reshape(sizes, -1)
    x = np.log(n.astype(float))
    fit = line_fit(x, y.reshape(sizes, -1), weight)
    refit = line_fit(x, again.reshape(len(again), sizes, -1), weight)
    inflation = np.sqrt(replicates / (replicates - 1)) * stats.t.ppf((1 + level) / 2, replicates - 1)

    def exponent(value: np.ndarray, drawn: np.ndarray) -> Exponent:
        half = inflation * drawn.std(0)
        return Exponent(value, value - half, value + half)

    by_group: tuple[LineFit, LineFit] = fit.reshape((groups, lines)), refit.reshape((groups, lines))
    return PowerLaw(
        exponent(by_group[0].slope, by_group[1].slope),
        exponent(by_group[0].common_slope, by_group[1].common_slope),
        exponent(fit.common_slope, refit.common_slope),
    )


def power_line(n: np.ndarray, statistic: np.ndarray, exponent: float) -> np.ndarray:
    """Draw a power of n through the middle, in logarithms, of a statistic at the same n; NaN are left out."""
    return np.exp(np.nanmean(np.log(statistic) - exponent * np.log(n))) * n**exponent


def judge(low: float, high: float, expected: float, *, margin: float) -> tuple[Verdict, str]:
    """Compare the interval of an exponent with the exponent claimed.

    Parameters
    ----------
    low, high : float
        The interval.
    expected : float
        The exponent claimed, below zero.
    margin : float
        Half-way to the next exponent that would mean something else. An interval inside expected -+ margin decides.
    """
    claim = f"n^{expected:g}"
    if not np.isfinite([low, high]).all():
        return "undecided", "no exponent: too little data"
    if low <= expected <= high:
        if expected - margin < low and high < expected + margin:
            return "holds", f"consistent with {claim}"
        return "undecided", f"consistent with {claim}, but the interval is wide"
    slower = low > expected
    if low > expected + margin or high < expected - margin:
        return "fails", f"{'slower' if slower else 'faster'} than {claim}"
    return "undecided", f"{'slower' if slower else 'faster'} than {claim} over these n, yet nearest to it"
