"""Whether theory still describes a run after many iterations."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import Finding
from analysis.answers.needs import at_least, no_axis_but
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import exponent_texts, title_of
from analysis.questions.rates import rate_finding
from analysis.statistics.breakdown_horizon import breakdown_horizon
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.intervals import Interval

__all__ = ["SECTION"]

ERRORS = ("train_error", "test_error")
LEAST_STEPS = 30


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for name in ERRORS:
        for window in range(measured.sizes["window"]):
            here = measured.isel(window=window)
            far = float(here.relative_distance.sel(observable=name).isel(n=-1))
            subject = f"{title_of(name)}, iterations {int(here.begin)} to {int(here.end)}"
            more = f"; a run at n = {int(measured.n[-1]):,} is {far:.1%} from theory"
            findings.append(rate_finding(here, name, subject, more))
    return findings


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    names = measured.observable.values.tolist()
    panels = style.Panels(len(names), 3, width=3.6, height=3.2, legend=0.7)
    looks = style.styles(measured.sizes["n"])
    for ax, name in zip(panels.axes, names, strict=True):
        one = measured.sel(observable=name)
        for n, (colour, _) in zip(measured.n.values, looks, strict=True):
            # In units of n^-1/2 the curves lie on one another wherever that law holds.
            ax.plot(one.iteration[1:], (one.distance.sel(n=n) * np.sqrt(n))[1:], color=colour, lw=1.4)
        solver = one.solver_error.isel(n=-1)[1:] * np.sqrt(float(one.n[-1]))
        ax.plot(one.iteration[1:], solver, **style.SOLVER)
        ax.set_yscale("log")
        style.plain(ax, title_of(name))
    handles = [
        *style.keys((f"n = {int(n):,}" for n in measured.n.values), lw=1.4, marker=""),
        style.key("solver's own error at the largest n", **style.SOLVER),
    ]
    title, y = "Distance to theory along a long training", "distance to theory x n$^{1/2}$"
    figure = panels.finish(title, "iteration", y, handles, columns=3)
    caption = (
        "Root-mean-square distance of a run from theory, times the root of n. Where curves of different n lie on one "
        "another the distance falls like n to the power -1/2; a curve that rises for the smaller n first shows where "
        "a longer horizon needs more samples. Dashed: the standard error of theory's solver on the scale of the "
        "largest n."
    )
    return [Captioned("breakdown_horizon", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for name in measured.observable.values.tolist():
        for window in range(measured.sizes["window"]):
            here = measured.sel(observable=name).isel(window=window)
            exponent = Interval.of(here.sel(part="distance"), "overall_exponent")
            lines.append(
                (
                    title_of(name),
                    f"{int(here.begin)} to {int(here.end)}",
                    *exponent_texts(exponent),
                    *(f"{far:.1%}" for far in here.relative_distance.values[[0, -1]]),
                    f"{float(here.bias_share[-1]):.0%}",
                    f"{float(here.overall_solver_ratio):.2f}",
                )
            )
    ends = [f"distance at n = {int(n):,}" for n in measured.n.values[[0, -1]]]
    headings = ("observable", "iterations", "exponent", "interval", *ends, "bias share", "solver / distance")
    return [Tabulated("Rates in windows of iterations; distances relative to theory", headings, lines)]


SECTION = Section(
    name="breakdown_horizon",
    question="Does theory still describe a run after many iterations?",
    needs=(at_least(LEAST_STEPS, "iteration"), no_axis_but(), at_least(LEAST_SIZES, "n"), at_least(2, "replicate")),
    measure=breakdown_horizon,
    findings=_findings,
    figures=_figures,
    tables=_tables,
)
