"""How fast the test error estimated from training data alone approaches the true one (THEORY section 4)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from scipy import stats

from analysis import style
from analysis.divergence import bounded
from analysis.loglog import line_fit, weights
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict, without_estimate

__all__ = ["SECTION", "generalization_estimate"]

LEAST_SIZES = 3
EXPECTED = -0.5
NEIGHBOURS = (-0.75, -0.25)
"""An interval that holds -1/2 decides only if it excludes the exponents half-way to 0 and to -1."""


def generalization_estimate(
    simulation: xr.Dataset, *, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Measure how fast the estimate approaches the test error as n grows.

    ``rms(n)`` is the root of the mean square, over replicates, of estimated minus true test error, less the mean square
    of the true one's own standard error (it is an average over finitely many fresh rows). Lines in log-log coordinates
    share one slope over the iterations of a cell, and over all cells. What has diverged (`analysis.divergence`) is
    left out.

    Parameters
    ----------
    simulation : Dataset
        ``test_error``, ``test_error_stderr`` and ``estimated_test_error`` on (grid axes..., n, replicate, iteration).
    draws : int
        Bootstrap draws, of whole replicates, behind the intervals.
    level : float
        Coverage of the intervals.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Dataset
        On (grid axes, n, iteration): ``rms``, ``bias`` and ``relative_rms`` (to the mean test error). On the grid
        axes: ``exponent`` and ``exponent_stderr``, ``exponent_low``, ``exponent_high``. Without dimensions:
        ``overall_exponent`` likewise; on each grid axis ``exponent_by_<axis>``, over all cells with that value. NaN
        where fewer than 3 sizes or 2 replicates are there.

    Raises
    ------
    ValueError
        If n is no dimension.
    """
    if "n" not in simulation.test_error.dims:
        raise ValueError("consistency in n needs runs along dimension n")
    ends = ("n", "replicate", "iteration")
    deviation = (simulation.estimated_test_error - simulation.test_error).where(bounded(simulation.test_error))
    axes = [dim for dim in deviation.dims if dim not in ends]
    square = (deviation**2 - simulation.test_error_stderr**2).transpose(*axes, *ends)
    # Before the first step nothing is estimated yet: what is trained is as good as fresh.
    later = square.isel(iteration=square.iteration > 0)
    fit = _pooled_slopes(later, axes, np.random.default_rng(seed), draws, level)
    rms = np.sqrt(square.mean("replicate").clip(0))
    bias = deviation.mean("replicate")
    result = fit.assign(
        rms=rms, bias=bias, relative_rms=rms / simulation.test_error.where(deviation.notnull()).mean("replicate")
    )
    result.attrs = {"draws": draws, "level": level, "bootstrap_seed": seed}
    axis_words = {}
    for axis in axes:
        by_value = [
            _pooled_slopes(later.sel({axis: [value]}), axes, np.random.default_rng(seed), draws, level)
            for value in deviation[axis].values
        ]
        for end in ("", "_low", "_high"):
            result[f"exponent_by_{axis}{end}"] = (axis, [float(one[f"overall_exponent{end}"]) for one in by_value])
        axis_words[f"exponent_by_{axis}"] = f"exponent of all cells with this {axis}"
    for name, words in (_WORDS | axis_words).items():
        result[name].attrs["long_name"] = words
    return result


def _pooled_slopes(
    square: xr.DataArray, axes: Sequence[Hashable], rng: np.random.Generator, draws: int, level: float
) -> xr.Dataset:
    """Exponents of the root mean square in n, one for each cell and one for all, with bootstrap intervals."""
    values = square.values.reshape(-1, *square.shape[-3:])  # cell, n, replicate, iteration
    cells, sizes, replicates, steps = values.shape
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    runs = present.sum(2)

    def means(counts: np.ndarray) -> np.ndarray:
        """Mean squares of resampled replicates, shape (..., n, cell * iteration)."""
        total = np.einsum("...cnr,cnrt->...nct", counts, filled)
        number = np.einsum("...cnr,cnrt->...nct", counts, present)
        mean = np.divide(total, number, out=np.zeros(total.shape), where=number > 0)
        return mean.reshape(*mean.shape[:-2], cells * steps)

    mean = means(np.ones((cells, sizes, replicates)))
    again = means(rng.multinomial(replicates, np.full(replicates, 1 / replicates), (draws, cells, sizes)))
    runs = runs.transpose(1, 0, 2).reshape(sizes, -1)
    valid = (runs > 1) & (mean > 0)
    valid &= valid.sum(0) >= LEAST_SIZES
    relative = np.divide(again.std(0), 2 * mean, out=np.ones_like(mean), where=valid)
    weight = weights(relative**2, valid)
    x = np.log(square["n"].values.astype(float))
    one, many = line_fit(x, _half_log(mean), weight), line_fit(x, _half_log(again), weight)

    fewest = int(runs[valid].min()) if valid.any() else 0
    inflation = np.sqrt(fewest / (fewest - 1)) if fewest > 1 else np.nan
    quantile = stats.t.ppf((1 + level) / 2, fewest - 1) if fewest > 1 else np.nan
    shape = [square.sizes[axis] for axis in axes]
    result = xr.Dataset(coords={axis: square[axis] for axis in axes if axis in square.coords})
    for prefix, dims, slope, slopes in (
        ("", axes, one.reshape((cells, steps)).common_slope, many.reshape((cells, steps)).common_slope),
        ("overall_", [], one.common_slope, many.common_slope),
    ):
        stderr = inflation * slopes.std(0)
        for suffix, value in (
            ("", slope),
            ("_stderr", stderr),
            ("_low", slope - quantile * stderr),
            ("_high", slope + quantile * stderr),
        ):
            result[f"{prefix}exponent{suffix}"] = (dims, np.reshape(value, shape if dims else ()))
    return result


def _half_log(square: np.ndarray) -> np.ndarray:
    return 0.5 * np.log(np.where(square > 0, square, 1.0))


_WORDS = {
    "bias": "mean of estimated minus true test error",
    "exponent": "exponent of the root mean square in n",
    "overall_exponent": "exponent over all cells",
    "relative_rms": "root mean square of estimated minus true test error, over the test error",
    "rms": "root mean square of estimated minus true test error",
}


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    if lacking := without_estimate(simulation):
        return lacking
    if simulation.sizes["n"] < LEAST_SIZES:
        return f"fewer than {LEAST_SIZES} values of n"
    if simulation.sizes["replicate"] < 2:
        return "fewer than 2 replicates"
    return None


def _axes(measured: xr.Dataset) -> list[str]:
    return [str(dim) for dim in measured.exponent.dims]


def _findings(measured: xr.Dataset) -> list[Finding]:
    size = float(measured.relative_rms.isel(n=-1).mean())
    words = f"; at n = {int(measured.n[-1]):,} it is {size:.1%} off on average"
    whole = _finding("estimated test error, all cells", measured, "overall_exponent", words)
    # Where it holds, one line is enough; the table has the rest.
    return [whole, *(finding for finding in _by_value(measured) if finding.verdict == "fails")]


def _by_value(measured: xr.Dataset) -> list[Finding]:
    """One finding for each value of each grid axis."""
    return [
        _finding(style.cell_words({axis: value}), measured.sel({axis: value}), f"exponent_by_{axis}")
        for axis in _axes(measured)
        for value in measured[axis].values.tolist()
    ]


def _finding(subject: str, measured: xr.Dataset, name: str, words: str = "") -> Finding:
    value, low, high = (float(measured[f"{name}{end}"]) for end in ("", "_low", "_high"))
    kind, sentence = _verdict(low, high)
    return Finding(subject, kind, sentence + words, "exponent", value, low, high)


def _verdict(low: float, high: float) -> tuple[Verdict, str]:
    if not np.isfinite([low, high]).all():
        return "undecided", "too few sizes or replicates for an exponent"
    if high < EXPECTED:
        return "holds", "approaches the true one faster than n^-1/2 over these n"
    if low > EXPECTED:
        if high >= 0 or low > NEIGHBOURS[1]:
            return "fails", "approaches the true one more slowly than n^-1/2"
        return "undecided", "slower than n^-1/2 over these n; more replicates or larger n decide"
    if NEIGHBOURS[0] < low and high < NEIGHBOURS[1]:
        return "holds", "approaches the true one like n^-1/2"
    return "undecided", "consistent with n^-1/2, but the interval is wide"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    axes = _axes(measured)
    panels = style.cells(measured.exponent, extra=axes[:-1])
    lines, left_out = style.shown_cells(style.cells(measured.exponent, extra=axes[-1:]))
    figure, rows = style.small_multiples(
        len(panels), style.panel_grid(panels), width=3.6, height=3.2, sharey=True, legend=0.8
    )
    looks = style.styles(len(lines))
    n = measured.n.values.astype(float)
    relative = np.sqrt((measured.relative_rms.isel(iteration=slice(1, None)) ** 2).mean("iteration"))
    for ax, panel in zip((ax for row in rows for ax in row), panels, strict=True):
        for line, (colour, marker) in zip(lines, looks, strict=True):
            ax.plot(n, 100 * relative.sel(panel | line), color=colour, marker=marker, ms=4.5, lw=1)
        guide = 1.3 * 100 * float(relative.isel(n=0).max()) * np.sqrt(n[0] / n)
        ax.plot(n, guide, color="black", lw=1.2, ls=(0, (1, 2)))
        ax.set_title(style.cell_words(panel), fontsize=10)
        style.plain(ax)
        style.sizes_on_axis(ax, n)
        ax.set_yscale("log")
    style.label_edges(rows, "samples n", "estimate - truth, percent")
    value, low, high = (float(measured[f"overall_exponent{end}"]) for end in ("", "_low", "_high"))
    words = f"Estimated against true test error: exponent {value:+.3f} {style.interval_text(low, high)}"
    style.title(figure, words, left_out)
    handles = style.keys(style.cell_words(line) or "runs" for line in lines)
    handles.append(Line2D([], [], color="black", lw=1.2, ls=(0, (1, 2)), label="guide n$^{-1/2}$"))
    style.legend(figure, handles, columns=3)
    caption = (
        "Root mean square, over replicates and iterations after the first, of estimated minus true test error, in "
        "percent of the true one; the error of the true one's own average over fresh rows is taken out."
    )
    return [Captioned("generalization_estimate", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    axes = _axes(measured)
    relative = measured.relative_rms.isel(n=-1).mean("iteration")
    lines = []
    for cell in style.cells(measured.exponent):
        value, low, high = (float(measured[f"exponent{end}"].sel(cell)) for end in ("", "_low", "_high"))
        size = f"{float(relative.sel(cell)):.1%}"
        lines.append((*map(str, cell.values()), style.number_text(value), style.interval_text(low, high), size))
    title = "Root mean square of estimated minus true test error ~ n^exponent, and its size at the largest n"
    tables = [Tabulated(title, (*axes, "exponent", f"{measured.attrs['level']:.0%} interval", "size"), lines)]
    if axes:
        by_value = [
            (found.subject, style.number_text(found.value), style.interval_text(found.low, found.high), found.sentence)
            for found in _by_value(measured)
        ]
        tables.append(Tabulated("Exponent by value of each axis", ("cells with", "exponent", "interval", ""), by_value))
    return tables


SECTION = Section(
    "generalization_estimate",
    "How fast does the test error estimated from training data approach the true one?",
    _unanswerable,
    lambda simulation, theory: generalization_estimate(simulation),
    _findings,
    _figures,
    _tables,
)
