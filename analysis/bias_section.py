"""What the bias against n says, in words, in a table and in a figure: part of the section on rates."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis import style
from analysis.section import Finding, Verdict

__all__ = ["BIAS_CAPTION", "bias_figure", "bias_finding", "bias_text", "bias_verdict"]

EXPECTED = -1.0
SEEN = 0.01
"""A bias is called seen where so much of a power law has at most this probability without one."""
BIAS, FLUCTUATION = style.COLOURS[1], style.COLOURS[0]

BIAS_CAPTION = (
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
        From `analysis.rates`.
    observable : str
        Which row.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    one = measured.sel(observable=observable)
    low, high = float(one.bias_exponent_low), float(one.bias_exponent_high)
    fluctuation = one.sel(part="fluctuation")
    slowest, fastest = float(fluctuation.overall_exponent_high), float(fluctuation.overall_exponent_low)
    if np.isnan([low, high, slowest, fastest]).any():
        return "undecided", "too few replicates or values of n for an exponent of the bias"
    if not _seen(one):
        size = f"{int(one.n[-1]):,}"
        return "undecided", f"no bias seen; at n = {size} it is at most {_share(one, '')} of the fluctuation"
    if high < fastest:
        claim = "as claimed, like 1/n" if low <= EXPECTED <= high else f"{_side(high)} than 1/n over these n"
        return "holds", f"falls faster than the fluctuation; {claim}"
    if low > slowest:
        return "fails", "falls more slowly than the fluctuation"
    return "undecided", "a bias is seen, but not whether it falls faster than the fluctuation"


def _side(high: float) -> str:
    return "faster" if high < EXPECTED else "more slowly"


def bias_finding(measured: xr.Dataset, observable: str) -> Finding:
    """Give the verdict on the bias with its exponent, if one is seen."""
    one = measured.sel(observable=observable)
    numbers = [float(one[f"bias_exponent{end}"]) if _seen(one) else np.nan for end in ("", "_low", "_high")]
    subject = f"bias of {style.title_of(observable)}"
    return Finding(subject, *bias_verdict(measured, observable), "exponent of the bias", *numbers)


def bias_text(one: xr.Dataset, by: str = "") -> str:
    """Write the exponent of one observable, or how large a bias that is not seen can be; `by` ends the names."""
    value, low, high = (float(one[f"bias_exponent{end}{by}"]) for end in ("", "_low", "_high"))
    if np.isnan(value):
        return "-"
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]" if _seen(one, by) else f"none seen, < {_share(one, by)}"


def _seen(one: xr.Dataset, by: str = "") -> bool:
    return bool(one[f"bias_p_value{by}"] <= SEEN)


def _share(one: xr.Dataset, by: str) -> str:
    return f"{float(one[f'bias_bound{by}']):.0%}"


def bias_figure(measured: xr.Dataset) -> Figure:
    """Draw bias and fluctuation against n in log-log, one panel for each observable that has both.

    Parameters
    ----------
    measured : Dataset
        From `analysis.rates`.

    Returns
    -------
    matplotlib.figure.Figure
    """
    names = measured.observable.values[measured.bias_exponent.notnull().values].tolist()
    figure, rows = style.small_multiples(len(names), 3, width=3.5, height=3.1, legend=0.8)
    for ax, name in zip((ax for row in rows for ax in row), names, strict=True):
        _panel(ax, measured.sel(observable=name))
        ax.set_title(f"{style.title_of(name)}: {bias_text(measured.sel(observable=name))}", fontsize=10)
    style.label_edges(rows, "samples n", "root mean square")
    style.title(figure, "Bias and fluctuation as n grows, with the exponent of the bias")
    handles = [
        Line2D([], [], color=FLUCTUATION, marker="o", ms=5, ls="", label="fluctuation"),
        Line2D([], [], color=BIAS, marker="D", ms=5, ls="", label="bias"),
        Line2D([], [], color=BIAS, marker="v", ms=5, ls="", mfc="white", label="bias, at most"),
        Line2D([], [], color=BIAS, lw=1.4, label="fitted power"),
        Line2D([], [], color=style.GREY, lw=1.2, ls="--", label="noise of the mean"),
        Line2D([], [], color=style.THEORY, lw=1.2, ls=(0, (1, 2)), label="guides n$^{-1/2}$, 1/n"),
    ]
    style.legend(figure, handles, columns=6)
    return figure


def _panel(ax: Axes, one: xr.Dataset) -> None:
    n = one.n.values.astype(float)
    fluctuation, noise = one.mean_fluctuation.values, one.mean_noise.values
    square, low, high = (one[f"mean_bias_squared{end}"].values for end in ("", "_low", "_high"))
    ax.plot(n, fluctuation, color=FLUCTUATION, marker="o", ms=4.5, lw=0, zorder=3)
    ax.plot(n, noise, color=style.GREY, lw=1.2, ls="--", zorder=1)
    known = np.isfinite(square)
    clear = known & (low > 0)
    level, bottom, top = (np.sqrt(np.maximum(values, 0.0)) for values in (square, low, high))
    bars = [(level - bottom)[clear], (top - level)[clear]]
    ax.errorbar(n[clear], level[clear], bars, color=BIAS, marker="D", ms=4.5, lw=0, elinewidth=1, zorder=3)
    limit = known & ~clear & (high > 0)
    ax.plot(n[limit], top[limit], color=BIAS, marker="v", ms=5, lw=0, mfc="white", zorder=3)
    first = int(np.flatnonzero(known)[0])
    guide: dict = {"color": style.THEORY, "lw": 1.2, "ls": (0, (1, 2)), "zorder": 1}
    ax.plot(n, 1.4 * fluctuation[first] * (n / n[first]) ** -0.5, **guide)
    if clear.any():
        anchor = int(np.flatnonzero(clear)[0])
        ax.plot(n, 1.4 * level[anchor] * (n / n[anchor]) ** EXPECTED, **guide)
        if _seen(one):
            power = float(one.bias_exponent)
            weight = (level / (top - bottom))[clear] ** 2
            offset = np.average(np.log(level[clear]) - power * np.log(n[clear]), weights=weight)
            ax.plot(n, np.exp(offset) * n**power, color=BIAS, lw=1.4, zorder=2)
    ax.set_yscale("log")
    smallest = np.nanmin(np.concatenate([noise, level[clear]]))
    ax.set_ylim(0.4 * smallest, 2 * np.nanmax(fluctuation))
    style.plain(ax)
    style.sizes_on_axis(ax, n)
