"""How fast the test error estimated from training data approaches the true one."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import PAPER, Claim, Finding, Lack, Verdict, judge, lacking
from analysis.answers.needs import at_least, estimate
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_values, cell_words, cells, exponent_texts, interval_text
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.generalization_estimate import generalization_estimate, with_predicted
from analysis.statistics.intervals import Interval
from analysis.statistics.power_law import Exponents

__all__ = ["EXPECTED", "SECTION", "estimate_verdict"]

EXPECTED = -0.5
CLAIM = Claim("-1/2 or below", PAPER, "estimated-test-error")


def _axes(measured: xr.Dataset) -> list[str]:
    return [str(dim) for dim in measured.exponent.dims]


def _findings(measured: xr.Dataset) -> list[Finding]:
    size = float(measured.relative_rms.isel(n=-1).mean())
    words = f"; at n = {int(measured.n[-1]):,} it is {size:.1%} off on average"
    whole = _finding("estimated test error, all cells", measured, "overall_exponent", words)
    # Where it holds, one line is enough; the table has the rest.
    return [whole, *(finding for finding in _by_value(measured) if finding.verdict == "fails")]


def _by_value(measured: xr.Dataset) -> list[Finding]:
    """One finding for each value of each grid axis."""
    return [
        _finding(cell_words({axis: value}), measured.sel({axis: value}), f"exponent_by_{axis}")
        for axis in _axes(measured)
        for value in measured[axis].values.tolist()
    ]


def _finding(subject: str, measured: xr.Dataset, name: str, more: str = "") -> Finding:
    exponents = Exponents.of(measured, name)
    kind, words = estimate_verdict(exponents, float(measured.larger_from))
    sentence = f"distance to the true one: {words}{more}"
    lack = lacking(exponents, EXPECTED, measured.n.values) if kind == "undecided" else Lack()
    return Finding(subject, kind, sentence, "exponent", *exponents.whole, claim=CLAIM, lack=lack)


def estimate_verdict(exponents: Exponents, larger_from: float) -> tuple[Verdict, str]:
    """Say whether an estimate approaches the truth like n^-1/2, or as much faster as it likes.

    Parameters
    ----------
    exponents : Exponents
        Of the distance between them.
    larger_from : float
        The smallest n of the larger half of the sizes.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    if exponents.whole.side(EXPECTED) < 0 and exponents.larger.side(EXPECTED) <= 0:
        return "holds", "faster than n^-1/2 over these n"
    return judge(exponents, EXPECTED, larger_from)


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    axes = _axes(measured)
    grid = cells(measured.exponent, extra=axes[:-1])
    lines, left_out = style.shown_cells(cells(measured.exponent, extra=axes[-1:]))
    panels = style.Panels(len(grid), style.panel_grid(grid), width=3.6, height=3.2, sharey=True, legend=0.8)
    n = measured.n.values.astype(float)
    relative = np.sqrt((measured.relative_rms.isel(iteration=slice(1, None)) ** 2).mean("iteration"))
    bars = None
    if "predicted_rms" in measured:
        true = measured["rms"] / measured["relative_rms"]
        bars = ((measured["predicted_rms"] / true).isel(iteration=slice(1, None)) ** 2).mean("iteration") ** 0.5
    for ax, cell in zip(panels.axes, grid, strict=True):
        for line, (colour, marker) in zip(lines, style.styles(len(lines)), strict=True):
            ax.plot(n, 100 * relative.sel(cell | line), color=colour, marker=marker, ms=4.5, lw=1)
            if bars is not None:
                ax.plot(n, 100 * bars.sel(cell | line), color=colour, ls="--", lw=1)
        ax.plot(n, 1.3 * 100 * float(relative.isel(n=0).max()) * np.sqrt(n[0] / n), **style.GUIDE)
        style.plain(ax, cell_words(cell))
        style.sizes_on_axis(ax, n)
        ax.set_yscale("log")
    overall = Interval.of(measured, "overall_exponent")
    title = f"Estimated against true test error: exponent {overall.value:+.3f} {interval_text(overall)}"
    handles = style.keys(cell_words(line) or "runs" for line in lines)
    handles.append(style.key("guide n$^{-1/2}$", **style.GUIDE))
    if bars is not None:
        handles.append(style.key("predicted error bar", color="black", ls="--", lw=1))
    figure = panels.finish(title, "samples n", "estimate - truth, percent", handles, columns=3, left_out=left_out)
    caption = (
        "Root mean square, over replicates and iterations after the first, of estimated minus true test error, in "
        "percent of the true one; the error of the true one's own average over fresh rows is taken out. Dashed, where "
        "a sweep stored fluctuations: the standard deviation that theory predicts."
    )
    return [Captioned("generalization_estimate", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    axes = _axes(measured)
    relative = measured.relative_rms.isel(n=-1).mean("iteration")
    lines = []
    for cell in cells(measured.exponent):
        texts = exponent_texts(Interval.of(measured.sel(cell), "exponent"))
        lines.append((*cell_values(cell), *texts, f"{float(relative.sel(cell)):.1%}"))
    title = "Root mean square of estimated minus true test error ~ n^exponent, and its size at the largest n"
    tables = [Tabulated(title, (*axes, "exponent", f"{measured.attrs['level']:.0%} interval", "size"), lines)]
    if axes:
        by_value = [
            (found.subject, *exponent_texts(Interval(found.value, found.low, found.high)), found.sentence)
            for found in _by_value(measured)
        ]
        tables.append(Tabulated("Exponent by value of each axis", ("cells with", "exponent", "interval", ""), by_value))
    if "predicted_rms" in measured:
        tables.append(_error_bars(measured.isel(n=-1)))
    return tables


def _error_bars(largest: xr.Dataset) -> Tabulated:
    """Error bar of the estimate that theory predicts, iteration by iteration, and what the runs show."""
    steps = largest["iteration"].values[1:].tolist()
    lines = []
    for cell in cells(largest["exponent"]):
        one = largest.sel(cell)
        both = (f"{float(one['predicted_rms'].sel(iteration=t)):.2g} ({float(one['rms'].sel(iteration=t)):.2g})"
                for t in steps)  # fmt: skip
        lines.append((cell_words(cell) or "runs", *both))
    title = (
        f"Error bar of the estimate at n = {int(largest['n']):,}, by iteration: predicted standard deviation of "
        "estimated minus true test error (and measured root mean square)"
    )
    return Tabulated(title, ("cells with", *map(str, steps)), lines)


SECTION = Section(
    name="generalization_estimate",
    question="How fast does the test error estimated from training data approach the true one?",
    needs=(estimate, at_least(LEAST_SIZES, "n"), at_least(2, "replicate")),
    measure=lambda simulation, theory: with_predicted(generalization_estimate(simulation), theory),
    findings=_findings,
    figures=_figures,
    tables=_tables,
    presumes=True,
)
