"""Which laws of the features follow the Gaussian theory, and from which n on."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from analysis.answers import style
from analysis.answers.finding import HOLDING, PAPER, Claim, Finding, Lack, Verdict
from analysis.answers.needs import at_least, no_axis_but
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import exponent_texts, title_of
from analysis.statistics.intervals import Interval
from analysis.statistics.universality import CONTROL, universality

__all__ = ["SECTION"]

BLUNT = 0.5
"""Resolution above which an observable may object to a law, but can neither confirm it nor leave it undecided."""
CLAIM = Claim("below 1", PAPER, "universality")
FLUCTUATION = -0.5
"""Exponent of a single run's distance; a shift that falls more slowly grows in comparison."""


def _laws(simulation: xr.Dataset) -> str | None:
    laws = simulation["features"].values.tolist() if "features" in simulation.dims else []
    return None if CONTROL in laws and len(laws) > 1 else f"no axis of feature laws with {CONTROL} among them"


def _finding(law: xr.Dataset, name: str) -> Finding:
    """Judge a law by the observable in which it is farthest from theory at the largest n."""
    sharp = law.resolution <= BLUNT
    deciding = law.isel(n=-1).share.where(sharp.isel(n=-1) | (law.share_low.isel(n=-1) > 1), -1)
    worst = int(deciding.values.argmax())
    kind, sentence = _verdict(law, sharp, worst)
    where = title_of(str(law.observable.values[worst]))
    share = Interval.of(law.isel(observable=worst, n=-1), "share")
    lack = _lack(law.isel(n=-1).where(sharp.isel(n=-1), drop=True), name) if kind == "undecided" else Lack()
    number = "shift over Gaussian distance", *share
    return Finding(f"{name} features", kind, f"{sentence} ({where})", *number, claim=CLAIM, lack=lack)


def _lack(sharp: xr.Dataset, name: str) -> Lack:
    """What would decide at the largest n: the noise of a squared shift is one over the replicates."""
    square, high = sharp.share.values**2, _at_most(sharp).values ** 2
    open_ = high >= 1
    if not open_.any() or (square[open_] >= 1).any():
        return Lack()
    factor = float(((high - square) / (1 - square))[open_].max())
    return Lack(max(factor, 1.0), {int(sharp.n): 1.0}, {"features": name})


def _at_most(law: xr.Dataset) -> xr.DataArray:
    """Take the upper ends of all shares, from intervals so wide that a law may hold by them: those of their squares."""
    square = law.share**2
    return (square + HOLDING * (law.share_high**2 - square)) ** 0.5


def _verdict(law: xr.Dataset, sharp: xr.DataArray, worst: int) -> tuple[Verdict, str]:
    n = law.n.values
    largest = f"n = {int(n[-1]):,}"
    high = _at_most(law).where(sharp).max("observable").values
    low = law.share_low.max("observable").values
    far = ~(high < 1) | (low > 1)
    if not far[-1]:
        first = int(n[np.flatnonzero(far)[-1] + 1] if far.any() else n[0])
        return "holds", f"follows theory from n = {first:,} on: its shift is below the distance of one Gaussian run"
    if low[-1] <= 1:
        return "undecided", f"at {largest} its shift may be below or above the distance of one Gaussian run"
    exponent = Interval.of(law.isel(observable=worst), "exponent")
    if exponent.high < FLUCTUATION:
        reached = n[-1] * float(law.share[worst, -1]) ** (1 / (FLUCTUATION - exponent.value))
        return "undecided", (
            f"not yet at {largest}, but the shift falls like n^{exponent.value:.2f}, faster than runs fluctuate: "
            f"at that pace it would follow from about n = {_two_digits(reached)} on"
        )
    if exponent.low > FLUCTUATION:
        pace = f"its shift goes like n^{exponent.value:.2f}, which falls more slowly than runs fluctuate"
        return "fails", f"departs: {pace}"
    return "fails", f"does not follow up to {largest}"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.1e}'):,.0f}"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    names, laws = (measured[axis].values.tolist() for axis in ("observable", "features"))
    panels = style.Panels(len(names), 3, width=3.6, height=3.6, sharey=True, legend=0.9)
    n = measured.n.values.astype(float)
    for ax, name in zip(panels.axes, names, strict=True):
        one = measured.sel(observable=name)
        floor = 0.5 * float(one.share_high.min())
        for law, (colour, marker) in zip(laws, style.styles(len(laws)), strict=True):
            here = one.sel(features=law)
            share, low, high = (here[key].values for key in ("share", "share_low", "share_high"))
            seen = low > 0
            ax.plot(n[seen], share[seen], color=colour, lw=1.2, zorder=2)
            style.points(ax, n[seen], share[seen], np.abs([low - share, high - share])[:, seen], colour, marker)
            # Where zero is not excluded only the upper end is known.
            look: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4.5, "lw": 0, "markerfacecolor": "white"}
            ax.plot(n[~seen], high[~seen].clip(floor), **look)
        ax.axhline(1, color="black", lw=1.2, ls="--", zorder=1)
        ax.set_yscale("log")
        style.plain(ax, title_of(name))
        style.sizes_on_axis(ax, n)
    handles = style.keys(laws, lw=1.2)
    handles.append(style.key("a single Gaussian run's distance", color="black", lw=1.2, ls="--"))
    title, y = "How far each law of the features is from theory", "shift / distance of a Gaussian run"
    caption = (
        "Shift: median over replicates minus theory, root mean square over iterations; as a share of the root-mean-"
        "square distance of a run with Gaussian features at the same n. Medians, since laws without a fourth moment "
        "let single runs go astray. Filled: with its interval; open: the upper end of an interval that reaches zero. "
        "Below the dashed line one run cannot tell the law from Gaussian features. The test error of other laws is an"
        " average over fresh rows, whose own error widens its intervals: it may object to a law, but not decide for "
        "it."
    )
    return [Captioned("universality", panels.finish(title, "samples n", y, handles, columns=4), caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for name in measured.observable.values.tolist():
        for law in measured.features.values.tolist():
            one = measured.sel(observable=name, features=law)
            last, exponent = one.isel(n=-1), Interval.of(one, "exponent")
            lines.append(
                (
                    title_of(name),
                    law,
                    *(f"{share:.2f}" for share in one.share.values),
                    f"[{float(last.share_low):.2f}, {float(last.share_high):.2f}]",
                    f"{float(last.standard_errors):.1f}",
                    " ".join(exponent_texts(exponent)).removesuffix(" -"),
                )
            )
    sizes = [f"n = {int(size):,}" for size in measured.n.values]
    ends = ("interval at the largest", "in standard errors", "exponent of the shift")
    headings = ("observable", "features", *sizes, *ends)
    return [Tabulated("Shift from theory over the distance of a Gaussian run", headings, lines)]


SECTION = Section(
    name="universality",
    question="Which laws of the features follow the Gaussian theory, and from which n on?",
    needs=(_laws, no_axis_but("features"), at_least(2, "replicate")),
    measure=universality,
    findings=lambda measured: [_finding(measured.sel(features=law), str(law)) for law in measured.features.values],
    figures=_figures,
    tables=_tables,
    examines="features",
)
