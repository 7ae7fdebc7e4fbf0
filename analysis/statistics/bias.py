"""The finite-size bias by itself: how fast the mean over replicates approaches theory.

The distance of a replicate from theory is ruled by its fluctuation, and hides a bias that falls faster. The mean over
replicates shows it, with a sign: the bias of every entry (a cell, an iteration, a unit) is fitted by an amplitude of
its own times one power of n that all entries share (docs/theory.md#finite-size-bias).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from analysis.statistics.bootstrap import Bootstrap, means
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.intervals import Interval, student_reach
from analysis.statistics.laws import normal_quantile
from analysis.statistics.moments import ROUNDING
from analysis.statistics.stack import Stack

__all__ = ["POWERS", "BiasLaw", "bias_law", "root_and_limit"]

LEAST_REPLICATES = 6
MOST_DRAWS = 400
"""Bootstrap draws at most: each of them has all entries, not only their mean square."""
AT_ONCE = 16
"""Entries whose draws are multiplied together: they stay in a processor's cache."""
POWERS = np.linspace(-3.0, 0.5, 36)
"""Where the chi-square is computed; it is smooth, and a spline serves between."""
FINE = np.linspace(POWERS[0], POWERS[-1], 351)


class BiasLaw(NamedTuple):
    """The bias of one observable against n.

    Attributes
    ----------
    exponent : Interval of float
        Power of n; an end is infinite where the fit sets none within `POWERS`. NaN where fewer than 3 values of n, or
        too few replicates.
    p_value : float
        Probability that as much of a power law appears where there is no bias at all.
    bound : float
        Upper bound of the bias at the largest n, as a share of the fluctuation there; it assumes no power law.
    square : Interval of ndarray, shape (sizes,)
        Mean square of the bias over entries, less that of its noise; it can be negative.
    noise : ndarray, shape (sizes,)
        Root mean square of the standard error of mean minus theory: of the replicates and of the solver.
    fluctuation : ndarray, shape (sizes,)
        Root mean square of the standard deviation over replicates.
    """

    exponent: Interval
    p_value: float
    bound: float
    square: Interval
    noise: np.ndarray
    fluctuation: np.ndarray

    @classmethod
    def unknown(cls, sizes: int) -> BiasLaw:
        """Nothing known at so many sizes."""
        unknown, none = np.nan, np.full(sizes, np.nan)
        return cls(Interval(unknown, unknown, unknown), unknown, unknown, Interval(none, none, none), none, none)


class _Entries(NamedTuple):
    """Mean minus theory of every entry that takes part, at every size; 0 where `valid` is false."""

    replicates: int  # the fewest of any entry
    mean: np.ndarray  # (entry, n)
    drawn: np.ndarray  # (draw, entry, n): bootstrap
    sampling: np.ndarray  # (entry, n): squared standard error of the mean over replicates
    variance: np.ndarray  # (entry, n): of the fluctuation, over replicates
    solver: np.ndarray  # (entry, n): standard error of theory
    solution: np.ndarray  # (entry, n): which theory solution a size has
    valid: np.ndarray  # (entry, n)


def bias_law(
    data: Stack, usable: np.ndarray, bootstrap: Bootstrap, *, level: float, runs: Stack | None = None
) -> BiasLaw:
    """Fit mean minus theory by amplitude times a power of n, the power common to all entries.

    Parameters
    ----------
    data : Stack
        One observable.
    usable : ndarray of bool, shape (cell, n, iteration)
        Points with a finite-size error to measure.
    bootstrap : Bootstrap
        Draws of replicates and of the solver's error, of which at most `MOST_DRAWS` are used.
    level : float
        Coverage of the interval, and probability with which the bound holds.
    runs : Stack, optional
        Whose fluctuation the bias is compared with; that of `data` unless given.

    Returns
    -------
    BiasLaw

    Notes
    -----
    Minimized is the chi-square of the differences, each with its own standard error from the replicates and the
    solver's, the latter common to all sizes that share a solution. Amplitudes enter linearly and are profiled out. What
    they take from the noise has the same mean at every power, so they do not bias the exponent. Entries of a run are
    correlated, which the chi-square ignores and the interval must not: the rise of the chi-square that bounds the
    interval is a quantile of its bootstrap, which resamples replicates whole.
    """
    entries = _entries(data, runs or data, usable, bootstrap._replace(draws=min(bootstrap.draws, MOST_DRAWS)))
    if entries is None:
        return BiasLaw.unknown(len(data.n))
    fewest = entries.replicates
    explained, again, null = _explained(entries, data.n, fewest / (fewest - 3))
    best = int(explained.argmax())
    student = student_reach(fewest, level) / normal_quantile((1 + level) / 2)
    rise = np.quantile(again.max(0) - again[best], level) * student**2 * fewest / (fewest - 1)
    inside = np.flatnonzero(explained[best] - explained <= rise)
    low = -np.inf if inside[0] == 0 else float(FINE[inside[0]])
    high = np.inf if inside[-1] == len(FINE) - 1 else float(FINE[inside[-1]])
    p_value = (1 + (null.max(0) >= explained[best]).sum()) / (1 + null.shape[1])
    exponent = Interval(float(FINE[best]), low, high)
    return BiasLaw(exponent, float(p_value), _bound(entries, level), *_levels(entries, level))


def root_and_limit(square: Interval) -> tuple[Interval, np.ndarray]:
    """Take the roots of squares that may be negative, of any shape, and tell where their intervals exclude zero.

    Elsewhere a root is known by its upper end alone; that of a negative number is 0.
    """
    return Interval(*(np.sqrt(np.maximum(end, 0.0)) for end in square)), np.isfinite(square.value) & (square.low > 0)


def _explained(entries: _Entries, n: np.ndarray, doubt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chi-square that each power explains, (power,), in the bootstrap, (power, draw), and in a bootstrap without bias.

    `doubt` is the factor by which the square of a mean over its estimated variance exceeds that over the true one.
    """
    precision = _precision(entries)
    x = np.log(n / np.exp(np.log(n).mean()))
    shapes = np.exp(POWERS[:, None] * x)
    weighted = precision @ shapes.T  # (entry, n, power)
    norm = np.sqrt((weighted * shapes.T).sum(1))
    weighted /= norm[:, None]
    amplitude = (entries.mean[..., None] * weighted).sum(1)
    again, null = np.zeros((2, len(entries.drawn), len(POWERS)))
    for some in (slice(start, start + AT_ONCE) for start in range(0, len(norm), AT_ONCE)):
        drawn = np.ascontiguousarray(entries.drawn[:, some].swapaxes(0, 1)) @ weighted[some]
        again += np.einsum("ebp,ebp->bp", drawn, drawn)
        drawn -= amplitude[some, None]
        null += np.einsum("ebp,ebp->bp", drawn, drawn)
    between = _between_powers()
    whole, resampled, silent = (between @ y for y in ((amplitude**2).sum(0), again.T, null.T * doubt))
    return whole, resampled, silent


@cache
def _between_powers() -> np.ndarray:
    """From values at `POWERS` to those at `FINE` of the cubic spline through them, (fine, power).

    The spline is smooth to the third derivative next to its ends. It is linear in the values, so that one matrix serves
    all; second derivatives at the powers follow from them by equations of three terms.
    """
    count, step = len(POWERS), np.diff(POWERS)
    inner = np.arange(1, count - 1)
    terms, sides = np.zeros((2, count, count))
    terms[inner, inner - 1], terms[inner, inner + 1] = step[:-1], step[1:]
    terms[inner, inner] = 2 * (step[:-1] + step[1:])
    sides[inner, inner - 1], sides[inner, inner + 1] = 6 / step[:-1], 6 / step[1:]
    sides[inner, inner] = -6 / step[:-1] - 6 / step[1:]
    terms[0, :3] = step[1], -step[0] - step[1], step[0]
    terms[-1, -3:] = step[-1], -step[-2] - step[-1], step[-2]
    bends = np.linalg.solve(terms, sides)
    left = np.clip(np.searchsorted(POWERS, FINE, "right") - 1, 0, count - 2)
    width = step[left][:, None]
    after = ((FINE - POWERS[left]) / step[left])[:, None]
    before, values = 1 - after, np.eye(count)
    bent = (before**3 - before) * bends[left] + (after**3 - after) * bends[left + 1]
    return before * values[left] + after * values[left + 1] + width**2 / 6 * bent


def _precision(entries: _Entries) -> np.ndarray:
    """Inverse covariance of the differences of each entry over sizes, zero for sizes that take no part."""
    both = entries.valid[:, :, None] & entries.valid[:, None, :]
    shared = entries.solution[:, :, None] == entries.solution[:, None, :]
    common = entries.solver[:, :, None] * entries.solver[:, None, :] * shared
    own = np.where(entries.valid, entries.sampling, 1.0)[:, :, None] * np.eye(entries.valid.shape[1])
    return np.where(both, np.linalg.inv(np.where(both, common, 0.0) + own), 0.0)


def _levels(entries: _Entries, level: float) -> tuple[Interval, np.ndarray, np.ndarray]:
    """Mean square of the bias with its interval, noise and fluctuation at every n."""
    count = entries.valid.sum(0)
    share = np.where(entries.valid, 1.0, 0.0) / np.maximum(count, 1)
    known = np.where(count > 0, 1.0, np.nan)
    noise = (share * (entries.sampling + entries.solver**2)).sum(0) * known
    square = (share * entries.mean**2).sum(0) - noise
    reach = normal_quantile((1 + level) / 2) * np.einsum("ben,en->bn", entries.drawn**2, share).std(0)
    fluctuation = np.sqrt((share * entries.variance).sum(0) * known)
    return Interval(square, square - reach, square + reach), np.sqrt(noise), fluctuation


def _bound(entries: _Entries, level: float) -> float:
    """By the triangle inequality: the bias is at most what is seen plus what noise can hide."""
    last = int(np.flatnonzero(entries.valid.any(0))[-1])
    here = entries.valid[:, last]
    mean, drawn = entries.mean[here, last], entries.drawn[:, here, last]
    hidden = np.sqrt(((drawn - mean) ** 2).mean(-1))
    fluctuation = np.sqrt(entries.variance[here, last].mean())
    return float((np.sqrt((mean**2).mean()) + np.quantile(hidden, level)) / fluctuation)


def _entries(data: Stack, runs: Stack, usable: np.ndarray, bootstrap: Bootstrap) -> _Entries | None:
    """Mean minus theory of all cells' entries, and its draws, made as `analysis.statistics.moments` makes them."""
    solutions = data.solutions()
    found = [_cell_entries(data, runs, cell, usable[cell], solutions[cell], bootstrap) for cell in range(len(usable))]
    parts = [part for part in found if part is not None]
    if not parts:
        return None
    arrays = [np.concatenate(pieces, axis=-2) for pieces in zip(*(part[1:] for part in parts), strict=True)]
    return _Entries(min(part.replicates for part in parts), *arrays)


def _cell_entries(
    data: Stack, runs: Stack, cell: int, usable: np.ndarray, solutions: np.ndarray, bootstrap: Bootstrap
) -> _Entries | None:
    _, sizes, _, steps, width = data.simulated.shape
    solver = np.nan_to_num(data.solver[cell])
    count, mean, variance, fluctuation = np.zeros((4, sizes, steps, width))
    drawn = np.zeros((bootstrap.draws, sizes, steps, width))
    for size in np.flatnonzero(usable.any(1)):
        deviation = data.simulated[cell, size] - data.predicted[cell, size]
        finite = np.isfinite(deviation)
        count[size] = finite.sum(0)
        again = np.nan_to_num(means(bootstrap.counts(finite.any((1, 2)), cell, int(size)), deviation))
        mean[size] = again[0]
        variance[size], fluctuation[size] = (
            _variance(each, finite) for each in (deviation, runs.simulated[cell, size])
        )
        shift = bootstrap.shifts(width, data.freedom, int(solutions[size]))
        drawn[:, size] = again[1:] - shift[1:, None] * solver[size]
    scale = max(1.0, np.abs(np.nan_to_num(data.predicted[cell])).max())
    valid = usable[..., None] & (count >= LEAST_REPLICATES) & (variance > (ROUNDING * scale) ** 2)
    used = valid.sum(0) >= LEAST_SIZES
    if not used.any():
        return None
    valid = _by_entry(valid, used)
    sampling = variance / np.maximum(count, 1)
    mean, drawn, sampling, variance, solver = (
        np.where(valid, _by_entry(values, used), 0.0) for values in (mean, drawn, sampling, fluctuation, solver)
    )
    fewest = int(_by_entry(count, used)[valid].min())
    return _Entries(fewest, mean, drawn, sampling, variance, solver, np.broadcast_to(solutions, valid.shape), valid)


def _variance(values: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Over those replicates that are there."""
    count, values = finite.sum(0), np.where(finite, values, 0.0)
    square = np.where(finite, (values - values.sum(0) / np.maximum(count, 1)) ** 2, 0.0).sum(0)
    return square / np.maximum(count - 1, 1)


def _by_entry(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(..., n, iteration, unit) to (..., entry, n)."""
    return np.moveaxis(values[..., used], -1, -2)
