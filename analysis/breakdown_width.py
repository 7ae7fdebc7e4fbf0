"""Width growing with n: which combination of the two decides how far a run is from finite-width theory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from scipy import stats

from analysis import style
from analysis.loglog import weights
from analysis.moments import moments, stack
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict
from analysis.width_parts import PARTS_WORDS, bias_parts, parts_figure, parts_findings, parts_table, takes_over

__all__ = ["OBSERVABLES", "SECTION", "breakdown_width"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap")
LEAST = 3
"""Values of n, and of the width."""
CLOSE = 0.1
"""Relative distance at which a run is called described by theory."""
LINEAR, WIDE = 1.0, 1.5
"""Power of the width at which width/n decides; and half-way to width^2/n."""


def breakdown_width(
    simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Fit the distance of a run from theory, and its two parts, by a power of n and a power of the width.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axes ``n`` and ``width``, and no other.
    draws : int
        Bootstrap draws, of whole replicates.
    level : float
        Coverage of the intervals.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Dataset
        On (observable, width, n): ``distance``, root mean square over iterations after the first and entries of run
        minus theory, over the root mean square of theory, with ``distance_stderr``, and ``bias_share``. On
        (observable,), each with ``_low`` and ``_high``: ``size_exponent`` a and ``width_exponent`` b of the fit
        distance ~ n^a width^b; ``power`` = -b/a: curves collapse against width^power / n; ``scatter``, the root mean
        square of what the fit leaves, in standard errors. On (observable, width): ``samples_needed``, the n at which
        the fit crosses a relative distance of `CLOSE`. Of the parts: on (observable, width, n) ``fluctuation`` and
        what `analysis.width_parts.bias_parts` gives; on (observable,), each with ``_low`` and ``_high``,
        ``fluctuation_size_exponent``, ``fluctuation_width_exponent``, ``bias_size_exponent``,
        ``bias_width_exponent``.
    """
    names = [name for name in OBSERVABLES if name in simulation and name in theory]
    rng = np.random.default_rng(seed)
    quantile = stats.t.ppf((1 + level) / 2, simulation.sizes["replicate"] - 1)
    found = []
    for name in names:
        data = stack(name, simulation, theory)
        squares = moments(data, draws, rng)
        level_of_theory = squares.predicted[..., 1:].mean(-1)
        square = squares.distance[..., 1:].mean(-1) / level_of_theory
        again = squares.distance_draws[..., 1:].mean(-1).transpose(0, 2, 1) / level_of_theory
        stderr = again.std(0) / (2 * np.sqrt(square))
        share = squares.bias[..., 1:].mean(-1) / squares.distance[..., 1:].mean(-1)
        n, width = data.n.astype(float), data.axes["width"].astype(float)
        fit = _fit(n, width, square, again)
        fluctuation = squares.fluctuation[..., 1:].mean(-1) / level_of_theory
        again = squares.fluctuation_draws[..., 1:].mean(-1).transpose(0, 2, 1) / level_of_theory
        random = _fit(n, width, fluctuation, again)
        values: dict = {
            "distance": (("width", "n"), np.sqrt(square)),
            "distance_stderr": (("width", "n"), stderr),
            "bias_share": (("width", "n"), share),
            "scatter": ((), fit.scatter),
            "samples_needed": (
                "width",
                np.exp((np.log(CLOSE) - fit.offset - fit.width[0] * np.log(width)) / fit.size[0]),
            ),
            "fluctuation": (("width", "n"), np.sqrt(fluctuation)),
            **bias_parts(
                data,
                squares,
                float(random.width[0]),
                quantile=quantile,
                draws=draws,
                level=level,
                rng=rng.spawn(1)[0],
            ),
        }
        for key, drawn in (
            ("size_exponent", fit.size),
            ("width_exponent", fit.width),
            ("power", fit.power),
            ("fluctuation_size_exponent", random.size),
            ("fluctuation_width_exponent", random.width),
        ):
            reach = quantile * drawn[1:].std()
            values |= {key: ((), drawn[0]), f"{key}_low": ((), drawn[0] - reach), f"{key}_high": ((), drawn[0] + reach)}
        found.append(xr.Dataset(values, coords={"width": data.axes["width"], "n": data.n}))
    result = xr.concat(found, "observable").assign_coords(observable=np.array(names, dtype=object))
    result.attrs = {"draws": draws, "level": level, "bootstrap_seed": seed}
    for name, words in _WORDS.items():
        result[name].attrs["long_name"] = words
    return result


class _Fit(NamedTuple):
    """log distance = offset + size log n + width log width; entry 0 the estimate, the others bootstrap draws."""

    offset: float
    size: np.ndarray
    width: np.ndarray
    scatter: float

    @property
    def power(self) -> np.ndarray:
        return -self.width / self.size


def _fit(n: np.ndarray, width: np.ndarray, square: np.ndarray, again: np.ndarray) -> _Fit:
    """Weighted least squares on both logarithms at once; arrays (..., width, n)."""
    y = 0.5 * np.log(np.concatenate([square[None], again.clip(1e-3 * square)])).reshape(len(again) + 1, -1)
    relative = (again.std(0) / (2 * square)).ravel()
    weight = np.sqrt(weights(relative**2, np.isfinite(y[0])))
    log_width, log_n = (part.ravel() for part in np.meshgrid(np.log(width), np.log(n), indexing="ij"))
    columns = np.stack([np.ones(log_n.size), log_n, log_width], 1)
    y = np.where(np.isfinite(y), y, 0.0)
    solution = np.linalg.lstsq(columns * weight[:, None], (y * weight).T, rcond=None)[0]
    left = (y[0] - columns @ solution[:, 0]) * weight
    scatter = float(np.sqrt((left**2).sum() / max((weight > 0).sum() - 3, 1)))
    return _Fit(float(solution[0, 0]), solution[1], solution[2], scatter)


_WORDS = {
    "distance": "root mean square of run minus theory, over that of theory",
    "distance_stderr": "standard error: distance",
    "bias_share": "squared bias over squared distance",
    "size_exponent": "exponent of n",
    "width_exponent": "exponent of the width",
    "power": "power of the width that n is to be compared with",
    "scatter": "what the fit leaves, in standard errors",
    "samples_needed": f"n at which the relative distance is {CLOSE}",
    **PARTS_WORDS,
}


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    runs = simulation["train_error"]
    if runs.sizes.get("width", 1) < LEAST or runs.sizes["n"] < LEAST:
        return f"fewer than {LEAST} widths, or values of n"
    if others := set(runs.dims) - {"n", "width", "replicate", "iteration"}:
        return f"further axes: {', '.join(sorted(map(str, others)))}"
    if simulation.attrs.get("deep_init", "signs") != "signs":
        return "the network starts as another function at each width; with problem.deep_init=signs it does not"
    if runs.sizes["replicate"] < 2:
        return "fewer than 2 replicates"
    return None


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    for name in measured.observable.values.tolist():
        one = measured.sel(observable=name)
        power, low, high = (float(one[f"power{end}"]) for end in ("", "_low", "_high"))
        kind, sentence = _verdict(low, high)
        widest = int(one.width[-1])
        samples = float(one.samples_needed[-1])
        needed = f"at width {widest} a run is within {CLOSE:.0%} of theory from about n = {samples:.2g} on"
        if takes_over(one):
            sentence += ", but the bias takes over from the fluctuation, so this power changes with the sizes"
        findings.append(
            Finding(style.title_of(name), kind, f"{sentence}; {needed}", "power of the width", power, low, high)
        )
        findings += parts_findings(one, name)
    return findings


def _verdict(low: float, high: float) -> tuple[Verdict, str]:
    if high <= 0:
        return "holds", "over these sizes wider networks are closer to theory at the same n"
    if low > LINEAR:
        return "fails", "over these sizes n must grow faster than the width for a run to stay as close to theory"
    if high < LINEAR:
        return "holds", "over these sizes n may grow more slowly than the width, and a run stays as close to theory"
    if high < WIDE:
        return "holds", "over these sizes a run stays as close to theory if n grows with the width"
    return "undecided", "width/n and width^2/n are both possible at this precision"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    names = measured.observable.values.tolist()
    figure = Figure(figsize=(0.8 + 3.5 * len(names), 7), layout="constrained")
    axes = figure.subplots(2, len(names), sharex="row", squeeze=False)
    looks = style.styles(measured.sizes["width"])
    n = measured.n.values.astype(float)
    for column, name in enumerate(names):
        one = measured.sel(observable=name)
        top, bottom = axes[:, column]
        for width, (colour, marker) in zip(one.width.values, looks, strict=True):
            here = one.sel(width=width)
            look: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4.5, "elinewidth": 1, "lw": 1}
            top.errorbar(n, here.distance, here.distance_stderr, **look)
            bottom.errorbar(
                float(width) ** float(one.power) / n, here.distance, here.distance_stderr, **look | {"lw": 0}
            )
        words = f"power {float(one.power):.2f}  [{float(one.power_low):.2f}, {float(one.power_high):.2f}]"
        top.set_title(style.title_of(name), fontsize=10)
        bottom.set_title(words, fontsize=10)
        for ax in (top, bottom):
            style.plain(ax)
        style.sizes_on_axis(top, n)
        bottom.set_xscale("log")
        bottom.xaxis.set_minor_formatter(NullFormatter())
        for ax in (top, bottom):
            ax.set_yscale("log")
        top.set_xlabel("samples n")
        bottom.set_xlabel("width$^{power}$ / n")
    for ax in axes[:, 0]:
        ax.set_ylabel("distance / theory")
    style.title(figure, "Distance to theory as width and n grow")
    style.legend(figure, style.keys(f"width {int(width)}" for width in measured.width.values), columns=6)
    caption = (
        "Above: root-mean-square distance of a run from theory, relative to theory, with standard errors. Below: the "
        "same points against that combination of width and n which one power law through all of them gives; they fall"
        " on one line as far as that law is right."
    )
    return [Captioned("breakdown_width", figure, caption), parts_figure(measured)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    laws = []
    for name in measured.observable.values.tolist():
        one = measured.sel(observable=name)
        cells = []
        for key in ("size_exponent", "width_exponent", "power"):
            low, high = float(one[f"{key}_low"]), float(one[f"{key}_high"])
            cells.append(f"{float(one[key]):+.2f} [{low:+.2f}, {high:+.2f}]")
        laws.append((style.title_of(name), *cells, f"{float(one.scatter):.1f}"))
    shares = [
        (
            style.title_of(name),
            str(int(width)),
            *(f"{float(x):.1%}" for x in measured.distance.sel(observable=name, width=width)),
            f"{float(measured.bias_share.sel(observable=name, width=width)[-1]):.0%}",
            f"{float(measured.samples_needed.sel(observable=name, width=width)):.2g}",
        )
        for name in measured.observable.values.tolist()
        for width in measured.width.values
    ]
    sizes = [f"n = {int(size):,}" for size in measured.n.values]
    return [
        parts_table(measured),
        Tabulated("Distance ~ n^a width^b", ("observable", "a", "b", "power -b/a", "scatter in standard errors"), laws),
        Tabulated(
            "Distance relative to theory",
            ("observable", "width", *sizes, "bias share at the largest n", f"n for {CLOSE:.0%}"),
            shares,
        ),
    ]


SECTION = Section(
    "breakdown_width",
    "May the width grow with n, and how fast?",
    _unanswerable,
    breakdown_width,
    _findings,
    _figures,
    _tables,
    examines="width",
)
