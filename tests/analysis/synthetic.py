"""Stores with a known answer: theory plus fluctuation a n^-1/2, bias b/n, offset c and a solver's error."""

from __future__ import annotations

import numpy as np
import xarray as xr

SIZES = (256, 512, 1024, 2048, 4096)


def store(
    *,
    sizes=SIZES,
    replicates=16,
    steps=15,
    depths=(2, 3),
    noises=(0.1, 0.5),
    fluctuation=1.0,
    bias=0.0,
    offset=0.0,
    solver=1e-6,
    correlation=0.9,
    width=3,
    seed=0,
) -> xr.DataTree:
    """A tree as a sweep writes it. `solver` is both the size of theory's actual error and its stated standard error."""
    rng = np.random.default_rng(seed)
    grid = {"n": np.array(sizes), "depth": np.array(depths), "noise": np.array(noises)}
    lead = tuple(len(v) for v in grid.values())
    iteration = np.arange(steps + 1)
    units = np.arange(width)
    entries = {
        "train_error": {},
        "test_error": {},
        "signal_overlap": {"neuron": units, "index": np.arange(1)},
        "deep_weights": {"layer": np.arange(2, max(depths) + 1), "fan_in": units, "fan_out": units},
    }
    scale = np.sqrt(1.0 / grid["n"])[:, None, None, None, None]
    simulation, theory = {}, {}
    for name, coords in entries.items():
        shape = tuple(len(v) for v in coords.values())
        more = (...,) + (None,) * len(shape)
        level = 0.2 + np.exp(-iteration / 5)
        level = level * (1 + 0.2 * grid["noise"][:, None]) + 0.05 * grid["depth"][:, None, None]
        truth = np.broadcast_to(level[more], (*level.shape, *shape)).copy()
        # One solver error for each solution and entry, the same for all n and iterations.
        error = solver * rng.standard_normal((len(depths), len(noises), 1, *shape))
        white = rng.standard_normal((*lead, replicates, steps + 1, *shape))
        path = white.copy()
        for t in range(1, steps + 1):
            previous = path[:, :, :, :, t - 1]
            path[:, :, :, :, t] = correlation * previous + np.sqrt(1 - correlation**2) * white[:, :, :, :, t]
        size = scale[more]
        run = truth[None, :, :, None] + fluctuation * size * path + bias * size**2 + offset
        predicted = np.broadcast_to(truth + error, (len(sizes), *truth.shape)).copy()
        if name in ("signal_overlap", "deep_weights"):
            run[:, :, :, :, 0] = truth[None, :, :, None, 0] + 1e-16
            predicted[:, :, :, 0] = truth[None, :, :, 0]
        stated = np.full(predicted.shape, float(solver))
        if name in ("signal_overlap", "deep_weights"):
            stated[:, :, :, 0] = 0.0
        if name == "deep_weights":
            for k, depth in enumerate(depths):
                run[:, k, ..., depth - 1 :, :, :] = np.nan
                predicted[:, k, ..., depth - 1 :, :, :] = np.nan
                run[:, k, ..., depth - 2, :, 1:] = np.nan
                predicted[:, k, ..., depth - 2, :, 1:] = np.nan
        ends = ("iteration", *coords)
        simulation[name] = ((*grid, "replicate", *ends), run)
        theory[name] = ((*grid, *ends), predicted)
        theory[f"{name}_stderr"] = ((*grid, *ends), stated)
    coords = {**grid, "iteration": iteration, **entries["deep_weights"], **entries["signal_overlap"]}
    coords["d"] = ("n", np.array(sizes) // 2)
    attrs = {"width": width, "activation": "tanh", "learning_rate": 0.8, "steps": steps, "seed": seed}
    groups = {
        "simulation": xr.Dataset(simulation, {**coords, "replicate": np.arange(replicates)}, attrs),
        "theory": xr.Dataset(theory, coords, attrs),
        "status": xr.Dataset({"done": (tuple(grid), np.ones(lead, dtype=np.int8))}, grid),
    }
    return xr.DataTree.from_dict(groups)
