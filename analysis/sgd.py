"""Mini-batches against their theory: batches drawn anew each step, and shuffled epochs (THEORY section 1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.ticker import MaxNLocator

from analysis import style
from analysis.rates import LEAST_SIZES
from analysis.rates_along import rates_along
from analysis.rates_section import verdict
from analysis.section import Captioned, Finding, Section, Tabulated

__all__ = ["OBSERVABLES", "SECTION", "sgd"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap", "deep_weights")
DECIDING = "test_error"
ERRORS = ("train_error", "test_error")
AXES = ("batch_fraction", "batching")


def sgd(simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 1000, seed: int = 0) -> xr.Dataset:
    """Measure how fast training in mini-batches approaches its theory, and how much the batches matter.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axes ``batch_fraction`` and ``n``, and perhaps ``batching``.
    draws, seed : int
        Of the bootstrap, as for `analysis.rates`.

    Returns
    -------
    Dataset
        Of `analysis.rates_along` for ``batch_fraction`` and ``batching``; and on (observable, those axes) ``effect``:
        the root-mean-square difference, over iterations and entries, between the theory of this batch fraction and
        that of the full batch, over the distance of a run from its theory at the largest n. Where it is below 1 the
        agreement with theory says nothing about mini-batches. NaN without a full batch in the store.
    """
    axes = [axis for axis in AXES if axis in simulation.dims]
    result = rates_along(simulation, theory, axes, observables=OBSERVABLES, draws=draws, seed=seed)
    fractions = theory.batch_fraction.values
    if not (fractions == 1).any():
        return result.assign(effect=result.overall_exponent.isel(part=0, drop=True) * np.nan)
    effects = []
    for name in result.observable.values.tolist():
        curves = theory[name].isel(n=-1)
        change = (curves - curves.sel(batch_fraction=1.0)) ** 2
        moved = np.sqrt(change.mean([dim for dim in change.dims if dim not in axes]))
        distance = np.sqrt((result.distance.sel(observable=name).isel(n=-1) ** 2).mean("iteration"))
        effects.append((moved / distance).drop_vars(["n", "observable"], errors="ignore"))
    effect = xr.concat(effects, "observable")
    effect.attrs = {"long_name": "change of theory by the mini-batches, over the distance of a run from theory"}
    return result.assign(effect=effect.transpose("observable", *axes))


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    runs = simulation["train_error"]
    if runs.sizes.get("batch_fraction", 1) < 2:
        return "no axis of batch fractions"
    if runs.sizes["n"] < LEAST_SIZES:
        return f"fewer than {LEAST_SIZES} values of n"
    if runs.sizes["replicate"] < 2:
        return "fewer than 2 replicates"
    return None


def _cells(measured: xr.Dataset) -> list[dict]:
    return style.cells(measured["overall_exponent"], extra=("observable", "part"))


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for cell in _cells(measured):
        here = measured.sel(cell)
        kind, sentence = verdict(here, DECIDING)
        whole = here.sel(observable=DECIDING, part="distance")
        numbers = [float(whole[f"overall_exponent{end}"]) for end in ("", "_low", "_high")]
        effect = float(here.effect.sel(observable=DECIDING))
        if np.isfinite(effect) and cell["batch_fraction"] != 1:
            moved = f"batches move the theory {effect:.1f} times as far as a run at the largest n is from it"
            sentence += f"; {moved}" if effect > 1 else f"; {moved}, too little to test what they do"
        findings.append(
            Finding(f"{style.title_of(DECIDING)} at {style.cell_words(cell)}", kind, sentence, "exponent", *numbers)
        )
    return findings


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    batchings = simulation["batching"].values.tolist() if "batching" in simulation.dims else [None]
    panels = [(name, batching) for name in ERRORS for batching in batchings]
    figure, rows = style.small_multiples(len(panels), len(batchings), width=4.0, height=2.9, sharey=False, legend=0.7)
    fractions = simulation.batch_fraction.values.tolist()
    looks = style.styles(len(fractions))
    axes = [ax for row in rows for ax in row]
    for ax, (name, batching) in zip(axes, panels, strict=True):
        runs, line = simulation[name].isel(n=-1), theory[name].isel(n=-1)
        if batching is not None:
            runs, line = runs.sel(batching=batching), line.sel(batching=batching)
        for fraction, (colour, marker) in zip(fractions, looks, strict=True):
            ax.plot(line.iteration, line.sel(batch_fraction=fraction), color=colour, lw=1.5, zorder=2)
            here = runs.sel(batch_fraction=fraction)
            mean = here.mean("replicate").values
            error = 2 * (here.std("replicate", ddof=1) / np.sqrt(here.count("replicate"))).values
            look: dict[str, Any] = {"marker": marker, "markerfacecolor": "white", "ms": 4, "lw": 0, "elinewidth": 1}
            ax.errorbar(here.iteration, mean, error, color=colour, zorder=3, **look)
        ax.set_title(
            f"{style.title_of(name)}{'' if batching is None else ', ' + style.title_of(batching)}", fontsize=10
        )
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        style.plain(ax)
    style.label_edges(rows, "iteration", "mean squared error")
    n = int(simulation.n.values[-1])
    style.title(figure, f"Mini-batches: theory and simulation at n = {n:,}")
    handles = style.keys((f"batch fraction {fraction:g}" for fraction in fractions), markerfacecolor="white", lw=1.5)
    style.legend(figure, handles, columns=4)
    caption = (
        "Lines: theory of each batch fraction. Points: mean over replicates at the largest n, bars two of its standard "
        "errors. Where the lines are apart by more than the bars, batches matter and theory is tested on them."
    )
    return [Captioned("sgd", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for name in measured.observable.values.tolist():
        for cell in _cells(measured):
            here = measured.sel(cell).sel(observable=name)
            whole = here.sel(part="distance")
            low, high = float(whole.overall_exponent_low), float(whole.overall_exponent_high)
            last = here.isel(n=-1)
            lines.append(
                (
                    style.title_of(name),
                    *(
                        f"{value:g}" if isinstance(value, float) else style.title_of(str(value))
                        for value in cell.values()
                    ),
                    style.number_text(float(whole.overall_exponent)),
                    style.interval_text(low, high),
                    f"{float(np.sqrt((last.distance**2).mean('iteration'))):.2e}",
                    f"{float(last.bias_share):.0%}",
                    f"{float(here.effect):.1f}",
                )
            )
    axes = [style.title_of(axis) for axis in AXES if axis in measured.dims]
    sizes = ("distance", "bias share", "effect of batches")
    return [
        Tabulated(
            "Distance to theory ~ n^exponent, and at the largest n",
            ("observable", *axes, "exponent", "interval", *sizes),
            lines,
        )
    ]


SECTION = Section(
    "sgd",
    "Does mini-batch training follow its own theory, at every batch fraction?",
    _unanswerable,
    sgd,
    _findings,
    _figures,
    _tables,
)
