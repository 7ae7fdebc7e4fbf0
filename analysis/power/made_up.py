"""Stores with a known truth: a limit, a fluctuation and a bias with powers of n, and a theory that may be off.

A whole store is a few arrays of normals, so that hundreds cost seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from scipy import special

from analysis.statistics import null_levels
from sedyn.model.observables import PROBABILITIES, SCALES

__all__ = ["FULL", "Truth", "made_up", "made_up_fluctuations", "made_up_halves", "made_up_laws"]

FULL, REPLICATES = (64, 128, 256, 512, 1024, 4096, 16384, 65536), 96
"""The sizes of the full experiment on rates, and its replicates."""
SCATTER = 0.3
"""Standard deviation of the logarithm of a distance between laws over runs."""
CANCELLED = 20.0
"""Samples from which on halves have less variance about their run than runs have."""
PERSISTENCE = 0.9
"""Correlation of the fluctuations of successive iterations."""
DOUBT, RANDOMIZATIONS = 0.005, 4
"""Relative standard error of a predicted standard deviation, and how many predictions it comes from."""


@dataclass(frozen=True)
class Truth:
    """What is true of a made-up store.

    Attributes
    ----------
    exponent : float
        Power of n in the fluctuation of a run.
    bias : float
        Mean of a run minus the limit, at n = 1 if it went on so.
    bias_exponent : float
        Power of n in the bias.
    off : float
        What the predicted curve is off the limit, as a share of it.
    scale : callable, optional
        From a cell, as a mapping of the grid axes, and n to a factor of the fluctuation.
    shift : callable, optional
        From a cell and n to what is added to every run.
    """

    exponent: float = -0.5
    bias: float = 0.0
    bias_exponent: float = -1.0
    off: float = 0.0
    scale: Callable[[Mapping[str, Any], np.ndarray], Any] = field(default=lambda cell, n: 1.0)
    shift: Callable[[Mapping[str, Any], np.ndarray], Any] = field(default=lambda cell, n: 0.0)


def made_up(
    truth: Truth,
    seed: int,
    axes: Mapping[str, Sequence[Any]] | None = None,
    *,
    sizes: Sequence[int] = FULL,
    replicates: int = REPLICATES,
    steps: int = 4,
    width: int = 2,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Make the two groups of a store.

    Parameters
    ----------
    truth : Truth
    seed : int
        Of everything random.
    axes : mapping, optional
        Grid axes and their values.
    sizes : sequence of int
        Values of n.
    replicates, steps, width : int
        As in a sweep.

    Returns
    -------
    simulation, theory : Dataset
        As `analysis.store.open_store` returns them, with ``train_error``, ``test_error``, ``signal_overlap`` and
        ``deep_weights``, and the estimate of the test error. Theory's stated standard error is small and right.
    """
    rng = np.random.default_rng(seed)
    axes = dict(axes or {})
    units = np.arange(width)
    entries: dict[str, dict[str, np.ndarray]] = {
        "train_error": {},
        "test_error": {},
        "signal_overlap": {"neuron": units, "index": units[:1]},
        "deep_weights": {"layer": np.array([2]), "fan_in": units, "fan_out": units[:1]},
        "estimated_test_error": {},
    }
    n, iteration = np.array(sizes), np.arange(steps + 1)
    grid = {axis: np.array(values) for axis, values in axes.items()}
    shape = tuple(map(len, axes.values()))
    lead = (*shape, len(n), replicates, len(iteration))
    cells = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]

    def by_cell(function: Callable[[Mapping[str, Any], np.ndarray], Any]) -> np.ndarray:
        values = [np.broadcast_to(function(cell, n), n.shape) for cell in cells]
        return np.array(values, dtype=float).reshape(*shape, len(n), 1, 1)

    size = n[:, None, None] ** float(truth.exponent) * by_cell(truth.scale)
    shift = truth.bias * n[:, None, None] ** float(truth.bias_exponent) + by_cell(truth.shift)
    level = 0.3 + 0.7 * np.exp(-iteration / 3)
    simulation: dict[str, Any] = {}
    theory: dict[str, Any] = {}
    for name, inner in entries.items():
        more = tuple(map(len, inner.values()))
        last = (...,) + (None,) * len(more)
        path = rng.standard_normal((*lead, *more))
        for t in iteration[1:]:
            at = (slice(None),) * (len(lead) - 1)
            path[(*at, t)] = PERSISTENCE * path[(*at, t - 1)] + np.sqrt(1 - PERSISTENCE**2) * path[(*at, t)]
        limit = level[last] * np.ones(more)
        dims = (*axes, "n", "replicate", "iteration", *inner)
        if name == "estimated_test_error":
            simulation[name] = (dims, simulation["test_error"][1] + size * path)
            continue
        run = limit + size[last] * path + shift[last]
        solver = 1e-6
        predicted = limit * (1 + truth.off) + solver * rng.standard_normal(more)
        stated = np.full(limit.shape, solver)
        if inner:  # weights begin where theory says
            run[(*(slice(None),) * (len(lead) - 1), 0)] = limit[0]
            predicted[0], stated[0] = limit[0], 0.0
        simulation[name] = (dims, run)
        there = (*axes, "n", "iteration", *inner)
        theory[name] = (there, np.broadcast_to(predicted, (*shape, len(n), *predicted.shape)).copy())
        theory[f"{name}_stderr"] = (there, np.broadcast_to(stated, (*shape, len(n), *stated.shape)).copy())
    simulation["test_error_stderr"] = (simulation["test_error"][0], np.zeros(lead))
    coords: dict[str, Any] = {**grid, "n": n, "iteration": iteration, "neuron": units, "index": units[:1]}
    coords |= {**entries["deep_weights"], "d": ("n", n // 2)}
    runs = xr.Dataset(simulation, {**coords, "replicate": np.arange(replicates)})
    return runs, xr.Dataset(theory, coords)


def made_up_fluctuations(truth: Truth, seed: int, **settings: Any) -> tuple[xr.Dataset, xr.Dataset]:
    """Make a store with predicted fluctuations beside what `made_up` gives.

    Parameters
    ----------
    truth : Truth
        Predicted are those of runs at n^-1/2 whose scale is 1.
    seed : int
        Of everything random.
    **settings
        As for `made_up`.

    Returns
    -------
    simulation, theory : Dataset
        As a sweep with ``fluctuations=true`` stores them. The predictions' stated standard errors are small and right.
    """
    runs, theory = made_up(truth, seed, **settings)
    rng = np.random.default_rng([seed, 3])
    iteration = runs["iteration"].values
    between = xr.DataArray(
        PERSISTENCE ** abs(np.subtract.outer(iteration, iteration)),
        {"iteration": iteration, "iteration_": iteration},
        ("iteration", "iteration_"),
    )
    # The estimate is a test error beside which it scatters as much again.
    variances = {name: 1.0 for name in runs.data_vars if not str(name).endswith("_stderr")}
    variances |= {"estimated_test_error": 2.0, "estimate_minus_test_error": 1.0}
    predicted = {}
    for name, variance in variances.items():
        like = xr.zeros_like(runs.get(name, runs["test_error"]).isel(replicate=0, drop=True))
        whole = variance * between + like
        if "neuron" in like.dims or "layer" in like.dims:  # weights begin where theory says
            whole = whole.where((whole["iteration"] > 0) & (whole["iteration_"] > 0), 0.0)
        error = 2 * DOUBT
        predicted[f"{name}_covariance"] = (whole * (1 + error * rng.standard_normal())).transpose(
            *like.dims, "iteration_"
        )
        predicted[f"{name}_covariance_stderr"] = error * predicted[f"{name}_covariance"]
    known = {"fluctuation_randomizations": RANDOMIZATIONS}
    return runs.assign_attrs(known), theory.assign(predicted).assign_attrs(known)


def made_up_halves(truth: Truth, seed: int, **settings: Any) -> tuple[xr.Dataset, xr.Dataset]:
    """Make a store with halves of each run beside what `made_up` gives.

    Parameters
    ----------
    truth : Truth
        Its bias is that of runs of any size, halves among them.
    seed : int
        Of everything random.
    **settings
        As for `made_up`.

    Returns
    -------
    simulation, theory : Dataset
        As a sweep with ``halves=true`` stores them.
    """
    runs, theory = made_up(truth, seed, **settings)
    rng = np.random.default_rng([seed, 2])
    n = runs.n.astype(float)
    left = truth.bias * ((n / 2) ** truth.bias_exponent - n**truth.bias_exponent)
    scatter = n**truth.exponent * (CANCELLED / n) ** 0.5
    found = {}
    for name, run in runs.data_vars.items():
        if str(name).endswith("_stderr"):
            continue
        rest, apart = (xr.zeros_like(run) + rng.standard_normal(run.shape) for _ in range(2))
        moved = left + scatter * rest
        if "neuron" in run.dims or "layer" in run.dims:  # weights begin where theory says
            moved, apart = moved.where(runs.iteration > 0, 0.0), apart.where(runs.iteration > 0, 0.0)
        sides = [run + moved + sign * n**truth.exponent * apart for sign in (1, -1)]
        found[f"{name}_halves"] = xr.concat(sides, "half").transpose(..., *run.dims[run.dims.index("iteration") :])
    return runs.assign(found), theory


def made_up_laws(
    truth: Truth,
    seed: int,
    *,
    wider: float = 1.0,
    sizes: Sequence[int] = (256, 512, 1024, 2048, 4096, 8192, 16384),
    replicates: int = 256,
    steps: int = 3,
) -> tuple[xr.Dataset, xr.Dataset]:
    """Make a store with laws of rows and pre-activations, of one unit, beside what `made_up` gives.

    Parameters
    ----------
    truth : Truth
        Its exponent is that of the distances between laws too, which are at their null level at the smallest size.
    seed : int
        Of everything random.
    wider : float
        Factor by which rows and pre-activations are wider than predicted.
    sizes, replicates, steps
        As for `made_up`.

    Returns
    -------
    simulation, theory : Dataset
        As a sweep with ``laws=true`` stores them, of standard normal laws.
    """
    runs, theory = made_up(truth, seed, sizes=sizes, replicates=replicates, steps=steps, width=1)
    rng = np.random.default_rng([seed, 1])
    probability = PROBABILITIES
    normal = special.ndtri(probability)
    n = np.array(sizes)
    lead, dims = (len(n), replicates, steps + 1), ("n", "replicate", "iteration")
    growth = (n / n[0]) ** (truth.exponent + 0.5)

    def distances(level: Callable[[int], float], counts: np.ndarray) -> np.ndarray:
        """Around a null level, as scattered as those of a sample."""
        levels = np.array([level(int(count)) for count in counts]) * growth
        return levels[:, None, None] * np.exp(SCATTER * rng.standard_normal(lead) - SCATTER**2 / 2)

    def sample_quantiles(counts: np.ndarray) -> np.ndarray:
        """Of normal draws, by the limit law of sample quantiles: a Brownian bridge over the density."""
        widths = np.diff(np.concatenate([[0.0], probability, [1.0]]))
        walk = np.cumsum(rng.standard_normal((*lead, len(widths))) * np.sqrt(widths), -1)
        bridge = walk[..., :-1] - probability * walk[..., -1:]
        density = np.exp(-(normal**2) / 2) / np.sqrt(2 * np.pi)
        return wider * (normal + bridge / density / np.sqrt(counts)[:, None, None, None])

    rows, widths = n // 2, np.diff(normal)

    def whole(count: int) -> float:
        return float(null_levels.wasserstein_shares(count, probability) @ widths)

    both = {
        "predicted": (null_levels.kolmogorov, whole),
        "own": (
            lambda count: null_levels.standardized(count).kolmogorov,
            lambda count: null_levels.standardized(count).wasserstein,
        ),
    }
    unit: dict[str, Any] = {}
    for place, metric in enumerate(("kolmogorov", "wasserstein")):
        scaled = np.stack([distances(both[scale][place], rows) for scale in SCALES], -1)
        unit[f"row_{metric}"] = ((*dims, "scale", "neuron"), scaled[..., None])
        for law in ("pre_activation", "pre_activation_response"):
            unit[f"{law}_{metric}"] = ((*dims, "neuron"), distances(both["predicted"][place], n)[..., None])
    # The mean square of d standard normal numbers, whose relative error has the null level of the covariance.
    spread = rng.standard_normal(lead) * np.sqrt(2 / rows)[:, None, None] * growth[:, None, None]
    unit["row_residual_covariance"] = ((*dims, "neuron", "neuron_"), (wider**2 * (1 + spread))[..., None, None])
    for law, counts in (("row_residual", rows), ("pre_activation", n)):
        unit[f"{law}_quantiles"] = ((*dims, "neuron", "probability"), sample_quantiles(counts)[..., None, :])
    there = (len(n), steps + 1, 1)
    quantiles = np.broadcast_to(normal, (*there, len(normal)))
    predicted = {
        "noise_covariance": (("n", "iteration", "neuron", "neuron_"), np.ones((*there, 1))),
        "noise_covariance_stderr": (("n", "iteration", "neuron", "neuron_"), np.full((*there, 1), 1e-6)),
        "pre_activation_quantiles": (("n", "iteration", "neuron", "probability"), quantiles),
        "pre_activation_quantiles_stderr": (
            ("n", "iteration", "neuron", "probability"),
            np.full(quantiles.shape, 1e-6),
        ),
    }
    coords = {"probability": probability, "neuron_": [0]}
    runs = runs.assign(unit).assign_coords({**coords, "scale": np.array(SCALES)}).assign_attrs(theory_samples=2**30)
    return runs, theory.assign(predicted).assign_coords(coords)
