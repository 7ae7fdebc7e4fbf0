"""Whether predicted bands contain what they should: asked of every store with laws, so no experiment has the name."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.answers import style
from analysis.answers.finding import EXTENSION, PAPER, Claim, Finding, Lack, Verdict
from analysis.answers.needs import at_least, laws
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_words, cells
from analysis.statistics.coverage import LAWS, LEAST_REPLICATES, NEEDED, coverage
from analysis.statistics.datasets import LEAST_SIZES

__all__ = ["MARGINS", "PARTS", "SECTION"]

PARTS = {
    "row_residual": "rows",
    "pre_activation": "pre-activations",
    "train_error": "train error",
    "test_error": "test error",
}
MARGINS = {"row_residual": 0.02, "pre_activation": 0.02, "train_error": 0.1, "test_error": 0.1}
"""Deviation from the nominal level that is let pass: of an error, a run has but one to count."""
CLAIMS = {
    "row_residual": Claim("0", PAPER, "law-of-rows"),
    "pre_activation": Claim("0", PAPER, "law-of-pre-activations"),
    "train_error": Claim("0", EXTENSION, "decomposition"),
    "test_error": Claim("0", EXTENSION, "decomposition"),
}
SHOWN = 0.8
"""Nominal level of the band that is shown against n, cell by cell."""
FADING = 0.25
"""A deviation that falls at least like this power of 1/n is nearer to n^-1/2 than to one that stays."""


def _finding(one: xr.Dataset, name: str) -> Finding:
    """Judge all bands of a part by the one that misses its nominal level by most."""
    judged = one[[f"judged_coverage{end}" for end in ("", "_low", "_high")]].dropna("nominal")
    subject, start = f"bands for {PARTS[name]}", int(one["judged_from"])
    if not judged.sizes["nominal"]:
        return Finding(subject, "undecided", "too few draws, or runs, to count what is inside")
    missed = judged - judged["nominal"]
    worst = missed.isel(nominal=int(np.argmax(abs(missed["judged_coverage"].values))))
    numbers = [100 * float(worst[f"judged_coverage{end}"]) for end in ("", "_low", "_high")]
    low, high, margin = missed["judged_coverage_low"], missed["judged_coverage_high"], MARGINS[name]
    where = f"at n = {start:,}" if name in LAWS else f"from n = {start:,} on"
    within = f"within {100 * margin:.0f} points of its nominal level"
    answer: Verdict = "undecided"
    if bool(((low > -margin) & (high < margin)).all()):
        answer, words = "holds", f"{where} every band contains its share, {within}"
    elif not bool(((low > margin) | (high < -margin)).any()):
        words = f"{where} not every band is shown to be {within}"
    elif name in LAWS and _fades(one, float(worst["nominal"])):
        words = f"{where} not every band is {within} yet, and what is missing fades as n grows"
    else:
        answer, words = "fails", f"{where} a band is not {within}"
    words += f"; furthest off is the {_percent(worst['nominal'])} band"
    lack = (
        _lack(missed, margin, [n for n in one["n"].values.tolist() if n >= start]) if answer == "undecided" else Lack()
    )
    value, least, most = numbers
    return Finding(subject, answer, words, "coverage minus nominal, points", value, least, most, CLAIMS[name], lack)


def _lack(missed: xr.Dataset, margin: float, sizes: list[int]) -> Lack:
    """What would bring the interval of every band inside the margin, or that of one outside."""
    value = abs(missed["judged_coverage"].values)
    half = (missed["judged_coverage_high"] - missed["judged_coverage_low"]).values / 2
    outside, inside = value > margin, half / np.maximum(margin - value, 1e-9)
    factor = float((half / (value - margin))[outside].min() if outside.any() else inside.max()) ** 2
    return Lack(max(factor, 1.0), dict.fromkeys(sizes, 1.0))


def _fades(one: xr.Dataset, nominal: float) -> bool:
    """Whether the deviation at the largest n is what a falling one would be, from the smallest n that has the band."""
    missed = abs(one["overall_coverage"].sel(nominal=nominal) - nominal).dropna("n")
    n = missed["n"].values.astype(float)
    return n.size > 1 and bool(missed[-1] <= missed[0] * (n[0] / n[-1]) ** FADING)


def _percent(nominal: xr.DataArray | float) -> str:
    return f"{100 * float(nominal):.0f}%"


def _points(value: float, stderr: float) -> str:
    return f"{100 * value:+.1f} \N{PLUS-MINUS SIGN} {200 * stderr:.1f}" if np.isfinite([value, stderr]).all() else "-"


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    largest, iterations = measured.isel(n=-1), measured["iteration"].values
    at = f"at n = {int(largest['n']):,}"
    by_size = {f"{int(n):,}": measured.sel(n=n) for n in measured["n"].values}
    by_iteration = {str(t): largest.sel(iteration=t) for t in iterations}
    by_cell = {cell_words(cell): largest.sel(cell) for cell in _grid(measured)}
    tables = [
        _table("Coverage minus nominal level, in points, with two standard errors", "n", "overall_coverage", by_size),
        _table(f"The same by iteration, {at}", "iteration", "iteration_coverage", by_iteration),
    ]
    if len(by_cell) > 1:
        tables.append(_table(f"The same by grid cell, {at}", "cell", "coverage", by_cell))
    return tables


def _table(title: str, heading: str, name: str, places: dict[str, xr.Dataset]) -> Tabulated:
    lines = []
    for part, words in PARTS.items():
        for place, here in places.items():
            one = here.sel(part=part)
            missed = (one[name] - one["nominal"]).values
            lines.append((words, place, *map(_points, missed, one[f"{name}_stderr"].values)))
    levels = [f"{_percent(level)} band" for level in next(iter(places.values()))["nominal"].values]
    return Tabulated(title, ("bands for", heading, *levels), lines)


def _grid(measured: xr.Dataset) -> list[dict[Hashable, Any]]:
    return cells(measured["coverage"], extra=("part", "nominal"))


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    return [_levels_figure(measured), _sizes_figure(measured)]


def _levels_figure(measured: xr.Dataset) -> Captioned:
    sizes, nominal = measured["n"].values, 100 * measured["nominal"].values

    def draw(ax: Axes, one: xr.Dataset) -> None:
        for k, (n, look) in enumerate(zip(sizes, style.styles(len(sizes)), strict=True)):
            beside = nominal + 0.5 * (k - (len(sizes) - 1) / 2)  # so that bars do not hide each other
            missed, error = (one[f"overall_coverage{end}"].sel(n=n) for end in ("", "_stderr"))
            style.points(ax, beside, 100 * missed - nominal, 200 * error, *look, ms=4, lw=1)

    handles = style.keys(f"n = {int(n):,}" for n in sizes)
    figure = _drawn(measured, draw, "Coverage of predicted bands", "nominal level, %", handles)
    caption = (
        "Share of what a run shows that is inside the predicted band, minus the band's nominal level; mean over "
        "replicates, units, cells and iterations after the first, bars: two standard errors. A band for rows or "
        "pre-activations lies between two quantiles of the law that theory predicts. A band for an error is theory -+ "
        "the predicted scatter of runs, or, where none is stored, that at the next smaller n, scaled by n^-1/2. Below "
        "zero a band is too narrow, or off. Shaded: what a verdict lets pass. Levels of one n share their runs and "
        "move together."
    )
    return Captioned("coverage", figure, caption)


def _sizes_figure(measured: xr.Dataset) -> Captioned:
    shown, left_out = style.shown_cells(_grid(measured))
    n = measured["n"].values.astype(float)

    def draw(ax: Axes, part: xr.Dataset) -> None:
        for k, (cell, look) in enumerate(zip(shown, style.styles(len(shown)), strict=True)):
            one = part.sel(nominal=SHOWN, **{str(axis): value for axis, value in cell.items()})
            beside = n * 1.04 ** (k - (len(shown) - 1) / 2)
            missed, error = 100 * (one["coverage"] - SHOWN), 200 * one["coverage_stderr"]
            style.points(ax, beside, missed, error, *look, ms=4, lw=1)
        style.sizes_on_axis(ax, n)

    handles = style.keys(cell_words(cell) or "runs" for cell in shown)
    title = f"Coverage of the {_percent(SHOWN)} bands as n grows"
    figure = _drawn(measured, draw, title, "samples n", handles, left_out)
    caption = (
        "The same for one nominal level against n, for each cell of the grid. A run's own coefficients differ from "
        "theory's, which adds to the scatter of its rows, the less the larger n."
    )
    return Captioned("coverage_sizes", figure, caption)


def _drawn(
    measured: xr.Dataset,
    draw: Callable[[Axes, xr.Dataset], None],
    title: str,
    x: str,
    handles: list[Any],
    left_out: int = 0,
) -> Figure:
    """One panel for each part, with the nominal level and what a verdict lets pass."""
    panels = style.Panels(len(PARTS), 2, width=4.2, height=2.5, sharey="row")
    for ax, name in zip(panels.axes, PARTS, strict=True):
        draw(ax, measured.sel(part=name))
        ax.axhline(0, **style.GUIDE)
        ax.axhspan(-100 * MARGINS[name], 100 * MARGINS[name], color=style.GREY, alpha=0.15, lw=0, zorder=0)
        style.plain(ax, f"bands for {PARTS[name]}")
    handles = [*handles, style.key("nominal level", **style.GUIDE)]
    return panels.finish(title, x, "coverage minus nominal, points", handles, columns=6, left_out=left_out)


SECTION = Section(
    name="coverage",
    question="Do predicted bands contain what they should?",
    needs=(laws(*NEEDED), at_least(LEAST_SIZES, "n"), at_least(LEAST_REPLICATES, "replicate")),
    measure=coverage,
    findings=lambda measured: [_finding(measured.sel(part=name), name) for name in PARTS],
    figures=_figures,
    tables=_tables,
)
