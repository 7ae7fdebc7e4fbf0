"""The bias from runs and their halves: no theory, and most of the fluctuation cancelled.

The mean of the halves less the run is b/n on average for a bias b/n (docs/theory.md#halves). Its power of n is that of
the bias, and n times its mean, carried on to where n is infinite, is the bias constant b.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from analysis.statistics.bias import BiasLaw, bias_law
from analysis.statistics.bootstrap import Bootstrap, means
from analysis.statistics.datasets import LEAST_SIZES, larger_half
from analysis.statistics.intervals import student
from analysis.statistics.loglog import line_fit
from analysis.statistics.moments import ROUNDING
from analysis.statistics.stack import Stack, stack
from sedyn.model.observables import HALVES

__all__ = ["WORDS", "halves_bias"]

WORDS = {
    "halves_exponent": "exponent of n of the bias by halves, all cells, iterations and entries together",
    "halves_p_value": "probability of so much of a power law without bias, by halves",
    "halves_bound": "upper bound of the bias over the fluctuation at the largest n, by halves",
    "halves_gain": "variance of runs over that of halves minus run at the largest n, mean over the fits",
    "mean_halves_squared": "squared bias by halves, mean over the entries of all fits",
    "bias_constant": "n times the bias as n grows, by halves",
}
"""What each variable says."""


def halves_bias(
    name: str, simulation: xr.Dataset, whole: Stack, usable: np.ndarray, bootstrap: Bootstrap, level: float
) -> dict[str, Any]:
    """Measure the bias of one observable by halves; NaN where the store has none.

    Parameters
    ----------
    name : str
        The observable.
    simulation : Dataset
        The group of a store.
    whole : Stack
        The observable of the runs.
    usable : ndarray of bool, shape (cell, n, iteration)
        Points with a finite-size error to measure.
    bootstrap : Bootstrap
        Draws of replicates.
    level : float
        Of intervals.

    Returns
    -------
    dict
        Variables on the dimensions that `analysis.statistics.rates` says.
    """
    law, gain, constant = _unknown(whole)
    if f"{name}{HALVES}" in simulation:
        left = _less(name, simulation, whole)
        law = bias_law(left, usable, bootstrap, level=level, runs=whole)
        gain = _gain(left, whole, usable)
        if whole.simulated.shape[-1] == 1:
            constant = _constant(left, usable, bootstrap)
    there = np.isfinite(whole.simulated).any((-2, -1)).sum(-1)[usable.any(-1)]
    fewest = int(there.min()) if there.size else 0
    along = {
        end: whole.on_grid(values, "cell", "iteration")
        for end, (_, values) in student(constant, fewest, level).variables("bias_constant").items()
    }
    return {
        **law.exponent.variables("halves_exponent"),
        "halves_p_value": law.p_value,
        "halves_bound": law.bound,
        "halves_gain": gain,
        **law.square.variables("mean_halves_squared", "n"),
        **along,
    }


def _unknown(whole: Stack) -> tuple[BiasLaw, float, np.ndarray]:
    cells, sizes, _, steps, _ = whole.simulated.shape
    return BiasLaw.unknown(sizes), np.nan, np.full((2, cells, steps), np.nan)


def _less(name: str, simulation: xr.Dataset, whole: Stack) -> Stack:
    """The mean of the halves less the run, where theory says zero and has no error of its own."""
    halves = simulation[[f"{name}{HALVES}"]].rename({f"{name}{HALVES}": name}).mean("half", skipna=False)
    halves.attrs = simulation.attrs
    nothing = xr.zeros_like(halves.isel(replicate=0, drop=True))
    found = stack(name, halves, nothing.assign({f"{name}_stderr": nothing[name]}))
    return found._replace(simulated=found.simulated - whole.simulated, readout=np.zeros_like(whole.readout))


def _gain(left: Stack, whole: Stack, usable: np.ndarray) -> float:
    """How much less the variance of what is left is, at the largest size, as a geometric mean."""
    of_runs, of_rest = (_variance(each.simulated[:, -1]) for each in (whole, left))
    seen = usable[:, -1, :, None] & (of_runs > ROUNDING**2) & (of_rest > ROUNDING**2)
    return float(np.exp(np.log(of_runs[seen] / of_rest[seen]).mean())) if seen.any() else np.nan


def _variance(values: np.ndarray) -> np.ndarray:
    """Over replicates, those that are there: (cell, replicate, ...) to (cell, ...)."""
    finite = np.isfinite(values)
    count = finite.sum(1)
    mean = np.where(finite, values, 0.0).sum(1) / np.maximum(count, 1)
    square = (np.where(finite, values - mean[:, None], 0.0) ** 2).sum(1)
    return np.where(count > 1, square / np.maximum(count - 1, 1), np.nan)


def _constant(left: Stack, usable: np.ndarray, bootstrap: Bootstrap) -> np.ndarray:
    """Carry n times the mean on to where 1/n is zero: estimate and draws, shape (1 + draws, cell, iteration).

    By a line in 1/n over the larger half of the sizes, which weigh by their own standard errors.
    """
    cells, sizes, _, steps, _ = left.simulated.shape
    found = np.empty((1 + bootstrap.draws, cells, steps))
    for cell in range(cells):
        drawn = np.full((1 + bootstrap.draws, sizes, steps), np.nan)
        for size in range(sizes):
            values = left.simulated[cell, size, :, :, 0]
            drawn[:, size] = means(bootstrap.counts(np.isfinite(values).any(1), cell, size), values)
        scaled = left.n[:, None] * drawn
        variance = scaled[1:].var(0)
        weight = np.zeros((sizes, steps))
        for t in range(steps):
            known = usable[cell, :, t] & (variance[:, t] > (ROUNDING * left.n) ** 2)
            if known.sum() >= LEAST_SIZES:
                fit = np.flatnonzero(known)[larger_half(int(known.sum())) :]
                weight[fit, t] = 1 / variance[fit, t]
        found[:, cell] = line_fit(1 / left.n, scaled, weight).intercept
    return found
