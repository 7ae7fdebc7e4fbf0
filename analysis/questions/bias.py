"""Whether the bias falls faster than the fluctuation; for a store of any name, a part of the section on rates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from analysis.answers import style
from analysis.answers.finding import CERTAIN, EXTENSION, Claim, Finding, Verdict
from analysis.answers.section import Captioned
from analysis.answers.words import short_text, title_of
from analysis.statistics.bias import root_and_limit
from analysis.statistics.intervals import Interval
from analysis.statistics.loglog import power_line

__all__ = ["SEEN", "bias_figure", "bias_finding", "bias_text", "bias_verdict"]

EXPECTED = -1.0
CLAIM = Claim("-1", EXTENSION, "finite-size-bias")
SEEN = 0.01
"""A bias is called seen where so much of a power law has at most this probability without one."""
BIAS, FLUCTUATION = style.COLOURS[1], style.COLOURS[0]

_CAPTION = (
    "Root mean squares over cells, iterations and entries. Circles: fluctuation, the standard deviation over "
    "replicates. Diamonds: bias, mean over replicates minus theory, less its noise, with its interval; triangles "
    "pointing down: upper ends of intervals that reach zero. Solid: fitted power of n. Grey dashes: the standard "
    "errors of the mean and of the solver together, below which no single point shows a bias; the fit has all n at "
    "once. Dotted: n to the power -1/2 and 1/n."
)


def bias_verdict(measured: xr.Dataset, observable: str) -> tuple[Verdict, str]:
    """Say whether the bias of an observable falls faster than its fluctuation.

    Parameters
    ----------
    measured : Dataset
        From `analysis.statistics.rates`, on (observable, part, ...).
    observable : str
        Which row.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    one = measured.sel(observable=observable)
    exponent = Interval.of(one, "bias_exponent")
    _, low, high = exponent
    _, fastest, slowest = Interval.of(one.sel(part="fluctuation"), "overall_exponent")
    if np.isnan([low, high, slowest, fastest]).any():
        return "undecided", "too few replicates or values of n for an exponent of the bias"
    if not _seen(one):
        size = f"{int(one.n[-1]):,}"
        return "undecided", f"no bias seen; at n = {size} it is at most {_share(one)} of the fluctuation"
    if high < fastest:
        side = "faster" if high < EXPECTED else "more slowly"
        claim = "as claimed, like 1/n" if low <= EXPECTED <= high else f"{side} than 1/n over these n"
        return "holds", f"falls faster than the fluctuation; {claim}"
    if exponent.wider(CERTAIN).low > slowest and float(one.bias_p_value) <= SEEN / CERTAIN:
        return "fails", "falls more slowly than the fluctuation"
    return "undecided", "a bias is seen, but not whether it falls faster than the fluctuation"


def bias_finding(measured: xr.Dataset, observable: str) -> Finding:
    """Give the verdict on the bias of an observable with its exponent, if one is seen.

    Parameters
    ----------
    measured, observable
        As for `bias_verdict`.

    Returns
    -------
    Finding
    """
    one = measured.sel(observable=observable)
    nothing = Interval(np.nan, np.nan, np.nan)
    exponent = Interval.of(one, "bias_exponent") if _seen(one) else nothing
    kind, sentence = bias_verdict(measured, observable)
    return Finding(f"bias of {title_of(observable)}", kind, sentence, "exponent of the bias", *exponent, claim=CLAIM)


def bias_text(one: xr.Dataset, by: str = "") -> str:
    """Write the exponent of one observable, or how large a bias that is not seen can be.

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
    exponent = Interval.of(one, "bias_exponent", by)
    if np.isnan(exponent.value):
        return "-"
    return short_text(exponent) if _seen(one, by) else f"none seen, < {_share(one, by)}"


def _seen(one: xr.Dataset, by: str = "") -> bool:
    return bool(one[f"bias_p_value{by}"] <= SEEN)


def _share(one: xr.Dataset, by: str = "") -> str:
    return f"{float(one[f'bias_bound{by}']):.0%}"


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
    first = int(np.flatnonzero(np.isfinite(square.value))[0])
    ax.plot(n, 1.4 * fluctuation[first] * (n / n[first]) ** -0.5, **style.GUIDE)
    if clear.any():
        anchor = int(np.flatnonzero(clear)[0])
        ax.plot(n, 1.4 * root.value[anchor] * (n / n[anchor]) ** EXPECTED, **style.GUIDE)
        if _seen(one):
            precision = np.divide(root.value, root.high - root.low, out=np.zeros(len(n)), where=clear) ** 2
            ax.plot(n, power_line(n, root.value, float(one.bias_exponent), precision), color=BIAS, lw=1.4, zorder=2)
    ax.set_yscale("log")
    ax.set_ylim(0.4 * np.nanmin(np.concatenate([noise, root.value[clear]])), 2 * np.nanmax(fluctuation))
