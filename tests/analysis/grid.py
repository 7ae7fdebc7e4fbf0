"""Runs on any grid with a known answer: theory plus a fluctuation and a shift given for each cell and size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

NAMES = ("train_error", "test_error", "signal_overlap")


def groups(
    axes: Mapping[str, Sequence[Any]],
    *,
    fluctuation: Callable[..., float] = lambda n, **cell: n**-0.5,
    shift: Callable[..., float] = lambda n, **cell: 0.0,
    sizes: Sequence[int] = (100, 400, 1600),
    replicates: int = 24,
    steps: int = 6,
    solver: float = 1e-6,
    fresh: float = 0.0,
    seed: int = 0,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Simulation and theory; `fresh` is the error of test errors on fresh samples, for non-Gaussian laws only."""
    rng = np.random.default_rng(seed)
    coords = {"n": np.array(sizes), **{axis: np.array(values) for axis, values in axes.items()}}
    shape = tuple(len(values) for values in coords.values())
    iteration = np.arange(steps + 1)
    level = 0.3 + np.exp(-iteration / 3)
    simulation, theory = {}, {}
    for name in NAMES:
        inner = {"neuron": [0, 1], "index": [0]} if name == "signal_overlap" else {}
        entries = tuple(len(values) for values in inner.values())
        curve = level.reshape(-1, *[1] * len(entries)) * np.ones(entries)
        runs = np.empty((*shape, replicates, steps + 1, *entries))
        readout = np.zeros(runs.shape)
        for at in product(*map(range, shape)):
            cell = {axis: values[i].item() for (axis, values), i in zip(coords.items(), at, strict=True)}
            # Iterations of a run move together, as they do in a simulation.
            path = rng.standard_normal((replicates, 1, *entries)) + 0.3 * rng.standard_normal(runs.shape[len(at) :])
            runs[at] = curve + fluctuation(**cell) * path / np.sqrt(1.09) + shift(**cell)
            if name == "test_error" and cell.get("features", "gaussian") != "gaussian":
                runs[at] += fresh * rng.standard_normal((replicates, 1))
                readout[at] = fresh
        dims = (*coords, "replicate", "iteration", *inner)
        simulation[name] = (dims, runs)
        if name == "test_error":
            simulation["test_error_stderr"] = (dims, readout)
            simulation["estimated_test_error"] = (dims, runs + fluctuation(**cell) * rng.standard_normal(runs.shape))
        predicted = np.broadcast_to(curve, (*shape, *curve.shape)).copy()
        theory[name] = ((*coords, "iteration", *inner), predicted + solver * rng.standard_normal(entries))
        theory[f"{name}_stderr"] = ((*coords, "iteration", *inner), np.full(predicted.shape, solver))
    coords = {**coords, "iteration": iteration}
    return xr.Dataset(simulation, {**coords, "replicate": np.arange(replicates)}), xr.Dataset(theory, coords)
