"""Whether runs scatter around theory as theory predicts, and what every single run says of it."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from analysis.answers import style
from analysis.answers.finding import CERTAIN, EXTENSION, HOLDING, Claim, Finding, Lack, Verdict, within
from analysis.answers.needs import at_least, fluctuations
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_values, cell_words, cells, title_of
from analysis.statistics.fluctuations import LEAST_REPLICATES
from analysis.statistics.fluctuations import fluctuations as measure
from analysis.statistics.intervals import Interval

__all__ = ["SECTION"]

MARGIN = 0.05
"""Of a ratio of standard deviations: what one is told from."""
SHARE, SHARE_MARGIN = 0.05, 0.03
"""Share of single runs that are refused where theory is right, and what it is told from."""
FADING = 0.5
"""A share that is off by less than this part of what it is at the smallest n fades as n grows."""
LEAST_P_VALUE = 1e-3
"""Of uniform p-values: a page has several such tests."""
CLAIM = Claim("1", EXTENSION, "fluctuation-covariance")
OF_RUNS = Claim("0.05", EXTENSION, "single-run-test")


def _findings(measured: xr.Dataset) -> list[Finding]:
    ratios = [_of_scatter(measured.sel(observable=name), name) for name in measured["observable"].values.tolist()]
    return ratios + [_of_runs(measured.sel(error=name), name) for name in measured["error"].values.tolist()]


def _of_scatter(one: xr.Dataset, name: str) -> Finding:
    """Judge the constant of one observable: a false one is off at the largest n and without what small n add."""
    constant, largest = Interval.of(one, "constant"), Interval.of(one.isel(n=-1), "overall_ratio")
    subject, n = f"scatter of {title_of(name)}", int(one["n"][-1])
    if not np.isfinite([*constant, *largest]).all():
        return Finding(subject, "undecided", "too few runs, or nothing varies")
    side = largest.side(1.0)
    off, half = max(abs(constant.value - 1), abs(largest.value - 1)), (constant.high - constant.low) / 2
    factor = np.nan
    answer: Verdict = "undecided"
    if side and side == constant.wider(CERTAIN).side(1.0):
        answer, words = "fails", f"{'more' if side > 0 else 'less'} than predicted, at n = {n:,} as well"
    elif within(constant, 1.0, MARGIN) or (within(largest, 1.0, MARGIN) and not constant.side(1.0)):
        answer, words = "holds", f"as predicted within {100 * MARGIN:.0f} % as n grows"
    elif side and not constant.side(1.0):
        words = f"not yet as predicted at n = {n:,}, and what is missing falls like 1/n"
    else:
        words = "consistent with the prediction, but the interval is wide"
        factor = _lacking(off, half, MARGIN)
    return Finding(
        subject, answer, words, "measured over predicted", *constant, claim=CLAIM, lack=Lack(factor, {n: 1.0})
    )


def _of_runs(one: xr.Dataset, name: str) -> Finding:
    """Judge the tests of single runs at the largest n."""
    subject = f"single runs, {title_of(name)}"
    last, first = one.isel(n=-1), one.isel(n=0)
    n, interval = int(last["n"]), Interval.of(last, "refused")
    if not np.isfinite(interval).all():
        return Finding(subject, "undecided", "no run could be tested")
    uniform = float(last["uniform"])
    words = f"at n = {n:,} their p-values are {'' if uniform > LEAST_P_VALUE else 'not '}uniform (p = {uniform:.2g})"
    off, half = abs(interval.value - SHARE), (interval.high - interval.low) / 2
    answer: Verdict = "undecided"
    if interval.wider(CERTAIN).side(SHARE) and uniform < LEAST_P_VALUE:
        if one.sizes["n"] > 1 and abs(interval.value - SHARE) < FADING * abs(float(first["refused"]) - SHARE):
            words += ", and what is missing fades as n grows"
        else:
            answer = "fails"
    elif within(interval, SHARE, SHARE_MARGIN) and uniform > LEAST_P_VALUE:
        answer = "holds"
    lack = Lack(_lacking(off, half, SHARE_MARGIN), {n: 1.0}) if answer == "undecided" else Lack()
    return Finding(subject, answer, words, "share refused at level 0.05", *interval, claim=OF_RUNS, lack=lack)


def _lacking(off: float, half: float, margin: float) -> float:
    """Times as many runs for a number to be `within` a margin: by how much it is off, and half of its interval."""
    return max((HOLDING * half / (margin - off)) ** 2, 1.0) if off < margin else np.nan


def _ratio_text(interval: Interval) -> str:
    known = np.isfinite(interval).all()
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]" if known else "-"


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    names, sizes = measured["observable"].values.tolist(), measured["n"].values.tolist()
    at = [f"n = {int(n):,}" for n in sizes]
    lines = [
        (
            title_of(name),
            *(_ratio_text(Interval.of(measured.sel(observable=name, n=n), "overall_ratio")) for n in sizes),
            _ratio_text(Interval.of(measured.sel(observable=name), "constant")),
        )
        for name in names
    ]
    title = "Measured over predicted standard deviation, over all cells and iterations"
    tables = [Tabulated(title, ("observable", *at, "as n grows"), lines)]
    largest = measured.isel(n=-1)
    steps = measured["iteration"].dropna("iteration").values.tolist()
    by_step = [
        (title_of(name), *(f"{float(largest['iteration_ratio'].sel(observable=name, iteration=t)):.3f}" for t in steps))
        for name in names
    ]
    tables.append(Tabulated(f"The same by iteration, {at[-1]}", ("observable", *map(str, steps)), by_step))
    grid = cells(measured["ratio"], extra=("observable",))
    if len(grid) > 1:
        by_cell = [
            (title_of(name), *cell_values(cell), f"{float(largest['ratio'].sel(observable=name).sel(cell)):.3f}")
            for name in names
            for cell in grid
        ]
        axes = [str(axis) for axis in grid[0]]
        tables.append(Tabulated(f"The same by grid cell, {at[-1]}", ("observable", *axes, "ratio"), by_cell))
    apart = [
        (title_of(name), *(_correlations(measured.sel(observable=name, n=n)) for n in sizes))
        for name in names
        if bool(measured["correlation_difference"].sel(observable=name).notnull().any())
    ]
    title = (
        "Correlations between iterations: root mean square difference from predicted ones, what chance makes, and "
        "p-value of the largest"
    )
    tables.append(Tabulated(title, ("observable", *at), apart))
    tested = [(title_of(name), at[k], *_tests(measured.sel(error=name).isel(n=k)))
              for name in measured["error"].values.tolist() for k in range(len(sizes))]  # fmt: skip
    headings = [f"inside the {100 * nominal:.0f} % band" for nominal in measured["nominal"].values]
    title = "Single runs against theory: p-values of each over all iterations, and z-scores against bands"
    columns = ("runs of", "n", "refused at 0.05", "p-value of uniformity", "smallest p-value", *headings)
    tables.append(Tabulated(title, columns, tested))
    return tables


def _correlations(one: xr.Dataset) -> str:
    found, noise, p_value = (float(one[f"correlation_{end}"]) for end in ("difference", "noise", "p_value"))
    return f"{found:.3f}, {noise:.3f}, {p_value:.2g}"


def _tests(one: xr.Dataset) -> tuple[str, ...]:
    inside = (f"{100 * float(share):.1f} %" for share in one["coverage"].values)
    smallest = float(one["p_value"].min())
    return (f"{float(one['refused']):.3f}", f"{float(one['uniform']):.2g}", f"{smallest:.1g}", *inside)


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    return [_ratio_figure(measured), _p_value_figure(measured)]


def _ratio_figure(measured: xr.Dataset) -> Captioned:
    names = measured["observable"].values.tolist()
    shown, left_out = style.shown_cells(cells(measured["ratio"], extra=("observable",)))
    n = measured["n"].values.astype(float)
    panels = style.Panels(len(names), 3, width=3.0, height=2.3, sharey=True)
    for ax, name in zip(panels.axes, names, strict=True):
        one = measured.sel(observable=name)
        for cell, (colour, marker) in zip(shown, style.styles(len(shown)), strict=True):
            ax.plot(n, one["ratio"].sel(cell).values, color=colour, marker=marker, ms=4, lw=0.8)
        overall = Interval.of(one, "overall_ratio")
        ax.fill_between(n, overall.low, overall.high, color="black", alpha=0.15, lw=0)
        ax.axhline(1, **style.GUIDE)
        style.plain(ax, title_of(name))
        style.sizes_on_axis(ax, n)
    handles = style.keys(cell_words(cell) or "runs" for cell in shown)
    handles.append(style.key("all cells, interval", color="black", alpha=0.2, lw=8))
    title = "Scatter of runs over the scatter that theory predicts"
    figure = panels.finish(title, "samples n", "ratio of standard deviations", handles, columns=4, left_out=left_out)
    caption = (
        "Standard deviation of runs over the predicted constant times n^-1/2, root mean square over entries and "
        "iterations after the first; readout's own error is taken out. Shaded: all cells, with an interval by a "
        "bootstrap of whole replicates that includes the prediction's own error."
    )
    return Captioned("fluctuations", figure, caption)


def _p_value_figure(measured: xr.Dataset) -> Captioned:
    names = measured["error"].values.tolist()
    panels = style.Panels(len(names), 3, width=3.0, height=2.6, sharey=True)
    sizes = measured["n"].values

    def draw(ax: Axes, one: xr.Dataset) -> None:
        for n, (colour, _) in zip(sizes, style.styles(len(sizes)), strict=True):
            values = np.sort(one["p_value"].sel(n=n).values.ravel())
            values = values[np.isfinite(values)]
            ax.plot(values, (np.arange(len(values)) + 0.5) / max(len(values), 1), color=colour, lw=1.4)
        ax.plot([0, 1], [0, 1], **style.GUIDE)

    for ax, name in zip(panels.axes, names, strict=True):
        draw(ax, measured.sel(error=name))
        style.plain(ax, title_of(name))
    handles = style.keys(f"n = {int(n):,}" for n in sizes)
    figure = panels.finish("Every run tested by itself", "p-value", "share of runs below", handles, columns=6)
    caption = (
        "Share of runs whose p-value is below a value, of a test of all iterations of a run together against theory "
        "and its predicted covariance. Where theory is right it follows the diagonal."
    )
    return Captioned("single_runs", figure, caption)


SECTION = Section(
    name="fluctuations",
    question="Do runs scatter around theory as theory predicts?",
    needs=(fluctuations, at_least(LEAST_REPLICATES, "replicate")),
    measure=measure,
    findings=_findings,
    figures=_figures,
    tables=_tables,
    presumes=True,
)
