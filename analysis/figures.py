"""Figures for people: learning curves with theory over simulation, and distance to theory against n."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from analysis.verdicts import interval_text, title_of

__all__ = ["learning_curves", "rates_figure"]

# Okabe and Ito's palette, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#8a8a8a"
ERRORS = ("train_error", "test_error")
MOST_PANELS = 12
BELOW = 0.25
"""How far below the smallest distance the axis goes."""


def learning_curves(simulation: xr.Dataset, theory: xr.Dataset, *, observables: Sequence[str] = ERRORS) -> Figure:
    """Draw theory as lines and simulation as points, one panel for each cell of the grid.

    Points are means over replicates at the largest n that has finished, bars one standard deviation over replicates;
    the shaded band is mean -+ one standard deviation at the smallest n.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store.
    observables : sequence of str
        Scalar observables, drawn in one panel with a colour each.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = [name for name in observables if name in simulation and name in theory]
    cells = _cells(simulation[names[0]])
    height, columns, shown, left_out = _layout(cells)
    figure = Figure(figsize=(1.2 + 2.9 * columns, 1.5 + 2.3 * height), layout="constrained")
    axes = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False)
    sizes: list[set[int]] = [set(), set()]
    for ax, cell in zip(axes.flat, shown, strict=False):
        for name, colour in zip(names, COLOURS, strict=False):
            _theory_line(ax, _known_theory(theory[name].sel(cell)), colour)
            finished = _finished(simulation[name].sel(cell))
            for runs, draw, seen in zip(finished, (_points, _band), sizes, strict=False):
                draw(ax, runs, colour)
                seen.add(int(runs["n"]))
        ax.set_title(_cell_words(cell), fontsize=10)
        _plain(ax)
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("iteration")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    for ax in axes[:, 0]:
        ax.set_ylabel("mean squared error")
    replicates = simulation.sizes.get("replicate", 1)
    largest, smallest = (", ".join(f"{n:,}" for n in sorted(seen)) for seen in sizes)
    note = f" ({left_out} more cells not drawn)" if left_out else ""
    figure.suptitle(f"Learning curves: theory and simulation{note}", fontsize=12, x=0.01, ha="left", weight="bold")
    handles = [
        *(
            Line2D([], [], color=c, lw=6, solid_capstyle="butt", label=title_of(n))
            for n, c in zip(names, COLOURS, strict=False)
        ),
        Line2D([], [], color="black", lw=1.8, label="theory"),
        Line2D(
            [],
            [],
            color="black",
            marker="o",
            markerfacecolor="white",
            ls="",
            ms=4,
            label=f"n = {largest}: mean ± s.d. over {replicates} replicates" if largest else "simulation",
        ),
    ]
    if smallest:
        handles.append(
            Line2D([], [], color="black", alpha=0.2, lw=8, solid_capstyle="butt", label=f"n = {smallest}: mean ± s.d.")
        )
    figure.legend(handles=handles, loc="outside lower left", ncols=1 if columns < 2 else 2, frameon=False)
    return figure


def rates_figure(measured: xr.Dataset) -> Figure:
    """Draw distance to theory against n in log-log, one panel for each observable.

    Points are grid cells, root-mean-square over the iterations that have an exponent, with standard errors; solid lines
    are the fit with one slope for the panel, the dotted one the n^-1/2 guide, dashed grey ones the solver's own error.

    Parameters
    ----------
    measured : Dataset
        From `analysis.rates`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = measured.observable.values.tolist()
    columns = min(2, len(names))
    height = -(-len(names) // columns)
    figure = Figure(figsize=(1 + 4.2 * columns, 1.5 + 3.3 * height), layout="constrained")
    axes = figure.subplots(height, columns, sharex=True, squeeze=False)
    cells = _cells(measured["reason"], extra=("observable",))
    *_, shown, left_out = _layout(cells)
    for ax, name in zip(axes.flat, names, strict=False):
        _rate_panel(ax, measured.sel(observable=name), name, shown)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("samples n")
    for ax in axes[:, 0]:
        ax.set_ylabel("distance to theory")
    note = f" ({left_out} more cells not drawn)" if left_out else ""
    figure.suptitle(
        f"Distance between simulation and theory as n grows{note}", fontsize=12, x=0.01, ha="left", weight="bold"
    )
    handles = [
        *(
            Line2D([], [], color=c, marker=m, ms=5, ls="", label=_cell_words(cell) or "replicates")
            for cell, (c, m) in zip(shown, _styles(len(shown)), strict=True)
        ),
        Line2D([], [], color="black", lw=1.6, label="fit, common slope"),
        Line2D([], [], color="black", lw=1.2, ls=(0, (1, 2)), label="guide n$^{-1/2}$"),
    ]
    if bool((measured.overall_solver_ratio >= BELOW).any()):
        handles.append(Line2D([], [], color=GREY, lw=1.2, ls="--", label="solver's own error"))
    figure.legend(handles=handles, loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    return figure


def _rate_panel(ax: Axes, one: xr.Dataset, name: str, cells: Sequence[Mapping[Hashable, Any]]) -> None:
    whole = one.sel(part="distance")
    slope = float(whole.overall_exponent)
    n = one.n.values.astype(float)
    levels: list[np.ndarray] = []
    for cell, (colour, marker) in zip(cells, _styles(len(cells)), strict=True):
        here = one.sel(cell).where(one.reason.sel(cell) == 0)
        distance, error = _over_iterations(here.distance, here.distance_stderr)
        if not np.isfinite(distance).any():
            continue
        levels.append(distance)
        ax.errorbar(n, distance, error, color=colour, marker=marker, ms=4.5, lw=0, elinewidth=1, capsize=0, zorder=3)
        if np.isfinite(slope):
            ax.plot(n, _line(n, distance, error, slope), color=colour, lw=1.4, zorder=2)
        solver = np.sqrt((here.solver_error**2).mean("iteration").values)
        if float(one.overall_solver_ratio) >= BELOW:
            ax.plot(n, solver, color=GREY, lw=1.2, ls="--", zorder=1)
    ax.set_xscale("log")
    ax.set_yscale("log")
    if levels:
        seen = np.isfinite(levels).any(0)
        highest, lowest = np.nanmax(np.array(levels)[:, seen], 0), np.nanmin(np.array(levels)[:, seen])
        guide = np.sqrt(1 / n)
        guide *= 1.5 * np.max(highest / guide[seen])
        ax.plot(n, guide, color="black", lw=1.2, ls=(0, (1, 2)), zorder=1)
        # A solver's error far below the distances is said in words: drawn, it would flatten everything else.
        ax.set_ylim(lowest * BELOW, 1.4 * guide.max())
        if (ratio := float(one.overall_solver_ratio)) < BELOW:
            words = f"solver's own error: {ratio:.2g} of the smallest distance"
            ax.text(0.03, 0.04, words, transform=ax.transAxes, fontsize=8.5, color="#555555")
    low, high = float(whole.overall_exponent_low), float(whole.overall_exponent_high)
    words = f"exponent {slope:+.3f}  {interval_text(low, high)}" if np.isfinite(slope) else "no exponent"
    ax.set_title(f"{title_of(name)}: {words}", fontsize=10)
    _plain(ax)
    ax.yaxis.set_minor_formatter(NullFormatter())
    _sizes_on_axis(ax, n)


def _over_iterations(distance: xr.DataArray, stderr: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square over iterations; its error as if iterations were fully correlated, which overstates it."""
    together = np.sqrt((distance**2).mean("iteration").values)
    error = (distance * stderr).mean("iteration").values
    return together, error / together


def _line(n: np.ndarray, distance: np.ndarray, error: np.ndarray, slope: float) -> np.ndarray:
    seen = np.isfinite(distance) & (distance > 0)
    weight = np.where(seen & (error > 0), (distance / np.where(error > 0, error, 1)) ** 2, 0.0)
    weight = weight if weight.sum() > 0 else seen.astype(float)
    offset = np.log(np.where(seen, distance, 1.0)) - slope * np.log(n)
    return np.exp(np.average(offset, weights=weight)) * n**slope


def _theory_line(ax: Axes, theory: xr.DataArray, colour: str) -> None:
    ax.plot(theory["iteration"].values, theory.values, color=colour, lw=1.8, zorder=2)


def _points(ax: Axes, runs: xr.DataArray, colour: str) -> None:
    mean = runs.mean("replicate").values
    spread = runs.std("replicate", ddof=1).values if runs.sizes["replicate"] > 1 else None
    ax.errorbar(
        runs["iteration"].values,
        mean,
        spread,
        color=colour,
        marker="o",
        ms=3.5,
        lw=0,
        elinewidth=1,
        markerfacecolor="white",
        zorder=3,
    )


def _band(ax: Axes, runs: xr.DataArray, colour: str) -> None:
    mean, spread = runs.mean("replicate").values, runs.std("replicate", ddof=1).values
    ax.fill_between(runs["iteration"].values, mean - spread, mean + spread, color=colour, alpha=0.18, lw=0, zorder=1)


def _known_theory(theory: xr.DataArray) -> xr.DataArray:
    """Theory at the largest n where it is known: the same for all n but for a spectrum that changes with d."""
    known = theory.isel(n=theory.notnull().any("iteration").values).sortby("n")
    return known.isel(n=-1) if known.sizes["n"] else theory.isel(n=-1)


def _finished(runs: xr.DataArray) -> list[xr.DataArray]:
    """The largest finished n and, if it is another, the smallest."""
    known = runs.isel(n=runs.notnull().any(["replicate", "iteration"]).values).sortby("n")
    ends = {0: [], 1: [-1]}.get(known.sizes["n"], [-1, 0])
    return [known.isel(n=end).dropna("replicate", how="all") for end in ends]


def _cells(array: xr.DataArray, extra: tuple[str, ...] = ()) -> list[dict[Hashable, Any]]:
    """Every combination of the grid axes besides n."""
    axes = [d for d in array.dims if d not in ("n", "replicate", "iteration", *extra)]
    return [dict(zip(axes, values, strict=True)) for values in product(*(array[axis].values.tolist() for axis in axes))]


def _layout(cells: list[dict[Hashable, Any]]) -> tuple[int, int, list[dict[Hashable, Any]], int]:
    """Rows, columns, the cells that are drawn, and how many are not."""
    shown = cells[:MOST_PANELS]
    last = len({tuple(cell.values())[-1] for cell in shown if cell})
    columns = last if 1 < last <= 4 else min(3, len(shown))
    return -(-len(shown) // columns), columns, shown, len(cells) - len(shown)


def _styles(count: int) -> list[tuple[str, str]]:
    """Colour and marker of each cell; the marker changes when the colours have run out."""
    markers = "osD^vP"
    return [(COLOURS[i % len(COLOURS)], markers[(i // len(COLOURS) + i) % len(markers)]) for i in range(count)]


def _cell_words(cell: Mapping[Hashable, Any]) -> str:
    return ", ".join(
        f"{str(axis).replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{axis} {value}"
        for axis, value in cell.items()
    )


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, which="major", color="#e6e6e6", lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9)


def _sizes_on_axis(ax: Axes, n: np.ndarray) -> None:
    """Label the sizes that were run, as numbers, not powers of ten; thinned out when there are many."""
    step = -(-len(n) // 6)
    ax.set_xticks([], minor=True)
    ax.set_xticks(n[::step], labels=[f"{int(size):,}" for size in n[::step]])
