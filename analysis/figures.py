"""Learning curves: theory as lines, simulation as points, one panel for each cell of the grid."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis import style
from analysis.divergence import bounded

__all__ = ["CAPTION", "learning_curves"]

ERRORS = ("train_error", "test_error")
HIGHEST = 3.0
"""Where the axis ends at the latest, in units of the largest error that theory starts from."""
CAPTION = (
    "Lines: state evolution, computed without reference to any simulation. Points: mean over replicates at the largest "
    "finished n; bars: one standard deviation over replicates. Shaded: mean and one standard deviation at the "
    "smallest n. Runs that diverge are left out from there on, and the axis "
    "ends at three times the largest error at the start at the latest."
)


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
    shown, left_out = style.shown_cells(style.cells(simulation[names[0]]))
    columns = style.panel_grid(shown)
    figure, rows = style.small_multiples(len(shown), columns, width=2.9, height=2.3, sharey=True, legend=0.8)
    sizes: list[set[int]] = [set(), set()]
    starts: list[float] = []
    for ax, cell in zip((ax for row in rows for ax in row), shown, strict=True):
        for name, colour in zip(names, style.COLOURS, strict=False):
            line = _known_theory(theory[name].sel(cell))
            _theory_line(ax, line, colour)
            starts.append(float(line.isel(iteration=0)))
            runs = simulation[name].sel(cell)
            finished = _finished(runs.where(bounded(runs)))
            for runs, draw, seen in zip(finished, (_points, _band), sizes, strict=False):
                draw(ax, runs, colour)
                seen.add(int(runs["n"]))
        ax.set_title(style.cell_words(cell), fontsize=10)
        style.plain(ax)
    top = HIGHEST * max(starts)
    if rows[0][0].get_ylim()[1] > top:
        rows[0][0].set_ylim(0, top)
    for ax in rows[-1]:
        ax.set_xlabel("iteration")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    for row in rows:
        row[0].set_ylabel("mean squared error")
    style.title(figure, "Learning curves: theory and simulation", left_out)
    replicates = simulation.sizes.get("replicate", 1)
    largest, smallest = (", ".join(f"{n:,}" for n in sorted(seen)) for seen in sizes)
    points = f"n = {largest}: mean ± s.d. over {replicates} replicates" if largest else "simulation"
    handles = [
        *(
            Line2D([], [], color=c, lw=6, solid_capstyle="butt", label=style.title_of(n))
            for n, c in zip(names, style.COLOURS, strict=False)
        ),
        Line2D([], [], color="black", lw=1.8, label="theory"),
        Line2D([], [], color="black", marker="o", markerfacecolor="white", ls="", ms=4, label=points),
    ]
    if smallest:
        handles.append(
            Line2D([], [], color="black", alpha=0.2, lw=8, solid_capstyle="butt", label=f"n = {smallest}: mean ± s.d.")
        )
    figure.legend(handles=handles, loc="outside lower left", ncols=1 if columns < 2 else 2, frameon=False)
    return figure


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
