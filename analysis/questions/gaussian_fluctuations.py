"""Whether first-layer rows are Gaussian with the predicted covariance, and pre-activations as predicted."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import PAPER, Claim, Finding, Lack, Verdict, judge, lacking, together
from analysis.answers.needs import at_least, laws
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_values, cell_words, cells, exponent_texts
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.gaussian_fluctuations import LEAST_REPLICATES, NEEDED, gaussian_fluctuations
from analysis.statistics.intervals import Interval
from analysis.statistics.loglog import power_line
from analysis.statistics.power_law import Exponents

__all__ = ["LAWS", "SECTION"]

EXPECTED = -0.5
AT_NULL = 1.05
"""Ratio to the null level up to which a distance is at it."""
MOST_COLUMNS = 4
LAWS = {
    "rows": "rows",
    "covariance": "covariance of the rows",
    "shape": "shape of the rows' law",
    "pre_activation": "pre-activations",
    "joint": "pre-activations times response",
}
_ROWS, _SAMPLES = Claim("-1/2", PAPER, "law-of-rows"), Claim("-1/2", PAPER, "law-of-pre-activations")
CLAIMS = {"rows": _ROWS, "covariance": _ROWS, "shape": _ROWS, "pre_activation": _SAMPLES, "joint": _SAMPLES}
METRICS = {"kolmogorov": "Kolmogorov", "wasserstein": "Wasserstein", "frobenius": "relative Frobenius"}
QUANTILES = {"rows": "row residuals, whitened", "pre_activation": "pre-activations"}
GRAVEST: tuple[Verdict, ...] = ("fails", "undecided", "holds")


def _grid(measured: xr.Dataset) -> list[dict[Hashable, Any]]:
    return cells(measured["exponent"], extra=("comparison",))


def _names(one: xr.Dataset) -> tuple[str, str]:
    """Law and distance of one comparison, in words."""
    return LAWS[str(one["law"].values)], METRICS[str(one["metric"].values)]


def _findings(measured: xr.Dataset) -> list[Finding]:
    grid = _grid(measured)
    one_by_one = sum(measured.sizes[axis] > 1 for axis in grid[0]) <= 1  # the cells of a larger grid are in the table
    found = []
    for law, words in LAWS.items():
        here = measured.isel(comparison=np.flatnonzero(measured["law"].values == law))
        if not here.sizes["comparison"]:
            continue
        for cell in grid if one_by_one else [None]:
            subject = ", ".join(filter(None, (words, cell_words(cell or {}))))
            each = [_finding(subject, here.isel(comparison=i), cell) for i in range(here.sizes["comparison"])]
            found.append(min(each, key=lambda finding: GRAVEST.index(finding.verdict)))
    return found


def _finding(subject: str, one: xr.Dataset, cell: Mapping[Hashable, Any] | None) -> Finding:
    """Judge one distance of a law in one cell, or in all together."""
    prefix, one = ("overall_", one) if cell is None else ("", one.sel(cell))
    exponents = Exponents.of(one, f"{prefix}exponent")
    exponent, widths = exponents.whole, together(one.attrs["together"])
    answer, words = judge(exponents, EXPECTED, float(one["larger_from"]), widths=widths)
    if exponent.side(EXPECTED) < 0 and exponents.larger.side(EXPECTED) <= 0:
        # The null level falls like n^-1/2, so this cannot go on.
        answer, words = "holds", "faster than n^-1/2 over these n, an excess over the null level that dies out"
    last = one.isel(n=-1)
    if answer != "holds" and np.isfinite(exponent.low) and float(last["doubt"].max()) > 1:
        answer, words = "undecided", f"{words}; the theory has too few samples to tell at the largest n"
    ratio = Interval.of(last, f"{prefix}ratio")
    if answer == "holds" and str(one["law"].values) == "shape" and ratio.low > AT_NULL:
        answer, words = "undecided", f"{words}, yet above the null level"
    if np.isfinite(ratio.value):
        numbers = f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        words += f"; at n = {int(last['n']):,} {numbers} times its null level"
    claim = CLAIMS[str(one["law"].values)]
    lack = lacking(exponents, EXPECTED, one["n"].values, widths=widths) if answer == "undecided" else Lack()
    lack = lack._replace(cells={str(axis): value for axis, value in (cell or {}).items()})
    return Finding(subject, answer, words, f"exponent, {_names(one)[1]} distance", *exponent, claim=claim, lack=lack)


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    grid = _grid(measured)
    exponents, levels = [], []
    for i in range(measured.sizes["comparison"]):
        for cell in grid:
            one = measured.isel(comparison=i).sel(cell)
            place = (*_names(one), *cell_values(cell))
            exponents.append((*place, *exponent_texts(Interval.of(one, "exponent"))))
            last = one.isel(n=-1)
            distance, ratio, least, most, doubt = (
                f"{float(last[name]):.3g}" if np.isfinite(last[name]) else "-"
                for name in ("distance", "ratio", "ratio_low", "ratio_high", "doubt")
            )
            levels.append((*place, distance, ratio, "-" if least == "-" else f"[{least}, {most}]", doubt))
    headings = ("law", "distance", *map(str, grid[0]))
    jointly = f"interval, all {measured.attrs['level']:.0%}"
    return [
        Tabulated(
            "Distance of empirical laws from the predicted ones ~ n^exponent; the intervals hold together",
            (*headings, "exponent", jointly),
            exponents,
        ),
        Tabulated(
            f"The same at n = {int(measured['n'][-1]):,}, its ratio to the null level, and at most what the theory's "
            "own error is in units of the null level",
            (*headings, "size", "ratio", jointly, "theory's error"),
            levels,
        ),
    ]


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    return [_distances_figure(measured), _quantiles_figure(measured)]


def _distances_figure(measured: xr.Dataset) -> Captioned:
    shown, left_out = style.shown_cells(_grid(measured))
    panels = style.Panels(measured.sizes["comparison"], 3, width=3.5, height=2.5, sharey=True)
    n = measured["n"].values.astype(float)
    for i, ax in enumerate(panels.axes):
        comparison = measured.isel(comparison=i)
        for cell, look in zip(shown, style.styles(len(shown)), strict=True):
            one = comparison.sel(cell)
            level = one["distance"].values
            style.points(ax, n, level, one["distance_stderr"], *look, ms=4)
            ax.plot(n, one["null"], **style.GUIDE | {"color": look[0]})
            slope = float(one["exponent"])
            if np.isfinite(slope):
                ax.plot(n, power_line(n, level, slope), color=look[0], lw=1.1)
        law, metric = _names(comparison)
        ax.set_yscale("log")
        style.plain(ax, f"{law}\n{metric} distance")
        style.sizes_on_axis(ax, n)
    handles = style.keys((cell_words(cell) or "simulation" for cell in shown), lw=1.1)
    handles.append(style.key("null level", **style.GUIDE | {"color": style.GREY}))
    title = "Distance of empirical laws from the predicted ones"
    figure = panels.finish(title, "samples n", "distance", handles, columns=4, left_out=left_out)
    caption = (
        "Points: mean over replicates, units and iterations; bars: bootstrap standard errors; solid: the fitted "
        "exponent. Dotted: the null level, what independent draws of the predicted law show on average at that size. "
        "Rows and their covariance may stay above it by a factor, since a run's own coefficients fluctuate by as much; "
        "their shape, standardized, may not."
    )
    return Captioned("gaussian_fluctuations", figure, caption)


def _quantiles_figure(measured: xr.Dataset) -> Captioned:
    shown, left_out = style.shown_cells(_grid(measured), MOST_COLUMNS)
    panels = style.Panels(2 * len(shown), len(shown), width=3.3, height=2.7, sharey="row")
    ends = ((0, style.COLOURS[1], "o"), (-1, style.COLOURS[0], "s"))
    for row, (part, words) in zip(panels.rows, QUANTILES.items(), strict=True):
        for ax, cell in zip(row, shown, strict=True):
            one = measured.sel(part=part, **{str(axis): value for axis, value in cell.items()})
            for end, *look in ends:
                at = one.isel(n=end)
                error = 2 * at["quantile_excess_stderr"]
                style.points(ax, at["normal_quantile"], at["quantile_excess"], error, *look, ms=3.5)
            ax.axhline(0, **style.GUIDE)
            style.plain(ax, ", ".join(filter(None, (words, cell_words(cell)))))
    handles = [
        style.key(f"n = {int(measured['n'][end]):,}", color=colour, marker=marker, ms=4, lw=1)
        for end, colour, marker in ends
    ]
    handles.append(style.key("predicted law", **style.GUIDE))
    title = "Q-Q plots at the last iteration, as differences from the diagonal"
    y = "quantile minus predicted"
    figure = panels.finish(title, "normal quantile", y, handles, columns=3, left_out=left_out)
    caption = (
        "Quantile of a run minus its average for as many draws of the predicted law, mean over units and replicates, "
        "against the normal quantile; bars: two standard errors. Neighbouring quantiles of a run move together. Heavy "
        "tails would show as an S, a wrong variance as a slope, a wrong mean as a shift. The slope of the rows falls "
        "like 1/n: deeper weights fluctuate, which widens the rows."
    )
    return Captioned("gaussian_fluctuations_quantiles", figure, caption)


SECTION = Section(
    name="gaussian_fluctuations",
    question="Are first-layer rows Gaussian with the predicted covariance, and pre-activations as predicted?",
    needs=(laws(*NEEDED), at_least(LEAST_SIZES, "n"), at_least(LEAST_REPLICATES, "replicate")),
    measure=gaussian_fluctuations,
    findings=_findings,
    figures=_figures,
    tables=_tables,
)
