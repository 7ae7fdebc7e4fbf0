"""Whether the bias falls faster than the fluctuation; for a store of any name, a part of the section on rates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from analysis.answers import style
from analysis.answers.finding import CERTAIN, EXTENSION, HOLDING, Claim, Finding, Lack, Verdict
from analysis.answers.section import Captioned, Tabulated
from analysis.answers.words import cell_values, cells, exponent_texts, short_text, title_of
from analysis.statistics.bias import root_and_limit
from analysis.statistics.intervals import Interval
from analysis.statistics.loglog import power_line

__all__ = [
    "SEEN",
    "UNSEEN",
    "bias_figure",
    "bias_finding",
    "bias_text",
    "bias_verdict",
    "constants_table",
    "shows_bias",
]

EXPECTED = -1.0
CLAIM = Claim("-1", EXTENSION, "finite-size-bias")
SEEN = 0.01
"""A bias is called seen where so much of a power law has at most this probability without one."""
SMALL = 128
"""Sizes up to which replicates that a sweep can have show a bias of order 1/n, a share of order n^-1/2 of a run's
fluctuation: some n of them see it, and some ten times as many its exponent."""
UNSEEN = 4.0
"""Times as many replicates to look for a bias that is not seen yet."""
THEORY, HALVES = "bias", "halves"
"""What shows a bias, as the names of variables begin: the mean of runs less theory, or runs and their halves."""
BIAS, FLUCTUATION, BY_HALVES = style.COLOURS[1], style.COLOURS[0], style.COLOURS[2]

_CAPTION = (
    "Root mean squares over cells, iterations and entries. Circles: fluctuation, the standard deviation over "
    "replicates. Diamonds: bias, mean over replicates minus theory, less its noise, with its interval; triangles "
    "pointing down: upper ends of intervals that reach zero; in the third colour, where a store has them, the same by "
    "halves: mean of two runs of half the size less the run on the same innovations. Solid: fitted power of n. Grey "
    "dashes: the standard "
    "errors of the mean and of the solver together, below which no single point shows a bias; the fit has all n at "
    "once. Dotted: n to the power -1/2 and 1/n."
)


def bias_verdict(measured: xr.Dataset, observable: str, source: str = THEORY) -> tuple[Verdict, str]:
    """Say whether the bias of an observable falls faster than its fluctuation.

    Parameters
    ----------
    measured : Dataset
        From `analysis.statistics.rates`, on (observable, part, ...).
    observable : str
        Which row.
    source : {'bias', 'halves'}
        What shows the bias: the mean of runs less theory, which sees what stays as n grows too, or runs and their
        halves, which see far smaller ones that fall.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    one = measured.sel(observable=observable)
    exponent = Interval.of(one, f"{source}_exponent")
    _, low, high = exponent
    _, fastest, slowest = Interval.of(one.sel(part="fluctuation"), "overall_exponent")
    if np.isnan([low, high, slowest, fastest]).any():
        return "undecided", "too few replicates or values of n for an exponent of the bias"
    if not _seen(one, source):
        size = f"{int(one.n[-1]):,}"
        return "undecided", f"no bias seen; at n = {size} it is at most {_share(one, source)} of the fluctuation"
    if exponent.wider(HOLDING).high < fastest:
        side = "faster" if high < EXPECTED else "more slowly"
        claim = "as claimed, like 1/n" if low <= EXPECTED <= high else f"{side} than 1/n over these n"
        return "holds", f"falls faster than the fluctuation; {claim}"
    if exponent.wider(CERTAIN).low > slowest and float(one[f"{source}_p_value"]) <= SEEN / CERTAIN:
        return "fails", "falls more slowly than the fluctuation"
    return "undecided", "a bias is seen, but not whether it falls faster than the fluctuation"


def bias_finding(measured: xr.Dataset, observable: str) -> Finding:
    """Give the verdict on the bias of an observable with its exponent, if one is seen.

    By halves where the store has them, unless the mean of runs stays away from theory.

    Parameters
    ----------
    measured, observable
        As for `bias_verdict`.

    Returns
    -------
    Finding
    """
    one = measured.sel(observable=observable)
    (kind, sentence), source = bias_verdict(measured, observable), THEORY
    if kind != "fails" and _source(one) == HALVES:
        (kind, sentence), source = bias_verdict(measured, observable, HALVES), HALVES
        sentence += ", by halves"
    nothing = Interval(np.nan, np.nan, np.nan)
    exponent = Interval.of(one, f"{source}_exponent") if _seen(one, source) else nothing
    number = "exponent of the bias", *exponent
    lack = _lack(one, source) if kind == "undecided" else Lack()
    return Finding(f"bias of {title_of(observable)}", kind, sentence, *number, claim=CLAIM, lack=lack)


def shows_bias(measured: xr.Dataset) -> bool:
    """Tell whether a store can tell its bias, by its sizes or by halves; else a table has how large it can be.

    Parameters
    ----------
    measured : Dataset
        From `analysis.statistics.rates`.
    """
    return f"{HALVES}_exponent" in measured or int(measured.n.min()) <= SMALL


def _lack(one: xr.Dataset, source: str) -> Lack:
    """What would tell the exponent of a bias from that of the fluctuation.

    The variance of a bias relative to itself goes like n at each n; by halves it is the same at each.
    """
    n = one.n.values.astype(float)
    precision = 1 / n if source == THEORY else np.ones(len(n))
    x = np.log(n) - np.average(np.log(n), weights=precision)
    leverage = dict(zip(one.n.values.tolist(), (x**2 * precision).tolist(), strict=True))
    if not _seen(one, source):
        return Lack(UNSEEN, leverage)
    exponent, fluctuation = (
        Interval.of(one, f"{source}_exponent"),
        Interval.of(one.sel(part="fluctuation"), "overall_exponent"),
    )
    apart = fluctuation.low - exponent.value
    factor = (HOLDING * (exponent.high - exponent.value) / apart) ** 2 if apart > 0 else np.nan
    return Lack(max(float(factor), 1.0) if np.isfinite(factor) else np.nan, leverage)


def bias_text(one: xr.Dataset, by: str = "") -> str:
    """Write the exponent of one observable, or how large a bias that is not seen can be; by halves if there are.

    Parameters
    ----------
    one : Dataset
        One observable of a measure, the numbers of the bias without dimensions.
    by : str
        How the names of its variables end.

    Returns
    -------
    str
    """
    source = _source(one, by)
    exponent = Interval.of(one, f"{source}_exponent", by)
    if np.isnan(exponent.value):
        return "-"
    return short_text(exponent) if _seen(one, source, by) else f"none seen, < {_share(one, source, by)}"


def constants_table(measured: xr.Dataset) -> list[Tabulated]:
    """Tabulate bias constants at the last iteration, where the store has halves: none or one table."""
    if "bias_constant" not in measured:
        return []
    last = measured.isel(iteration=-1)
    lines = []
    for cell in cells(last.bias_constant, extra=("observable",)):
        for name in measured.observable.values.tolist():
            one = last.sel(cell | {"observable": name})
            constant = Interval.of(one, "bias_constant")
            if np.isfinite(constant.value):
                lines.append(
                    (title_of(name), *cell_values(cell), *exponent_texts(constant), f"{float(one.halves_gain):.0f}")
                )
    axes = [str(dim) for dim in last.bias_constant.dims if dim != "observable"]
    title = f"n times the bias as n grows, at iteration {int(last.iteration)}, by halves"
    return [Tabulated(title, ("observable", *axes, "constant", "interval", "times less variance"), lines)]


def _source(one: xr.Dataset, by: str = "") -> str:
    """By what the bias of an observable is known best: halves where a store has them."""
    name = f"{HALVES}_exponent{by}"
    return HALVES if name in one and np.isfinite(float(one[name])) else THEORY


def _seen(one: xr.Dataset, source: str, by: str = "") -> bool:
    return bool(one[f"{source}_p_value{by}"] <= SEEN)


def _share(one: xr.Dataset, source: str, by: str = "") -> str:
    bound = float(one[f"{source}_bound{by}"])
    return f"{bound:.0%}" if bound >= 0.1 else f"{bound:.2%}"


def bias_figure(measured: xr.Dataset) -> Captioned:
    """Draw bias and fluctuation against n in log-log, one panel for each observable that has both.

    Parameters
    ----------
    measured : Dataset
        From `analysis.statistics.rates`, on (observable, n, ...).

    Returns
    -------
    Captioned
    """
    names = measured.observable.values[measured.bias_exponent.notnull().values].tolist()
    halved = "mean_halves_squared" in measured
    panels = style.Panels(len(names), 3, width=3.5, height=3.1, legend=0.8)
    for ax, name in zip(panels.axes, names, strict=True):
        one = measured.sel(observable=name)
        _panel(ax, one)
        style.plain(ax, f"{title_of(name)}: {bias_text(one)}")
        style.sizes_on_axis(ax, one.n.values.astype(float))
    handles = [
        style.key("fluctuation", color=FLUCTUATION, marker="o", ms=5, ls=""),
        style.key("bias", color=BIAS, marker="D", ms=5, ls=""),
        style.key("bias, at most", color=BIAS, marker="v", ms=5, ls="", mfc="white"),
        *([style.key("bias by halves", color=BY_HALVES, marker="D", ms=5, ls="")] if halved else []),
        style.key("fitted power", color=BIAS, lw=1.4),
        style.key("noise of the mean", **style.SOLVER),
        style.key("guides n$^{-1/2}$, 1/n", **style.GUIDE),
    ]
    title = "Bias and fluctuation as n grows, with the exponent of the bias"
    figure = panels.finish(title, "samples n", "root mean square", handles, columns=6)
    return Captioned("rates_bias", figure, _CAPTION)


def _panel(ax: Axes, one: xr.Dataset) -> None:
    n = one.n.values.astype(float)
    fluctuation, noise = one.mean_fluctuation.values, one.mean_noise.values
    square = Interval.of(one, "mean_bias_squared")
    root, clear = root_and_limit(square)
    ax.plot(n, fluctuation, color=FLUCTUATION, marker="o", ms=4.5, lw=0, zorder=3)
    ax.plot(n, noise, **style.SOLVER)
    style.root_or_limit(ax, n, square, BIAS)
    if "mean_halves_squared" in one:
        style.root_or_limit(ax, n, Interval.of(one, "mean_halves_squared"), BY_HALVES)
    first = int(np.flatnonzero(np.isfinite(square.value))[0])
    ax.plot(n, 1.4 * fluctuation[first] * (n / n[first]) ** -0.5, **style.GUIDE)
    if clear.any():
        anchor = int(np.flatnonzero(clear)[0])
        ax.plot(n, 1.4 * root.value[anchor] * (n / n[anchor]) ** EXPECTED, **style.GUIDE)
        if _seen(one, THEORY):
            precision = np.divide(root.value, root.high - root.low, out=np.zeros(len(n)), where=clear) ** 2
            ax.plot(n, power_line(n, root.value, float(one.bias_exponent), precision), color=BIAS, lw=1.4, zorder=2)
    ax.set_yscale("log")
    ax.set_ylim(0.4 * np.nanmin(np.concatenate([noise, root.value[clear]])), 2 * np.nanmax(fluctuation))
