"""What stopping where the estimated test error is least costs, and what going on would have cost."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import xarray as xr

from analysis.answers import style
from analysis.answers.costs import at_largest_known, cost_table
from analysis.answers.finding import CERTAIN, EXTENSION, HOLDING, Claim, Finding, Lack, Verdict, lacking_sign
from analysis.answers.needs import at_least, estimate
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_words, cells
from analysis.statistics.intervals import Interval
from analysis.statistics.selection import AXES, early_stopping

__all__ = ["SECTION"]

CLAIM = Claim("above 0", EXTENSION, "estimated-test-error")
NEGLIGIBLE = 0.01
"""Regret of going on, over the least error, below which there is nothing to stop for: no finding is about the cell."""


def _chosen_alike(simulation: xr.Dataset) -> str | None:
    if choices := [axis for axis in AXES if simulation.test_error.sizes.get(axis, 1) > 1]:
        return f"the runs differ in what a user chooses ({', '.join(choices)}); that is a question of tuning"
    return None


def _overfits(simulation: xr.Dataset) -> str | None:
    if _overfitting(early_stopping(simulation)):
        return None
    return f"no cell overfits: going on to the last iteration costs less than {NEGLIGIBLE:.0%} everywhere"


def _overfitting(measured: xr.Dataset) -> list[tuple[Mapping[Hashable, Any], xr.Dataset]]:
    """Cells in which there is something to stop for, each with what is known at its largest n."""
    found = [(cell, at_largest_known(measured, cell)) for cell in cells(measured.saved)]
    return [
        (cell, here)
        for cell, here in found
        if here is not None and float(here.mean_otherwise) >= NEGLIGIBLE * float(here.oracle_test_error.mean())
    ]


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for cell, here in _overfitting(measured):
        kind, sentence = _verdict(here)
        least = float(here.oracle_test_error.mean())
        regret, going_on = (float(here[name]) / least for name in ("mean_regret", "mean_otherwise"))
        costs = f"stopping costs {regret:.1%} of the least test error, going on {going_on:.1%}"
        subject, sentence = cell_words(cell) or "all runs", f"{sentence}: at n = {int(here.n):,} {costs}"
        number = "test error saved", *Interval.of(here, "saved")
        lack = lacking_sign(Interval.of(here, "saved"), int(here.n), cell) if kind == "undecided" else Lack()
        findings.append(Finding(subject, kind, sentence, *number, claim=CLAIM, lack=lack))
    return findings


def _verdict(here: xr.Dataset) -> tuple[Verdict, str]:
    saved = Interval.of(here, "saved")
    if saved.wider(HOLDING).low > 0:
        return "holds", "stopping by the estimate pays"
    if saved.wider(CERTAIN).high < 0:
        return "fails", "stopping by the estimate costs more than going on"
    return "undecided", "stopping and going on cost alike at this precision"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    shown, left_out = style.shown_cells(cells(measured.saved))
    panels = style.Panels(len(shown), style.panel_grid(shown), width=3.4, height=3.0, sharey=True)
    lines = {"mean_regret": "stopped by the estimate", "mean_otherwise": "gone on to the last iteration"}
    for ax, cell in zip(panels.axes, shown, strict=True):
        here = measured.sel(cell)
        percent = 100 / here.oracle_test_error.mean("replicate")
        for name, look in zip(lines, style.styles(len(lines)), strict=True):
            style.points(ax, here.n, percent * here[name], 2 * percent * here[f"{name}_stderr"], *look, lw=1.2)
        ax.axhline(0, color="black", lw=0.8)
        style.plain(ax, cell_words(cell))
        style.sizes_on_axis(ax, here.n.values.astype(float))
    title = "What stopping by the estimated test error costs"
    handles = style.keys(lines.values(), lw=1.2)
    figure = panels.finish(title, "samples n", "regret, percent of the least", handles, columns=2, left_out=left_out)
    caption = (
        "Test error at the chosen iteration minus the least of the same run, mean over replicates with two standard "
        "errors, in percent of that least error."
    )
    return [Captioned("early_stopping", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    iterations = {"chosen_iteration": "stopped at", "oracle_iteration": "best at"}
    return [cost_table(measured, "Early stopping: test errors, and mean iterations", "going on", iterations)]


SECTION = Section(
    name="early_stopping",
    question="What does stopping where the estimated test error is least cost?",
    needs=(estimate, _chosen_alike, at_least(2, "replicate"), _overfits),
    measure=lambda simulation, theory: early_stopping(simulation),
    findings=_findings,
    figures=_figures,
    tables=_tables,
    presumes=True,
)
