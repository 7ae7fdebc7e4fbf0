"""From the full batch to samples one at a time: whether runs follow theory, and theory goes to its limit."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import EXTENSION, MARGIN, Claim, Finding, Lack, Verdict, judge, lacking
from analysis.answers.needs import at_least, no_axis_but
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_words, exponent_texts, title_of
from analysis.questions.rates import rate_finding
from analysis.statistics.batches import LEAST_RESOLVED, batches, epochs_of
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.intervals import Interval
from analysis.statistics.power_law import Exponents

__all__ = ["SECTION", "limit_verdict"]

DECIDING = "test_error"
EXPECTED = -1.0
SOURCE = (EXTENSION, "epoch-time")
CLAIMS = {"one_pass": Claim("-1", EXTENSION, "online")}
"""By batching; of others `SOURCE` has the label."""


def _reference(batching: str) -> str:
    return "the online limit" if batching == "one_pass" else "the theory of half the batch"


def limit_verdict(exponents: Exponents, batching: str, larger_from: float) -> tuple[Verdict, str]:
    """Judge whether theory nears its limit like the share of a batch, that is one over the steps.

    Parameters
    ----------
    exponents : Exponents
        Of the steps, in the distance from the reference.
    batching : str
    larger_from : float
        The smallest of the larger half of the numbers of steps.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    subject = f"the distance of theory from {_reference(batching)}"
    if not np.isfinite(exponents.whole).all():
        return "undecided", f"{subject} is beyond the solver's error at fewer than {LEAST_RESOLVED} numbers of steps"
    kind, words = judge(exponents, EXPECTED, larger_from, 2 * MARGIN)
    return kind, f"{subject}, n being the number of steps: {words}"


def _cells(measured: xr.Dataset) -> list[dict[Hashable, Any]]:
    return [
        {"batching": batching, "steps": steps}
        for batching in measured.batching.values.tolist()
        for steps in measured.steps.values.tolist()
    ]


def _findings(measured: xr.Dataset) -> list[Finding]:
    found = []
    for batching in measured.batching.values.tolist():
        here = measured.sel(batching=batching)
        exponents = Exponents.of(here, "gap_exponent")
        answer = limit_verdict(exponents, batching, float(here.gap_larger_from))
        claim = CLAIMS.get(batching, Claim("-1", *SOURCE))
        subject = f"limit of {title_of(batching)}"
        lack = Lack()
        if answer[0] == "undecided":  # theory alone has this limit, and its error falls as replicates' does
            more = lacking(exponents, EXPECTED, measured.steps.values, 2 * MARGIN).runs
            lack = Lack(cells={"batching": batching}, samples=more)
        found.append(Finding(subject, *answer, "exponent of steps", *exponents.whole, claim=claim, lack=lack))
    for cell in _cells(measured):
        subject = f"{title_of(DECIDING)} at {cell_words(cell)}"
        found.append(rate_finding(measured.sel(cell), DECIDING, subject, source=SOURCE))
    return found


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    panels = style.Panels(2, 2, width=4.4, height=3.2, legend=0.7)
    (ends, gaps), steps = panels.axes, measured.steps.values
    batchings = measured.batching.values.tolist()
    looks = style.styles(len(batchings))
    for batching, look in zip(batchings, looks, strict=True):
        here = measured.sel(batching=batching)
        final = here.sel(observable=DECIDING)
        ends.plot(steps, final.final, color=look[0], lw=1.5, zorder=2)
        style.points(ends, steps, final.final_run, 2 * final.final_run_stderr, *look, ms=4, markerfacecolor="white")
        known = here.resolved.values
        style.points(gaps, steps[known], here.gap[known], 2 * here.gap_stderr[known], *look, ms=4)
        if batching == "one_pass":
            ends.axhline(float(measured.online), color=look[0], lw=1, ls=":", zorder=1)
    for ax, name in ((ends, "test error after the last step"), (gaps, "distance of theory from its reference")):
        ax.set_xscale("log", base=2)
        style.plain(ax, name)
    gaps.set_yscale("log")
    handles = style.keys(map(title_of, batchings), markerfacecolor="white", lw=1.5)
    title = f"From the full batch to small ones, n = {int(simulation.n.values[-1]):,}"
    figure = panels.finish(title, "steps", "mean squared error", handles, columns=2)
    caption = (
        "Left, lines: theory of so many steps, at rates of an epoch. Points: mean over replicates at the largest n, "
        "bars two of its standard errors. Dotted: the online limit. Right: distance of theory from the online limit "
        "(one pass), or from the theory of twice as many steps; what is one over the steps falls by half at each tick."
    )
    return [Captioned("batches", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for cell in _cells(measured):
        here = measured.sel(cell)
        final = here.sel(observable=DECIDING)
        exponent = Interval.of(here.sel(observable=DECIDING, part="distance"), "overall_exponent")
        gap = f"{float(here.gap):.2e}" if bool(here.resolved) else "-"
        lines.append(
            (
                title_of(cell["batching"]),
                str(cell["steps"]),
                f"{float(final.final):.4f}",
                f"{float(final.final_run):.4f}",
                f"{float(final.run_distance):.2e}",
                *exponent_texts(exponent),
                gap,
            )
        )
    headings = (
        "batching",
        "steps",
        "theory, last",
        "runs, last",
        "distance",
        "exponent of n",
        "interval",
        "to reference",
    )
    return [Tabulated("Test error by the number of batches", headings, lines)]


SECTION = Section(
    name="batches",
    question="From the full batch to small ones: do runs follow theory, and does theory go to its limit?",
    needs=(
        epochs_of,
        at_least(LEAST_RESOLVED + 1, "steps"),
        at_least(LEAST_SIZES, "n"),
        at_least(2, "replicate"),
        no_axis_but("steps", "batching"),
    ),
    measure=batches,
    findings=_findings,
    figures=_figures,
    tables=_tables,
)
