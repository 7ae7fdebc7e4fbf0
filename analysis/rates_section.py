"""The section on rates: what the measured exponents say, their tables and their figures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.bias_section import BIAS_CAPTION, bias_figure, bias_finding, bias_text
from analysis.rates import LEAST_SIZES, REASONS
from analysis.rates_along import BY, rates_with_slices
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict
from analysis.style import interval_text, number_text, title_of

__all__ = ["SECTION", "rates_figure", "rates_table", "verdict"]

HIDDEN = REASONS.index("hidden by the error of the average over fresh data")
EXPECTED = -0.5
NEIGHBOURS = (-0.75, -0.25)
"""An interval that holds -1/2 decides only if it excludes the exponents half-way to 0 and to -1."""
DOMINANT = 0.5
"""Share of the squared distance at the largest n above which a bias is called dominant."""
BELOW = 0.25
"""How far below the smallest distance the axis goes."""

CAPTION = (
    "Points: root-mean-square distance of a replicate from theory, over replicates, entries and those iterations that "
    "have an exponent; bars: its standard error. Solid lines: fit with one slope for the panel. Dotted: n to the power "
    "-1/2. Dashed grey: the standard error of the theory's own solver."
)


def verdict(measured: xr.Dataset, observable: str) -> tuple[Verdict, str]:
    """Say whether an observable approaches theory like n^-1/2.

    Parameters
    ----------
    measured : Dataset
        From `analysis.rates`.
    observable : str
        Which row.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    row = measured.sel(observable=observable)
    whole = row.sel(part="distance")
    low, high = float(whole.overall_exponent_low), float(whole.overall_exponent_high)
    if int(row.overall_reason) != 0:
        return "undecided", f"no exponent: {REASONS[int(row.overall_reason)]}"
    if not np.isfinite([low, high]).all():
        return "undecided", "no interval: too few replicates"
    if np.isnan(row.overall_solver_ratio):
        return "undecided", "the solver's own error is not known"
    if not bool(row.overall_solver_negligible):
        return "undecided", "the solver's own error is not negligible; raise its samples"
    biased = float(row.bias_share[-1]) > DOMINANT
    if low > EXPECTED:
        if biased or high >= 0:
            return "fails", "the bias stays as n grows, so theory and simulation do not converge"
        if low > NEIGHBOURS[1]:
            return "fails", "slower than n^-1/2"
        words = "slower than n^-1/2 over these n"
        return _at_larger_n(row, words) or ("undecided", f"{words}; larger n decide")
    if high < EXPECTED:
        return _faster(row)
    if NEIGHBOURS[0] < low and high < NEIGHBOURS[1]:
        return "holds", "consistent with n^-1/2"
    return "undecided", "consistent with n^-1/2, but the interval is wide"


def _faster(row: xr.Dataset) -> tuple[Verdict, str]:
    """A distance that falls faster than claimed holds if that is a bias dying out below the fluctuation claimed."""
    part = row.sel(part="fluctuation")
    low, high = float(part.overall_exponent_low), float(part.overall_exponent_high)
    words = "faster than n^-1/2 over these n"
    if low <= EXPECTED <= high:
        return "holds", f"{words}; the fluctuation alone is consistent with it, the bias falls faster"
    words_alone = f"{words}; so is the fluctuation alone" if high < EXPECTED else words
    return _at_larger_n(row, words) or ("undecided", words_alone)


def _at_larger_n(row: xr.Dataset, words: str) -> tuple[Verdict, str] | None:
    """A precise exponent shows that small n are not yet in the limit; the larger half of the sizes may be."""
    part = row.sel(part="distance")
    low, high = float(part.larger_exponent_low), float(part.larger_exponent_high)
    if NEIGHBOURS[0] < low <= EXPECTED <= high < NEIGHBOURS[1]:
        return "holds", f"{words}, consistent with it from n = {int(row.larger_from):,} on"
    return None


def _findings(measured: xr.Dataset) -> list[Finding]:
    names = measured.observable.values.tolist()
    biases = [bias_finding(measured, name) for name in names if int(measured.overall_reason.sel(observable=name)) == 0]
    return [*(_finding(measured, name) for name in names), *biases]


def _finding(measured: xr.Dataset, name: str) -> Finding:
    whole = measured.sel(observable=name, part="distance")
    numbers = (float(whole[f"overall_exponent{suffix}"]) for suffix in ("", "_low", "_high"))
    return Finding(title_of(name), *verdict(measured, name), "exponent", *numbers)


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    axes = [str(name).removeprefix(f"overall_reason{BY}") for name in measured if f"reason{BY}" in str(name)]
    cells = [axis for axis in axes if axis in measured.dims and axis != "window"]
    return [
        rates_table(measured),
        _share_table(measured),
        *(_slice_table(measured, axis) for axis in axes),
        *([_cell_table(measured, cells)] if len(cells) > 1 else []),
    ]


def rates_table(measured: xr.Dataset) -> Tabulated:
    """Tabulate one line for each observable, over all cells and iterations.

    Exponents with half their interval: of the distance, of the fluctuation (the standard deviation over replicates),
    and of the bias, which has an interval of its own.
    """
    title = f"Exponents of n, with {measured.attrs['level']:.0%} intervals: distance to theory, and its two parts"
    lines = [
        (title_of(name), *_three(measured.sel(observable=name), "")) for name in measured.observable.values.tolist()
    ]
    return Tabulated(title, ("observable", "distance", "fluctuation", "bias"), lines)


def _three(one: xr.Dataset, by: str) -> tuple[str, str, str]:
    """Exponents of the distance, the fluctuation and the bias."""
    return (
        _plus_minus(one, "overall_exponent", by),
        _plus_minus(one, "overall_exponent", by, part="fluctuation"),
        bias_text(one, by),
    )


def _plus_minus(one: xr.Dataset, name: str, by: str = "", part: str = "distance") -> str:
    """Write an exponent with half its interval."""
    value, high = (float(one[f"{name}{end}{by}"].sel(part=part)) for end in ("", "_high"))
    return f"{number_text(value)} \N{PLUS-MINUS SIGN} {high - value:.3f}" if np.isfinite(value) else "-"


def _share_table(measured: xr.Dataset) -> Tabulated:
    lines = []
    for name in measured.observable.values.tolist():
        one = measured.sel(observable=name)
        solver = float(one.overall_solver_ratio)
        flag = "" if bool(one.overall_solver_negligible) else " (large)"
        lines.append(
            (
                title_of(name),
                _plus_minus(one, "larger_exponent"),
                *(f"{share:.1%}" if np.isfinite(share) else "-" for share in one.bias_share.values[[0, -1]]),
                f"{float(one.bias_bound):.0%}" if np.isfinite(one.bias_bound) else "-",
                f"{solver:.2%}{flag}" if np.isfinite(solver) else "-",
            )
        )
    sizes = [f"{int(n):,}" for n in measured.n.values[[0, -1]]]
    headings = (
        "observable",
        f"exponent from n = {int(measured.larger_from[0]):,} on",
        *(f"bias\N{SUPERSCRIPT TWO} / distance\N{SUPERSCRIPT TWO} at n = {n}" for n in sizes),
        f"bias / fluctuation at n = {sizes[-1]}, at most",
        "solver / distance",
    )
    return Tabulated("The distance at larger n, and what it is made of", headings, lines)


def _slice_table(measured: xr.Dataset, axis: str) -> Tabulated:
    """Exponents of each slice, by names that `analysis.rates_along.rates_with_slices` gives."""
    by = f"{BY}{axis}"
    lines = []
    for name, position in product(measured.observable.values.tolist(), range(measured.sizes[axis])):
        here = measured.sel(observable=name).isel({axis: position})
        if int(here[f"overall_reason{by}"]) == 0:
            value = _iterations(here) if axis == "window" else _text(here[axis].item())
            lines.append((title_of(name), value, *_three(here, by)))
    words = "iteration" if axis == "window" else axis.replace("_", " ")
    return Tabulated(f"Exponents by {words}", ("observable", words, "distance", "fluctuation", "bias"), lines)


def _iterations(window: xr.Dataset) -> str:
    begin, end = int(window.begin), int(window.end)
    return str(begin) if begin == end else f"{begin} to {end}"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell_table(measured: xr.Dataset, axes: Sequence[str]) -> Tabulated:
    lines = []
    for name, *values in product(measured.observable.values.tolist(), *(measured[a].values.tolist() for a in axes)):
        one = measured.sel(observable=name, part="distance", **dict(zip(axes, values, strict=True))).squeeze()
        if not np.isfinite(one.cell_exponent):
            continue
        text = number_text(float(one.cell_exponent))
        interval = interval_text(float(one.cell_exponent_low), float(one.cell_exponent_high))
        lines.append((title_of(name), *map(_text, values), text, interval))
    return Tabulated("Exponents of the distance by grid cell", ("observable", *axes, "exponent", "interval"), lines)


def rates_figure(measured: xr.Dataset) -> Figure:
    """Draw distance to theory against n in log-log, one panel for each observable.

    Points are grid cells, root-mean-square over the iterations that have an exponent (over all, where fresh data hide
    the fluctuation and none has), with standard errors; solid lines are the fit with one slope for the panel, the
    dotted one the n^-1/2 guide, dashed grey ones the solver's own error.

    Parameters
    ----------
    measured : Dataset
        From `analysis.rates`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = measured.observable.values.tolist()
    figure, rows = style.small_multiples(len(names))
    shown, left_out = style.shown_cells(style.cells(measured["reason"], extra=("observable",)))
    for ax, name in zip((ax for row in rows for ax in row), names, strict=True):
        _panel(ax, measured.sel(observable=name), name, shown)
    style.label_edges(rows, "samples n", "distance to theory")
    style.title(figure, "Distance between simulation and theory as n grows", left_out)
    handles = [
        *style.keys((style.cell_words(cell) or "replicates" for cell in shown), ls=""),
        Line2D([], [], color="black", lw=1.6, label="fit, common slope"),
        Line2D([], [], color="black", lw=1.2, ls=(0, (1, 2)), label="guide n$^{-1/2}$"),
    ]
    if bool((measured.overall_solver_ratio >= BELOW).any()):
        handles.append(Line2D([], [], color=style.GREY, lw=1.2, ls="--", label="solver's own error"))
    style.legend(figure, handles, columns=4)
    return figure


def _panel(ax: Axes, one: xr.Dataset, name: str, cells: Sequence[Mapping[Hashable, Any]]) -> None:
    whole = one.sel(part="distance")
    slope = float(whole.overall_exponent)
    n = one.n.values.astype(float)
    levels: list[np.ndarray] = []
    for cell, (colour, marker) in zip(cells, style.styles(len(cells)), strict=True):
        here = _drawn(one.sel(cell))
        distance, error = _over_iterations(here.distance, here.distance_stderr)
        if not np.isfinite(distance).any():
            continue
        levels.append(distance)
        ax.errorbar(n, distance, error, color=colour, marker=marker, ms=4.5, lw=0, elinewidth=1, capsize=0, zorder=3)
        if np.isfinite(slope):
            ax.plot(n, _line(n, distance, error, slope), color=colour, lw=1.4, zorder=2)
        solver = np.sqrt((here.solver_error**2).mean("iteration").values)
        if float(one.overall_solver_ratio) >= BELOW:
            ax.plot(n, solver, color=style.GREY, lw=1.2, ls="--", zorder=1)
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
    style.plain(ax)
    style.sizes_on_axis(ax, n)


def _drawn(cell: xr.Dataset) -> xr.Dataset:
    """Iterations to draw: those that have an exponent, or else those whose exponent fresh data hide."""
    fitted, hidden = (cell.reason == code for code in (0, HIDDEN))
    return cell.where(fitted if bool(fitted.any()) else hidden)


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


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    if simulation.sizes.get("n", 1) < LEAST_SIZES:
        return f"fewer than {LEAST_SIZES} values of n"
    if simulation.sizes.get("replicate", 1) < 2:
        return "fewer than 2 replicates"
    return None


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    figures = [Captioned("rates", rates_figure(measured), CAPTION)]
    if bool(measured.bias_exponent.notnull().any()):
        figures.append(Captioned("rates_bias", bias_figure(measured), BIAS_CAPTION))
    return figures


SECTION = Section(
    "rates",
    "How fast does gradient descent approach its state evolution?",
    _unanswerable,
    rates_with_slices,
    _findings,
    _figures,
    _tables,
    sums_up=True,
)
