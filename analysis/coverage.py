"""Bands that theory predicts, and how much of what a run shows they contain (THEORY section 2).

Theory gives the law of a row around what it carries of initialization and signal, and the law of a pre-activation: a
band between two quantiles of such a law should contain the share of a run's rows, or samples, that it is named after.
Of an error theory gives the limit alone. How far runs of the next smaller size scatter, scaled by n^-1/2, makes that a
band as well: it should contain the error of a run at a size that took no part in making it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import special, stats
from scipy.interpolate import PchipInterpolator

from analysis import style
from analysis.moments import Stack, stack
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict, without_laws
from analysis.solver_error import freedom, solver_shifts

__all__ = ["PARTS", "SECTION", "coverage", "share_below"]

PARTS = {
    "row_residual": "rows",
    "pre_activation": "pre-activations",
    "train_error": "train error",
    "test_error": "test error",
}
"""What bands are drawn for: a run has many rows and samples, and one error of each kind."""
LAWS = ("row_residual", "pre_activation")
MARGINS = {"row_residual": 0.02, "pre_activation": 0.02, "train_error": 0.1, "test_error": 0.1}
"""Deviation from the nominal level that is let pass: of an error, a run has but one to count."""
OUTERMOST = 2
"""Stored quantiles on each side that only serve to interpolate."""
LEAST_OUTSIDE = 3
"""Draws expected beyond an end of a band; fewer cannot be counted from the stored quantiles."""
SHOWN = 0.8
"""Nominal level of the band that is shown against n, cell by cell."""
FADING = 0.25
"""A deviation that falls at least like this power of 1/n is nearer to n^-1/2 than to one that stays."""
LEAST_SIZES, LEAST_REPLICATES = 3, 8
NEEDED = tuple(f"{name}_quantiles" for name in LAWS)


def coverage(
    simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 400, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Measure the share of rows, samples and errors of a run inside the bands that theory predicts.

    Parameters
    ----------
    simulation : Dataset
        Of a sweep with ``laws=true``, on (grid axes..., n, replicate, iteration, ...), with ``d`` as coordinate or
        attribute.
    theory : Dataset
        ``noise_covariance``, ``pre_activation_quantiles``, ``train_error``, ``test_error``, and standard errors.
    draws : int
        Bootstrap draws, of whole replicates.
    level : float
        Coverage of the intervals, of all nominal levels together.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Dataset
        For each ``part`` (a key of `PARTS`) and ``nominal`` level, over the iterations after the first: ``coverage`` on
        (grid axes, n), ``iteration_coverage`` on (n, iteration) over all cells, ``overall_coverage`` on (n,), each with
        ``_stderr``. ``judged_coverage``, over all cells and from n = ``judged_from`` on, has ``_low`` and ``_high``:
        of a law it is that at the largest n, of an error that over the larger half of the sizes. Errors have no band at
        the smallest n. A law has none where fewer than `LEAST_OUTSIDE` of a run's draws would be beyond one of its
        ends.

    Notes
    -----
    Standard errors come from a bootstrap of whole replicates, so rows of a run may depend on each other, and include
    the error of theory's solver. The band of an error is theory -+ t s with s the standard deviation of the runs at
    the next smaller size, scaled, and Student's t: for normal errors around theory it covers exactly.
    """
    rng = np.random.default_rng(seed)
    runs, predicted = (group.isel(iteration=slice(1, None)) for group in (simulation, theory))
    template = runs["train_error"]
    axes = [dim for dim in template.dims if dim not in ("n", "replicate", "iteration")]
    order = (*axes, "n", "replicate", "iteration")
    shape = [template.sizes[dim] for dim in (*axes, "n", "iteration")]
    lower = runs["probability"].values[OUTERMOST : runs.sizes["probability"] // 2]
    nominal = np.round(1 - 2 * lower, 6)
    drawn = []
    for part in PARTS:
        if part in LAWS:
            inside, doubt = _shares(part, runs, predicted, lower)
            arrays = (_cells(inside, order, template), _cells(doubt, [*axes, "n", "iteration"], template))
            found = _resampled(*arrays, freedom(predicted), rng, draws)
        else:
            found = _predicted(stack(part, runs, predicted), nominal, rng, draws)
        drawn.append(found.reshape(draws + 1, *shape, len(nominal)))
    whole = xr.DataArray(
        np.stack(drawn, 1),
        {
            **{dim: runs[dim] for dim in (*axes, "n", "iteration")},
            "part": np.array(list(PARTS), dtype=object),
            "nominal": nominal,
        },
        ("draw", "part", *axes, "n", "iteration", "nominal"),
    )
    sizes = whole.sizes["n"]
    half = max(1, sizes - max(LEAST_SIZES, -(-sizes // 2)))
    first = [sizes - 1 if part in LAWS else half for part in PARTS]
    judged = [
        whole.sel(part=part).isel(n=slice(start, None)).mean([*axes, "n", "iteration"])
        for part, start in zip(PARTS, first, strict=True)
    ]
    together = xr.concat(judged, "part")
    result = xr.Dataset()
    for name, one in (
        ("coverage", whole.mean("iteration")),
        ("iteration_coverage", whole.mean(axes)),
        ("overall_coverage", whole.mean([*axes, "iteration"])),
        ("judged_coverage", together),
    ):
        result[name], result[f"{name}_stderr"] = one.isel(draw=0), one.isel(draw=slice(1, None)).std("draw")
        result[name].attrs["long_name"] = _WORDS[name]
        result[f"{name}_stderr"].attrs["long_name"] = f"standard error: {_WORDS[name]}"
    finished = template.notnull().any("iteration").sum("replicate").values
    fewest = max(2, int(finished[finished > 0].min(initial=template.sizes["replicate"])))
    reach = _reach(together, fewest, level) * result["judged_coverage_stderr"]
    for end, sign in (("low", -1), ("high", 1)):
        result[f"judged_coverage_{end}"] = result["judged_coverage"] + sign * reach
        result[f"judged_coverage_{end}"].attrs["long_name"] = f"{end} end of interval: {_WORDS['judged_coverage']}"
    result["judged_from"] = ("part", whole["n"].values[first])
    result["judged_from"].attrs["long_name"] = "smallest n that a verdict is taken over"
    result.attrs = {"draws": draws, "level": level, "bootstrap_seed": seed}
    return result


_WORDS = {
    "coverage": "share inside the predicted band",
    "iteration_coverage": "share inside the predicted band, all cells",
    "overall_coverage": "share inside the predicted band, all cells and iterations",
    "judged_coverage": "share inside the predicted band, all cells, iterations and sizes that a verdict is taken over",
}


def share_below(quantiles: np.ndarray, ends: np.ndarray, size: int, probability: np.ndarray) -> np.ndarray:
    """Count, from quantiles that are kept of some draws, the share of them below given points.

    Parameters
    ----------
    quantiles : ndarray, shape (P,)
        Of draws from a law near the standard normal one, as `numpy.quantile` interpolates them.
    ends : ndarray, shape (E,)
        Points between the outermost quantiles.
    size : int
        Number of draws.
    probability : ndarray, shape (P,)
        Increasing, of the quantiles.

    Returns
    -------
    ndarray, shape (E,)
        NaN throughout if a quantile is not known.

    Notes
    -----
    Between quantiles the law is taken for a normal one, stretched. The k-th smallest draw is at probability
    (k - 1)/(N - 1), and on average k - 1/2 draws are below a point that lies there.
    """
    if not np.isfinite(quantiles).all():
        return np.full(len(ends), np.nan)
    return ((size - 1) * special.ndtr(np.interp(ends, quantiles, special.ndtri(probability))) + 0.5) / size


def _scores(quantiles: np.ndarray, law: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Put quantiles on the scale on which a law, known by its own quantiles, is standard normal."""
    if not np.isfinite(law).all():
        return np.full(quantiles.shape, np.nan)
    return PchipInterpolator(law, special.ndtri(probability))(np.clip(quantiles, law[0], law[-1]))


def _shares(name: str, runs: xr.Dataset, predicted: xr.Dataset, lower: np.ndarray) -> tuple[xr.DataArray, xr.DataArray]:
    """Share of a run's draws inside each band, mean over units, and what theory's own error makes of it."""
    probability = runs["probability"].values
    ends = special.ndtri(np.concatenate([lower, 1 - lower]))
    density = stats.norm.pdf(ends)
    quantiles = runs[f"{name}_quantiles"]
    if name == "row_residual":
        size = runs["d"] if "d" in runs.coords else xr.DataArray(int(runs.attrs["d"]))
        own = predicted["neuron"] == predicted["neuron_"]
        variance, uncertain = (
            predicted[key].where(own).sum("neuron_", min_count=1)
            for key in ("noise_covariance", "noise_covariance_stderr")
        )
        # A wrong variance moves both ends of a band alike.
        moved = uncertain / (2 * variance) * xr.DataArray(abs(ends) * density, dims="end")
        doubt = 2 * moved.isel(end=slice(len(lower)))
    else:
        size = runs["n"]
        law, error = (
            predicted[f"pre_activation_quantiles{end}"].transpose(..., "probability") for end in ("", "_stderr")
        )
        quantiles = xr.apply_ufunc(
            _scores,
            quantiles,
            law,
            input_core_dims=[["replicate", "probability"], ["probability"]],
            output_core_dims=[["replicate", "probability"]],
            vectorize=True,
            kwargs={"probability": probability},
        )
        scaled = error.values / np.gradient(law.values, special.ndtri(probability), axis=-1)
        at = np.searchsorted(probability, lower - 1e-9)
        moved = scaled[..., at] ** 2 + scaled[..., len(probability) - 1 - at] ** 2
        doubt = xr.DataArray(moved**0.5 * density[: len(lower)], dims=(*law.dims[:-1], "end"))
    below = xr.apply_ufunc(
        share_below,
        quantiles,
        ends,
        size,
        input_core_dims=[["probability"], ["end"], []],
        output_core_dims=[["end"]],
        vectorize=True,
        kwargs={"probability": probability},
    )
    inside = below.isel(end=slice(len(lower), None)) - below.isel(end=slice(len(lower)))
    countable = size * xr.DataArray(lower, dims="end") >= LEAST_OUTSIDE
    inside, doubt = (one.mean("neuron").where(countable).rename(end="nominal") for one in (inside, doubt))
    return inside, doubt


def _cells(array: xr.DataArray, order: Sequence[Hashable], template: xr.DataArray) -> np.ndarray:
    """(cell, n, [replicate,] iteration, nominal)."""
    array = array.broadcast_like(template.isel({dim: 0 for dim in template.dims if dim not in order}, drop=True))
    array = array.transpose(*order, "nominal")
    inner = [dim for dim in order if dim in ("n", "replicate", "iteration")]
    return array.values.reshape(-1, *(array.sizes[dim] for dim in inner), array.sizes["nominal"])


def _resampled(
    inside: np.ndarray, doubt: np.ndarray, freedom: float, rng: np.random.Generator, draws: int
) -> np.ndarray:
    """Mean over replicates, (draw, cell, n, iteration, nominal): entry 0 the estimate, the others bootstrap draws."""
    finite = np.isfinite(inside)
    filled = np.where(finite, inside, 0.0)
    counts = _counts(inside.shape[:3], rng, draws)
    total = np.einsum("bcnr,cnrtk->bcntk", counts, filled, optimize=True)
    number = np.einsum("bcnr,cnrtk->bcntk", counts, finite, optimize=True)
    shift = _shift(rng, draws, freedom)
    mean = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return mean + shift[:, None, None, None, None] * np.nan_to_num(doubt)


def _counts(shape: tuple[int, ...], rng: np.random.Generator, draws: int) -> np.ndarray:
    """How often a draw takes each replicate; entry 0 takes all once."""
    *cells, replicates = shape
    drawn = rng.multinomial(replicates, np.full(replicates, 1 / replicates), (draws, *cells))
    return np.concatenate([np.ones((1, *shape)), drawn])


def _shift(rng: np.random.Generator, draws: int, freedom: float) -> np.ndarray:
    """Error of theory's solver in each draw, in units of its stated standard error; entry 0 has none."""
    return np.concatenate([[0.0], solver_shifts(rng, (draws,), freedom)])


class _Scatter(NamedTuple):
    """Variances of runs, (draw, iteration), and their degrees of freedom."""

    variance: np.ndarray
    freedom: int


def _predicted(data: Stack, nominal: np.ndarray, rng: np.random.Generator, draws: int) -> np.ndarray:
    """Share of runs inside the band that theory and the runs of the next smaller size predict; as `_resampled`.

    The error of an average over fresh data, with which a run knows its own test error, goes by its own size.
    """
    simulated, predicted, solver = (values[..., 0] for values in (data.simulated, data.predicted, data.solver))
    known = np.isfinite(data.readout[..., 0])
    readout = np.where(known, data.readout[..., 0] ** 2, 0.0).sum(2) / np.maximum(known.sum(2), 1)
    cells, sizes, _, steps = simulated.shape
    found = np.full((draws + 1, cells, sizes, steps, len(nominal)), np.nan)
    counts = _counts(simulated.shape[:3], rng, draws)
    shift = _shift(rng, draws, data.freedom)[:, None]
    for cell in range(cells):
        scatters = [_scatter(simulated[cell, size], counts[:, cell, size]) for size in range(sizes)]
        for size in range(1, sizes):
            doubt = np.nan_to_num(solver[cell, size])
            own = np.maximum(scatters[size - 1].variance - readout[cell, size - 1], 0.0)
            spread = own * data.n[size - 1] / data.n[size] + readout[cell, size] + doubt**2
            centre = predicted[cell, size] + shift * doubt
            away = abs(simulated[cell, size] - centre[:, None]) / np.sqrt(spread)[:, None]
            finite = np.isfinite(simulated[cell, size])
            number = counts[:, cell, size] @ finite
            for k, quantile in enumerate(stats.t.ppf((1 + nominal) / 2, scatters[size - 1].freedom)):
                total = np.einsum("br,brt->bt", counts[:, cell, size], away <= quantile)
                there = (number > 0) & np.isfinite(spread)
                found[:, cell, size, :, k] = np.divide(total, number, out=np.full(total.shape, np.nan), where=there)
    return found


def _scatter(runs: np.ndarray, counts: np.ndarray) -> _Scatter:
    """Of replicates (replicate, iteration) that are drawn so often, (draw, replicate)."""
    finite = np.isfinite(runs)
    centred = np.where(finite, runs - np.where(finite, runs, 0.0).sum(0) / np.maximum(finite.sum(0), 1), 0.0)
    number = np.maximum(counts @ finite, 1)
    variance = counts @ centred**2 / number - (counts @ centred / number) ** 2
    fewest = int(finite.sum(0).min())
    # A draw has the variance of the replicates at hand, which is less than that of all by one of them.
    factor = np.full(len(counts), fewest / max(fewest - 1, 1))
    factor[1:] **= 2
    return _Scatter(np.where(fewest > 1, variance * factor[:, None], np.nan), fewest - 1)


def _reach(whole: xr.DataArray, replicates: int, level: float) -> xr.DataArray:
    """Standard errors to either side within which all nominal levels of a part are at once."""
    estimate, drawn = whole.isel(draw=0), whole.isel(draw=slice(1, None))
    spread = drawn.std("draw")
    largest = (abs(drawn - estimate) / spread.where(spread > 0)).max("nominal").fillna(0.0)
    student = stats.t.ppf((1 + level) / 2, replicates - 1) / stats.norm.ppf((1 + level) / 2)
    return largest.quantile(level, "draw").drop_vars("quantile") * student * np.sqrt(replicates / (replicates - 1))


def _findings(measured: xr.Dataset) -> list[Finding]:
    return [_finding(measured.sel(part=name), name) for name in PARTS]


def _finding(one: xr.Dataset, name: str) -> Finding:
    """Judge all bands of a part by the one that misses its nominal level by most."""
    judged = one[[f"judged_coverage{end}" for end in ("", "_low", "_high")]].dropna("nominal")
    subject, start = f"bands for {PARTS[name]}", int(one["judged_from"])
    if not judged.sizes["nominal"]:
        return Finding(subject, "undecided", "too few draws, or runs, to count what is inside")
    missed = judged - judged["nominal"]
    worst = missed.isel(nominal=int(np.argmax(abs(missed["judged_coverage"].values))))
    value, low, high = (100 * float(worst[f"judged_coverage{end}"]) for end in ("", "_low", "_high"))
    margin = MARGINS[name]
    where = f"at n = {start:,}" if name in LAWS else f"from n = {start:,} on"
    within = f"within {100 * margin:.0f} points of its nominal level"
    if bool(((missed["judged_coverage_low"] > -margin) & (missed["judged_coverage_high"] < margin)).all()):
        answer: Verdict = "holds"
        words = f"{where} every band contains its share, {within}"
    elif not bool(((missed["judged_coverage_low"] > margin) | (missed["judged_coverage_high"] < -margin)).any()):
        answer, words = "undecided", f"{where} not every band is shown to be {within}"
    elif name in LAWS and _fades(one, float(worst["nominal"])):
        answer, words = "undecided", f"{where} not every band is {within} yet, and what is missing fades as n grows"
    else:
        answer, words = "fails", f"{where} a band is not {within}"
    words += f"; furthest off is the {_percent(worst['nominal'])} band"
    return Finding(subject, answer, words, "coverage minus nominal, points", value, low, high)


def _fades(one: xr.Dataset, nominal: float) -> bool:
    """Whether the deviation at the largest n is what a falling one would be, from the smallest n that has the band."""
    missed = abs(one["overall_coverage"].sel(nominal=nominal) - nominal).dropna("n")
    n = missed["n"].values.astype(float)
    return n.size > 1 and bool(missed[-1] <= missed[0] * (n[0] / n[-1]) ** FADING)


def _percent(nominal: xr.DataArray | float) -> str:
    return f"{100 * float(nominal):.0f}%"


def _points(value: float, stderr: float) -> str:
    return f"{100 * value:+.1f} \N{PLUS-MINUS SIGN} {200 * stderr:.1f}" if np.isfinite([value, stderr]).all() else "-"


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    largest, iterations = measured.isel(n=-1), measured["iteration"].values
    at = f"at n = {int(largest['n']):,}"
    by_size = {f"{int(n):,}": measured.sel(n=n) for n in measured["n"].values}
    by_iteration = {str(t): largest.sel(iteration=t) for t in iterations}
    by_cell = {style.cell_words(cell): largest.sel(cell) for cell in _grid(measured)}
    tables = [
        _table("Coverage minus nominal level, in points, with two standard errors", "n", "overall_coverage", by_size),
        _table(f"The same by iteration, {at}", "iteration", "iteration_coverage", by_iteration),
    ]
    return (
        tables if len(by_cell) < 2 else [*tables, _table(f"The same by grid cell, {at}", "cell", "coverage", by_cell)]
    )


def _table(title: str, heading: str, name: str, places: dict[str, xr.Dataset]) -> Tabulated:
    lines = []
    for part, words in PARTS.items():
        for place, here in places.items():
            one = here.sel(part=part)
            missed = (one[name] - one["nominal"]).values
            lines.append((words, place, *map(_points, missed, one[f"{name}_stderr"].values)))
    levels = [f"{_percent(level)} band" for level in next(iter(places.values()))["nominal"].values]
    return Tabulated(title, ("bands for", heading, *levels), lines)


def _grid(measured: xr.Dataset) -> list[dict[Hashable, Any]]:
    return style.cells(measured["coverage"], extra=("part", "nominal"))


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    return [
        Captioned("coverage", _levels_figure(measured), _LEVELS_CAPTION),
        Captioned("coverage_sizes", _sizes_figure(measured), _SIZES_CAPTION),
    ]


def _levels_figure(measured: xr.Dataset) -> Figure:
    figure, rows = style.small_multiples(len(PARTS), 2, width=4.2, height=2.5, sharey="row")
    sizes = measured["n"].values
    looks = style.styles(len(sizes))
    nominal = 100 * measured["nominal"].values
    for ax, name in zip((ax for row in rows for ax in row), PARTS, strict=True):
        for k, (n, (colour, marker)) in enumerate(zip(sizes, looks, strict=True)):
            one = measured.sel(part=name, n=n)
            beside = nominal + 0.5 * (k - (len(sizes) - 1) / 2)  # so that bars do not hide each other
            missed = 100 * one["overall_coverage"] - nominal
            error = 200 * one["overall_coverage_stderr"]
            ax.errorbar(beside, missed, error, color=colour, marker=marker, ms=4, lw=1, elinewidth=1)
        _nominal(ax, 100 * MARGINS[name])
        ax.set_title(f"bands for {PARTS[name]}", fontsize=10)
    style.label_edges(rows, "nominal level, %", "coverage minus nominal, points")
    style.title(figure, "Coverage of predicted bands")
    style.legend(figure, [*style.keys(f"n = {int(n):,}" for n in sizes), _NOMINAL], columns=6)
    return figure


def _sizes_figure(measured: xr.Dataset) -> Figure:
    shown, left_out = style.shown_cells(_grid(measured))
    figure, rows = style.small_multiples(len(PARTS), 2, width=4.2, height=2.5, sharey="row")
    looks = style.styles(len(shown))
    n = measured["n"].values.astype(float)
    for ax, name in zip((ax for row in rows for ax in row), PARTS, strict=True):
        for k, (cell, (colour, marker)) in enumerate(zip(shown, looks, strict=True)):
            one = measured.sel(part=name, nominal=SHOWN, **{str(axis): value for axis, value in cell.items()})
            beside = n * 1.04 ** (k - (len(shown) - 1) / 2)
            missed, error = 100 * (one["coverage"] - SHOWN), 200 * one["coverage_stderr"]
            ax.errorbar(beside, missed, error, color=colour, marker=marker, ms=4, lw=1, elinewidth=1)
        _nominal(ax, 100 * MARGINS[name])
        style.sizes_on_axis(ax, n)
        ax.set_title(f"bands for {PARTS[name]}", fontsize=10)
    style.label_edges(rows, "samples n", "coverage minus nominal, points")
    style.title(figure, f"Coverage of the {_percent(SHOWN)} bands as n grows", left_out)
    style.legend(figure, [*style.keys(style.cell_words(cell) or "runs" for cell in shown), _NOMINAL], columns=6)
    return figure


def _nominal(ax: Axes, margin: float) -> None:
    ax.axhline(0, color=style.THEORY, lw=1.2, ls=(0, (1, 2)), zorder=1)
    ax.axhspan(-margin, margin, color=style.GREY, alpha=0.15, lw=0, zorder=0)
    style.plain(ax)


_NOMINAL = Line2D([], [], color=style.THEORY, lw=1.2, ls=(0, (1, 2)), label="nominal level")
_LEVELS_CAPTION = (
    "Share of what a run shows that is inside the predicted band, minus the band's nominal level; mean over "
    "replicates, units, cells and iterations after the first, bars: two standard errors. A band for rows or "
    "pre-activations lies between two quantiles of the law that theory predicts. A band for an error is theory -+ the "
    "scatter of runs at the next smaller n, scaled by n^-1/2. Below zero a band is too narrow, or off. Shaded: what a "
    "verdict lets pass. Levels of one n share their runs and move together."
)
_SIZES_CAPTION = (
    "The same for one nominal level against n, for each cell of the grid. A run's own coefficients differ from "
    "theory's, which adds to the scatter of its rows, the less the larger n."
)


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    return without_laws(simulation, NEEDED, LEAST_SIZES, LEAST_REPLICATES)


SECTION = Section(
    "coverage",
    "Do predicted bands contain what they should?",
    _unanswerable,
    coverage,
    _findings,
    _figures,
    _tables,
)
