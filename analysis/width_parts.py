"""Fluctuation and bias against the width, each with powers of its own (THEORY section 3).

The distance of a run from theory has two parts that need not grow alike with the width. Where one takes over from the
other, a power of the width fitted to the distance is between theirs, and none that would go on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis import style
from analysis.bias import POWERS, bias_law
from analysis.bias_section import SEEN
from analysis.moments import Moments, Stack
from analysis.section import Captioned, Finding, Tabulated, Verdict

__all__ = ["PARTS_WORDS", "bias_parts", "parts_figure", "parts_findings", "parts_table", "takes_over"]

BIAS_DRAWS = 400
"""Most bootstrap draws for the exponents of the bias: each of them has all entries."""
ALLOWED = {"fluctuation": 0.5, "bias": 1.0}
"""Powers of the width at which width/n decides, if the parts fall like n^-1/2 and 1/n as theory has it."""
LEAST_POWER = 1e-3
"""A bias that grows no faster than the fluctuation is given this power more: both are equal nowhere near."""
MARGIN = 1.5
"""Times the power allowed: half-way to that of width^2/n."""

PARTS_WORDS = {
    "fluctuation": "standard deviation over replicates, over the root mean square of theory",
    "bias_squared": "squared bias, over the mean square of theory",
    "bias_ratio": "bias over fluctuation",
    "equal_width": "width at which bias and fluctuation are equal at the largest n, by their powers",
    "fluctuation_size_exponent": "exponent of n of the fluctuation",
    "fluctuation_width_exponent": "exponent of the width of the fluctuation",
    "bias_size_exponent": "exponent of n of the bias",
    "bias_width_exponent": "exponent of the width of the bias",
    "bias_p_value": "probability of so much of a power law of the width without bias",
}


def bias_parts(
    data: Stack,
    squares: Moments,
    fluctuation_power: float,
    *,
    quantile: float,
    draws: int,
    level: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Measure the bias against the width, relative to theory and to the fluctuation.

    Parameters
    ----------
    data : Stack
        One observable; its cells are the widths.
    squares : Moments
        Of the same.
    fluctuation_power : float
        Power of the width of the fluctuation.
    quantile : float
        Standard errors to either side that make an interval.
    draws : int
        Bootstrap draws.
    level : float
        Coverage of the intervals.
    rng : numpy.random.Generator
        Source of the bootstrap.

    Returns
    -------
    dict
        Variables of a dataset, all but the last with ``_low`` and ``_high``. On (width, n): ``bias_squared`` over the
        mean square of theory, which can be negative; ``bias_ratio``, bias over fluctuation. Without dimension:
        ``bias_width_exponent`` and ``bias_size_exponent``, powers of the width and of n of `analysis.bias.bias_law`;
        ``equal_width``, at which bias and fluctuation are equal at the largest n, NaN unless the bias grows faster;
        ``bias_p_value``, of the power of the width.
    """
    scale = squares.predicted[..., 1:].mean(-1)
    fluctuation = squares.fluctuation[..., 1:].mean(-1)
    bias = squares.bias[..., 1:].mean(-1)
    drawn = (squares.distance_draws - squares.fluctuation_draws)[..., 1:].mean(-1).transpose(0, 2, 1)
    drawn_fluctuation = squares.fluctuation_draws[..., 1:].mean(-1).transpose(0, 2, 1)
    values: dict[str, Any] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = quantile * drawn.std(0)
        ratio, ratio_drawn = bias / fluctuation, drawn / drawn_fluctuation
        ratio_reach = quantile * ratio_drawn.std(0)
    for end, sign in (("", 0), ("_low", -1), ("_high", 1)):
        values[f"bias_squared{end}"] = (("width", "n"), (bias + sign * reach) / scale)
        values[f"bias_ratio{end}"] = (("width", "n"), np.sqrt((ratio + sign * ratio_reach).clip(0)))

    # Theory of one unit falls with the width: amplitudes are compared relative to it.
    relative = _divided(data, np.sqrt(scale))
    usable = np.isfinite(squares.distance)
    usable[..., 0] = False
    few = min(draws, BIAS_DRAWS)
    in_size = bias_law(relative, usable, draws=few, level=level, rng=rng)
    # A law in n with cells of every width becomes one in the width with cells of every n. Powers of 1/width fall, as
    # those of n do, where those of the width grow.
    width = data.axes["width"].astype(float)
    in_width = bias_law(_turned(relative, 1 / width), usable.swapaxes(0, 1), draws=few, level=level, rng=rng)
    for key, numbers in (
        ("bias_size_exponent", (in_size.exponent, in_size.low, in_size.high)),
        ("bias_width_exponent", (-in_width.exponent, -in_width.high, -in_width.low)),
    ):
        values |= {f"{key}{end}": ((), one) for end, one in zip(("", "_low", "_high"), numbers, strict=True)}
    values["bias_p_value"] = ((), in_width.p_value)
    powers = -np.array([in_width.exponent, in_width.high, in_width.low]) - fluctuation_power
    equal = _equal_width(width, data.n, powers, ratio, ratio_drawn, quantile)
    values |= {f"equal_width{end}": ((), one) for end, one in zip(("", "_low", "_high"), equal, strict=True)}
    return values


def _equal_width(
    width: np.ndarray, n: np.ndarray, powers: np.ndarray, ratio: np.ndarray, drawn: np.ndarray, quantile: float
) -> tuple[float, float, float]:
    """Width at which squared bias over squared fluctuation, (width, n), is 1 at the largest n, with its interval.

    All points together give the one factor of width^(2 power) / n, as the parts fall like 1/n and n^-1/2. Plain least
    squares: the noise of such a ratio is that of a mean over replicates, the same at every size. The interval is that
    of the factor at the power and at both ends of its own interval, whichever is farther.
    """
    known = np.isfinite(ratio) & np.isfinite(drawn).all(0)
    if not (powers[0] > 0 and known.any()):
        return np.nan, np.nan, np.nan
    ratio, drawn = (np.where(known, one, 0.0) for one in (ratio, drawn))
    found = []
    for power in powers.clip(LEAST_POWER, -POWERS[0]):
        shape = known * (width[:, None] / width[-1]) ** (2 * power) * n[-1] / n
        factor, again = ((one * shape).sum((-2, -1)) / (shape**2).sum() for one in (ratio, drawn))
        reach = quantile * again.std()
        with np.errstate(divide="ignore", over="ignore"):
            found.append([width[-1] * (factor + sign * reach).clip(0) ** (-0.5 / power) for sign in (0, 1, -1)])
    equal, low, high = np.array(found).T
    return float(equal[0]), float(low.min()), float(high.max())


def _divided(data: Stack, scale: np.ndarray) -> Stack:
    """Everything but the axes over a scale, (cell, n)."""
    by_run, by_size = scale[..., None, None, None], scale[..., None, None]
    return data._replace(
        simulated=data.simulated / by_run,
        readout=data.readout / by_run,
        predicted=data.predicted / by_size,
        solver=data.solver / by_size,
    )


def _turned(data: Stack, sizes: np.ndarray) -> Stack:
    """Cells as sizes, and sizes as cells."""
    return data._replace(
        simulated=data.simulated.swapaxes(0, 1),
        readout=data.readout.swapaxes(0, 1),
        predicted=data.predicted.swapaxes(0, 1),
        solver=data.solver.swapaxes(0, 1),
        axes={"n": data.n},
        n=sizes,
    )


def takes_over(one: xr.Dataset) -> bool:
    """Whether the bias of one observable is seen to grow faster with the width than its fluctuation."""
    return _seen(one) and float(one.bias_width_exponent_low) > float(one.fluctuation_width_exponent_high)


def _seen(one: xr.Dataset) -> bool:
    return float(one.bias_p_value) <= SEEN


def parts_findings(one: xr.Dataset, name: str) -> list[Finding]:
    """Say of one observable how fluctuation and bias go with the width."""
    found = []
    for part in ("fluctuation", "bias"):
        value, low, high = (float(one[f"{part}_width_exponent{end}"]) for end in ("", "_low", "_high"))
        known = part == "fluctuation" or _seen(one)
        verdict: Verdict = "undecided"
        if known and low > ALLOWED[part]:
            verdict = "fails"
        elif known and high < MARGIN * ALLOWED[part]:
            verdict = "holds"
        words = _fluctuation_words(one) if part == "fluctuation" else _bias_words(one, verdict)
        numbers = (value, low, high) if known else (np.nan, np.nan, np.nan)
        found.append(Finding(f"{part} of {style.title_of(name)}", verdict, words, "exponent of the width", *numbers))
    return found


def _fluctuation_words(one: xr.Dataset) -> str:
    low, high = float(one.fluctuation_width_exponent_low), float(one.fluctuation_width_exponent_high)
    if low <= 0 <= high:
        return "relative to theory, no change with the width is seen"
    return f"relative to theory it {'grows' if low > 0 else 'falls'} with the width"


def _bias_words(one: xr.Dataset, verdict: Verdict) -> str:
    if not _seen(one):
        last = one.isel(width=-1, n=-1)
        limit = float(last.bias_ratio_high)
        at = f"; at width {int(last.width)} and n = {int(last.n):,} it is at most {limit:.2g} of the fluctuation"
        return f"none that follows a power of the width is seen{at if np.isfinite(limit) else ''}"
    if float(one.bias_width_exponent_low) <= 0:
        return "there is one, but whether it grows with the width is not known"
    words = f"relative to theory it grows with the width; {_KEPT[verdict]}"
    if takes_over(one):
        equal, low, high = (float(one[f"equal_width{end}"]) for end in ("", "_low", "_high"))
        from_width = f"from width {equal:.0f} [{low:.0f}, {high:.0f}] on"
        words += f"; by these powers it exceeds the fluctuation at n = {int(one.n[-1]):,} {from_width}"
    return words


_KEPT: dict[Verdict, str] = {
    "holds": "n that grows with the width keeps it as small",
    "fails": "n must grow faster than the width to keep it as small",
    "undecided": "whether n that grows with the width keeps it as small is open",
}


def parts_figure(measured: xr.Dataset) -> Captioned:
    """Draw fluctuation and bias against the width at the smallest and the largest n."""
    names = measured.observable.values.tolist()
    figure, rows = style.small_multiples(len(names), len(names), width=3.5, height=3.3, legend=0.8)
    sizes = measured.n.values[[0, -1]]
    looks = style.styles(len(sizes))
    for ax, name in zip(rows[0], names, strict=True):
        one = measured.sel(observable=name)
        for n, (colour, _) in zip(sizes, looks, strict=True):
            _panel(ax, one.sel(n=n), colour)
        powers = "\n".join(f"{part} {_power(one, part)}" for part in ALLOWED)
        ax.set_title(f"{style.title_of(name)}\n{powers}", fontsize=9)
        ax.set_xlabel("width")
        style.plain(ax)
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.7 * _least(one.sel(n=sizes)))
        style.sizes_on_axis(ax, one.width.values.astype(float))
    rows[0][0].set_ylabel("root mean square / theory")
    style.title(figure, "Fluctuation and bias as the width grows, with their powers of the width")
    handles = [
        *(Line2D([], [], color=look[0], lw=3, label=f"n = {int(n):,}") for n, look in zip(sizes, looks, strict=True)),
        Line2D([], [], color=style.GREY, marker="o", ms=5, lw=1.2, ls="--", label="fluctuation, fitted power"),
        Line2D([], [], color=style.GREY, marker="D", ms=5, lw=1.2, label="bias, fitted power"),
        Line2D([], [], color=style.GREY, marker="v", ms=5, ls="", mfc="white", label="bias, at most"),
    ]
    style.legend(figure, handles, columns=5)
    caption = (
        "Standard deviation over replicates and distance of their mean from theory, both relative to theory, with "
        "intervals of the bias; its noise is taken out. Where the interval reaches zero, its upper end is drawn. At "
        "widths where the bias is above the fluctuation, more replicates do not bring the mean of the runs closer to "
        "theory."
    )
    return Captioned("breakdown_width_parts", figure, caption)


def _least(one: xr.Dataset) -> float:
    """Smallest value that is drawn as a point."""
    square = xr.where(one.bias_squared_low > 0, one.bias_squared, one.bias_squared_high)
    return min(float(one.fluctuation.min()), float(square.where(square > 0).min()) ** 0.5)


def _panel(ax: Axes, one: xr.Dataset, colour: str) -> None:
    width = one.width.values.astype(float)
    fluctuation = one.fluctuation.values
    ax.plot(width, fluctuation, color=colour, marker="o", ms=4.5, lw=0, zorder=3)
    _line(ax, width, fluctuation, (fluctuation > 0) * 1.0, one.fluctuation_width_exponent, color=colour, ls="--")
    low, high = one.bias_squared_low.values, one.bias_squared_high.values
    clear = low > 0
    level, bottom, top = (np.sqrt(values.clip(0)) for values in (one.bias_squared.values, low, high))
    bars = [(level - bottom)[clear], (top - level)[clear]]
    ax.errorbar(width[clear], level[clear], bars, color=colour, marker="D", ms=4.5, lw=0, elinewidth=1, zorder=3)
    limit = ~clear & (high > 0)
    ax.plot(width[limit], top[limit], color=colour, marker="v", ms=5, lw=0, mfc="white", zorder=3)
    if _seen(one):
        precision = np.divide(level, top - bottom, out=np.zeros(len(level)), where=clear) ** 2
        _line(ax, width, level, precision, one.bias_width_exponent, color=colour)


def _line(
    ax: Axes, width: np.ndarray, level: np.ndarray, weight: np.ndarray, exponent: xr.DataArray, **look: Any
) -> None:
    """Draw a power through points, those of weight 0 left out; nothing if that leaves none."""
    used = weight > 0
    if used.any():
        offset = np.average(np.log(level[used] / width[used] ** float(exponent)), weights=weight[used])
        ax.plot(width, np.exp(offset) * width ** float(exponent), lw=1.2, zorder=2, **look)


def _power(one: xr.Dataset, part: str, key: str = "width") -> str:
    """Write an exponent with its interval."""
    if part == "bias" and not _seen(one):
        return "not seen"
    value, low, high = (float(one[f"{part}_{key}_exponent{end}"]) for end in ("", "_low", "_high"))
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def parts_table(measured: xr.Dataset) -> Tabulated:
    """Write the powers of both parts, and the bias over the fluctuation at every width."""
    lines = []
    for name in measured.observable.values.tolist():
        one = measured.sel(observable=name)
        powers = [_power(one, part, key) for part in ("fluctuation", "bias") for key in ("size", "width")]
        ratios = [f"{float(x):.2f}" if np.isfinite(x) else "-" for x in one.bias_ratio.isel(n=-1)]
        lines.append((style.title_of(name), *powers, *ratios))
    widths = [f"bias / fluctuation, width {int(width)}" for width in measured.width.values]
    headings = ("observable", "fluctuation: n", "fluctuation: width", "bias: n", "bias: width", *widths)
    return Tabulated(f"Powers of n and of the width; ratios at n = {int(measured.n[-1]):,}", headings, lines)
