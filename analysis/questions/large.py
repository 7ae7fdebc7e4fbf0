"""How precisely theory predicts runs with up to a million samples, and whether anything is left over."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import UNSETTLED, Claim, Finding, Lack, Verdict
from analysis.answers.needs import at_least, no_axis_but
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import title_of
from analysis.questions.rates import SOURCES
from analysis.statistics.datasets import in_both
from analysis.statistics.large import large
from analysis.statistics.solver_error import freedom, reach

__all__ = ["SECTION"]

SMALLEST = 100_000
"""Samples from which on a store is about large sizes."""
SOLVER_ALLOWANCE = 0.5
"""Of the standard error of the mean over runs; a solver's error above that would decide instead of the runs."""


def _large(simulation: xr.Dataset) -> str | None:
    return f"no n of {SMALLEST:,} or more" if simulation.n.max() < SMALLEST else None


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for name in measured.observable.values.tolist():
        last = measured.sel(observable=name).isel(n=-1)
        kind, sentence = _verdict(last)
        sentence += f"; at n = {int(last.n):,} a run is {float(last.relative_distance):.2%} from theory"
        excess = "largest excess in standard errors", float(last.worst), 0.0, float(last.limit)
        claim = Claim("within its limit", *SOURCES[name])
        lack = _lack(last) if kind == "undecided" else Lack()
        findings.append(Finding(title_of(name), kind, sentence, *excess, claim=claim, lack=lack))
    return findings


def _lack(last: xr.Dataset) -> Lack:
    """What would decide: more runs at the largest n, or samples of theory where its own error is in the way."""
    if last.worst > last.limit:
        return Lack(UNSETTLED, {int(last.n): 1.0})
    return Lack(samples=float(last.solver_ratio / SOLVER_ALLOWANCE) ** 2)


def _verdict(last: xr.Dataset) -> tuple[Verdict, str]:
    runs = f"the mean of {last.attrs['replicates']} runs"
    if last.worst > last.refuting:
        return "fails", f"{runs} differs from theory by more than its errors allow"
    if last.worst > last.limit:
        return "undecided", f"{runs} differs from theory by a little more than its errors allow; more runs decide"
    if last.solver_ratio > SOLVER_ALLOWANCE:
        return "undecided", "the solver's own error is not below that of the mean over runs"
    return "holds", f"{runs} agrees with theory within errors"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    errors = in_both(("train_error", "test_error"), simulation, theory)
    panels = style.Panels(len(errors), 2, width=4.2, height=3.2, legend=0.7)
    sizes, shift = measured.n.values, 0.18
    for ax, name in zip(panels.axes, errors, strict=True):
        for i, (n, look) in enumerate(zip(sizes, style.styles(len(sizes)), strict=True)):
            curve = theory[name].sel(n=n)
            percent = (100 * (simulation[name].sel(n=n) / curve - 1)).isel(iteration=slice(1, None))
            at = percent.iteration.values + shift * (i - (len(sizes) - 1) / 2)
            mean, spread = percent.mean("replicate"), percent.std("replicate", ddof=1)
            # Two bars: where single runs are, and how well their mean is known.
            ax.errorbar(at, mean, spread, color=look[0], lw=0, elinewidth=0.8, alpha=0.6)
            error = 2 * spread / np.sqrt(percent.count("replicate"))
            style.points(ax, at, mean, error, *look, ms=3.5, elinewidth=2)
        solver = 100 * (theory[f"{name}_stderr"] / theory[name]).isel(n=-1, iteration=slice(1, None))
        half = reach(freedom(theory)) * solver
        ax.fill_between(half.iteration, -half, half, color=style.GREY, alpha=0.35, lw=0)
        ax.axhline(0, color="black", lw=1.2, zorder=1)
        # A run at the largest n would vanish on a linear scale made for the smallest.
        ax.set_yscale("symlog", linthresh=100 * float(measured.relative_distance.sel(observable=name).min()))
        style.plain(ax, title_of(name))
    handles = [
        *style.keys((f"n = {int(n):,}" for n in sizes), ms=4, lw=2),
        style.key("solver's error, 95%", color=style.GREY, alpha=0.5, lw=7, solid_capstyle="butt"),
    ]
    title, y = "What is left between runs and theory", "difference from theory, percent"
    caption = (
        "Run minus theory in percent of theory; the axis is linear around zero and logarithmic beyond. Points: mean "
        "over runs, thick bars two of its standard errors; thin bars: one standard deviation of a single run."
    )
    return [Captioned("large", panels.finish(title, "iteration", y, handles, columns=4), caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for name in measured.observable.values.tolist():
        for n in measured.n.values:
            one = measured.sel(observable=name, n=n)
            numbers = (f"{float(one[key]):.2e}" for key in ("distance", "fluctuation", "solver_error"))
            excess = f"{float(one.worst):.2f} (limit {float(one.limit):.2f})"
            lines.append((title_of(name), f"{int(n):,}", *numbers, f"{float(one.relative_distance):.3%}", excess))
    headings = ("observable", "n", "distance", "fluctuation", "solver", "relative", "largest excess in s.e.")
    return [Tabulated("Distance of a run from theory, and of the mean over runs in standard errors", headings, lines)]


SECTION = Section(
    name="large",
    question="How precisely does theory predict runs with up to a million samples?",
    needs=(_large, no_axis_but(), at_least(2, "replicate")),
    measure=large,
    findings=_findings,
    figures=_figures,
    tables=_tables,
)
