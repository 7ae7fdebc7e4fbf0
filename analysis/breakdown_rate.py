"""Learning rates up to the edge of stability and beyond it: where theory stops describing runs.

Beyond the edge a few rows with large pre-activations take over: averages over n rows, and over the samples of theory's
solver, are then ruled by what hardly any of them contains, and neither has a precision of n^-1/2 any more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from analysis import style
from analysis.divergence import bounded
from analysis.rates import LEAST_SIZES
from analysis.rates_along import rates_along
from analysis.rates_section import verdict
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict

__all__ = ["OBSERVABLES", "SECTION", "breakdown_rate"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap")
DECIDING = "train_error"
LEAST_RATES = 3


def breakdown_rate(simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 1000, seed: int = 0) -> xr.Dataset:
    """Measure distance, spread and divergence of runs against the learning rate.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axes ``learning_rate`` and ``n``.
    draws, seed : int
        Of the bootstrap, as for `analysis.rates`.

    Returns
    -------
    Dataset
        Of `analysis.rates_along` for ``learning_rate``, over what has not diverged (`analysis.divergence`). On
        (learning_rate, n): ``diverged``, the share of replicates that did; ``grown``, the share that ended with a
        larger train error than they began with, those included. On (learning_rate,): ``theory_diverged``. On
        (observable, learning_rate, n): ``relative_distance`` and ``relative_spread``, the distance from theory and the
        standard deviation over replicates, root mean squares over iterations, over the root mean square of theory.
    """
    observables = [name for name in OBSERVABLES if name in simulation and name in theory]
    begun = simulation.train_error.isel(iteration=0, drop=True).notnull()
    described, foreseen = bounded(simulation.train_error), bounded(theory.train_error)
    runs = simulation[observables].where(described)
    curves = theory[[*observables, *(f"{name}_stderr" for name in observables)]].where(foreseen)
    result = rates_along(runs, curves, ["learning_rate"], observables=observables, draws=draws, seed=seed)
    first, last = (simulation.train_error.isel(iteration=at, drop=True) for at in (0, -1))
    diverged = ~described.isel(iteration=-1, drop=True)
    for name, happened, words in (
        ("diverged", diverged, "share of replicates that diverged"),
        ("grown", diverged | (last > first), "share of replicates whose train error has grown"),
    ):
        result[name] = happened.where(begun).mean("replicate").assign_attrs(long_name=words)
    result["theory_diverged"] = ~foreseen.isel(iteration=-1, drop=True).all("n")
    result["theory_diverged"].attrs["long_name"] = "whether theory, as solved, diverged"
    for name, part in (("relative_distance", "distance"), ("relative_spread", "fluctuation")):
        shares = []
        for observable in result.observable.values.tolist():
            dims = [dim for dim in theory[observable].dims if dim not in ("learning_rate", "n", "iteration")]
            level = (curves[observable] ** 2).mean(dims)
            square = result[part].sel(observable=observable, drop=True) ** 2
            shares.append(np.sqrt(square.mean("iteration") / level.where(square.notnull()).mean("iteration")))
        result[name] = xr.concat(shares, "observable")
        result[name].attrs["long_name"] = f"{part}, over the size of theory"
    return result


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    runs = simulation["train_error"]
    if runs.sizes.get("learning_rate", 1) < LEAST_RATES:
        return f"fewer than {LEAST_RATES} learning rates"
    if others := set(runs.dims) - {"learning_rate", "n", "replicate", "iteration"}:
        return f"further axes: {', '.join(sorted(map(str, others)))}"
    if runs.sizes["n"] < LEAST_SIZES:
        return f"fewer than {LEAST_SIZES} values of n"
    if runs.sizes["replicate"] < 2:
        return "fewer than 2 replicates"
    return None


def _judged(here: xr.Dataset) -> tuple[Verdict, str]:
    """Verdict of one learning rate, in its deciding observable."""
    share = here.diverged.values
    if bool(here.theory_diverged) or share[-1] > 0:
        parts = [f"{share[-1]:.0%} of the runs at the largest n diverge"] if share[-1] > 0 else []
        parts += ["theory, as solved, diverges"] if here.theory_diverged else []
        return "fails", " and ".join(parts)
    kind, sentence = verdict(here, DECIDING)
    lost = [f"{part:.0%} at n = {int(n):,}" for part, n in zip(share, here.n.values, strict=True) if part > 0]
    return kind, f"{sentence}; runs diverge: {', '.join(lost)}" if lost else sentence


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for rate in measured.learning_rate.values:
        here = measured.sel(learning_rate=rate)
        kind, sentence = _judged(here)
        whole = here.sel(observable=DECIDING, part="distance")
        numbers = [float(whole[f"overall_exponent{end}"]) for end in ("", "_low", "_high")]
        findings.append(
            Finding(f"{style.title_of(DECIDING)} at learning rate {rate:g}", kind, sentence, "exponent", *numbers)
        )
    kinds = [finding.verdict for finding in findings]
    rates = measured.learning_rate.values
    first = kinds.index("fails") if "fails" in kinds else len(kinds)
    described = [rate for rate, kind in zip(rates[:first], kinds, strict=False) if kind == "holds"]
    if not described:
        summary = Finding("the boundary", "undecided", "no learning rate at which n^-1/2 is confirmed")
    elif first < len(rates):
        words = f"n^-1/2 is confirmed up to learning rate {described[-1]:g}, and lost at {rates[first]:g}"
        summary = Finding("the boundary", "fails", words)
    else:
        words = f"n^-1/2 is confirmed up to learning rate {described[-1]:g}, and nowhere lost up to {rates[-1]:g}"
        summary = Finding("the boundary", "holds", words)
    return [summary, *findings]


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    figure, rows = style.small_multiples(3, 3, width=3.5, height=3.3, legend=0.7)
    (distances, spreads, shares), rates = rows[0], measured.learning_rate.values
    looks = style.styles(measured.sizes["n"])
    for n, (colour, marker) in zip(measured.n.values, looks, strict=True):
        one = measured.sel(n=n, observable=DECIDING)
        foreseen = one.where(~measured.theory_diverged)
        look: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4.5, "lw": 1.2}
        distances.plot(rates, foreseen.relative_distance, **look)
        spreads.plot(rates, foreseen.relative_spread, **look)
        shares.plot(rates, one.grown, **look)
        shares.plot(rates, one.diverged, **{**look, "ls": ":", "markerfacecolor": "white"})
    for ax, words in (
        (distances, "distance to theory / theory"),
        (spreads, "spread over runs / theory"),
        (shares, "runs: grown (solid), diverged (dotted)"),
    ):
        ax.set_title(words, fontsize=10)
        ax.set_xlabel("learning rate")
        style.plain(ax)
    distances.set_yscale("log")
    spreads.set_yscale("log")
    style.title(figure, f"The {style.title_of(DECIDING)} towards the edge of stability")
    style.legend(figure, style.keys((f"n = {int(n):,}" for n in measured.n.values), lw=1.2), columns=5)
    caption = (
        "Left and middle: root mean squares over iterations, relative to the size of theory, of what has not "
        "diverged, at rates where theory has not. Right: runs that end with a larger train error than they began "
        "with, and runs that diverge. Where the curves of different n stand apart evenly, the distance falls with n."
    )
    return [Captioned("breakdown_rate", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for rate in measured.learning_rate.values:
        here = measured.sel(learning_rate=rate)
        last = here.isel(n=-1)
        one = here.sel(observable=DECIDING)
        whole = one.sel(part="distance")
        lines.append(
            (
                f"{rate:g}",
                style.number_text(float(whole.overall_exponent)),
                style.interval_text(float(whole.overall_exponent_low), float(whole.overall_exponent_high)),
                f"{float(last.relative_distance.sel(observable=DECIDING)):.2g}",
                f"{float(last.relative_spread.sel(observable=DECIDING)):.2g}",
                f"{float(one.overall_solver_ratio):.2g}",
                f"{float(last.grown):.0%}",
                f"{float(last.diverged):.0%}",
            )
        )
    headings = ("learning rate", "exponent", "interval", "distance", "spread", "solver / distance", "grown", "diverged")
    return [
        Tabulated(f"{style.title_of(DECIDING).capitalize()}, relative to theory, at the largest n", headings, lines)
    ]


SECTION = Section(
    "breakdown_rate",
    "Up to which learning rate does theory describe a run?",
    _unanswerable,
    breakdown_rate,
    _findings,
    _figures,
    _tables,
    examines="learning_rate",
)
