"""Choosing a configuration by its estimated test error: what it costs against the best and against a blind choice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from analysis import style
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict, without_estimate
from analysis.selection import AXES, cost, select, with_words

__all__ = ["SECTION", "tuning"]

LEAST_CANDIDATES = 4


def tuning(simulation: xr.Dataset, over: Sequence[str] | None = None, *, level: float = 0.95) -> xr.Dataset:
    """Choose among configurations, each at any iteration, by the estimated test error.

    Parameters
    ----------
    simulation : Dataset
        As for `early_stopping`.
    over : sequence of str, optional
        Grid axes to choose along, by default those that are a user's choice: `AXES`.
    level : float
        Coverage of the intervals.

    Returns
    -------
    Dataset
        Of `select`, and ``blind_regret``: the mean cost of a configuration drawn at random and stopped by its estimate;
        of `analysis.selection.cost`: means over replicates of both, and ``saved``, their difference with its interval;
        and for every candidate, stopped by its estimate, ``candidate_estimate`` and ``candidate_test_error``.

    Notes
    -----
    A sweep gives every cell its own data sets, so in a store candidates differ also by the luck of their data, and the
    oracle is the luckiest one. On paired data (the same rows for every candidate) the same function applies.
    """
    if over is None:
        over = [axis for axis in AXES if axis in simulation.test_error.dims]
    chosen = select(simulation.estimated_test_error, simulation.test_error, [*over, "iteration"])
    stopped = select(simulation.estimated_test_error, simulation.test_error, ["iteration"])
    chosen["blind_regret"] = stopped.test_error.mean(over) - chosen.oracle_test_error
    chosen = chosen.merge(cost(chosen.regret, chosen.blind_regret, level))
    chosen["candidate_estimate"], chosen["candidate_test_error"] = stopped.criterion, stopped.test_error
    return with_words(chosen)


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    if lacking := without_estimate(simulation):
        return lacking
    choices = [axis for axis in AXES if simulation.test_error.sizes.get(axis, 1) > 1]
    if len(choices) < 2 or np.prod([simulation.sizes[axis] for axis in choices]) < LEAST_CANDIDATES:
        return "fewer than 2 axes that are a user's choice"
    if simulation.sizes["replicate"] < 2:
        return "fewer than 2 replicates"
    return None


def _cells(measured: xr.Dataset) -> list[dict]:
    return style.cells(measured.saved)


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for cell in _cells(measured):
        here = measured.sel(cell).isel(n=-1)
        kind, sentence = _verdict(here)
        least = float(here.oracle_test_error.mean())
        regret, blind = float(here.mean_regret) / least, float(here.mean_otherwise) / least
        sentence += (
            f": at n = {int(here.n):,} it costs {regret:.1%} of the least test error, a blind choice {blind:.1%}"
        )
        numbers = (float(here[f"saved{end}"]) for end in ("", "_low", "_high"))
        findings.append(
            Finding(style.cell_words(cell) or "choice by the estimate", kind, sentence, "test error saved", *numbers)
        )
    return findings


def _verdict(here: xr.Dataset) -> tuple[Verdict, str]:
    if here.saved_low > 0:
        return "holds", "choosing by the estimate pays"
    if here.saved_high < 0:
        return "fails", "choosing by the estimate costs more than choosing blindly"
    return "undecided", "choosing by the estimate and blindly cost alike at this precision"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    shown, left_out = style.shown_cells(_cells(measured))
    figure, rows = style.small_multiples(len(shown), style.panel_grid(shown), width=5.0, height=4.4)
    first = next(axis for axis in AXES if axis in measured.candidate_estimate.dims)
    values = measured[first].values.tolist()
    looks = style.styles(len(values))
    for ax, cell in zip((ax for row in rows for ax in row), shown, strict=True):
        here = measured.sel(cell).isel(n=-1)
        for value, (colour, marker) in zip(values, looks, strict=True):
            one = here.sel({first: value})
            (x, wide), (y, tall) = (_mean_and_bar(one[name]) for name in ("candidate_estimate", "candidate_test_error"))
            ax.errorbar(x, y, tall, wide, color=colour, marker=marker, ms=4.5, lw=0, elinewidth=0.8)
        ends = [min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])]
        ax.plot(ends, ends, color="black", lw=1, zorder=1)
        ax.axhline(float(here.test_error.mean()), color=style.GREY, lw=1.2, ls="--", zorder=1)
        ax.set_title(style.cell_words(cell), fontsize=10)
        style.plain(ax)
    style.label_edges(rows, "estimated test error", "test error")
    style.title(figure, "Every configuration, estimated and true", left_out)
    handles = [
        *style.keys((style.cell_words({first: value}) for value in values), lw=0),
        Line2D([], [], color="black", lw=1, label="estimated = true"),
        Line2D([], [], color=style.GREY, lw=1.2, ls="--", label="mean test error of the choice"),
    ]
    style.legend(figure, handles, columns=2)
    caption = (
        "Each point is a configuration, stopped where its estimate is least: means over replicates with two standard "
        "errors. An estimate that is least among many iterations is a little too small. Dashed: the test error that "
        "choosing by the estimate delivers."
    )
    return [Captioned("tuning", figure, caption)]


def _mean_and_bar(runs: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over replicates and two of its standard errors, configurations one after another."""
    error = runs.std("replicate", ddof=1) / np.sqrt(runs.count("replicate"))
    return runs.mean("replicate").values.ravel(), 2 * error.values.ravel()


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for cell in _cells(measured):
        for n in measured.n.values:
            here = measured.sel(cell).sel(n=n)
            keys = ("mean_regret", "mean_regret_stderr", "mean_otherwise")
            least = f"{float(here.oracle_test_error.mean()):.4f}"
            lines.append((*map(str, cell.values()), f"{int(n):,}", least, *(f"{float(here[key]):.4f}" for key in keys)))
    headings = ("n", "least", "regret", "its standard error", "regret of a blind choice")
    return [Tabulated("Tuning: test errors", (*map(str, _cells(measured)[0]), *headings), lines)]


SECTION = Section(
    "tuning",
    "What does choosing a configuration by its estimated test error cost?",
    _unanswerable,
    lambda simulation, theory: tuning(simulation),
    _findings,
    _figures,
    _tables,
)
