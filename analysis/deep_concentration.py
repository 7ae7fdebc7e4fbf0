"""Deeper weights become deterministic: their variance over data sets should fall like 1/n (THEORY section 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.power_law import judge, power_law, power_line
from analysis.section import Captioned, Finding, Section, Tabulated

__all__ = ["SECTION", "deep_concentration"]

EXPECTED, MARGIN = -1.0, 0.25
LEAST_SIZES, LEAST_REPLICATES = 3, 4
ENTRIES = ("fan_in", "fan_out")
STILL = 1e-20
"""Variance relative to the mean square below which weights did not move."""


def deep_concentration(
    simulation: xr.Dataset, theory: xr.Dataset | None = None, *, draws: int = 400, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Measure the variance of deeper weights over replicates, and its exponent of n.

    Parameters
    ----------
    simulation : Dataset
        ``deep_weights`` on (grid axes..., n, replicate, iteration, layer, fan_in, fan_out).
    theory : Dataset, optional
        Not needed: a variance compares replicates with each other.
    draws : int
        Bootstrap draws, of whole replicates.
    level : float
        Coverage of the intervals of all cells and layers together (Bonferroni).
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Dataset
        On (grid axes, layer, n, iteration): ``variance``, mean over the entries of a layer, and ``variance_stderr``.
        On (grid axes, layer): ``exponent``, ``exponent_low``, ``exponent_high``, over all iterations; without
        dimensions ``overall_exponent`` likewise.
    """
    weights = simulation["deep_weights"]
    axes = [dim for dim in weights.dims if dim not in ("n", "replicate", "iteration", "layer", *ENTRIES)]
    ends = ("replicate", "iteration", "layer", *ENTRIES)
    ordered = weights.transpose("n", *axes, *ends)
    # Iteration 0 is the same initialization in every replicate.
    values = ordered.values.reshape(ordered.sizes["n"], -1, *(ordered.sizes[dim] for dim in ends))
    rng = np.random.default_rng(seed)
    sizes, cells, _, steps, layers, *_ = values.shape
    variance = np.full((sizes, cells, layers, steps), np.nan)
    drawn = np.full((draws, sizes, cells, layers, steps), np.nan)
    for size in range(sizes):
        for cell in range(cells):
            variance[size, cell], drawn[:, size, cell] = _variances(values[size, cell], rng, draws)
    several = max(1, int(np.isfinite(variance).any((0, 3)).sum()))
    fewest = int(np.isfinite(values).any((-3, -2, -1)).any(-1).sum(-1).min())
    fit = power_law(
        ordered["n"].values,
        variance.reshape(sizes, cells * layers, steps),
        drawn.reshape(draws, sizes, cells * layers, steps),
        max(fewest, 2),
        level=1 - (1 - level) / several,
    )
    shape = (*(ordered.sizes[axis] for axis in axes), layers)
    dims = (*axes, "layer")
    coords: dict[Any, Any] = {dim: ordered[dim] for dim in ("n", *axes, "iteration", "layer")}
    result = xr.Dataset(coords=coords)
    result["variance"] = (("n", *dims, "iteration"), variance.reshape(sizes, *shape, steps))
    result["variance_stderr"] = (("n", *dims, "iteration"), drawn.std(0).reshape(sizes, *shape, steps))
    for suffix, one, all_ in zip(("", "_low", "_high"), fit.grouped, fit.common, strict=True):
        result[f"exponent{suffix}"] = (dims, one.reshape(shape))
        result[f"overall_exponent{suffix}"] = ((), all_)
    result["variance"].attrs["long_name"] = "variance of deeper weights over replicates"
    result["variance_stderr"].attrs["long_name"] = "bootstrap standard error of the variance"
    result["exponent"].attrs["long_name"] = "exponent of n of the variance"
    result.attrs = {"draws": draws, "level": level, "bootstrap_seed": seed}
    return result


def _variances(values: np.ndarray, rng: np.random.Generator, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Variance over replicates, (layer, iteration), and its draws; NaN for layers that are not there or did not move.

    Values have shape (replicate, iteration, layer, fan_in, fan_out).
    """
    runs = values[np.isfinite(values).any((1, 2, 3, 4))]
    steps, layers = values.shape[1:3]
    if len(runs) < LEAST_REPLICATES:
        return np.full((layers, steps), np.nan), np.full((draws, layers, steps), np.nan)
    used = np.isfinite(runs).all(0)  # an entry that some replicate lost by diverging is left out
    counts = rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), draws) / len(runs)
    counts = np.concatenate([np.full((1, len(runs)), 1 / len(runs)), counts])
    centred = np.where(used, runs - np.where(used, runs, 0.0).mean(0), 0.0).reshape(len(runs), -1)
    spread = (counts @ centred**2 - (counts @ centred) ** 2).reshape(-1, *used.shape)
    number = used.sum((-2, -1))
    scale = (np.where(used, runs, 0.0) ** 2).mean(0).sum((-2, -1))
    total = spread.sum((-2, -1))
    moved = (number > 0) & (total[0] > STILL * scale)
    mean = np.where(moved, total / np.maximum(number, 1), np.nan) * len(runs) / (len(runs) - 1)
    mean = np.swapaxes(mean, -1, -2)
    return mean[0], mean[1:]


def _findings(measured: xr.Dataset) -> list[Finding]:
    found = [_finding("deeper weights together", measured, "overall_exponent")]
    varied = {dim for dim, size in measured.exponent.sizes.items() if size > 1}
    if varied <= {"layer", "depth"}:  # the cells of a larger grid are in the table
        cells = style.cells(measured.exponent)
        found += [
            _finding(style.cell_words(cell), one, "exponent")
            for cell in cells
            if np.isfinite((one := measured.sel(cell)).exponent)
        ]
    return found


def _finding(subject: str, one: xr.Dataset, name: str) -> Finding:
    value, low, high = (float(one[f"{name}{suffix}"]) for suffix in ("", "_low", "_high"))
    answer, words = judge(low, high, EXPECTED, margin=MARGIN)
    return Finding(subject, answer, words, "exponent of the variance", value, low, high)


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    cells = style.cells(measured.exponent)
    lines = []
    for cell in cells:
        value, low, high = (float(measured[f"exponent{suffix}"].sel(cell)) for suffix in ("", "_low", "_high"))
        if np.isfinite(value):
            at_most = float(np.sqrt(measured.variance.sel(cell).isel(n=-1).max("iteration")))
            words = (f"{v:g}" if isinstance(v, float) else str(v) for v in cell.values())
            lines.append((*words, style.number_text(value), style.interval_text(low, high), f"{at_most:.2g}"))
    jointly = f"interval, all {measured.level:.0%}"
    headings = (*map(str, cells[0]), "exponent", jointly, "s.d. at the largest n, at most")
    title = "Variance of deeper weights over replicates ~ n^exponent; the intervals hold together"
    return [Tabulated(title, headings, lines)]


def _figure(measured: xr.Dataset) -> Figure:
    layers = [
        layer for layer in measured.layer.values.tolist() if bool(measured.variance.sel(layer=layer).notnull().any())
    ]
    figure, rows = style.small_multiples(len(layers), 3, width=3.4, sharey=True)
    shown, left_out = style.shown_cells(style.cells(measured.exponent, extra=("layer",)))
    n = measured.n.values.astype(float)
    for ax, layer in zip((ax for row in rows for ax in row), layers, strict=True):
        guides = []
        for cell, (colour, marker) in zip(shown, style.styles(len(shown)), strict=True):
            here = measured.sel(cell | {"layer": layer})
            level = here.variance.mean("iteration").values
            if not np.isfinite(level).any():
                continue
            error = here.variance_stderr.mean("iteration").values
            ax.errorbar(n, level, error, color=colour, marker=marker, ms=4.5, lw=0, elinewidth=1, zorder=3)
            slope = float(here.exponent)
            ax.plot(n, power_line(n, level, slope), color=colour, lw=1.4)
            guides.append(np.nanmax(level * n))
        if guides:
            ax.plot(n, 1.8 * max(guides) / n, color=style.THEORY, lw=1.2, ls=(0, (1, 2)))
        ax.set_yscale("log")
        ax.set_title(f"layer {layer}", fontsize=10)
        style.plain(ax)
        style.sizes_on_axis(ax, n)
    style.label_edges(rows, "samples n", "variance of a weight")
    style.title(figure, "Variance of deeper weights over data sets", left_out)
    handles = style.keys((style.cell_words(cell) or "simulation" for cell in shown), lw=1.4)
    handles.append(Line2D([], [], color=style.THEORY, lw=1.2, ls=(0, (1, 2)), label="guide 1/n"))
    style.legend(figure, handles, columns=4)
    return figure


_CAPTION = (
    "Points: variance over replicates, mean over the entries of a layer and over iterations; bars: bootstrap standard "
    "errors. Lines: the fitted exponent of the cell and layer. Dotted: 1/n, the claim."
)


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    if "deep_weights" not in simulation or not simulation.sizes.get("layer", 0):
        return "no deeper layer"
    if not bool(simulation["deep_weights"].notnull().any()):
        return "no deeper weights finished"
    if str(simulation.attrs.get("train", "all")) == "first" and "train" not in simulation.dims:
        return "deeper layers are frozen"
    if simulation.sizes.get("n", 1) < LEAST_SIZES:
        return f"fewer than {LEAST_SIZES} values of n"
    finished = simulation["deep_weights"].notnull().any(("iteration", "layer", *ENTRIES)).sum("replicate")
    if int((finished >= LEAST_REPLICATES).sum("n").max()) < LEAST_SIZES:
        return f"fewer than {LEAST_SIZES} values of n with {LEAST_REPLICATES} replicates"
    return None


SECTION = Section(
    "deep_concentration",
    "Do deeper weights concentrate like 1/n in variance?",
    _unanswerable,
    deep_concentration,
    _findings,
    lambda simulation, theory, measured: [Captioned("deep_concentration", _figure(measured), _CAPTION)],
    _tables,
)
