"""Whether the width may grow with n, and how fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from analysis.answers import style
from analysis.answers.finding import CERTAIN, EXTENSION, HOLDING, Claim, Finding, Lack, Verdict
from analysis.answers.needs import at_least, no_axis_but
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.answers.words import short_text, title_of
from analysis.questions.bias import SEEN, UNSEEN
from analysis.statistics.bias import root_and_limit
from analysis.statistics.breakdown_width import CLOSE, breakdown_width
from analysis.statistics.datasets import LEAST_SIZES
from analysis.statistics.intervals import Interval
from analysis.statistics.loglog import power_line

__all__ = ["SECTION", "takes_over"]

LEAST_WIDTHS = 3
LINEAR, WIDE = 1.0, 1.5
"""Power of the width at which width/n decides; and half-way to width^2/n."""
ALLOWED = {"fluctuation": 0.5, "bias": 1.0}
"""Powers of the width at which width/n decides, if the parts fall like n^-1/2 and 1/n as theory has it."""

CLAIMS = {
    part: Claim(f"{power:g} or below", EXTENSION, "decomposition")
    for part, power in {"distance": LINEAR, **ALLOWED}.items()
}


def _starts_alike(simulation: xr.Dataset) -> str | None:
    if simulation.attrs.get("deep_init", "signs") == "signs":
        return None
    return "the network starts as another function at each width; with problem.deep_init=signs it does not"


def takes_over(one: xr.Dataset) -> bool:
    """Whether the bias of one observable is seen to grow faster with the width than its fluctuation."""
    return _seen(one) and float(one.bias_width_exponent_low) > float(one.fluctuation_width_exponent_high)


def _seen(one: xr.Dataset) -> bool:
    return float(one.bias_p_value) <= SEEN


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for name in measured.observable.values.tolist():
        one = measured.sel(observable=name)
        power = Interval.of(one, "power")
        kind, sentence = _verdict(power)
        lack = _lack(one, power, WIDE * LINEAR) if kind == "undecided" else Lack()
        if takes_over(one):
            sentence += ", but the bias takes over from the fluctuation, so this power changes with the sizes"
        widest, samples = int(one.width[-1]), float(one.samples_needed[-1])
        sentence += f"; at width {widest} a run is within {CLOSE:.0%} of theory from about n = {samples:.2g} on"
        findings.append(Finding(title_of(name), kind, sentence, "power of the width", *power, CLAIMS["distance"], lack))
        findings += [_part_finding(one, name, part) for part in ALLOWED]
    return findings


def _verdict(power: Interval) -> tuple[Verdict, str]:
    if power.wider(CERTAIN).low > LINEAR:
        return "fails", "over these sizes n must grow faster than the width for a run to stay as close to theory"
    if not power.wider(HOLDING).high < WIDE:
        return "undecided", "width/n and width^2/n are both possible at this precision"
    if power.high <= 0:
        return "holds", "over these sizes wider networks are closer to theory at the same n"
    if power.high < LINEAR:
        return "holds", "over these sizes n may grow more slowly than the width, and a run stays as close to theory"
    return "holds", "over these sizes a run stays as close to theory if n grows with the width"


def _part_finding(one: xr.Dataset, name: str, part: str) -> Finding:
    """Say of one observable how its fluctuation, or its bias, goes with the width."""
    exponent = Interval.of(one, f"{part}_width_exponent")
    known = part == "fluctuation" or _seen(one)
    kind: Verdict = "undecided"
    if known and exponent.wider(CERTAIN).low > ALLOWED[part]:
        kind = "fails"
    elif known and exponent.wider(HOLDING).high < WIDE * ALLOWED[part]:
        kind = "holds"
    words = _fluctuation_words(exponent) if part == "fluctuation" else _bias_words(one, kind)
    numbers = exponent if known else Interval(np.nan, np.nan, np.nan)
    lack = Lack()
    if kind == "undecided":
        lack = _lack(one, exponent, WIDE * ALLOWED[part]) if known else Lack(UNSEEN, _leverage(one, -1.0))
    return Finding(f"{part} of {title_of(name)}", kind, words, "exponent of the width", *numbers, CLAIMS[part], lack)


def _lack(one: xr.Dataset, exponent: Interval, below: float) -> Lack:
    """What would tell an exponent of the width from one that must not pass for what is claimed."""
    apart = below - exponent.value
    factor = (HOLDING * (exponent.high - exponent.value) / apart) ** 2 if apart > 0 else np.nan
    return Lack(max(float(factor), 1.0), _leverage(one, 0.0)) if np.isfinite(factor) else Lack()


def _leverage(one: xr.Dataset, power: float) -> dict[int, float]:
    """Which n tell most: all alike, or, of a bias, the smallest, where it is largest beside what hides it."""
    n = one.n.values.astype(float)
    return dict(zip(one.n.values.tolist(), (n**power).tolist(), strict=True))


def _fluctuation_words(exponent: Interval) -> str:
    if exponent.low <= 0 <= exponent.high:
        return "relative to theory, no change with the width is seen"
    return f"relative to theory it {'grows' if exponent.low > 0 else 'falls'} with the width"


def _bias_words(one: xr.Dataset, kind: Verdict) -> str:
    if not _seen(one):
        last = one.isel(width=-1, n=-1)
        limit = float(last.bias_ratio_high)
        at = f"; at width {int(last.width)} and n = {int(last.n):,} it is at most {limit:.2g} of the fluctuation"
        return f"none that follows a power of the width is seen{at if np.isfinite(limit) else ''}"
    if float(one.bias_width_exponent_low) <= 0:
        return "there is one, but whether it grows with the width is not known"
    words = f"relative to theory it grows with the width; {_KEPT[kind]}"
    if takes_over(one):
        equal, low, high = Interval.of(one, "equal_width")
        from_width = f"from width {equal:.0f} [{low:.0f}, {high:.0f}] on"
        words += f"; by these powers it exceeds the fluctuation at n = {int(one.n[-1]):,} {from_width}"
    return words


_KEPT: dict[Verdict, str] = {
    "holds": "n that grows with the width keeps it as small",
    "fails": "n must grow faster than the width to keep it as small",
    "undecided": "whether n that grows with the width keeps it as small is open",
}


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    return [_distances_figure(measured), _parts_figure(measured)]


def _distances_figure(measured: xr.Dataset) -> Captioned:
    names = measured.observable.values.tolist()
    panels = style.Panels(2 * len(names), len(names), width=3.5, height=2.85, sharex="row")
    n = measured.n.values.astype(float)
    for top, bottom, name in zip(*panels.rows, names, strict=True):
        one = measured.sel(observable=name)
        power = Interval.of(one, "power")
        for width, look in zip(one.width.values, style.styles(measured.sizes["width"]), strict=True):
            here = one.sel(width=width)
            style.points(top, n, here.distance, here.distance_stderr, *look, lw=1)
            style.points(bottom, float(width) ** power.value / n, here.distance, here.distance_stderr, *look)
        style.plain(top, title_of(name))
        style.plain(bottom, f"power {power.value:.2f}  [{power.low:.2f}, {power.high:.2f}]")
        bottom.set_xscale("log")
        bottom.xaxis.set_minor_formatter(NullFormatter())
        style.sizes_on_axis(top, n)
        top.set_xlabel("samples n")
        for ax in (top, bottom):
            ax.set_yscale("log")
    handles = style.keys(f"width {int(width)}" for width in measured.width.values)
    title = "Distance to theory as width and n grow"
    figure = panels.finish(title, "width$^{power}$ / n", "distance / theory", handles, columns=6)
    caption = (
        "Above: root-mean-square distance of a run from theory, relative to theory, with standard errors. Below: the "
        "same points against that combination of width and n which one power law through all of them gives; they fall"
        " on one line as far as that law is right."
    )
    return Captioned("breakdown_width", figure, caption)


def _parts_figure(measured: xr.Dataset) -> Captioned:
    """Draw fluctuation and bias against the width at the smallest and the largest n."""
    names = measured.observable.values.tolist()
    panels = style.Panels(len(names), len(names), width=3.5, height=3.3, legend=0.8)
    sizes = measured.n.values[[0, -1]]
    for ax, name in zip(panels.axes, names, strict=True):
        one = measured.sel(observable=name)
        lowest = [_panel(ax, one.sel(n=n), look[0]) for n, look in zip(sizes, style.styles(len(sizes)), strict=True)]
        powers = "\n".join(f"{part} {_power(one, part)}" for part in ALLOWED)
        style.plain(ax, f"{title_of(name)}\n{powers}")
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.7 * min(lowest))
        style.sizes_on_axis(ax, one.width.values.astype(float))
    handles = [
        *style.keys((f"n = {int(n):,}" for n in sizes), lw=3, marker=""),
        style.key("fluctuation, fitted power", color=style.GREY, marker="o", ms=5, lw=1.2, ls="--"),
        style.key("bias, fitted power", color=style.GREY, marker="D", ms=5, lw=1.2),
        style.key("bias, at most", color=style.GREY, marker="v", ms=5, ls="", mfc="white"),
    ]
    title = "Fluctuation and bias as the width grows, with their powers of the width"
    figure = panels.finish(title, "width", "root mean square / theory", handles, columns=5)
    caption = (
        "Standard deviation over replicates and distance of their mean from theory, both relative to theory, with "
        "intervals of the bias; its noise is taken out. Where the interval reaches zero, its upper end is drawn. At "
        "widths where the bias is above the fluctuation, more replicates do not bring the mean of the runs closer to "
        "theory."
    )
    return Captioned("breakdown_width_parts", figure, caption)


def _panel(ax: Axes, one: xr.Dataset, colour: str) -> float:
    """Draw one n; give the smallest value that is drawn as a point."""
    width, fluctuation = one.width.values.astype(float), one.fluctuation.values
    look: dict[str, Any] = {"color": colour, "lw": 1.2, "zorder": 2}
    ax.plot(width, fluctuation, color=colour, marker="o", ms=4.5, lw=0, zorder=3)
    ax.plot(width, power_line(width, fluctuation, float(one.fluctuation_width_exponent)), ls="--", **look)
    square = Interval.of(one, "bias_squared")
    style.root_or_limit(ax, width, square, colour)
    root, clear = root_and_limit(square)
    if _seen(one) and clear.any():
        precision = np.divide(root.value, root.high - root.low, out=np.zeros(len(width)), where=clear) ** 2
        ax.plot(width, power_line(width, root.value, float(one.bias_width_exponent), precision), **look)
    drawn = np.where(clear, root.value, root.high)
    return float(min(np.nanmin(fluctuation), np.min(drawn[drawn > 0], initial=np.inf)))


def _power(one: xr.Dataset, part: str, key: str = "width") -> str:
    """Write an exponent with its interval."""
    if part == "bias" and not _seen(one):
        return "not seen"
    return short_text(Interval.of(one, f"{part}_{key}_exponent"))


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    names, widths = measured.observable.values.tolist(), measured.width.values
    parts, laws, shares = [], [], []
    for name in names:
        one = measured.sel(observable=name)
        powers = [_power(one, part, key) for part in ALLOWED for key in ("size", "width")]
        ratios = [f"{float(x):.2f}" if np.isfinite(x) else "-" for x in one.bias_ratio.isel(n=-1)]
        parts.append((title_of(name), *powers, *ratios))
        exponents = [short_text(Interval.of(one, key)) for key in ("size_exponent", "width_exponent", "power")]
        laws.append((title_of(name), *exponents, f"{float(one.scatter):.1f}"))
        for width in widths:
            here = one.sel(width=width)
            distances = [f"{float(x):.1%}" for x in here.distance]
            share, samples = f"{float(here.bias_share[-1]):.0%}", f"{float(here.samples_needed):.2g}"
            shares.append((title_of(name), str(int(width)), *distances, share, samples))
    ratio = [f"bias / fluctuation, width {int(width)}" for width in widths]
    sizes = [f"n = {int(size):,}" for size in measured.n.values]
    return [
        Tabulated(
            f"Powers of n and of the width; ratios at n = {int(measured.n[-1]):,}",
            ("observable", "fluctuation: n", "fluctuation: width", "bias: n", "bias: width", *ratio),
            parts,
        ),
        Tabulated("Distance ~ n^a width^b", ("observable", "a", "b", "power -b/a", "scatter in standard errors"), laws),
        Tabulated(
            "Distance relative to theory",
            ("observable", "width", *sizes, "bias share at the largest n", f"n for {CLOSE:.0%}"),
            shares,
        ),
    ]


SECTION = Section(
    name="breakdown_width",
    question="May the width grow with n, and how fast?",
    needs=(
        at_least(LEAST_WIDTHS, "width"),
        at_least(LEAST_SIZES, "n"),
        no_axis_but("width"),
        _starts_alike,
        at_least(2, "replicate"),
    ),
    measure=breakdown_width,
    findings=_findings,
    figures=_figures,
    tables=_tables,
    examines="width",
)
