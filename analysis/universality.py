"""Which laws of the features follow the theory of Gaussian ones, from which n on, and which do not (THEORY section 7).

A law that follows has the same limit: the middle of its runs approaches theory faster than single runs do. What remains
between the two is its `shift`. It is measured with medians, since laws without a fourth moment let single runs go
astray, and against the distance at which a single data set of Gaussian features finds itself from theory: a shift below
that cannot be seen in one run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D
from scipy import stats

from analysis import style
from analysis.loglog import line_fit, weights
from analysis.moments import Stack, stack
from analysis.section import Captioned, Finding, Section, Tabulated, Verdict
from analysis.solver_error import solver_shifts

__all__ = ["CONTROL", "OBSERVABLES", "SECTION", "universality"]

CONTROL = "gaussian"
OBSERVABLES = ("train_error", "test_error", "signal_overlap")
LEAST_SIZES = 3
BLUNT = 0.5
"""Resolution above which an observable may object to a law, but can neither confirm it nor leave it undecided."""
FLUCTUATION = -0.5
"""Exponent of a single run's distance; a shift that falls more slowly grows in comparison."""


def universality(
    simulation: xr.Dataset,
    theory: xr.Dataset,
    *,
    observables: Sequence[str] = OBSERVABLES,
    draws: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> xr.Dataset:
    """Compare every feature law with theory, Gaussian features being the control.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axes ``features``, among them ``gaussian``, and ``n``, and no other.
    observables : sequence of str
        Stored names to compare.
    draws : int
        Bootstrap draws, of whole replicates.
    level : float
        Coverage of the intervals.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Dataset
        On (observable, features, n): ``shift_size``, the root mean square, over iterations after the first and entries,
        of the median over replicates minus theory, less what the error of the medians and of the solver put into it;
        ``standard_errors``, the root mean square of the same in units of its standard errors, about 1 where there is no
        shift; ``resolution``, the part of ``share`` that the error of a simulation's own average over fresh rows hides;
        ``share`` with ``share_low``, ``share_high``: the shift over ``yardstick``. On (observable, n): ``yardstick``,
        the root-mean-square distance of a run of the control from theory. On (observable, features): ``exponent`` of
        the shift in n with interval, NaN where fewer than 3 sizes have a shift that stands out.

    Raises
    ------
    ValueError
        If the control is missing.
    """
    if CONTROL not in simulation.features.values.tolist():
        raise ValueError(f"features={CONTROL!r} is the control, and the runs do not have it")
    rng = np.random.default_rng(seed)
    names = [name for name in observables if name in simulation and name in theory]
    measured = [_measure(stack(name, simulation, theory), draws, level, rng) for name in names]
    result = xr.concat(measured, "observable").assign_coords(observable=np.array(names, dtype=object))
    result.attrs = {"draws": draws, "level": level, "bootstrap_seed": seed}
    for name, words in _WORDS.items():
        result[name].attrs["long_name"] = words
    return result


def _measure(data: Stack, draws: int, level: float, rng: np.random.Generator) -> xr.Dataset:
    deviation = (data.simulated - data.predicted[:, :, None])[..., 1:, :]
    solver = np.nan_to_num(data.solver[..., 1:, :])
    laws, sizes, replicates = deviation.shape[:3]
    middle = np.nanmedian(deviation, axis=2)
    control = data.axes["features"].tolist().index(CONTROL)
    runs = np.nanmean(deviation[control] ** 2, axis=(-2, -1))
    # One draw of replicates and of the solver's error for all: the laws share a theory.
    push = solver_shifts(rng, (draws, deviation.shape[-1]), data.freedom)
    medians = np.empty((draws, *middle.shape))
    yardstick_again = np.empty((draws, sizes))
    for draw in range(draws):
        chosen = rng.integers(replicates, size=(laws, sizes, replicates))
        resampled = np.take_along_axis(deviation, chosen[..., None, None], 2)
        medians[draw] = np.nanmedian(resampled, axis=2)
        yardstick_again[draw] = np.sqrt(np.nanmean(np.take_along_axis(runs, chosen[control], 1), axis=1))
    error = np.hypot(medians.std(0), solver)
    again = medians + push[:, None, None, None] * solver

    def mean(values: np.ndarray) -> np.ndarray:
        return np.nanmean(values, axis=(-2, -1))

    square = mean(middle**2 - error**2)
    # A draw has the error of the medians and of the solver twice, the second time as large as draws have it.
    square_again = mean(again**2 - again.var(0) - error**2)
    yardstick = np.sqrt(np.nanmean(runs, axis=1))
    share = square / yardstick**2
    quantile = stats.t.ppf((1 + level) / 2, replicates - 1)
    reach = quantile * square_again.std(0) / yardstick**2
    # The yardstick's own error acts on the logarithm of every share alike.
    stretch = np.exp(quantile * np.log(yardstick_again).std(0))
    readout = np.sqrt(np.nanmean(data.readout[..., 1:, :] ** 2, axis=(2, 3, 4)))
    with np.errstate(invalid="ignore", divide="ignore"):
        standard_errors = np.sqrt(mean((middle / error) ** 2))
    found = {
        "shift_size": np.sqrt(square.clip(0)),
        "standard_errors": standard_errors,
        "resolution": quantile * np.sqrt(np.pi / 2 / replicates) * readout / yardstick,
        "share": np.sqrt(share.clip(0)),
        "share_low": np.sqrt((share - reach).clip(0)) / stretch,
        "share_high": np.sqrt((share + reach).clip(0)) * stretch,
    }
    exponents = _exponents(data.n, square, square_again, quantile)
    return xr.Dataset(
        {
            **{name: (("features", "n"), values) for name, values in found.items()},
            **{name: (("features",), values) for name, values in exponents.items()},
            "yardstick": (("n",), yardstick),
        },
        coords={"features": data.axes["features"], "n": data.n},
    )


def _exponents(n: np.ndarray, square: np.ndarray, again: np.ndarray, quantile: float) -> dict[str, np.ndarray]:
    """Slope of log shift against log n of each law over the sizes where the shift stands out from its error."""
    spread = again.std(0)
    valid = (square > quantile * spread).T
    valid &= valid.sum(0) >= LEAST_SIZES

    def half_log(values: np.ndarray) -> np.ndarray:
        values = np.swapaxes(values, -1, -2)
        return 0.5 * np.log(np.where(valid, values.clip(1e-3 * square.T.clip(1e-300)), 1.0))

    relative = np.divide(spread.T, 2 * square.T, out=np.ones_like(spread.T), where=valid)
    weight = weights(relative**2, valid)
    slope = line_fit(np.log(n), half_log(square), weight).slope
    reach = quantile * line_fit(np.log(n), half_log(again), weight).slope.std(0)
    return {"exponent": slope, "exponent_low": slope - reach, "exponent_high": slope + reach}


_WORDS = {
    "shift_size": "median over replicates minus theory, root mean square over iterations",
    "standard_errors": "the same in standard errors, before its error is taken out",
    "yardstick": "root-mean-square distance of a run with Gaussian features from theory",
    "resolution": "half the interval of share that averages over fresh rows alone would give it",
    "share": "shift over the distance of a run with Gaussian features",
    "share_low": "lower end of interval: shift over the distance of a run with Gaussian features",
    "share_high": "upper end of interval: shift over the distance of a run with Gaussian features",
    "exponent": "exponent of the shift in n",
    "exponent_low": "lower end of interval: exponent of the shift in n",
    "exponent_high": "upper end of interval: exponent of the shift in n",
}


def _unanswerable(simulation: xr.Dataset, theory: xr.Dataset) -> str | None:
    runs = simulation["train_error"]
    if "features" not in runs.dims or CONTROL not in runs.features.values.tolist() or runs.sizes["features"] < 2:
        return f"no axis of feature laws with {CONTROL} among them"
    if others := set(runs.dims) - {"features", "n", "replicate", "iteration"}:
        return f"further axes: {', '.join(sorted(map(str, others)))}"
    if runs.sizes["replicate"] < 2:
        return "fewer than 2 replicates"
    return None


def _findings(measured: xr.Dataset) -> list[Finding]:
    return [_finding(measured.sel(features=law), str(law)) for law in measured.features.values]


def _finding(law: xr.Dataset, name: str) -> Finding:
    """Judge a law by the observable in which it is farthest from theory at the largest n."""
    sharp = law.resolution <= BLUNT
    deciding = law.isel(n=-1).share.where(sharp.isel(n=-1) | (law.share_low.isel(n=-1) > 1), -1)
    worst = int(deciding.values.argmax())
    numbers = [float(law[key][worst, -1]) for key in ("share", "share_low", "share_high")]
    verdict, sentence = _verdict(law, sharp, worst)
    where = style.title_of(str(law.observable.values[worst]))
    return Finding(f"{name} features", verdict, f"{sentence} ({where})", "shift over Gaussian distance", *numbers)


def _verdict(law: xr.Dataset, sharp: xr.DataArray, worst: int) -> tuple[Verdict, str]:
    n = law.n.values
    largest = f"n = {int(n[-1]):,}"
    high = law.share_high.where(sharp).max("observable").values
    low = law.share_low.max("observable").values
    far = ~(high < 1) | (low > 1)
    if not far[-1]:
        first = n[np.flatnonzero(far)[-1] + 1] if far.any() else n[0]
        return (
            "holds",
            f"follows theory from n = {int(first):,} on: its shift is below the distance of one Gaussian run",
        )
    if low[-1] <= 1:
        return "undecided", f"at {largest} its shift may be below or above the distance of one Gaussian run"
    exponent, fast, slow = (float(law[f"exponent{end}"][worst]) for end in ("", "_low", "_high"))
    if slow < FLUCTUATION:
        reached = n[-1] * float(law.share[worst, -1]) ** (1 / (FLUCTUATION - exponent))
        return "undecided", (
            f"not yet at {largest}, but the shift falls like n^{exponent:.2f}, faster than runs fluctuate: "
            f"at that pace it would follow from about n = {_two_digits(reached)} on"
        )
    if fast > FLUCTUATION:
        return "fails", f"departs: its shift goes like n^{exponent:.2f}, which falls more slowly than runs fluctuate"
    return "fails", f"does not follow up to {largest}"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.1e}'):,.0f}"


def _figures(simulation: xr.Dataset, theory: xr.Dataset, measured: xr.Dataset) -> list[Captioned]:
    names = measured.observable.values.tolist()
    laws = measured.features.values.tolist()
    figure, rows = style.small_multiples(len(names), 3, width=3.6, height=3.6, sharey=True, legend=0.9)
    looks = style.styles(len(laws))
    n = measured.n.values.astype(float)
    for ax, name in zip((ax for row in rows for ax in row), names, strict=True):
        one = measured.sel(observable=name)
        floor = 0.5 * float(one.share_high.min())
        for law, (colour, marker) in zip(laws, looks, strict=True):
            here = one.sel(features=law)
            share, low, high = (here[key].values for key in ("share", "share_low", "share_high"))
            seen = low > 0
            ax.plot(n[seen], share[seen], color=colour, lw=1.2, zorder=2)
            bars = np.abs(np.stack([low, high]) - share)
            ax.errorbar(n[seen], share[seen], bars[:, seen], color=colour, marker=marker, ms=4.5, lw=0, elinewidth=1)
            # Where zero is not excluded only the upper end is known.
            ax.plot(
                n[~seen], high[~seen].clip(floor), color=colour, marker=marker, ms=4.5, lw=0, markerfacecolor="white"
            )
        ax.axhline(1, color="black", lw=1.2, ls="--", zorder=1)
        ax.set_yscale("log")
        ax.set_title(style.title_of(name), fontsize=10)
        style.plain(ax)
        style.sizes_on_axis(ax, n)
    style.label_edges(rows, "samples n", "shift / distance of a Gaussian run")
    style.title(figure, "How far each law of the features is from theory")
    handles = style.keys(laws, lw=1.2)
    handles.append(Line2D([], [], color="black", lw=1.2, ls="--", label="a single Gaussian run's distance"))
    style.legend(figure, handles, columns=4)
    caption = (
        "Shift: median over replicates minus theory, root mean square over iterations; as a share of the root-mean-"
        "square distance of a run with Gaussian features at the same n. Medians, since laws without a fourth moment "
        "let single runs go astray. Filled: with its interval; open: the upper end of an interval that reaches zero. "
        "Below the dashed line one run cannot tell the law from Gaussian features. The test error of other laws is an"
        " average over fresh rows, whose own error widens its intervals: it may object to a law, but not decide for "
        "it."
    )
    return [Captioned("universality", figure, caption)]


def _tables(measured: xr.Dataset) -> list[Tabulated]:
    lines = []
    for name in measured.observable.values.tolist():
        for law in measured.features.values.tolist():
            one = measured.sel(observable=name, features=law)
            last = one.isel(n=-1)
            low, high = float(one.exponent_low), float(one.exponent_high)
            lines.append(
                (
                    style.title_of(name),
                    law,
                    *(f"{share:.2f}" for share in one.share.values),
                    f"[{float(last.share_low):.2f}, {float(last.share_high):.2f}]",
                    f"{float(last.standard_errors):.1f}",
                    f"{style.number_text(float(one.exponent))} {style.interval_text(low, high)}".removesuffix(" -"),
                )
            )
    sizes = [f"n = {int(size):,}" for size in measured.n.values]
    headings = (
        "observable",
        "features",
        *sizes,
        "interval at the largest",
        "in standard errors",
        "exponent of the shift",
    )
    return [Tabulated("Shift from theory over the distance of a Gaussian run", headings, lines)]


SECTION = Section(
    "universality",
    "Which laws of the features follow the Gaussian theory, and from which n on?",
    _unanswerable,
    universality,
    _findings,
    _figures,
    _tables,
    examines="features",
)
