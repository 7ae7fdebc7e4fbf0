"""Long training: whether the n^-1/2 law outlasts many iterations, and how the distance grows with them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from analysis import style
from analysis.rates import LEAST_SIZES, rates
from analysis.rates_along import rates_in_windows
from analysis.rates_section import verdict
from analysis.section import Captioned, Finding, Section, Tabulated

__all__ = ["OBSERVABLES", "SECTION", "breakdown_horizon"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap")
ERRORS = ("train_error", "test_error")
LEAST_STEPS = 30
WINDOWS = 3


def breakdown_horizon(
    simulation: xr.Dataset, theory: xr.Dataset, *, windows: int = WINDOWS, draws: int = 1000, seed: int = 0
) -> xr.Dataset:
    """Measure the rate in n in successive windows of iterations.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with ``n`` as its only axis.
    windows : int
        Parts of equal length that the iterations after the first are split into.
    draws, seed : int
        Of the bootstrap, as for `analysis.rates`.

    Returns
    -------
    Dataset
        On ``window``, its first and last iteration being the coordinates ``begin`` and ``end``: the overall variables
        of `analysis.rates` in each window, and on (observable, window, n) ``relative_distance``, the root-mean-square
        distance over the root mean square of theory. On (observable, n, iteration): ``distance`` and ``solver_error``.
    """
    whole = rates(simulation, theory, observables=OBSERVABLES, draws=2, seed=seed)
    parts = np.array_split(np.arange(1, simulation.sizes["iteration"]), windows)
    result = rates_in_windows(simulation, theory, parts, observables=OBSERVABLES, draws=draws, seed=seed)
    relative = []
    for part in parts:
        curves, distance = theory.isel(iteration=part), whole.distance.isel(iteration=part)
        distances = []
        for name in result.observable.values.tolist():
            level = (curves[name] ** 2).mean([dim for dim in curves[name].dims if dim != "n"])
            distances.append(np.sqrt((distance.sel(observable=name, drop=True) ** 2).mean("iteration") / level))
        relative.append(xr.concat(distances, "observable"))
    result["relative_distance"] = xr.concat(relative, "window")
    result["relative_distance"].attrs["long_name"] = "distance to theory over the size of theory"
    return result.assign(distance=whole.distance, solver_error=whole.solver_error)


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    runs = simulation["train_error"]
    if runs.sizes["iteration"] - 1 < LEAST_STEPS:
        return f"fewer than {LEAST_STEPS} iterations"
    if others := set(runs.dims) - {"n", "replicate", "iteration"}:
        return f"further axes: {', '.join(sorted(map(str, others)))}"
    if runs.sizes["n"] < LEAST_SIZES:
        return f"fewer than {LEAST_SIZES} values of n"
    if runs.sizes["replicate"] < 2:
        return "fewer than 2 replicates"
    return None


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for name in ERRORS:
        for window in range(measured.sizes["window"]):
            here = measured.isel(window=window)
            whole = here.sel(observable=name, part="distance")
            far = float(here.relative_distance.sel(observable=name).isel(n=-1))
            numbers = [float(whole[f"overall_exponent{end}"]) for end in ("", "_low", "_high")]
            kind, sentence = verdict(here, name)
            subject = f"{style.title_of(name)}, iterations {int(here.begin)} to {int(here.end)}"
            size = f"a run at n = {int(measured.n[-1]):,} is {far:.1%} from theory"
            findings.append(Finding(subject, kind, f"{sentence}; {size}", "exponent", *numbers))
    return findings


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    names = measured.observable.values.tolist()
    figure, rows = style.small_multiples(len(names), 3, width=3.6, height=3.2, legend=0.7)
    looks = style.styles(measured.sizes["n"])
    for ax, name in zip((ax for row in rows for ax in row), names, strict=True):
        one = measured.sel(observable=name)
        for n, (colour, _) in zip(measured.n.values, looks, strict=True):
            # In units of n^-1/2 the curves lie on one another wherever that law holds.
            ax.plot(one.iteration[1:], (one.distance.sel(n=n) * np.sqrt(n))[1:], color=colour, lw=1.4)
        solver = one.solver_error.isel(n=-1)[1:] * np.sqrt(float(one.n[-1]))
        ax.plot(one.iteration[1:], solver, color=style.GREY, lw=1.2, ls="--")
        ax.set_yscale("log")
        ax.set_title(style.title_of(name), fontsize=10)
        style.plain(ax)
    for ax in rows[-1]:
        ax.set_xlabel("iteration")
    rows[0][0].set_ylabel("distance to theory x n$^{1/2}$")
    style.title(figure, "Distance to theory along a long training")
    handles = [
        *style.keys((f"n = {int(n):,}" for n in measured.n.values), lw=1.4, marker=""),
        Line2D([], [], color=style.GREY, lw=1.2, ls="--", label="solver's own error at the largest n"),
    ]
    style.legend(figure, handles, columns=3)
    caption = (
        "Root-mean-square distance of a run from theory, times the root of n. Where curves of different n lie on one "
        "another the distance falls like n to the power -1/2; a curve that rises for the smaller n first shows where "
        "a longer horizon needs more samples. Dashed: the standard error of theory's solver on the scale of the "
        "largest n."
    )
    return [Captioned("breakdown_horizon", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for name in measured.observable.values.tolist():
        for window in range(measured.sizes["window"]):
            here = measured.sel(observable=name).isel(window=window)
            whole = here.sel(part="distance")
            lines.append(
                (
                    style.title_of(name),
                    f"{int(here.begin)} to {int(here.end)}",
                    style.number_text(float(whole.overall_exponent)),
                    style.interval_text(float(whole.overall_exponent_low), float(whole.overall_exponent_high)),
                    *(f"{far:.1%}" for far in here.relative_distance.values[[0, -1]]),
                    f"{float(here.bias_share[-1]):.0%}",
                    f"{float(here.overall_solver_ratio):.2f}",
                )
            )
    ends = [f"distance at n = {int(n):,}" for n in measured.n.values[[0, -1]]]
    headings = ("observable", "iterations", "exponent", "interval", *ends, "bias share", "solver / distance")
    return [Tabulated("Rates in windows of iterations; distances relative to theory", headings, lines)]


SECTION = Section(
    "breakdown_horizon",
    "Does theory still describe a run after many iterations?",
    _unanswerable,
    breakdown_horizon,
    _findings,
    _figures,
    _tables,
)
