"""The finite-size bias by itself: how fast the mean over replicates approaches theory (THEORY section 3).

The distance of a replicate from theory is ruled by its fluctuation, and hides a bias that falls faster. The mean over
replicates shows it, with a sign: the bias of every entry (a cell, an iteration, a unit) is fitted by an amplitude of
its own times one power of n that all entries share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.interpolate import CubicSpline

from analysis.moments import DIVERGED, ROUNDING, Stack
from analysis.solver_error import solver_shifts

__all__ = ["POWERS", "BiasLaw", "bias_law"]

LEAST_SIZES = 3
LEAST_REPLICATES = 6
POWERS = np.linspace(-3.0, 0.5, 36)
"""Where the chi-square is computed; it is smooth, and a spline serves between."""
FINE = np.linspace(POWERS[0], POWERS[-1], 351)


class BiasLaw(NamedTuple):
    """The bias of one observable against n.

    Attributes
    ----------
    exponent, low, high : float
        Power of n with its interval; an end is infinite where the fit sets none within `POWERS`. NaN where fewer than
        3 values of n, or too few replicates.
    p_value : float
        Probability that as much of a power law appears where there is no bias at all.
    bound : float
        Upper bound of the bias at the largest n, as a share of the fluctuation there; it assumes no power law.
    square, square_low, square_high : ndarray, shape (sizes,)
        Mean square of the bias over entries, less that of its noise; it can be negative.
    noise : ndarray, shape (sizes,)
        Root mean square of the standard error of mean minus theory: of the replicates and of the solver.
    fluctuation : ndarray, shape (sizes,)
        Root mean square of the standard deviation over replicates.
    """

    exponent: float
    low: float
    high: float
    p_value: float
    bound: float
    square: np.ndarray
    square_low: np.ndarray
    square_high: np.ndarray
    noise: np.ndarray
    fluctuation: np.ndarray


class _Entries(NamedTuple):
    """Mean minus theory of every entry that takes part, at every size; 0 where `valid` is false."""

    replicates: int  # the fewest of any entry
    mean: np.ndarray  # (entry, n)
    drawn: np.ndarray  # (draw, entry, n): bootstrap
    sampling: np.ndarray  # (entry, n): squared standard error of the mean over replicates
    variance: np.ndarray  # (entry, n): over replicates
    solver: np.ndarray  # (entry, n): standard error of theory
    solution: np.ndarray  # (entry, n): which theory solution a size has
    valid: np.ndarray  # (entry, n)


def bias_law(data: Stack, usable: np.ndarray, *, draws: int, level: float, rng: np.random.Generator) -> BiasLaw:
    """Fit mean minus theory by amplitude times a power of n, the power common to all entries.

    Parameters
    ----------
    data : Stack
        One observable.
    usable : ndarray of bool, shape (cell, n, iteration)
        Points with a finite-size error to measure.
    draws : int
        Bootstrap draws.
    level : float
        Coverage of the interval, and probability with which the bound holds.
    rng : numpy.random.Generator
        Source of the bootstrap.

    Notes
    -----
    Minimized is the chi-square of the differences, each with its own standard error from the replicates and the
    solver's, the latter common to all sizes that share a solution. Amplitudes enter linearly and are profiled out. What
    they take from the noise has the same mean at every power, so they do not bias the exponent. Entries of a run are
    correlated, which the chi-square ignores and the interval must not: the rise of the chi-square that bounds the
    interval is a quantile of its bootstrap, which resamples replicates whole.
    """
    entries = _entries(data, usable, draws, rng)
    if entries is None:
        unknown, none = np.nan, np.full(len(data.n), np.nan)
        return BiasLaw(unknown, unknown, unknown, unknown, unknown, none, none, none, none, none)
    runs = entries.replicates
    explained, again, null = _explained(entries, data.n, runs / (runs - 3))
    best = int(explained.argmax())
    student = stats.t.ppf((1 + level) / 2, runs - 1) / stats.norm.ppf((1 + level) / 2)
    rise = np.quantile(again.max(0) - again[best], level) * student**2 * runs / (runs - 1)
    inside = np.flatnonzero(explained[best] - explained <= rise)
    low = -np.inf if inside[0] == 0 else FINE[inside[0]]
    high = np.inf if inside[-1] == len(FINE) - 1 else FINE[inside[-1]]
    p_value = (1 + (null.max(0) >= explained[best]).sum()) / (1 + null.shape[1])
    exponent, bound = float(FINE[best]), _bound(entries, level)
    return BiasLaw(exponent, float(low), float(high), float(p_value), bound, *_levels(entries, level))


def _explained(entries: _Entries, n: np.ndarray, doubt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chi-square that each power explains, (power,), in the bootstrap, (power, draw), and in a bootstrap without bias.

    `doubt` is the factor by which the square of a mean over its estimated variance exceeds that over the true one.
    """
    precision = _precision(entries)
    x = np.log(n / np.exp(np.log(n).mean()))
    explained, again, null = [], [], []
    for power in POWERS:
        shape = np.exp(power * x)
        weighted = precision @ shape
        norm = (weighted * shape).sum(-1)
        amplitude = (entries.mean * weighted).sum(-1)
        drawn = np.einsum("ben,en->be", entries.drawn, weighted)
        explained.append((amplitude**2 / norm).sum())
        again.append((drawn**2 / norm).sum(-1))
        null.append(((drawn - amplitude) ** 2 / norm).sum(-1) * doubt)
    whole, resampled, silent = (CubicSpline(POWERS, np.array(y), axis=0)(FINE) for y in (explained, again, null))
    return whole, resampled, silent


def _precision(entries: _Entries) -> np.ndarray:
    """Inverse covariance of the differences of each entry over sizes, zero for sizes that take no part."""
    both = entries.valid[:, :, None] & entries.valid[:, None, :]
    shared = entries.solution[:, :, None] == entries.solution[:, None, :]
    common = entries.solver[:, :, None] * entries.solver[:, None, :] * shared
    own = np.where(entries.valid, entries.sampling, 1.0)[:, :, None] * np.eye(entries.valid.shape[1])
    return np.where(both, np.linalg.inv(np.where(both, common, 0.0) + own), 0.0)


def _levels(entries: _Entries, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean square of the bias with its interval, noise and fluctuation at every n."""
    count = entries.valid.sum(0)
    share = np.where(entries.valid, 1.0, 0.0) / np.maximum(count, 1)
    known = np.where(count > 0, 1.0, np.nan)
    noise = (share * (entries.sampling + entries.solver**2)).sum(0) * known
    square = (share * entries.mean**2).sum(0) - noise
    spread = np.einsum("ben,en->bn", entries.drawn**2, share).std(0)
    reach = stats.norm.ppf((1 + level) / 2) * spread
    fluctuation = np.sqrt((share * entries.variance).sum(0) * known)
    return square, square - reach, square + reach, np.sqrt(noise), fluctuation


def _bound(entries: _Entries, level: float) -> float:
    """By the triangle inequality: the bias is at most what is seen plus what noise can hide."""
    last = int(np.flatnonzero(entries.valid.any(0))[-1])
    here = entries.valid[:, last]
    mean, drawn = entries.mean[here, last], entries.drawn[:, here, last]
    hidden = np.sqrt(((drawn - mean) ** 2).mean(-1))
    fluctuation = np.sqrt(entries.variance[here, last].mean())
    return float((np.sqrt((mean**2).mean()) + np.quantile(hidden, level)) / fluctuation)


def _entries(data: Stack, usable: np.ndarray, draws: int, rng: np.random.Generator) -> _Entries | None:
    """Resample whole replicates, and shift theory by its solver's error as `analysis.moments` does."""
    shifts: dict[bytes, np.ndarray] = {}
    found = [_cell_entries(data, cell, usable[cell], draws, shifts, rng) for cell in range(len(usable))]
    parts = [part for part in found if part is not None]
    if not parts:
        return None
    arrays = [np.concatenate(pieces, axis=-2) for pieces in zip(*(part[1:] for part in parts), strict=True)]
    return _Entries(min(part.replicates for part in parts), *arrays)


def _cell_entries(
    data: Stack, cell: int, usable: np.ndarray, draws: int, shifts: dict[bytes, np.ndarray], rng: np.random.Generator
) -> _Entries | None:
    _, sizes, _, steps, width = data.simulated.shape
    solver = np.nan_to_num(data.solver[cell])
    count, mean, variance = np.zeros((3, sizes, steps, width))
    drawn = np.zeros((draws, sizes, steps, width))
    solutions = [data.predicted[cell, size].tobytes() for size in range(sizes)]
    for size in np.flatnonzero(usable.any(1)):
        deviation = data.simulated[cell, size] - data.predicted[cell, size]
        with np.errstate(invalid="ignore"):
            finite = np.abs(deviation) < DIVERGED
        runs = finite.any((1, 2))
        finite, deviation = finite[runs], np.where(finite, deviation, 0.0)[runs]
        count[size] = finite.sum(0)
        total = np.maximum(count[size], 1)
        mean[size] = deviation.sum(0) / total
        variance[size] = np.where(finite, (deviation - mean[size]) ** 2, 0.0).sum(0) / np.maximum(total - 1, 1)
        picked = rng.multinomial(len(deviation), np.full(len(deviation), 1 / len(deviation)), size=draws).astype(float)
        drawn[:, size] = np.tensordot(picked, deviation, 1) / np.maximum(np.tensordot(picked, finite, 1), 1)
        shift = shifts.setdefault(solutions[size], solver_shifts(rng, (draws, 1, width), data.freedom))
        drawn[:, size] -= shift * solver[size]
    scale = max(1.0, np.abs(np.nan_to_num(data.predicted[cell])).max())
    valid = usable[..., None] & (count >= LEAST_REPLICATES) & (variance > (ROUNDING * scale) ** 2)
    used = valid.sum(0) >= LEAST_SIZES
    if not used.any():
        return None
    valid = _by_entry(valid, used)
    sampling = variance / np.maximum(count, 1)
    mean, drawn, sampling, variance, solver = (
        np.where(valid, _by_entry(values, used), 0.0) for values in (mean, drawn, sampling, variance, solver)
    )
    codes = np.broadcast_to([solutions.index(solution) for solution in solutions], valid.shape)
    fewest = int(_by_entry(count, used)[valid].min())
    return _Entries(fewest, mean, drawn, sampling, variance, solver, codes, valid)


def _by_entry(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(..., n, iteration, unit) to (..., entry, n)."""
    return np.moveaxis(values[..., used], -1, -2)
