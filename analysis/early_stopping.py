"""Stopping where the estimated test error is least: what it costs, and what going on would have cost."""

from __future__ import annotations

import xarray as xr

from analysis import style
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict, without_estimate
from analysis.selection import AXES, cost, select, with_words

__all__ = ["SECTION", "early_stopping"]

NEGLIGIBLE = 0.01
"""Regret of going on, over the least error, below which there is nothing to stop for."""


def early_stopping(simulation: xr.Dataset, *, level: float = 0.95) -> xr.Dataset:
    """Stop every run where its estimated test error is least.

    Parameters
    ----------
    simulation : Dataset
        ``test_error`` and ``estimated_test_error`` with dimension ``iteration``.
    level : float
        Coverage of the intervals.

    Returns
    -------
    Dataset
        Of `select`, and ``last_regret``, what going on to the last iteration would have cost; and of
        `analysis.selection.cost`: means over replicates of both, and ``saved``, their difference with its interval.
    """
    stopped = select(simulation.estimated_test_error, simulation.test_error, ["iteration"])
    last = simulation.test_error.isel(iteration=-1, drop=True)
    stopped["last_regret"] = last - stopped.oracle_test_error
    return with_words(stopped.merge(cost(stopped.regret, stopped.last_regret, level)))


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    if lacking := without_estimate(simulation):
        return lacking
    if choices := [axis for axis in AXES if simulation.test_error.sizes.get(axis, 1) > 1]:
        return f"the runs differ in what a user chooses ({', '.join(choices)}); that is a question of tuning"
    if simulation.sizes["replicate"] < 2:
        return "fewer than 2 replicates"
    measured = early_stopping(simulation)
    if float((measured.mean_otherwise / measured.oracle_test_error.mean("replicate")).max()) < NEGLIGIBLE:
        return f"no cell overfits: going on to the last iteration costs less than {NEGLIGIBLE:.0%} everywhere"
    return None


def _cells(measured: xr.Dataset) -> list[dict]:
    return [*style.cells(measured.saved)]


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for cell in _cells(measured):
        here = measured.sel(cell).isel(n=-1)
        least = float(here.oracle_test_error.mean())
        kind, sentence = _verdict(here, least)
        regret, otherwise = float(here.mean_regret) / least, float(here.mean_otherwise) / least
        sentence += (
            f": at n = {int(here.n):,} stopping costs {regret:.1%} of the least test error, going on {otherwise:.1%}"
        )
        numbers = (float(here[f"saved{end}"]) for end in ("", "_low", "_high"))
        findings.append(Finding(style.cell_words(cell) or "all runs", kind, sentence, "test error saved", *numbers))
    return findings


def _verdict(here: xr.Dataset, least: float) -> tuple[Verdict, str]:
    if here.saved_low > 0:
        return "holds", "stopping by the estimate pays"
    if here.saved_high < 0:
        if float(here.mean_otherwise) < NEGLIGIBLE * least:
            return "undecided", "nothing to stop for, these runs do not overfit"
        return "fails", "stopping by the estimate costs more than going on"
    return "undecided", "stopping and going on cost alike at this precision"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    shown, left_out = style.shown_cells(_cells(measured))
    figure, rows = style.small_multiples(len(shown), style.panel_grid(shown), width=3.4, height=3.0, sharey=True)
    lines = (("mean_regret", "stopped by the estimate"), ("mean_otherwise", "gone on to the last iteration"))
    looks = style.styles(len(lines))
    for ax, cell in zip((ax for row in rows for ax in row), shown, strict=True):
        here = measured.sel(cell)
        least = here.oracle_test_error.mean("replicate")
        for (name, _), (colour, marker) in zip(lines, looks, strict=True):
            error = 200 * here[f"{name}_stderr"] / least
            ax.errorbar(
                here.n, 100 * here[name] / least, error, color=colour, marker=marker, ms=4.5, lw=1.2, elinewidth=1
            )
        ax.axhline(0, color="black", lw=0.8)
        ax.set_title(style.cell_words(cell), fontsize=10)
        style.plain(ax)
        style.sizes_on_axis(ax, here.n.values.astype(float))
    style.label_edges(rows, "samples n", "regret, percent of the least")
    style.title(figure, "What stopping by the estimated test error costs", left_out)
    style.legend(figure, style.keys((words for _, words in lines), lw=1.2), columns=2)
    caption = (
        "Test error at the chosen iteration minus the least of the same run, mean over replicates with two standard "
        "errors, in percent of that least error."
    )
    return [Captioned("early_stopping", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for cell in _cells(measured):
        for n in measured.n.values:
            here = measured.sel(cell).sel(n=n)
            numbers = (f"{float(here[key]):.4f}" for key in ("mean_regret", "mean_regret_stderr", "mean_otherwise"))
            iterations = (f"{float(here[key].mean()):.1f}" for key in ("chosen_iteration", "oracle_iteration"))
            least = f"{float(here.oracle_test_error.mean()):.4f}"
            lines.append((*map(str, cell.values()), f"{int(n):,}", least, *numbers, *iterations))
    headings = ("n", "least", "regret", "its standard error", "regret of going on", "stopped at", "best at")
    return [
        Tabulated(
            "Early stopping: test errors, and mean iterations", (*map(str, _cells(measured)[0]), *headings), lines
        )
    ]


SECTION = Section(
    "early_stopping",
    "What does stopping where the estimated test error is least cost?",
    _unanswerable,
    lambda simulation, theory: early_stopping(simulation),
    _findings,
    _figures,
    _tables,
)
