"""Whether mini-batch training follows its own theory, at every batch fraction."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import EXTENSION, Finding
from analysis.answers.needs import at_least
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_values, cell_words, cells, exponent_texts, title_of
from analysis.questions.rates import rate_finding
from analysis.statistics.datasets import LEAST_SIZES, standard_error
from analysis.statistics.intervals import Interval
from analysis.statistics.sgd import AXES, sgd

__all__ = ["SECTION"]

DECIDING = "test_error"
SOURCE = (EXTENSION, "mini-batches")
ERRORS = ("train_error", "test_error")


def _grid(measured: xr.Dataset) -> list[dict[Hashable, Any]]:
    return cells(measured["overall_exponent"], extra=("observable", "part"))


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for cell in _grid(measured):
        here = measured.sel(cell)
        effect = float(here.effect.sel(observable=DECIDING))
        more = ""
        if np.isfinite(effect) and cell["batch_fraction"] != 1:
            more = f"; batches move the theory {effect:.1f} times as far as a run at the largest n is from it"
            more += "" if effect > 1 else ", too little to test what they do"
        findings.append(rate_finding(here, DECIDING, f"{title_of(DECIDING)} at {cell_words(cell)}", more, SOURCE))
    return findings


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    batchings = cells(simulation["train_error"], extra=("batch_fraction",))
    places = [(name, batching) for name in ERRORS for batching in batchings]
    panels = style.Panels(len(places), len(batchings), width=4.0, height=2.9, legend=0.7)
    fractions = simulation.batch_fraction.values.tolist()
    for ax, (name, batching) in zip(panels.axes, places, strict=True):
        runs, line = (group[name].isel(n=-1).sel(batching) for group in (simulation, theory))
        for fraction, look in zip(fractions, style.styles(len(fractions)), strict=True):
            ax.plot(line.iteration, line.sel(batch_fraction=fraction), color=look[0], lw=1.5, zorder=2)
            here = runs.sel(batch_fraction=fraction)
            mean, error = here.mean("replicate").values, 2 * standard_error(here).values
            style.points(ax, here.iteration, mean, error, *look, ms=4, markerfacecolor="white")
        style.plain(ax, ", ".join(map(title_of, (name, *cell_values(batching)))))
        style.iterations_on_axis(ax)
    handles = style.keys((f"batch fraction {fraction:g}" for fraction in fractions), markerfacecolor="white", lw=1.5)
    title = f"Mini-batches: theory and simulation at n = {int(simulation.n.values[-1]):,}"
    figure = panels.finish(title, "iteration", "mean squared error", handles, columns=4)
    caption = (
        "Lines: theory of each batch fraction. Points: mean over replicates at the largest n, bars two of its standard "
        "errors. Where the lines are apart by more than the bars, batches matter and theory is tested on them."
    )
    return [Captioned("sgd", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for name in measured.observable.values.tolist():
        for cell in _grid(measured):
            here = measured.sel(cell).sel(observable=name)
            exponent = Interval.of(here.sel(part="distance"), "overall_exponent")
            last = here.isel(n=-1)
            lines.append(
                (
                    title_of(name),
                    *map(title_of, cell_values(cell)),
                    *exponent_texts(exponent),
                    f"{float(np.sqrt((last.distance**2).mean('iteration'))):.2e}",
                    f"{float(last.bias_share):.0%}",
                    f"{float(here.effect):.1f}",
                )
            )
    axes = [title_of(axis) for axis in AXES if axis in measured.dims]
    headings = ("observable", *axes, "exponent", "interval", "distance", "bias share", "effect of batches")
    return [Tabulated("Distance to theory ~ n^exponent, and at the largest n", headings, lines)]


SECTION = Section(
    name="sgd",
    question="Does mini-batch training follow its own theory, at every batch fraction?",
    needs=(at_least(2, "batch_fraction"), at_least(LEAST_SIZES, "n"), at_least(2, "replicate")),
    measure=sgd,
    findings=_findings,
    figures=_figures,
    tables=_tables,
)
