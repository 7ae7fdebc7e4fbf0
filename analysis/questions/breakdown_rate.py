"""Up to which learning rate theory describes a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import Finding
from analysis.answers.needs import at_least, no_axis_but
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import exponent_texts, title_of
from analysis.questions.rates import rate_finding
from analysis.statistics.breakdown_rate import breakdown_rate
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.intervals import Interval

__all__ = ["SECTION"]

DECIDING = "train_error"
LEAST_RATES = 3


def _finding(here: xr.Dataset, rate: float) -> Finding:
    """Judge one learning rate in its deciding observable, unless runs or theory diverge."""
    share = here.diverged.values
    lost = [f"{part:.0%} at n = {int(n):,}" for part, n in zip(share, here.n.values, strict=True) if part > 0]
    more = f"; runs diverge: {', '.join(lost)}" if lost else ""
    found = rate_finding(here, DECIDING, f"{title_of(DECIDING)} at learning rate {rate:g}", more)
    parts = [f"{share[-1]:.0%} of the runs at the largest n diverge"] if share[-1] > 0 else []
    parts += ["theory, as solved, diverges"] if here.theory_diverged else []
    return found._replace(verdict="fails", sentence=" and ".join(parts)) if parts else found


def _findings(measured: xr.Dataset) -> list[Finding]:
    rates = measured.learning_rate.values
    findings = [_finding(measured.sel(learning_rate=rate), rate) for rate in rates]
    kinds = [finding.verdict for finding in findings]
    first = kinds.index("fails") if "fails" in kinds else len(kinds)
    described = [rate for rate, kind in zip(rates[:first], kinds, strict=False) if kind == "holds"]
    if not described:
        least = min(findings, key=lambda finding: np.nan_to_num(finding.lack.runs, nan=np.inf)).lack
        words = "no learning rate at which n^-1/2 is confirmed"
        return [Finding("the boundary", "undecided", words, lack=least), *findings]
    words = f"n^-1/2 is confirmed up to learning rate {described[-1]:g}, and"
    if first < len(rates):
        return [Finding("the boundary", "fails", f"{words} lost at {rates[first]:g}"), *findings]
    return [Finding("the boundary", "holds", f"{words} nowhere lost up to {rates[-1]:g}"), *findings]


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    panels = style.Panels(3, 3, width=3.5, height=3.3, legend=0.7)
    (distances, spreads, shares), rates = panels.axes, measured.learning_rate.values
    for n, (colour, marker) in zip(measured.n.values, style.styles(measured.sizes["n"]), strict=True):
        one = measured.sel(n=n, observable=DECIDING)
        foreseen = one.where(~measured.theory_diverged)
        look: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4.5, "lw": 1.2}
        distances.plot(rates, foreseen.relative_distance, **look)
        spreads.plot(rates, foreseen.relative_spread, **look)
        shares.plot(rates, one.grown, **look)
        shares.plot(rates, one.diverged, **{**look, "ls": ":", "markerfacecolor": "white"})
    distances.set_yscale("log")
    spreads.set_yscale("log")
    style.plain(distances, "distance to theory / theory")
    style.plain(spreads, "spread over runs / theory")
    style.plain(shares, "runs: grown (solid), diverged (dotted)")
    handles = style.keys((f"n = {int(n):,}" for n in measured.n.values), lw=1.2)
    title = f"The {title_of(DECIDING)} towards the edge of stability"
    figure = panels.finish(title, "learning rate", "", handles, columns=5)
    caption = (
        "Left and middle: root mean squares over iterations, relative to the size of theory, of what has not "
        "diverged, at rates where theory has not. Right: runs that end with a larger train error than they began "
        "with, and runs that diverge. Where the curves of different n stand apart evenly, the distance falls with n."
    )
    return [Captioned("breakdown_rate", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for rate in measured.learning_rate.values:
        one = measured.sel(learning_rate=rate, observable=DECIDING)
        exponent = Interval.of(one.sel(part="distance"), "overall_exponent")
        last = one.isel(n=-1)
        lines.append(
            (
                f"{rate:g}",
                *exponent_texts(exponent),
                *(f"{float(size):.2g}" for size in (last.relative_distance, last.relative_spread)),
                f"{float(one.overall_solver_ratio):.2g}",
                *(f"{float(share):.0%}" for share in (last.grown, last.diverged)),
            )
        )
    headings = ("learning rate", "exponent", "interval", "distance", "spread", "solver / distance", "grown", "diverged")
    return [Tabulated(f"{title_of(DECIDING).capitalize()}, relative to theory, at the largest n", headings, lines)]


SECTION = Section(
    name="breakdown_rate",
    question="Up to which learning rate does theory describe a run?",
    needs=(
        at_least(LEAST_RATES, "learning_rate"),
        no_axis_but("learning_rate"),
        at_least(LEAST_SIZES, "n"),
        at_least(2, "replicate"),
    ),
    measure=breakdown_rate,
    findings=_findings,
    figures=_figures,
    tables=_tables,
    examines="learning_rate",
)
