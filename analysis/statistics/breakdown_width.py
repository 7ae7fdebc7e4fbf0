"""Width growing with n: which combination of the two decides how far a run is from finite-width theory.

The distance of a run has two parts that need not grow alike with the width: a fluctuation, and a bias
(docs/theory.md#finite-size-bias). Where one takes over from the other, a power of the width fitted to the distance is
between theirs, and none that would go on.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.bias import POWERS, bias_law
from analysis.statistics.bootstrap import Bootstrap
from analysis.statistics.datasets import by_observable, in_both, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.intervals import Interval, student
from analysis.statistics.loglog import weights
from analysis.statistics.moments import Moments, moments
from analysis.statistics.stack import Stack, stack

__all__ = ["CLOSE", "OBSERVABLES", "breakdown_width"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap")
CLOSE = 0.1
"""Relative distance at which a run is called described by theory."""
LEAST_POWER = 1e-3
"""A bias that grows no faster than the fluctuation is given this power more: both are equal nowhere near."""


@measure("width", "n")
def breakdown_width(
    simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Fit the distance of a run from theory, and its two parts, by a power of n and a power of the width.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axes ``n`` and ``width``, and no other.
    draws, seed : int
        Of the bootstrap (`analysis.statistics.bootstrap`).
    level : float
        Coverage of the intervals.

    Returns
    -------
    Dataset
        On (observable, width, n): ``distance``, root mean square over iterations after the first and entries of run
        minus theory, over the root mean square of theory, with ``distance_stderr``, and ``bias_share``. On
        (observable,), each with ``_low`` and ``_high``: ``size_exponent`` a and ``width_exponent`` b of the fit
        distance ~ n^a width^b; ``power`` = -b/a: curves collapse against width^power / n; ``scatter``, the root mean
        square of what the fit leaves, in standard errors. On (observable, width): ``samples_needed``, the n at which
        the fit crosses a relative distance of `CLOSE`.
        Of the parts, relative to theory: on (observable, width, n) ``fluctuation``; ``bias_squared``, which can be
        negative, and ``bias_ratio``, bias over fluctuation, both with ``_low`` and ``_high``. On (observable,), each
        with ``_low`` and ``_high``: ``fluctuation_size_exponent``, ``fluctuation_width_exponent``,
        ``bias_size_exponent``, ``bias_width_exponent``, and ``equal_width``, at which bias and fluctuation are equal at
        the largest n, NaN unless the bias grows faster; without: ``bias_p_value``, of the power of the width.
    """
    runs, predicted, bootstrap = without_diverged(simulation), without_diverged(theory), Bootstrap(draws, seed)
    names = in_both(OBSERVABLES, runs, predicted)
    result = by_observable(names, lambda name: _measure(stack(name, runs, predicted), bootstrap, level))
    return worded(result, _WORDS, draws=draws, level=level, bootstrap_seed=seed)


def _measure(data: Stack, bootstrap: Bootstrap, level: float) -> xr.Dataset:
    squares, replicates = moments(data, bootstrap), data.simulated.shape[2]
    scale = squares.predicted[..., 1:].mean(-1)
    distance, fluctuation = (
        drawn[..., 1:].mean(-1) / scale for drawn in (squares.distance_draws, squares.fluctuation_draws)
    )
    n, width = data.n.astype(float), data.axes["width"].astype(float)
    fit, random = (_fit(n, width, drawn) for drawn in (distance, fluctuation))
    size = np.sqrt(distance[0])
    variables: dict[str, Any] = {
        "distance": (("width", "n"), size),
        "distance_stderr": (("width", "n"), distance[1:].std(0) / (2 * size)),
        "bias_share": (("width", "n"), squares.bias[..., 1:].mean(-1) / squares.distance[..., 1:].mean(-1)),
        "scatter": fit.scatter,
        "samples_needed": ("width", np.exp((np.log(CLOSE) - fit.offset - fit.width[0] * np.log(width)) / fit.size[0])),
        "fluctuation": (("width", "n"), np.sqrt(fluctuation[0])),
    }
    for name, drawn in (
        ("size_exponent", fit.size),
        ("width_exponent", fit.width),
        ("power", -fit.width / fit.size),
        ("fluctuation_size_exponent", random.size),
        ("fluctuation_width_exponent", random.width),
    ):
        variables |= student(drawn, replicates, level).variables(name)
    variables |= _bias_parts(data, squares, float(random.width[0]), bootstrap, level)
    return xr.Dataset(variables, coords={"width": data.axes["width"], "n": data.n})


class _Fit(NamedTuple):
    """log distance = offset + size log n + width log width; entry 0 of the powers the estimate, the others draws."""

    offset: float
    size: np.ndarray
    width: np.ndarray
    scatter: float


def _fit(n: np.ndarray, width: np.ndarray, square: np.ndarray) -> _Fit:
    """Weighted least squares on both logarithms at once; squares (1 + draws, width, n)."""
    y = 0.5 * np.log(square.clip(1e-3 * square[0])).reshape(len(square), -1)
    relative = (square[1:].std(0) / (2 * square[0])).ravel()
    weight = np.sqrt(weights(relative**2, np.isfinite(y[0])))
    log_width, log_n = (part.ravel() for part in np.meshgrid(np.log(width), np.log(n), indexing="ij"))
    columns = np.stack([np.ones(log_n.size), log_n, log_width], 1)
    y = np.where(np.isfinite(y), y, 0.0)
    solution = np.linalg.lstsq(columns * weight[:, None], (y * weight).T, rcond=None)[0]
    left = (y[0] - columns @ solution[:, 0]) * weight
    scatter = float(np.sqrt((left**2).sum() / max((weight > 0).sum() - 3, 1)))
    return _Fit(float(solution[0, 0]), solution[1], solution[2], scatter)


def _bias_parts(
    data: Stack, squares: Moments, fluctuation_power: float, bootstrap: Bootstrap, level: float
) -> dict[str, Any]:
    """The bias against the width, relative to theory and to the fluctuation, whose power of the width is given."""
    replicates = data.simulated.shape[2]
    scale = squares.predicted[..., 1:].mean(-1)
    drawn, drawn_fluctuation = (
        part[..., 1:].mean(-1)
        for part in (squares.distance_draws - squares.fluctuation_draws, squares.fluctuation_draws)
    )
    drawn[0] = squares.bias[..., 1:].mean(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = drawn / drawn_fluctuation
        roots = Interval(*(np.sqrt(end.clip(0)) for end in student(ratio, replicates, level)))
        variables = student(drawn / scale, replicates, level).variables("bias_squared", "width", "n")
        variables |= roots.variables("bias_ratio", "width", "n")

    # Theory of one unit falls with the width: amplitudes are compared relative to it.
    relative = _divided(data, np.sqrt(scale))
    usable = np.isfinite(squares.distance)
    usable[..., 0] = False
    in_size = bias_law(relative, usable, bootstrap, level=level)
    # A law in n with cells of every width becomes one in the width with cells of every n. Powers of 1/width fall, as
    # those of n do, where those of the width grow.
    width = data.axes["width"].astype(float)
    in_width = bias_law(_turned(relative, 1 / width), usable.swapaxes(0, 1), bootstrap, level=level)
    power = Interval(-in_width.exponent.value, -in_width.exponent.high, -in_width.exponent.low)
    variables |= in_size.exponent.variables("bias_size_exponent") | power.variables("bias_width_exponent")
    variables["bias_p_value"] = in_width.p_value
    faster = np.array(power) - fluctuation_power
    return variables | _equal_width(width, data.n, faster, ratio, replicates, level).variables("equal_width")


def _equal_width(
    width: np.ndarray, n: np.ndarray, powers: np.ndarray, ratio: np.ndarray, replicates: int, level: float
) -> Interval:
    """Width at which squared bias over squared fluctuation, (1 + draws, width, n), is 1 at the largest n.

    All points together give the one factor of width^(2 power) / n, as the parts fall like 1/n and n^-1/2. Plain least
    squares: the noise of such a ratio is that of a mean over replicates, the same at every size. The interval is that
    of the factor at the power and at both ends of its own interval, whichever is farther.
    """
    known = np.isfinite(ratio).all(0)
    if not (powers[0] > 0 and known.any()):
        return Interval(np.nan, np.nan, np.nan)
    ratio = np.where(known, ratio, 0.0)
    found = []
    for power in powers.clip(LEAST_POWER, -POWERS[0]):
        shape = known * (width[:, None] / width[-1]) ** (2 * power) * n[-1] / n
        factor = student((ratio * shape).sum((-2, -1)) / (shape**2).sum(), replicates, level)
        with np.errstate(divide="ignore", over="ignore"):
            found.append([width[-1] * end.clip(0) ** (-0.5 / power) for end in (factor.value, factor.high, factor.low)])
    equal, low, high = np.array(found).T
    return Interval(float(equal[0]), float(low.min()), float(high.max()))


def _divided(data: Stack, scale: np.ndarray) -> Stack:
    """Everything but the axes over a scale, (cell, n)."""
    of_runs = {name: getattr(data, name) / scale[..., None, None, None] for name in ("simulated", "readout")}
    of_theory = {name: getattr(data, name) / scale[..., None, None] for name in ("predicted", "solver")}
    return data._replace(**of_runs, **of_theory)


def _turned(data: Stack, sizes: np.ndarray) -> Stack:
    """Cells as sizes, and sizes as cells."""
    turned = {name: getattr(data, name).swapaxes(0, 1) for name in ("simulated", "readout", "predicted", "solver")}
    return data._replace(**turned, axes={"n": data.n}, n=sizes)


_WORDS = {
    "distance": "root mean square of run minus theory, over that of theory",
    "bias_share": "squared bias over squared distance",
    "size_exponent": "exponent of n",
    "width_exponent": "exponent of the width",
    "power": "power of the width that n is to be compared with",
    "scatter": "what the fit leaves, in standard errors",
    "samples_needed": f"n at which the relative distance is {CLOSE}",
    "fluctuation": "standard deviation over replicates, over the root mean square of theory",
    "bias_squared": "squared bias, over the mean square of theory",
    "bias_ratio": "bias over fluctuation",
    "equal_width": "width at which bias and fluctuation are equal at the largest n, by their powers",
    "fluctuation_size_exponent": "exponent of n of the fluctuation",
    "fluctuation_width_exponent": "exponent of the width of the fluctuation",
    "bias_size_exponent": "exponent of n of the bias",
    "bias_width_exponent": "exponent of the width of the bias",
    "bias_p_value": "probability of so much of a power law of the width without bias",
}
