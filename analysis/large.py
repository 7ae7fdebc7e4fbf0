"""Single runs at up to a million samples: how precisely theory predicts them, and whether anything is left over."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from scipy import stats

from analysis import style
from analysis.moments import moments, stack
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict
from analysis.solver_error import combined_freedom, freedom, reach

__all__ = ["OBSERVABLES", "SECTION", "large"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap", "deep_weights")
SMALLEST = 100_000
"""Samples from which on a store is about large sizes."""
SOLVER_ALLOWANCE = 0.5
"""Of the standard error of the mean over runs; a solver's error above that would decide instead of the runs."""


def large(simulation: xr.Dataset, theory: xr.Dataset, *, level: float = 0.95) -> xr.Dataset:
    """Compare the mean over runs with theory, in standard errors, at every n.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axis ``n``, and no other.
    level : float
        Probability with which every single comparison stays below ``limit`` if theory is exact.

    Returns
    -------
    Dataset
        On (observable, n), over iterations after the first and entries: ``distance`` and ``fluctuation``, root mean
        squares of run minus theory and of the standard deviation over runs; ``relative_distance``, over the root mean
        square of theory; ``solver_error`` likewise; ``solver_ratio``, the largest solver error over the standard error
        of the mean over runs; ``worst``, the largest distance of that mean from theory in standard errors of their
        difference, measured by what each may be; ``limit``, what this one may be: Student's quantile for the largest of
        so many comparisons, with the degrees of freedom of runs and solver together.
    """
    names = [name for name in OBSERVABLES if name in simulation and name in theory]
    found = []
    for name in names:
        data = stack(name, simulation, theory)
        squares = moments(data, 2, np.random.default_rng(0))
        runs, curves, solver = data.simulated[0, :, :, 1:], data.predicted[0, :, 1:], data.solver[0, :, 1:]
        count = np.isfinite(runs).sum(1)
        used = count > 1
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(used, np.nansum(runs, axis=1) / count, np.nan)
            spread = np.sqrt(np.nansum((runs - mean[:, None]) ** 2, axis=1) / (count - 1) / count)
            known = np.nan_to_num(solver)
            excess = np.abs(mean - curves) / np.hypot(spread, known)
            ratio = solver / spread
            degrees = combined_freedom(spread, count, known, data.freedom)
        tail = (1 - level) / 2 / np.maximum(used.sum((1, 2)), 1)
        limits = np.where(used, stats.t.isf(tail[:, None, None], np.where(used, degrees, 1.0)), np.nan)
        place = _place_of_largest(excess / limits)

        def root(values: np.ndarray) -> np.ndarray:
            return np.sqrt(np.nanmean(values[0, :, 1:], axis=-1))

        values = {
            "distance": root(squares.distance),
            "fluctuation": root(squares.fluctuation),
            "solver_error": root(squares.solver),
            "relative_distance": root(squares.distance) / root(squares.predicted),
            "solver_ratio": np.where(np.isfinite(ratio), ratio, -np.inf).max((1, 2)),
            "worst": excess.reshape(len(data.n), -1)[np.arange(len(data.n)), place],
            "limit": limits.reshape(len(data.n), -1)[np.arange(len(data.n)), place],
        }
        found.append(xr.Dataset({key: ("n", array) for key, array in values.items()}, coords={"n": data.n}))
    result = xr.concat(found, "observable").assign_coords(observable=np.array(names, dtype=object))
    result.attrs = {"level": level, "replicates": simulation.sizes["replicate"]}
    for key, words in _WORDS.items():
        result[key].attrs["long_name"] = words
    return result


def _place_of_largest(values: np.ndarray) -> np.ndarray:
    """Find the largest value of each n, (n, ...), as an index into its flattened values."""
    return np.where(np.isfinite(values), values, -np.inf).reshape(len(values), -1).argmax(1)


_WORDS = {
    "distance": "root mean square of run minus theory",
    "fluctuation": "standard deviation over runs",
    "solver_error": "standard error of the theory's solver",
    "relative_distance": "distance over the size of theory",
    "solver_ratio": "largest solver error over the standard error of the mean over runs",
    "worst": "largest distance of the mean over runs from theory, in standard errors",
    "limit": "quantile of the largest of so many comparisons",
}


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    runs = simulation["train_error"]
    if runs.n.max() < SMALLEST:
        return f"no n of {SMALLEST:,} or more"
    if others := set(runs.dims) - {"n", "replicate", "iteration"}:
        return f"further axes: {', '.join(sorted(map(str, others)))}"
    if runs.sizes["replicate"] < 2:
        return "fewer than 2 replicates"
    return None


def _findings(measured: xr.Dataset) -> list[Finding]:
    findings = []
    n = f"n = {int(measured.n[-1]):,}"
    for name in measured.observable.values.tolist():
        last = measured.sel(observable=name).isel(n=-1)
        kind, sentence = _verdict(last)
        size = f"at {n} a run is {float(last.relative_distance):.2%} from theory"
        limit = float(last.limit)
        subject = style.title_of(name)
        findings.append(
            Finding(
                subject, kind, f"{sentence}; {size}", "largest excess in standard errors", float(last.worst), 0, limit
            )
        )
    return findings


def _verdict(last: xr.Dataset) -> tuple[Verdict, str]:
    runs = f"the mean of {last.attrs['replicates']} runs"
    if last.worst > last.limit:
        return "fails", f"{runs} differs from theory by more than its errors allow"
    if last.solver_ratio > SOLVER_ALLOWANCE:
        return "undecided", "the solver's own error is not below that of the mean over runs; raise its samples"
    return "holds", f"{runs} agrees with theory within errors"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    errors = [name for name in ("train_error", "test_error") if name in measured.observable.values]
    figure, rows = style.small_multiples(len(errors), 2, width=4.2, height=3.2, legend=0.7)
    sizes = measured.n.values
    looks = style.styles(len(sizes))
    shift = 0.18
    for ax, name in zip((ax for row in rows for ax in row), errors, strict=True):
        for i, (n, (colour, marker)) in enumerate(zip(sizes, looks, strict=True)):
            curve = theory[name].sel(n=n)
            percent = (100 * (simulation[name].sel(n=n) / curve - 1)).isel(iteration=slice(1, None))
            at = percent.iteration.values + shift * (i - (len(sizes) - 1) / 2)
            mean, spread = percent.mean("replicate"), percent.std("replicate", ddof=1)
            # Two bars: where single runs are, and how well their mean is known.
            ax.errorbar(at, mean, spread, color=colour, lw=0, elinewidth=0.8, alpha=0.6)
            error = 2 * spread / np.sqrt(percent.count("replicate"))
            ax.errorbar(at, mean, error, color=colour, marker=marker, ms=3.5, lw=0, elinewidth=2)
        solver = 100 * (theory[f"{name}_stderr"] / theory[name]).isel(n=-1, iteration=slice(1, None))
        half = reach(freedom(theory)) * solver
        ax.fill_between(half.iteration, -half, half, color=style.GREY, alpha=0.35, lw=0)
        ax.axhline(0, color="black", lw=1.2, zorder=1)
        # A run at the largest n would vanish on a linear scale made for the smallest.
        ax.set_yscale("symlog", linthresh=100 * float(measured.relative_distance.sel(observable=name).min()))
        ax.set_title(style.title_of(name), fontsize=10)
        style.plain(ax)
    for ax in rows[-1]:
        ax.set_xlabel("iteration")
    rows[0][0].set_ylabel("difference from theory, percent")
    style.title(figure, "What is left between runs and theory")
    handles = [
        *style.keys((f"n = {int(n):,}" for n in sizes), ms=4, lw=2),
        Line2D([], [], color=style.GREY, alpha=0.5, lw=7, solid_capstyle="butt", label="solver's error, 95%"),
    ]
    style.legend(figure, handles, columns=4)
    caption = (
        "Run minus theory in percent of theory; the axis is linear around zero and logarithmic beyond. Points: mean "
        "over runs, thick bars two of its standard errors; thin bars: one standard deviation of a single run."
    )
    return [Captioned("large", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for name in measured.observable.values.tolist():
        for n in measured.n.values:
            one = measured.sel(observable=name, n=n)
            numbers = (f"{float(one[key]):.2e}" for key in ("distance", "fluctuation", "solver_error"))
            excess = f"{float(one.worst):.2f} (limit {float(one.limit):.2f})"
            lines.append((style.title_of(name), f"{int(n):,}", *numbers, f"{float(one.relative_distance):.3%}", excess))
    headings = ("observable", "n", "distance", "fluctuation", "solver", "relative", "largest excess in s.e.")
    return [Tabulated("Distance of a run from theory, and of the mean over runs in standard errors", headings, lines)]


SECTION = Section(
    "large",
    "How precisely does theory predict runs with up to a million samples?",
    _unanswerable,
    large,
    _findings,
    _figures,
    _tables,
)
