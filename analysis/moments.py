"""Mean squares of replicate minus theory and their bootstrap: the numbers every rate is made of (THEORY section 3)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
import xarray as xr

from analysis.solver_error import freedom, solver_shifts

__all__ = ["DIVERGED", "ENTRY_DIMS", "ROUNDING", "Moments", "Stack", "moments", "stack"]

ENTRY_DIMS = ("neuron", "neuron_", "index", "function", "probability", "layer", "fan_in", "fan_out")
"""Dimensions of the entries of vector and matrix observables; every other dimension of theory is a grid axis."""

DIVERGED = 1e6
"""A run so far from theory has diverged; it counts as missing, like one that has overflowed."""
ROUNDING = 1e-12
"""Size below which a difference is rounding and not a finite-size effect, relative to theory or to 1 if that is more:
everything compared is of order one, and theory itself may be zero."""


class Stack(NamedTuple):
    """One observable as plain arrays.

    Attributes
    ----------
    simulated : ndarray, shape (cell, n, replicate, iteration, entry)
        Replicates.
    readout : ndarray, shape (cell, n, replicate, iteration, entry)
        Standard error with which a simulation knows its own observable, zero for what it knows exactly.
    predicted, solver : ndarray, shape (cell, n, iteration, entry)
        Theory and its standard error (NaN where the store has none).
    axes : dict
        Coordinates of the grid axes that were stacked to cells, in their order.
    n, iteration : ndarray
        Coordinates.
    freedom : float
        Degrees of freedom of `solver`.
    """

    simulated: np.ndarray
    readout: np.ndarray
    predicted: np.ndarray
    solver: np.ndarray
    axes: dict[Hashable, np.ndarray]
    n: np.ndarray
    iteration: np.ndarray
    freedom: float = np.inf


class Moments(NamedTuple):
    """Mean squares over the entries, each an unbiased estimate, with bootstrap draws.

    Attributes
    ----------
    distance : ndarray, shape (cell, n, iteration)
        Mean square of replicate minus theory as stored: fluctuation + bias + solver.
    fluctuation : ndarray
        Variance over replicates.
    bias : ndarray
        Square of mean minus theory, less the variance of the mean and of the solver; it can be negative.
    solver : ndarray
        Squared standard error of the solver.
    distance_stderr, fluctuation_stderr, bias_stderr : ndarray
        Standard errors of the squares: exact sample variance over replicates, and bootstrap for the other two.
    readout : ndarray
        Mean square of the standard error of each replicate's own observable; it is part of the fluctuation.
    predicted : ndarray
        Mean square of theory itself, the scale of rounding errors.
    replicates : ndarray of int
        Replicates that are finite.
    distance_draws, fluctuation_draws : ndarray, shape (draw, n, cell, iteration)
        Bootstrap draws of the squares.
    """

    distance: np.ndarray
    fluctuation: np.ndarray
    bias: np.ndarray
    solver: np.ndarray
    distance_stderr: np.ndarray
    fluctuation_stderr: np.ndarray
    bias_stderr: np.ndarray
    readout: np.ndarray
    predicted: np.ndarray
    replicates: np.ndarray
    distance_draws: np.ndarray
    fluctuation_draws: np.ndarray


def stack(name: str, simulation: xr.Dataset, theory: xr.Dataset) -> Stack:
    """Bring one observable of both datasets to plain arrays with the grid axes stacked to cells.

    A dataset without ``n`` among its dimensions is one size, the one its coordinate or attribute names.
    """
    simulated, predicted = simulation[name], theory[name]
    solver = theory.get(f"{name}_stderr", xr.full_like(predicted, np.nan))
    readout = simulation.get(f"{name}_stderr", xr.zeros_like(simulated))
    if "n" not in simulated.dims:
        size = simulation.coords["n"].item() if "n" in simulation.coords else simulation.attrs.get("n", 0)
        simulated, readout, predicted, solver = (
            array.drop_vars("n", errors="ignore").expand_dims(n=[size])
            for array in (simulated, readout, predicted, solver)
        )
    simulated, readout, predicted, solver = xr.align(simulated, readout, predicted, solver, join="left", copy=False)
    entries = tuple(dim for dim in simulated.dims if dim in ENTRY_DIMS)
    axes = tuple(d for d in simulated.dims if d not in (*entries, "n", "replicate", "iteration"))
    sizes, ends = simulated.sizes, ("iteration", *entries)
    # Without coordinates, which are the same now: with them this would be most of what a small measure costs.
    runs_along = (*axes, "n", "replicate", *ends)
    whole, doubt = (array.variable.transpose(*runs_along) for array in (simulated, readout))
    along = {dim: sizes[dim] for dim in runs_along if dim != "replicate"}
    theoretical, error = (array.variable.set_dims(along) for array in (predicted, solver))
    n, runs, steps = sizes["n"], sizes["replicate"], sizes["iteration"]
    count = int(np.prod([sizes[axis] for axis in axes], dtype=int))
    width = int(np.prod([sizes[entry] for entry in entries], dtype=int))
    return Stack(
        whole.values.reshape(count, n, runs, steps, width),
        doubt.values.reshape(count, n, runs, steps, width),
        theoretical.values.reshape(count, n, steps, width),
        error.values.reshape(count, n, steps, width),
        {axis: simulated[axis].values for axis in axes},
        simulated["n"].values,
        simulated["iteration"].values,
        freedom(theory),
    )


def moments(data: Stack, draws: int, rng: np.random.Generator) -> Moments:
    """Estimate all mean squares and bootstrap them.

    A draw resamples the replicates of each cell and size, whole (all iterations together), and shifts each theory
    solution by an error of its solver (`analysis.solver_error`) common to all sizes, cells and iterations sharing it.

    Parameters
    ----------
    data : Stack
        One observable.
    draws : int
        Bootstrap draws.
    rng : numpy.random.Generator
        Source of resampling and shifts.
    """
    cells, sizes, _, steps, width = data.simulated.shape
    points = (cells, sizes, steps)
    result = Moments(
        **{name: np.full(points, np.nan) for name in Moments._fields[:9]},
        replicates=np.zeros(points, dtype=np.int64),
        distance_draws=np.full((draws, sizes, cells, steps), np.nan),
        fluctuation_draws=np.full((draws, sizes, cells, steps), np.nan),
    )
    shifts: dict[bytes, np.ndarray] = {}
    for cell in range(cells):
        for size in range(sizes):
            predicted = data.predicted[cell, size]
            shift = shifts.get(predicted.tobytes())
            if shift is None:
                shift = shifts[predicted.tobytes()] = solver_shifts(rng, (draws, width), data.freedom)
            _fill(result, data, cell, size, shift, rng)
    return result


def _fill(result: Moments, data: Stack, cell: int, size: int, shift: np.ndarray, rng: np.random.Generator) -> None:
    predicted = data.predicted[cell, size]
    used = np.isfinite(predicted)  # padding is NaN in theory and simulation alike
    entries = used.sum(-1)
    deviation = data.simulated[cell, size] - predicted
    with np.errstate(invalid="ignore"):
        finite = (np.abs(np.where(used, deviation, 0.0)) < DIVERGED).all(-1) & (entries > 0)
    runs = finite.any(-1)
    if not runs.any():
        return
    deviation = np.where(used & finite[..., None], deviation, 0.0)[runs]
    finite = finite[runs]
    per_entry = np.where(used, 1.0 / np.maximum(entries, 1)[:, None], 0.0)
    solver = np.nan_to_num(data.solver[cell, size]) * used
    solver_square = (solver**2 * per_entry).sum(-1)
    squares = np.einsum("rie,ie->ri", deviation**2, per_entry)

    count, total = len(finite), finite.sum(0)
    everyone = _means(np.ones((1, count)), finite, squares, deviation, per_entry)
    resampled = rng.multinomial(count, np.full(count, 1 / count), size=len(shift)).astype(float)
    drawn = _means(resampled, finite, squares, deviation, per_entry)
    pull = 2 * np.einsum("bie,be,ie->bi", drawn.mean, shift, solver * per_entry)
    push = np.einsum("be,ie->bi", shift**2, solver**2 * per_entry)

    with np.errstate(invalid="ignore", divide="ignore"):
        unbiased = np.where(total > 1, total / (total - 1), np.nan)
        fluctuation = everyone.variance[0] * unbiased
        distance = np.where(total > 0, everyone.square[0], np.nan)
        spread = np.where(finite, (squares - distance) ** 2, 0.0).sum(0)
        at = (cell, size)
        result.distance[at] = distance
        result.fluctuation[at] = fluctuation
        result.bias[at] = (everyone.square - everyone.variance)[0] - fluctuation / total - solver_square
        known = np.isfinite(data.solver[cell, size]) | ~used
        result.solver[at] = np.where(known.all(-1) & (entries > 0), solver_square, np.nan)
        result.distance_stderr[at] = np.sqrt(spread / (total - 1) / total)
        result.fluctuation_stderr[at] = drawn.variance.std(0) * unbiased
        result.bias_stderr[at] = (drawn.square - drawn.variance - pull + push).std(0)
        doubt = np.where(used & finite[..., None], np.nan_to_num(data.readout[cell, size][runs]), 0.0)
        result.readout[at] = np.einsum("rie,ie->i", doubt**2, per_entry) / total
        result.predicted[at] = (np.where(used, predicted, 0.0) ** 2 * per_entry).sum(-1)
        result.replicates[at] = total
    result.distance_draws[:, size, cell] = drawn.square - pull + push
    result.fluctuation_draws[:, size, cell] = drawn.variance


class _Means(NamedTuple):
    square: np.ndarray  # (draw, iteration): mean over replicates and entries of the squared deviation
    variance: np.ndarray  # (draw, iteration): mean over entries of the plain variance over replicates
    mean: np.ndarray  # (draw, iteration, entry): mean over replicates of the deviation


def _means(
    counts: np.ndarray,
    finite: np.ndarray,
    squares: np.ndarray,
    deviation: np.ndarray,
    per_entry: np.ndarray,
) -> _Means:
    runs, steps, width = deviation.shape
    total = np.maximum(counts @ finite, np.finfo(float).tiny)
    square = counts @ squares / total
    mean = (counts @ deviation.reshape(runs, -1)).reshape(-1, steps, width) / total[..., None]
    variance = np.maximum(square - np.einsum("bie,ie->bi", mean**2, per_entry), 0.0)
    return _Means(square, variance, mean)
