"""What choosing a configuration by its estimated test error costs, against the best and against a blind choice."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.costs import at_largest_known, cost_table
from analysis.answers.finding import CERTAIN, EXTENSION, HOLDING, Claim, Finding, Lack, Verdict, lacking_sign
from analysis.answers.needs import at_least, estimate
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_words, cells
from analysis.statistics.datasets import standard_error
from analysis.statistics.intervals import Interval
from analysis.statistics.selection import AXES, tuning

__all__ = ["SECTION"]

CLAIM = Claim("above 0", EXTENSION, "estimated-test-error")
LEAST_CANDIDATES = 4


def _choices(simulation: xr.Dataset) -> str | None:
    choices = [axis for axis in AXES if simulation.test_error.sizes.get(axis, 1) > 1]
    if len(choices) < 2 or np.prod([simulation.sizes[axis] for axis in choices]) < LEAST_CANDIDATES:
        return "fewer than 2 axes that are a user's choice"
    return None


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for cell in cells(measured.saved):
        here = at_largest_known(measured, cell)
        if here is None:
            continue
        kind, sentence = _verdict(here)
        least = float(here.oracle_test_error.mean())
        regret, blind = (float(here[name]) / least for name in ("mean_regret", "mean_otherwise"))
        costs = f"it costs {regret:.1%} of the least test error, a blind choice {blind:.1%}"
        subject, sentence = cell_words(cell) or "choice by the estimate", f"{sentence}: at n = {int(here.n):,} {costs}"
        number = "test error saved", *Interval.of(here, "saved")
        lack = lacking_sign(Interval.of(here, "saved"), int(here.n), cell) if kind == "undecided" else Lack()
        findings.append(Finding(subject, kind, sentence, *number, claim=CLAIM, lack=lack))
    return findings


def _verdict(here: xr.Dataset) -> tuple[Verdict, str]:
    saved = Interval.of(here, "saved")
    if saved.wider(HOLDING).low > 0:
        return "holds", "choosing by the estimate pays"
    if saved.wider(CERTAIN).high < 0:
        return "fails", "choosing by the estimate costs more than choosing blindly"
    return "undecided", "choosing by the estimate and blindly cost alike at this precision"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    shown, left_out = style.shown_cells(cells(measured.saved))
    panels = style.Panels(len(shown), style.panel_grid(shown), width=5.0, height=4.4)
    first = next(axis for axis in AXES if axis in measured.candidate_estimate.dims)
    values = measured[first].values.tolist()
    for ax, cell in zip(panels.axes, shown, strict=True):
        here = measured.sel(cell).isel(n=-1)
        for value, look in zip(values, style.styles(len(values)), strict=True):
            one = here.sel({first: value})
            (x, wide), (y, tall) = (
                (runs.mean("replicate").values.ravel(), 2 * standard_error(runs).values.ravel())
                for runs in (one.candidate_estimate, one.candidate_test_error)
            )
            style.points(ax, x, y, tall, *look, xerr=wide, elinewidth=0.8)
        ends = [min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])]
        ax.plot(ends, ends, color="black", lw=1, zorder=1)
        ax.axhline(float(here.test_error.mean()), **style.SOLVER)
        style.plain(ax, cell_words(cell))
    handles = [
        *style.keys((cell_words({first: value}) for value in values), lw=0),
        style.key("estimated = true", color="black", lw=1),
        style.key("mean test error of the choice", **style.SOLVER),
    ]
    title = "Every configuration, estimated and true"
    figure = panels.finish(title, "estimated test error", "test error", handles, columns=2, left_out=left_out)
    caption = (
        "Each point is a configuration, stopped where its estimate is least: means over replicates with two standard "
        "errors. An estimate that is least among many iterations is a little too small. Dashed: the test error that "
        "choosing by the estimate delivers."
    )
    return [Captioned("tuning", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    return [cost_table(measured, "Tuning: test errors", "a blind choice")]


SECTION = Section(
    name="tuning",
    question="What does choosing a configuration by its estimated test error cost?",
    needs=(estimate, _choices, at_least(2, "replicate")),
    measure=lambda simulation, theory: tuning(simulation),
    findings=_findings,
    figures=_figures,
    tables=_tables,
)
