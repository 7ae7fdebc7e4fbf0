"""Deeper weights become deterministic: their variance over data sets should fall like 1/n.

Source: docs/theory.md#deep-weights.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.bootstrap import Bootstrap, means
from analysis.statistics.datasets import grid_axes, larger_half, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.power_law import power_law

__all__ = ["ENTRIES", "LEAST_REPLICATES", "deep_concentration"]

LEAST_REPLICATES = 4
ENTRIES = ("fan_in", "fan_out")
STILL = 1e-20
"""Variance relative to the mean square below which weights did not move."""


@measure("deep_weights", "n")
def deep_concentration(simulation: xr.Dataset, *, draws: int = 400, level: float = 0.95, seed: int = 0) -> xr.Dataset:
    """Measure the variance of deeper weights over replicates, and its exponent of n.

    Parameters
    ----------
    simulation : Dataset
        ``deep_weights`` on (grid axes..., n, replicate, iteration, layer, fan_in, fan_out).
    draws, seed : int
        Of the bootstrap (`analysis.statistics.bootstrap`).
    level : float
        Coverage of the intervals of all cells and layers together (Bonferroni).

    Returns
    -------
    Dataset
        On (grid axes, layer, n, iteration): ``variance``, mean over the entries of a layer, and ``variance_stderr``.
        On (grid axes, layer): ``exponent``, ``exponent_low``, ``exponent_high``, over all iterations; without
        dimensions ``overall_exponent`` likewise. The attribute ``together`` is how many intervals hold together.
    """
    weights = without_diverged(simulation)["deep_weights"]
    axes = grid_axes(weights)
    ordered = weights.transpose(*axes, "n", "replicate", "iteration", "layer", *ENTRIES)
    # A layer's place is of no consequence; iteration 0 is the same initialization in every replicate.
    values = ordered.values.reshape(-1, *ordered.shape[len(axes) :])
    cells, sizes, _, steps, layers, *_ = values.shape
    bootstrap = Bootstrap(draws, seed)
    drawn = np.full((1 + draws, cells, layers, sizes, steps), np.nan)
    for place in np.ndindex(cells, sizes):
        drawn[:, place[0], :, place[1]] = _variances(values[place], bootstrap, place)
    several = max(1, int(np.isfinite(drawn[0]).any((2, 3)).sum()))
    fewest = int(np.isfinite(values).any((-3, -2, -1)).any(-1).sum(-1).min())
    fit = power_law(
        ordered["n"].values,
        drawn.reshape(1 + draws, cells * layers, sizes, steps),
        max(fewest, 2),
        level=1 - (1 - level) / several,
    )
    shape = (*(ordered.sizes[axis] for axis in axes), layers)
    dims = (*axes, "layer", "n", "iteration")
    result = xr.Dataset(
        {
            "variance": (dims, drawn[0].reshape(*shape, sizes, steps)),
            "variance_stderr": (dims, drawn[1:].std(0).reshape(*shape, sizes, steps)),
            **fit.grouped.variables("exponent", *axes, "layer", shape=shape),
            **fit.common.variables("overall_exponent"),
            "larger_from": ((), ordered["n"].values[larger_half(sizes)]),
        },
        coords={dim: ordered[dim] for dim in dims},
    )
    return worded(result, _WORDS, draws=draws, level=level, together=several, bootstrap_seed=seed)


_WORDS = {
    "variance": "variance of deeper weights over replicates",
    "exponent": "exponent of n of the variance",
    "overall_exponent": "exponent of n of the variance, all cells and layers together",
}


def _variances(values: np.ndarray, bootstrap: Bootstrap, place: tuple[int, ...]) -> np.ndarray:
    """Variance over replicates and its draws, (1 + draws, layer, iteration); NaN for layers not there or not moved.

    Values have shape (replicate, iteration, layer, fan_in, fan_out).
    """
    finite = np.isfinite(values)
    present = finite.any((1, 2, 3, 4))
    if present.sum() < LEAST_REPLICATES:
        return np.full((1 + bootstrap.draws, *values.shape[2:0:-1]), np.nan)
    runs = finite.sum(0)
    used = runs >= 2
    mean = np.where(finite, values, 0.0).sum(0) / np.maximum(runs, 1)
    centred = np.where(used, values - mean, np.nan)
    counts = bootstrap.counts(present, *place)
    unbiased = runs / np.maximum(runs - 1, 1)
    spread = (means(counts, centred**2) - means(counts, centred) ** 2) * unbiased
    number = used.sum((-2, -1))
    total = np.where(used, spread, 0.0).sum((-2, -1))
    scale = np.where(used, mean**2 + spread[0], 0.0).sum((-2, -1))
    moved = (number > 0) & (total[0] > STILL * scale)
    return np.swapaxes(np.where(moved, total / np.maximum(number, 1), np.nan), -1, -2)
