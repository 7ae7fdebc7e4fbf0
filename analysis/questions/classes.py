"""Whether networks that classify follow their theory, and know their test error without a holdout."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import EXTENSION, Claim, Finding, Lack, Verdict, lacking
from analysis.answers.needs import at_least, estimate, no_axis_but
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import exponent_texts, title_of
from analysis.questions.bias import bias_verdict
from analysis.questions.generalization_estimate import EXPECTED as ESTIMATED
from analysis.questions.generalization_estimate import estimate_verdict
from analysis.questions.rates import rate_finding, verdict
from analysis.statistics.classes import AXIS, SCORES, by_classes, classes
from analysis.statistics.datasets import LEAST_SIZES, standard_error
from analysis.statistics.intervals import Interval
from analysis.statistics.power_law import Exponents

__all__ = ["SECTION"]

RATES = ("test_error", "train_error_rate", "test_error_rate", "deep_weights", "biases")
COMPARED = "test_error_rate"
CURVES = ("train_error", "test_error", "train_error_rate", "test_error_rate")
SOURCE = (EXTENSION, "softmax")
ESTIMATE = Claim("-1/2 or below", EXTENSION, "estimated-test-error")
LOSS = {"train_error": "twice the training loss", "test_error": "twice the test loss"}
"""What the errors of classes are, as every error of a loss that is not squared."""


def _needed(simulation: xr.Dataset) -> str | None:
    return None if COMPARED in simulation else "no error rates; a sweep with problem.labels=classes stores them"


def _words(name: str) -> str:
    return LOSS.get(name, title_of(name))


def _grid(measured: xr.Dataset) -> list[dict[Hashable, Any]]:
    return [{AXIS: value} for value in measured[AXIS].values.tolist()]


def _subject(words: str, cell: dict[Hashable, Any]) -> str:
    return f"{words} with {cell[AXIS]} classes"


def _percent(share: float) -> str:
    return f"{share:.0%}" if np.isfinite(share) else "-"


def _rates(measured: xr.Dataset) -> list[str]:
    return [name for name in RATES if name in measured.observable]


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for cell in _grid(measured):
        here = measured.sel(cell)
        findings += [rate_finding(here, name, _subject(_words(name), cell), source=SOURCE) for name in _rates(measured)]
        findings.append(_agreement(here, _subject(f"mean {_words(COMPARED)}", cell)))
        findings += [_estimate(here.sel(score=name), _subject(f"estimated {_words(name)}", cell)) for name in SCORES]
    return findings


def _agreement(here: xr.Dataset, subject: str) -> Finding:
    """Compare the mean at the largest n; a bias may be seen there that is none in the limit."""
    last = here.sel(observable=COMPARED)
    kind: Verdict
    sentence = f"at n = {int(here.n[-1]):,} the mean over runs"
    if last.worst <= last.limit:
        kind, sentence = "holds", f"{sentence} agrees with theory within errors"
    elif bias_verdict(here, COMPARED)[0] == "holds":
        kind, sentence = "holds", f"{sentence} differs from theory by a bias that falls faster than the fluctuation"
    elif verdict(here, COMPARED)[0] == "fails":
        kind, sentence = "fails", f"{sentence} differs from theory by more than errors allow, at larger n as well"
    else:
        kind = "undecided"
        sentence += f" still differs from theory, by at most {float(last.bias_bound):.0%} of one run's fluctuation"
    excess = "largest excess in standard errors", float(last.worst), 0.0, float(last.limit)
    return Finding(subject, kind, sentence, *excess, claim=Claim("within its limit, or a bias that fades", *SOURCE))


def _estimate(here: xr.Dataset, subject: str) -> Finding:
    exponents = Exponents.of(here, "estimate_exponent")
    kind, words = estimate_verdict(exponents, float(here.larger_from.max()))
    size = float(here.estimate_relative_rms.isel(n=-1))
    sentence = f"distance to the true one: {words}; at n = {int(here.n[-1]):,} it is {size:.1%} off on average"
    lack = lacking(exponents, ESTIMATED, here.n.values) if kind == "undecided" else Lack()
    lack = lack._replace(cells={AXIS: here[AXIS].item()})
    return Finding(subject, kind, sentence, "exponent", *exponents.whole, claim=ESTIMATE, lack=lack)


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    return [_curves(by_classes(simulation), by_classes(theory), _grid(measured)), _distances(measured)]


def _keys(grid: list[dict[Hashable, Any]]) -> list[Any]:
    return style.keys((f"{cell[AXIS]} classes" for cell in grid), markerfacecolor="white", lw=1.5)


def _curves(simulation: xr.Dataset, theory: xr.Dataset, grid: list[dict[Hashable, Any]]) -> Captioned:
    panels = style.Panels(len(CURVES), 2, width=4.2, height=2.8, legend=0.5)
    for ax, name in zip(panels.axes, CURVES, strict=True):
        for cell, look in zip(grid, style.styles(len(grid)), strict=True):
            runs, line = (group[name].isel(n=-1).sel(cell) for group in (simulation, theory))
            ax.plot(line.iteration, line, color=look[0], lw=1.5, zorder=2)
            mean, error = runs.mean("replicate").values, 2 * standard_error(runs).values
            style.points(ax, runs.iteration, mean, error, *look, ms=4, markerfacecolor="white")
        style.plain(ax, _words(name))
        style.iterations_on_axis(ax)
        ax.set_ylim(bottom=0)
    title = f"Classes: theory and simulation at n = {int(simulation.n.values[-1]):,}"
    figure = panels.finish(title, "iteration", "loss or error rate", _keys(grid), columns=4)
    caption = (
        "Lines: theory. Points: mean over replicates at the largest n, bars two of its standard errors. The error rate "
        "is the share of samples whose largest output is another class's than their label."
    )
    return Captioned("classes", figure, caption)


def _distances(measured: xr.Dataset) -> Captioned:
    n, fitted = measured.n.values.astype(float), measured.distance.where(measured.reason == 0)
    distance, estimated = np.sqrt((fitted**2).mean("iteration")), measured.estimate_rms
    rows = [
        *((_words(name), distance.sel(observable=name)) for name in _rates(measured)),
        *((f"estimated {_words(name)}", estimated.sel(score=name)) for name in SCORES),
    ]
    grid = _grid(measured)
    panels = style.Panels(len(rows), 4, width=3.2, height=2.9, legend=0.5)
    for ax, (words, values) in zip(panels.axes, rows, strict=True):
        for cell, (colour, marker) in zip(grid, style.styles(len(grid)), strict=True):
            ax.plot(n, values.sel(cell), color=colour, marker=marker, ms=4.5, lw=1)
        if values.notnull().any():
            ax.plot(n, 1.3 * float((values * np.sqrt(values.n)).max()) / np.sqrt(n), **style.GUIDE)
        style.plain(ax, words)
        ax.set_yscale("log")
        style.sizes_on_axis(ax, n)
    handles = [*_keys(grid), style.key("guide n$^{-1/2}$", **style.GUIDE)]
    title = "Distance of a run from theory, and of its estimates from the truth, as n grows"
    figure = panels.finish(title, "samples n", "root mean square", handles, columns=4)
    caption = (
        "Root mean square over replicates, entries and those iterations that have an exponent (for estimates, all "
        "after the first), the error of averages over fresh samples taken out."
    )
    return Captioned("classes_distance", figure, caption)


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines, estimates = [], []
    for cell in _grid(measured):
        number = str(cell[AXIS])
        for name in measured.observable.values.tolist():
            one = measured.sel(cell).sel(observable=name)
            exponents = exponent_texts(Interval.of(one.sel(part="distance"), "overall_exponent"))
            sizes = f"{float(np.sqrt((one.distance.isel(n=-1) ** 2).mean())):.2e}", _percent(float(one.bias_share[-1]))
            excess = f"{float(one.worst):.1f} (limit {float(one.limit):.1f})"
            lines.append((_words(name), number, *exponents, *sizes, f"{float(one.overall_solver_ratio):.1%}", excess))
        for name in SCORES:
            one = measured.sel(cell).sel(score=name)
            size = f"{float(one.estimate_relative_rms[-1]):.1%}"
            estimates.append((_words(name), number, *exponent_texts(Interval.of(one, "estimate_exponent")), size))
    words = ("classes", "exponent", "interval")
    headings = ("observable", *words, "distance", "bias share", "solver / distance", "excess of the mean in s.e.")
    return [
        Tabulated("Distance to theory ~ n^exponent, and at the largest n", headings, lines),
        Tabulated("Estimated minus true ~ n^exponent", ("estimated", *words, "size at the largest n"), estimates),
    ]


SECTION = Section(
    name="classes",
    question="Do networks that classify follow their theory, and know loss and error rate without a holdout?",
    needs=(_needed, estimate, no_axis_but(AXIS), at_least(LEAST_SIZES, "n"), at_least(2, "replicate")),
    measure=classes,
    findings=_findings,
    figures=_figures,
    tables=_tables,
)
