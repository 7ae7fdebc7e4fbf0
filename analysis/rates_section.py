"""The section on rates: what the measured exponents say, their tables and their figure."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.rates import LEAST_SIZES, REASONS, rates
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict
from analysis.style import interval_text, number_text, title_of

__all__ = ["SECTION", "rates_figure", "rates_table", "verdict"]

EXPECTED = -0.5
NEIGHBOURS = (-0.75, -0.25)
"""An interval that holds -1/2 decides only if it excludes the exponents half-way to 0 and to -1."""
DOMINANT = 0.5
"""Share of the squared distance at the largest n above which a bias is called dominant."""
BELOW = 0.25
"""How far below the smallest distance the axis goes."""

HEADINGS = ("observable", "exponent", "interval", "fluctuation", "bias share", "solver")
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
        return "undecided", "slower than n^-1/2 over these n; more replicates or larger n decide"
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
    return "undecided", f"{words}; so is the fluctuation alone" if high < EXPECTED else words


def _findings(measured: xr.Dataset) -> list[Finding]:
    return [_finding(measured, name) for name in measured.observable.values.tolist()]


def _finding(measured: xr.Dataset, name: str) -> Finding:
    whole = measured.sel(observable=name, part="distance")
    numbers = (float(whole[f"overall_exponent{suffix}"]) for suffix in ("", "_low", "_high"))
    return Finding(title_of(name), *verdict(measured, name), "exponent", *numbers)


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    return [rates_table(measured), _cell_table(measured)]


def rates_table(measured: xr.Dataset) -> Tabulated:
    """Tabulate one line for each observable, over all cells and iterations.

    `fluctuation` is the exponent of the standard deviation over replicates, `bias share` the squared bias over the
    squared distance at the smallest and the largest n, `solver` the solver's error over the distance.
    """
    headings = [f"{measured.attrs['level']:.0%} interval" if h == "interval" else h for h in HEADINGS]
    title = "Root-mean-square distance between simulation and theory ~ n^exponent"
    return Tabulated(title, headings, list(_rows(measured)))


def _rows(measured: xr.Dataset) -> Iterator[tuple[str, ...]]:
    for name in measured.observable.values.tolist():
        one = measured.sel(observable=name)
        distance, fluctuation = one.sel(part="distance"), one.sel(part="fluctuation")
        share = one.bias_share.values
        solver = float(one.overall_solver_ratio)
        flag = "" if bool(one.overall_solver_negligible) else " (large)"
        yield (
            title_of(name),
            number_text(float(distance.overall_exponent)),
            interval_text(float(distance.overall_exponent_low), float(distance.overall_exponent_high)),
            number_text(float(fluctuation.overall_exponent)),
            f"{share[0]:.0%}, {share[-1]:.0%}" if np.isfinite(share[[0, -1]]).all() else "-",
            f"{solver:.2%}{flag}" if np.isfinite(solver) else "-",
        )


def _cell_table(measured: xr.Dataset) -> Tabulated:
    axes = [str(d) for d in measured.reason.dims if d not in ("observable", "iteration")]
    lines = []
    for name, *values in product(measured.observable.values.tolist(), *(measured[a].values.tolist() for a in axes)):
        one = measured.sel(observable=name, part="distance", **dict(zip(axes, values, strict=True)))
        if not np.isfinite(one.cell_exponent):
            continue
        text = number_text(float(one.cell_exponent))
        interval = interval_text(float(one.cell_exponent_low), float(one.cell_exponent_high))
        lines.append((title_of(name), *(f"{v:g}" if isinstance(v, float) else str(v) for v in values), text, interval))
    return Tabulated("Exponents by grid cell", ("observable", *axes, "exponent", "interval"), lines)


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
    figure, rows = style.small_multiples(len(names))
    shown, left_out = style.shown_cells(style.cells(measured["reason"], extra=("observable",)))
    for ax, name in zip((ax for row in rows for ax in row), names, strict=True):
        _panel(ax, measured.sel(observable=name), name, shown)
    for ax in rows[-1]:
        ax.set_xlabel("samples n")
    for row in rows:
        row[0].set_ylabel("distance to theory")
    style.title(figure, "Distance between simulation and theory as n grows", left_out)
    handles = [
        *(
            Line2D([], [], color=c, marker=m, ms=5, ls="", label=style.cell_words(cell) or "replicates")
            for cell, (c, m) in zip(shown, style.styles(len(shown)), strict=True)
        ),
        Line2D([], [], color="black", lw=1.6, label="fit, common slope"),
        Line2D([], [], color="black", lw=1.2, ls=(0, (1, 2)), label="guide n$^{-1/2}$"),
    ]
    if bool((measured.overall_solver_ratio >= BELOW).any()):
        handles.append(Line2D([], [], color=style.GREY, lw=1.2, ls="--", label="solver's own error"))
    figure.legend(handles=handles, loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    return figure


def _panel(ax: Axes, one: xr.Dataset, name: str, cells: Sequence[Mapping[Hashable, Any]]) -> None:
    whole = one.sel(part="distance")
    slope = float(whole.overall_exponent)
    n = one.n.values.astype(float)
    levels: list[np.ndarray] = []
    for cell, (colour, marker) in zip(cells, style.styles(len(cells)), strict=True):
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


SECTION = Section(
    "rates",
    "How fast does gradient descent approach its state evolution?",
    _unanswerable,
    rates,
    _findings,
    lambda simulation, theory, measured: [Captioned("rates", rates_figure(measured), CAPTION)],
    _tables,
)
