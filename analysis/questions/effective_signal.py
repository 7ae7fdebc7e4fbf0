"""Whether first-layer rows follow P_t w^0 + m_t mu where link and activation differ."""

from __future__ import annotations

import xarray as xr

from analysis.answers import style
from analysis.answers.finding import Finding
from analysis.answers.needs import at_least
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import cell_values, cell_words, cells
from analysis.questions.rates import rate_finding, rates_figure, rates_table
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.effective_signal import COEFFICIENTS, NEEDED, effective_signal, regressed

__all__ = ["SECTION"]

WORDS = {"init_coefficient": "initialization carried, P_t", "signal_coefficient": "signal carried, m_t"}
SHARES = {
    "explained": "explained",
    "explained_stderr": "standard error",
    "explained_predicted": "theory",
    "explained_predicted_stderr": "its error, at most",
}
MOST_PANELS = 6


def _needed(simulation: xr.Dataset) -> str | None:
    missing = [name for name in NEEDED if name not in simulation or not bool(simulation[name].notnull().any())]
    return f"no {', '.join(missing)}" if missing else None


def _misspecified(simulation: xr.Dataset) -> str | None:
    if _values(simulation, "covariance", "identity") != {"identity"}:
        return "rows differ in law where features are correlated"
    if _values(simulation, "initialization", "exact") != {"exact"}:
        return "overlaps of a random initialization differ from theory's by themselves"
    functions = _values(simulation, "link") | _values(simulation, "activation")
    return "link and activation are the same" if len(functions) == 1 else None


def _values(simulation: xr.Dataset, axis: str, default: str | None = None) -> set[str]:
    """Values that a field of the problem has in a store."""
    if axis in simulation.dims:
        return set(simulation[axis].values.tolist())
    return {str(simulation.attrs.get(axis, default))}


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = [rate_finding(measured, name, WORDS[name]) for name in measured.observable.values.tolist()]
    return [finding._replace(sentence=f"distance to theory: {finding.sentence}") for finding in findings]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    top, grid = measured.isel(n=-1, iteration=-1), cells(measured.explained)
    lines = [(*cell_values(cell), *(f"{float(top[name].sel(cell)):.4f}" for name in SHARES)) for cell in grid]
    title = "Share of the rows' second moment that P_t w^0 + m_t mu explains, last iteration, largest n"
    coefficients = rates_table(measured)._replace(title="Distance of the rows' coefficients to theory ~ n^exponent")
    return [coefficients, Tabulated(title, (*map(str, grid[0]), *SHARES.values()), lines)]


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    rates = rates_figure(measured, "Distance of the rows' coefficients to theory")
    return [_coefficients_figure(regressed(simulation), theory), Captioned("effective_signal_rates", rates, _CAPTION)]


_CAPTION = (
    "Points: root-mean-square distance of a replicate's coefficients from theory, over entries and iterations; bars: "
    "standard errors. Solid lines: fit with one slope. Dotted: n to the power -1/2."
)


def _coefficients_figure(found: xr.Dataset, theory: xr.Dataset) -> Captioned:
    shown, left_out = style.shown_cells(cells(found.explained, extra=("neuron",)), MOST_PANELS)
    panels = style.Panels(len(shown), style.panel_grid(shown), width=3.8, height=2.7)
    largest, predicted = found.isel(n=-1), theory.isel(n=-1)
    units = dict(zip(found.neuron.values.tolist(), style.COLOURS, strict=False))
    marks = {"init_coefficient": ("o", "-"), "signal_coefficient": ("D", "--")}
    for ax, cell in zip(panels.axes, shown, strict=True):
        for unit, colour in units.items():
            columns = dict(zip(COEFFICIENTS, ({"neuron_": unit}, {"index": 0}), strict=True))
            for name, (marker, line) in marks.items():
                place = cell | {"neuron": unit} | columns[name]
                runs = largest[name].sel(place)
                steps = runs.iteration.values
                ax.plot(steps, predicted[name].sel(place).values, color=colour, lw=1.6, ls=line, zorder=2)
                mean, spread = runs.mean("replicate").values, runs.std("replicate").values
                style.points(ax, steps, mean, spread, colour, marker, ms=3.5, markerfacecolor="white")
        style.plain(ax, cell_words(cell))
        style.iterations_on_axis(ax)
    open_marker = {"color": "black", "markerfacecolor": "white", "ms": 4}
    handles = [
        *(style.key(f"unit {unit}", color=colour, lw=5) for unit, colour in units.items()),
        style.key("own initialization, diag P_t", marker="o", **open_marker),
        style.key("signal, m_t", marker="D", ls="--", **open_marker),
    ]
    title = f"What first-layer rows carry, n = {int(found.n[-1]):,}"
    figure = panels.finish(title, "iteration", "coefficient", handles, columns=3, left_out=left_out)
    caption = (
        "Lines: coefficients that state evolution predicts. Points: regression of the rows of a run on initialization "
        "and signal, mean over replicates at the largest n; bars: one standard deviation over replicates."
    )
    return Captioned("effective_signal", figure, caption)


SECTION = Section(
    name="effective_signal",
    question="Do first-layer rows follow P_t w^0 + m_t mu where link and activation differ?",
    needs=(_needed, _misspecified, at_least(LEAST_SIZES, "n"), at_least(2, "replicate")),
    measure=effective_signal,
    findings=_findings,
    figures=_figures,
    tables=_tables,
    presumes=True,
)
