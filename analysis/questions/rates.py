"""How fast gradient descent approaches its state evolution."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.answers import style
from analysis.answers.finding import EXTENSION, PAPER, Claim, Finding, Lack, Verdict, judge, lacking
from analysis.answers.needs import at_least
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_values, cell_words, cells, exponent_texts, interval_text, number_text, title_of
from analysis.questions.bias import (
    bias_figure,
    bias_finding,
    bias_text,
    bias_verdict,
    constants_table,
    shows_bias,
)
from analysis.statistics.arguments import measure
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.intervals import ENDS, Interval
from analysis.statistics.loglog import power_line
from analysis.statistics.power_law import Exponents
from analysis.statistics.rates import REASONS, rates
from analysis.statistics.rates_along import BY, rates_with_slices
from sedyn.model.problem import DEFAULTS

__all__ = ["SECTION", "rate_finding", "rates_figure", "rates_table", "verdict"]

HIDDEN = REASONS.index("hidden by the error of the average over fresh data")
EXPECTED = -0.5
SOURCES = {
    "train_error": (PAPER, "predicted-errors"),
    "test_error": (PAPER, "predicted-errors"),
    "train_error_rate": (EXTENSION, "softmax"),
    "test_error_rate": (EXTENSION, "softmax"),
    "signal_overlap": (PAPER, "predicted-overlaps"),
    "row_average": (EXTENSION, "row-averages"),
    "deep_weights": (PAPER, "deep-weights"),
    "biases": (EXTENSION, "layers"),
    "init_coefficient": (PAPER, "init-coefficient"),
    "signal_coefficient": (PAPER, "signal-coefficient"),
}
"""Who predicts what runs are compared with, and by which equation of docs/theory.md."""
BELOW = 0.25
"""How far below the smallest distance the axis goes."""

_CAPTION = (
    "Points: root-mean-square distance of a replicate from theory, over replicates, entries and those iterations that "
    "have an exponent; bars: its standard error. Solid lines: fit with one slope for the panel. Dotted: n to the power "
    "-1/2. Dashed grey: the standard error of the theory's own solver."
)


def verdict(measured: xr.Dataset, observable: str) -> tuple[Verdict, str]:
    """Say whether an observable approaches theory like n^-1/2.

    Parameters
    ----------
    measured : Dataset
        From `analysis.statistics.rates`, on (observable, part, ...).
    observable : str
        Which row.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    row = measured.sel(observable=observable)
    distance, fluctuation = (
        Exponents.of(row.sel(part=part), "overall_exponent") for part in ("distance", "fluctuation")
    )
    if int(row.overall_reason) != 0:
        return "undecided", f"no exponent: {REASONS[int(row.overall_reason)]}"
    if not np.isfinite(distance.whole).all():
        return "undecided", "no interval: too few replicates"
    if np.isnan(row.overall_solver_ratio):
        return "undecided", "the solver's own error is not known"
    if not bool(row.overall_solver_negligible):
        return "undecided", "the solver's own error is not negligible"
    if bias_verdict(measured, observable)[0] == "fails":
        return "fails", "the bias falls more slowly than runs fluctuate, so over these n they do not approach theory"
    start = float(row.larger_from)
    kind, words = judge(distance, EXPECTED, start)
    if distance.whole.side(EXPECTED) < 0 and kind != "holds":
        # A bias that falls faster makes the distance do so until the fluctuation is left alone; that one is the claim.
        kind, alone = judge(fluctuation, EXPECTED, start)
        words = f"faster than n^-1/2 over these n; the fluctuation alone is {alone}"
    return kind, words


def rate_finding(
    measured: xr.Dataset, observable: str, subject: str = "", more: str = "", source: tuple[str, str] | None = None
) -> Finding:
    """Give the verdict on one observable with its exponent.

    Parameters
    ----------
    measured : Dataset
        From `analysis.statistics.rates`, on (observable, part, ...).
    observable : str
        Which row.
    subject : str
        What the finding is about; the observable unless given.
    more : str
        What follows the sentence.
    source : tuple of (source, label), optional
        Of the claim (`analysis.answers.finding.Claim`); that of the observable unless given.

    Returns
    -------
    Finding
    """
    kind, sentence = verdict(measured, observable)
    exponent = Interval.of(measured.sel(observable=observable, part="distance"), "overall_exponent")
    claim = Claim("-1/2", *(source or SOURCES[observable]))
    finding = Finding(subject or title_of(observable), kind, sentence + more, "exponent", *exponent, claim=claim)
    return finding._replace(lack=_lack(measured, observable)) if kind == "undecided" else finding


def _lack(measured: xr.Dataset, observable: str) -> Lack:
    """What would decide: samples of theory where its own error is in the way, which falls like their root."""
    row = measured.sel(observable=observable)
    if int(row.overall_reason) != 0 or np.isnan(row.overall_solver_ratio):
        return Lack()
    cells = {str(axis): row[axis].item() for axis in row.coords if axis in DEFAULTS and row[axis].ndim == 0}
    if not bool(row.overall_solver_negligible):
        excess = float(row.overall_solver_ratio) / measured.attrs["solver_tolerance"]
        return Lack(cells=cells, samples=max(excess**2, 1.0))
    distance, fluctuation = (
        Exponents.of(row.sel(part=part), "overall_exponent") for part in ("distance", "fluctuation")
    )
    deciding = fluctuation if distance.whole.side(EXPECTED) < 0 else distance
    return lacking(deciding, EXPECTED, row.n.values)._replace(cells=cells)


def _findings(measured: xr.Dataset) -> list[Finding]:
    names = measured.observable.values.tolist()
    fitted = [name for name in names if int(measured.overall_reason.sel(observable=name)) == 0]
    biases = fitted if shows_bias(measured) else []
    return [*(rate_finding(measured, name) for name in names), *(bias_finding(measured, name) for name in biases)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    axes = [str(name).removeprefix(f"overall_reason{BY}") for name in measured if f"reason{BY}" in str(name)]
    grid = [axis for axis in axes if axis in measured.dims and axis != "window"]
    return [
        rates_table(measured),
        _share_table(measured),
        *constants_table(measured),
        *(_slice_table(measured, axis) for axis in axes),
        *([_cell_table(measured, grid)] if len(grid) > 1 else []),
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
    distance, fluctuation = (_plus_minus(one, "overall_exponent", by, part) for part in ("distance", "fluctuation"))
    return distance, fluctuation, bias_text(one, by)


def _plus_minus(one: xr.Dataset, name: str, by: str = "", part: str = "distance") -> str:
    """Write an exponent with half its interval."""
    value, _, high = Interval.of(one.sel(part=part), name, by)
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
                _plus_minus(one, "overall_larger_exponent"),
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
    """Exponents of each slice, by names that `rates_with_slices` gives."""
    by = f"{BY}{axis}"
    lines = []
    measured = measured[[variable for variable in measured.data_vars if str(variable).endswith(by)]]
    for name, position in product(measured.observable.values.tolist(), range(measured.sizes[axis])):
        here = measured.sel(observable=name).isel({axis: position})
        if int(here[f"overall_reason{by}"]) == 0:
            value = _iterations(here) if axis == "window" else cell_values({axis: here[axis].item()})[0]
            lines.append((title_of(name), value, *_three(here, by)))
    words = "iteration" if axis == "window" else title_of(axis)
    return Tabulated(f"Exponents by {words}", ("observable", words, "distance", "fluctuation", "bias"), lines)


def _iterations(window: xr.Dataset) -> str:
    begin, end = int(window.begin), int(window.end)
    return str(begin) if begin == end else f"{begin} to {end}"


def _cell_table(measured: xr.Dataset, axes: Sequence[str]) -> Tabulated:
    lines = []
    measured = measured[[f"cell_exponent{end}" for end in ENDS]]
    for name, *values in product(measured.observable.values.tolist(), *(measured[a].values.tolist() for a in axes)):
        cell: dict[Hashable, Any] = dict(zip(axes, values, strict=True))
        one = Interval.of(measured.sel(cell | {"observable": name, "part": "distance"}).squeeze(), "cell_exponent")
        if np.isfinite(one.value):
            lines.append((title_of(name), *cell_values(cell), *exponent_texts(one)))
    return Tabulated("Exponents of the distance by grid cell", ("observable", *axes, "exponent", "interval"), lines)


@measure()
def rates_figure(measured: xr.Dataset, title: str = "Distance between simulation and theory as n grows") -> Figure:
    """Draw distance to theory against n in log-log, one panel for each observable.

    Points are grid cells, root-mean-square over the iterations that have an exponent (over all, where fresh data hide
    the fluctuation and none has), with standard errors; solid lines are the fit with one slope for the panel, the
    dotted one the n^-1/2 guide, dashed grey ones the solver's own error.

    Parameters
    ----------
    measured : Dataset
        From `analysis.statistics.rates`, on (observable, grid axes..., n, iteration, ...).
    title : str
        What stands above the panels.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = measured.observable.values.tolist()
    panels = style.Panels(len(names))
    shown, left_out = style.shown_cells(cells(measured["reason"], extra=("observable",)))
    for ax, name in zip(panels.axes, names, strict=True):
        _panel(ax, measured.sel(observable=name), name, shown)
    handles = [
        *style.keys((cell_words(cell) or "replicates" for cell in shown), ls=""),
        style.key("fit, common slope", color="black", lw=1.6),
        style.key("guide n$^{-1/2}$", **style.GUIDE),
    ]
    if bool((measured.overall_solver_ratio >= BELOW).any()):
        handles.append(style.key("solver's own error", **style.SOLVER))
    return panels.finish(title, "samples n", "distance to theory", handles, columns=4, left_out=left_out)


def _panel(ax: Axes, one: xr.Dataset, name: str, shown: Sequence[Mapping[Hashable, Any]]) -> None:
    exponent = Interval.of(one.sel(part="distance"), "overall_exponent")
    ratio = float(one.overall_solver_ratio)
    n = one.n.values.astype(float)
    levels: list[np.ndarray] = []
    drawn = one[["reason", "distance", "distance_stderr", "solver_error"]]
    for cell, look in zip(shown, style.styles(len(shown)), strict=True):
        here = _drawn(drawn.sel(cell))
        distance, error = _over_iterations(here.distance, here.distance_stderr)
        if not np.isfinite(distance).any():
            continue
        levels.append(distance)
        style.points(ax, n, distance, error, *look)
        if np.isfinite(exponent.value):
            weight = np.where(error > 0, (distance / np.where(error > 0, error, 1)) ** 2, 0.0)
            ax.plot(n, power_line(n, distance, exponent.value, weight), color=look[0], lw=1.4, zorder=2)
        if ratio >= BELOW:
            ax.plot(n, np.sqrt((here.solver_error**2).mean("iteration").values), **style.SOLVER)
    ax.set_yscale("log")
    if levels:
        seen = np.isfinite(levels).any(0)
        highest, lowest = np.nanmax(np.array(levels)[:, seen], 0), np.nanmin(np.array(levels)[:, seen])
        guide = np.sqrt(1 / n)
        guide *= 1.5 * np.max(highest / guide[seen])
        ax.plot(n, guide, **style.GUIDE)
        # A solver's error far below the distances is said in words: drawn, it would flatten everything else.
        ax.set_ylim(lowest * BELOW, 1.4 * guide.max())
        if ratio < BELOW:
            words = f"solver's own error: {ratio:.2g} of the smallest distance"
            ax.text(0.03, 0.04, words, transform=ax.transAxes, fontsize=8.5, color="#555555")
    fitted = np.isfinite(exponent.value)
    words = f"exponent {exponent.value:+.3f}  {interval_text(exponent)}" if fitted else "no exponent"
    style.plain(ax, f"{title_of(name)}: {words}")
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


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    biased = bool(measured.bias_exponent.notnull().any())
    return [Captioned("rates", rates_figure(measured), _CAPTION), *([bias_figure(measured)] if biased else [])]


SECTION = Section(
    name="rates",
    question="How fast does gradient descent approach its state evolution?",
    needs=(at_least(LEAST_SIZES, "n"), at_least(2, "replicate")),
    measure=rates_with_slices,
    findings=_findings,
    figures=_figures,
    tables=_tables,
    presumes=True,
    judged=rates,
)
