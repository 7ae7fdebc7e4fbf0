"""Whether deeper weights concentrate like 1/n in variance."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import MARGIN, PAPER, Claim, Finding, Lack, judge, lacking, together
from analysis.answers.needs import at_least
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_values, cell_words, cells, exponent_texts
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.deep_concentration import ENTRIES, LEAST_REPLICATES, deep_concentration
from analysis.statistics.intervals import Interval
from analysis.statistics.loglog import power_line
from analysis.statistics.power_law import Exponents

__all__ = ["SECTION"]

EXPECTED = -1.0
CLAIM = Claim("-1", PAPER, "deep-weights")


def _trained(simulation: xr.Dataset) -> str | None:
    if "deep_weights" not in simulation or not simulation.sizes.get("layer", 0):
        return "no deeper layer"
    if not bool(simulation["deep_weights"].notnull().any()):
        return "no deeper weights finished"
    if str(simulation.attrs.get("train", "all")) == "first" and "train" not in simulation.dims:
        return "deeper layers are frozen"
    return None


def _finished(simulation: xr.Dataset) -> str | None:
    finished = simulation["deep_weights"].notnull().any(("iteration", "layer", *ENTRIES)).sum("replicate")
    enough = int((finished >= LEAST_REPLICATES).sum("n").max()) >= LEAST_SIZES
    return None if enough else f"fewer than {LEAST_SIZES} values of n with {LEAST_REPLICATES} replicates"


def _findings(measured: xr.Dataset) -> list[Finding]:
    found = [_finding("deeper weights together", measured, Exponents.of(measured, "overall_exponent"))]
    varied = {dim for dim, size in measured.exponent.sizes.items() if size > 1}
    if varied <= {"layer", "depth"}:  # the cells of a larger grid are in the table
        each = [(cell, Exponents.of(measured.sel(cell), "exponent")) for cell in cells(measured.exponent)]
        found += [
            _finding(cell_words(cell), measured, exponents, cell)
            for cell, exponents in each
            if np.isfinite(exponents.whole.value)
        ]
    return found


def _finding(
    subject: str, measured: xr.Dataset, exponents: Exponents, cell: Mapping[Hashable, Any] | None = None
) -> Finding:
    widths = together(measured.attrs["together"])
    kind, words = judge(exponents, EXPECTED, float(measured.larger_from), 2 * MARGIN, widths)
    lack = lacking(exponents, EXPECTED, measured.n.values, 2 * MARGIN, widths) if kind == "undecided" else Lack()
    lack = lack._replace(cells={str(axis): value for axis, value in (cell or {}).items() if axis != "layer"})
    return Finding(subject, kind, words, "exponent of the variance", *exponents.whole, claim=CLAIM, lack=lack)


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for cell in cells(measured.exponent):
        one = measured.sel(cell)
        exponent = Interval.of(one, "exponent")
        if np.isfinite(exponent.value):
            at_most = float(np.sqrt(one.variance.isel(n=-1).max("iteration")))
            lines.append((*cell_values(cell), *exponent_texts(exponent), f"{at_most:.2g}"))
    jointly = f"interval, all {measured.level:.0%}"
    headings = (*map(str, measured.exponent.dims), "exponent", jointly, "s.d. at the largest n, at most")
    title = "Variance of deeper weights over replicates ~ n^exponent; the intervals hold together"
    return [Tabulated(title, headings, lines)]


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    layers = [
        layer for layer in measured.layer.values.tolist() if bool(measured.variance.sel(layer=layer).notnull().any())
    ]
    panels = style.Panels(len(layers), 3, width=3.4, sharey=True)
    shown, left_out = style.shown_cells(cells(measured.exponent, extra=("layer",)))
    n = measured.n.values.astype(float)
    for ax, layer in zip(panels.axes, layers, strict=True):
        guides = []
        for cell, look in zip(shown, style.styles(len(shown)), strict=True):
            here = measured.sel(cell | {"layer": layer})
            level = here.variance.mean("iteration").values
            if not np.isfinite(level).any():
                continue
            style.points(ax, n, level, here.variance_stderr.mean("iteration").values, *look)
            ax.plot(n, power_line(n, level, float(here.exponent)), color=look[0], lw=1.4)
            guides.append(np.nanmax(level * n))
        if guides:
            ax.plot(n, 1.8 * max(guides) / n, **style.GUIDE)
        ax.set_yscale("log")
        style.plain(ax, f"layer {layer}")
        style.sizes_on_axis(ax, n)
    handles = style.keys((cell_words(cell) or "simulation" for cell in shown), lw=1.4)
    handles.append(style.key("guide 1/n", **style.GUIDE))
    title = "Variance of deeper weights over data sets"
    figure = panels.finish(title, "samples n", "variance of a weight", handles, columns=4, left_out=left_out)
    caption = (
        "Points: variance over replicates, mean over the entries of a layer and over iterations; bars: bootstrap "
        "standard errors. Lines: the fitted exponent of the cell and layer. Dotted: 1/n, the claim."
    )
    return [Captioned("deep_concentration", figure, caption)]


SECTION = Section(
    name="deep_concentration",
    question="Do deeper weights concentrate like 1/n in variance?",
    needs=(_trained, at_least(LEAST_SIZES, "n"), _finished),
    measure=lambda simulation, theory: deep_concentration(simulation),
    findings=_findings,
    figures=_figures,
    tables=_tables,
    presumes=True,
)
