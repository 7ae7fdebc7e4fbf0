"""Learning curves: theory as lines, simulation as points, one panel for each cell of the grid."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.answers import style
from analysis.answers.words import cell_words, cells, title_of
from analysis.statistics.arguments import measure
from analysis.statistics.datasets import in_both
from analysis.statistics.divergence import without_diverged
from analysis.statistics.fluctuations import predicted_variance
from sedyn.errors import InvalidInput

__all__ = ["BANDS", "CAPTION", "learning_curves"]

ERRORS = ("train_error", "test_error")
HIGHEST = 3.0
"""Where the axis ends at the latest, in units of the largest error that theory starts from."""
CAPTION = (
    "Lines: state evolution, computed without reference to any simulation. Points: mean over replicates at the largest "
    "finished n; bars: one standard deviation over replicates. Shaded: mean and one standard deviation at the "
    "smallest n. Runs that diverge are left out from there on, and the axis "
    "ends at three times the largest error at the start at the latest."
)
BANDS = " Dotted: where theory predicts 95 % of single runs of the largest finished n to be."
"""What a caption says besides where theory has fluctuations."""
REACH = 1.96


@measure()
def learning_curves(simulation: xr.Dataset, theory: xr.Dataset, *, observables: Sequence[str] = ERRORS) -> Figure:
    """Draw theory as lines and simulation as points, one panel for each cell of the grid.

    Points are means over replicates at the largest n that has finished, bars one standard deviation over replicates;
    the shaded band is mean -+ one standard deviation at the smallest n. Where theory has fluctuations dotted lines are
    the ends of the band in which 95 % of single runs are predicted to be, at the largest n.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store, each observable on (grid axes..., n, iteration), and ``replicate`` of the runs.
    observables : sequence of str
        Scalar observables, drawn in one panel with a colour each.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidInput
        If no observable is in both datasets.
    """
    names = in_both(observables, simulation, theory)
    if not names:
        raise InvalidInput("observables", list(observables), "none of them is in both simulation and theory")
    runs = without_diverged(simulation)[names]
    shown, left_out = style.shown_cells(cells(runs[names[0]]))
    columns = style.panel_grid(shown)
    panels = style.Panels(len(shown), columns, width=2.9, height=2.3, sharey=True, legend=0.8)
    sizes: list[set[int]] = [set(), set()]
    starts: list[float] = []
    colours = dict(zip(names, style.COLOURS, strict=False))
    for ax, cell in zip(panels.axes, shown, strict=True):
        for name, colour in colours.items():
            line = _known_theory(theory[name].sel(cell))
            ax.plot(line["iteration"].values, line.values, color=colour, lw=1.8, zorder=2)
            starts.append(float(line.isel(iteration=0)))
            finished = _finished(runs[name].sel(cell))
            if finished and f"{name}_covariance" in theory:
                _predicted_band(ax, line, theory[[f"{name}_covariance"]].sel(cell), name, int(finished[0]["n"]), colour)
            for one, draw, seen in zip(finished, (_points, _band), sizes, strict=False):
                draw(ax, one, colour)
                seen.add(int(one["n"]))
        style.plain(ax, cell_words(cell))
        style.iterations_on_axis(ax)
    top, first = HIGHEST * max(starts), panels.axes[0]
    if first.get_ylim()[1] > top:
        first.set_ylim(0, top)
    replicates = simulation.sizes.get("replicate", 1)
    largest, smallest = (", ".join(f"{n:,}" for n in sorted(seen)) for seen in sizes)
    words = f"n = {largest}: mean ± s.d. over {replicates} replicates" if largest else "simulation"
    thick = {"ls": "-", "solid_capstyle": "butt"}
    handles = [
        *(style.key(title_of(name), color=colour, lw=6, **thick) for name, colour in colours.items()),
        style.key("theory", color="black", lw=1.8),
        style.key(words, color="black", marker="o", markerfacecolor="white", ls="", ms=4),
    ]
    if largest and any(f"{name}_covariance" in theory for name in names):
        handles.append(style.key("95 % of single runs, predicted", color="black", lw=1.0, ls=":"))
    if smallest:
        handles.append(style.key(f"n = {smallest}: mean ± s.d.", color="black", alpha=0.2, lw=8, **thick))
    title, y, columns = "Learning curves: theory and simulation", "mean squared error", min(columns, 2)
    return panels.finish(title, "iteration", y, handles, columns=columns, left_out=left_out)


def _points(ax: Axes, runs: xr.DataArray, colour: str) -> None:
    spread = runs.std("replicate", ddof=1).values if runs.sizes["replicate"] > 1 else None
    mean = runs.mean("replicate").values
    style.points(ax, runs["iteration"].values, mean, spread, colour, "o", ms=3.5, markerfacecolor="white")


def _band(ax: Axes, runs: xr.DataArray, colour: str) -> None:
    mean, spread = runs.mean("replicate").values, runs.std("replicate", ddof=1).values
    ax.fill_between(runs["iteration"].values, mean - spread, mean + spread, color=colour, alpha=0.18, lw=0, zorder=1)


def _predicted_band(ax: Axes, line: xr.DataArray, theory: xr.Dataset, name: str, n: int, colour: str) -> None:
    reach = REACH * (_known_theory(predicted_variance(name, theory)).clip(0) / n) ** 0.5
    for end in (line - reach, line + reach):
        ax.plot(line["iteration"].values, end.values, color=colour, lw=1.0, ls=":", zorder=2)


def _known_theory(theory: xr.DataArray) -> xr.DataArray:
    """Theory at the largest n where it is known: the same for all n but for a spectrum that changes with d."""
    known = theory.isel(n=theory.notnull().any("iteration").values).sortby("n")
    return known.isel(n=-1) if known.sizes["n"] else theory.isel(n=-1)


def _finished(runs: xr.DataArray) -> list[xr.DataArray]:
    """The largest finished n and, if it is another, the smallest."""
    known = runs.isel(n=runs.notnull().any(["replicate", "iteration"]).values).sortby("n")
    ends = {0: [], 1: [-1]}.get(known.sizes["n"], [-1, 0])
    return [known.isel(n=end).dropna("replicate", how="all") for end in ends]
