"""What each kind of finding is tried on: stores of which its claim is true, and stores of which it is false."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from analysis.answers.finding import Finding
from analysis.power.made_up import Truth, made_up, made_up_fluctuations, made_up_halves, made_up_laws
from analysis.questions import (
    breakdown_horizon,
    breakdown_rate,
    breakdown_width,
    coverage,
    deep_concentration,
    fluctuations,
    gaussian_fluctuations,
    generalization_estimate,
    large,
    rates,
    sgd,
    universality,
)
from analysis.statistics import breakdown_horizon as horizons
from analysis.statistics import breakdown_rate as learning_rates
from analysis.statistics import breakdown_width as widths
from analysis.statistics import coverage as bands
from analysis.statistics import deep_concentration as deeper
from analysis.statistics import fluctuations as scatters
from analysis.statistics import gaussian_fluctuations as laws
from analysis.statistics import generalization_estimate as estimates
from analysis.statistics import large as sizes
from analysis.statistics import rates as distances
from analysis.statistics import sgd as batches
from analysis.statistics import universality as feature_laws
from sweeps.verdict import APART, GROWTH

__all__ = ["CASES", "Case", "findings_of"]

DRAWS = 200
"""Of the bootstrap: a fifth of what the report takes, with the same intervals on average."""
COVARIANCE = "covariance of the rows"

Groups = tuple[xr.Dataset, xr.Dataset]


class Case(NamedTuple):
    """One kind of finding on stores of one truth.

    Attributes
    ----------
    kind : str
        The finding, as the table names it.
    truth : str
        What is true of the stores, likewise.
    false : bool
        Whether the finding's claim is false of them.
    make : callable
        From a seed to the two groups of a store.
    findings : callable
        From the groups to the findings of this kind.
    first : int, optional
        Replicates that are there when it is judged first, as in a sweep to verdicts; None for all of them at once.
    """

    kind: str
    truth: str
    false: bool
    make: Callable[[int], Groups]
    findings: Callable[[Groups], Sequence[Finding]]
    first: int | None = None


def findings_of(case: Case, seed: int) -> Sequence[Finding]:
    """Make a store and judge it: once, or after every round of a sweep to verdicts.

    A round has as many more replicates, everywhere, as the finding that is hardest to decide asks for, and not more
    or less than a sweep adds; the last is that in which no finding is open, or asks for any, or all replicates are
    there.

    Parameters
    ----------
    case : Case
    seed : int
        Of the store.

    Returns
    -------
    sequence of Finding
    """
    runs, theory = case.make(seed)
    most = runs.sizes["replicate"]
    count = most if case.first is None else case.first
    while True:
        found = case.findings((runs.isel(replicate=slice(count)), theory))
        lacks = [one.lack.runs for one in found if one.verdict == "undecided" and np.isfinite(one.lack.runs)]
        if count == most or not lacks:
            return found
        count = min(most, math.ceil(count * min(max(*lacks, APART), GROWTH)))


def _rates(groups: Groups) -> list[Finding]:
    measured = distances.rates(*groups, draws=DRAWS)
    return [rates.rate_finding(measured, name) for name in measured.observable.values]


def _biases(groups: Groups) -> list[Finding]:
    measured = distances.rates(*groups, draws=DRAWS)
    return [rates.bias_finding(measured, name) for name in measured.observable.values]


def _deeper(groups: Groups) -> Sequence[Finding]:
    return deep_concentration.SECTION.findings(deeper.deep_concentration(groups[0], draws=DRAWS))


def _estimate(groups: Groups) -> Sequence[Finding]:
    measured = estimates.generalization_estimate(groups[0], draws=DRAWS)
    return generalization_estimate.SECTION.findings(measured)[:1]


def _sgd(groups: Groups) -> Sequence[Finding]:
    return sgd.SECTION.findings(batches.sgd(*groups, draws=DRAWS))


def _horizon(groups: Groups) -> Sequence[Finding]:
    return breakdown_horizon.SECTION.findings(horizons.breakdown_horizon(*groups, draws=DRAWS))


def _learning_rates(groups: Groups) -> Sequence[Finding]:
    return breakdown_rate.SECTION.findings(learning_rates.breakdown_rate(*groups, draws=DRAWS))[1:]


def _widths(groups: Groups) -> list[Finding]:
    found = breakdown_width.SECTION.findings(widths.breakdown_width(*groups, draws=DRAWS))
    return [finding for finding in found if finding.quantity == "power of the width"]


def _laws(groups: Groups, *, covariance: bool) -> list[Finding]:
    found = gaussian_fluctuations.SECTION.findings(laws.gaussian_fluctuations(*groups, draws=DRAWS))
    return [finding for finding in found if finding.subject.startswith(COVARIANCE) == covariance]


def _bands(groups: Groups, parts: Sequence[str]) -> list[Finding]:
    found = coverage.SECTION.findings(bands.coverage(*groups, draws=DRAWS))
    return [finding for finding, part in zip(found, coverage.PARTS, strict=True) if part in parts]


def _universality(groups: Groups, law: str) -> list[Finding]:
    found = universality.SECTION.findings(feature_laws.universality(*groups, draws=DRAWS))
    return [finding for finding in found if finding.subject.startswith(law)]


def _fluctuations(groups: Groups, kind: str) -> list[Finding]:
    found = fluctuations.SECTION.findings(scatters.fluctuations(*groups, draws=DRAWS))
    return [finding for finding in found if finding.subject.startswith(kind)]


def _large(groups: Groups) -> Sequence[Finding]:
    return large.SECTION.findings(sizes.large(*groups))


_GRID = {"depth": [2, 3], "noise": [0.1, 0.5]}
_LAWS = {"features": ["gaussian", "rademacher"]}
_POWERS = {"n^-1/2": Truth(), "n^-0.45": Truth(exponent=-0.45), "n^-0.4": Truth(exponent=-0.4)}
_OFF = {"theory 2 % off": Truth(off=0.02)}
_BIAS = {
    "n^-1/2, a bias 1/n that is seen": Truth(bias=2.0),
    "n^-1/2, a bias n^-1/4": Truth(bias=0.2, bias_exponent=-0.25),
}
_SEEN = next(iter(_BIAS))


def _late(missing: float) -> Truth:
    """A scatter that reaches n^-1/2 as slowly as that: so much of it is missing at the smallest n."""
    return Truth(scale=lambda cell, n: 1 - missing * (n[0] / n) ** 0.5)


_LATE = {"n^-1/2 (1 - 0.3 u), u like n^-1/2": _late(0.3), "n^-1/2 (1 + 0.3 u), u like n^-1/2": _late(-0.3)}
"""Where u is 1 at the smallest n."""
_MIDDLE = (256, 512, 1024, 2048, 4096)
_SMALL: dict[str, Any] = {"sizes": (128, 256, 512, 1024, 2048), "replicates": 32}
"""The sizes of quickstart."""
_ROUNDS = {**_SMALL, "replicates": 1024}
"""The same with as many replicates as a sweep to verdicts may add."""


def _each(
    kind: str,
    truths: dict[str, Truth],
    findings: Callable[[Groups], Sequence[Finding]],
    true: Sequence[str],
    make: Callable[..., Groups] = made_up,
    first: int | None = None,
    **settings: Any,
) -> Iterator[Case]:
    for words, truth in truths.items():
        yield Case(kind, words, words not in true, partial(_made, make, truth, settings), findings, first)


def _made(make: Callable[..., Groups], truth: Truth, settings: dict[str, Any], seed: int) -> Groups:
    return make(truth, seed, **settings)


def _unlike(power: float) -> Truth:
    """Features of another law, with a shift that falls like a power of n and is above a run's distance at the end."""
    return Truth(shift=lambda cell, n: (cell["features"] != "gaussian") * 3.0 * n[-1] ** -0.5 * (n / n[-1]) ** power)


def _wide(power: float) -> Truth:
    """A distance that is the same wherever width^power / n is."""
    return Truth(scale=lambda cell, n: cell["width"] ** (power / 2))


def _cases() -> Iterator[Case]:
    full = _POWERS | _LATE | _OFF | _BIAS
    yield from _each("rate of an observable", full, _rates, ("n^-1/2", *_LATE, _SEEN), axes=_GRID)
    yield from _each("rate, sizes of quickstart", _POWERS | _OFF, _rates, ("n^-1/2",), axes=_GRID, **_SMALL)
    looks: dict[str, Any] = {"first": _SMALL["replicates"], **_ROUNDS}
    biased = {"n^-1/2, a bias 1/n": Truth(bias=1.0)}
    every = _POWERS | _LATE | _OFF | biased
    yield from _each("rate, judged after every round", every, _rates, ("n^-1/2", *_LATE, *biased), **looks)
    yield from _each("bias falls faster", _BIAS | _OFF, _biases, (_SEEN,), axes=_GRID)
    small = {f"{words}, a quarter": replace(truth, bias=truth.bias / 4) for words, truth in _BIAS.items()}
    yield from _each("bias falls faster, by halves", small, _biases, tuple(small)[:1], made_up_halves, axes=_GRID)
    variances = {"1/n": Truth(), "n^-0.9": Truth(exponent=-0.45), "n^-0.8": Truth(exponent=-0.4)}
    yield from _each("variance of deeper weights", variances, _deeper, ("1/n",), axes=_GRID)
    yield from _each("variance, judged after every round", variances, _deeper, ("1/n",), **looks)
    yield from _each("estimated test error", _POWERS, _estimate, ("n^-1/2",), axes=_GRID)
    yield from _each("estimate, judged after every round", _POWERS, _estimate, ("n^-1/2",), **looks)
    yield from _each(
        "rate by batch fraction", _POWERS | _OFF, _sgd, ("n^-1/2",), axes={"batch_fraction": [1.0, 0.1]}, replicates=256
    )
    yield from _each("rate in a window of iterations", _POWERS | _OFF, _horizon, ("n^-1/2",), steps=30, replicates=256)
    yield from _each(
        "rate by learning rate",
        _POWERS | _OFF,
        _learning_rates,
        ("n^-1/2",),
        axes={"learning_rate": [1.0, 2.0]},
        replicates=256,
    )
    yield from _each("distance of a law", _POWERS, partial(_laws, covariance=False), ("n^-1/2",), made_up_laws)
    # It varies so much from run to run that a power off by 0.05 takes as many runs as the full experiment has.
    rows_vary = partial(_laws, covariance=True)
    yield from _each(COVARIANCE, _POWERS, rows_vary, ("n^-1/2",), made_up_laws, replicates=1536)
    rows = partial(_bands, parts=coverage.LAWS)
    yield from _each("band for rows, pre-activations", {"as predicted": Truth()}, rows, ("as predicted",), made_up_laws)
    yield from _each("band for rows, pre-activations", {"10 % wider": Truth()}, rows, (), made_up_laws, wider=1.1)
    errors = partial(_bands, parts=("train_error", "test_error"))
    bands_of = {"n^-1/2": Truth()} | _OFF
    yield from _each("band for errors", bands_of, errors, ("n^-1/2",), made_up_laws, replicates=128)
    shifts = {"no shift": Truth(), "a shift n^-0.4": _unlike(-0.4), "a shift that stays": _unlike(0.0)}
    other = partial(_universality, law="rademacher")
    yield from _each("law of the features", shifts, other, ("no shift",), axes=_LAWS, sizes=_MIDDLE)
    powers = {"width^0.5": _wide(0.5), "width^2": _wide(2.0)}
    yield from _each(
        "power of the width",
        powers,
        _widths,
        ("width^0.5",),
        axes={"width": [2, 4, 8, 16, 32]},
        replicates=32,
        sizes=_MIDDLE,
    )
    scatter: dict[str, Any] = {
        "axes": {"depth": [2, 3], "momentum": [0.0, 0.5]},
        "sizes": (1000, 4000, 16000, 100000),
        "replicates": 512,
        "steps": 10,
    }
    predicted = {"as predicted": Truth()}
    for kind, false in (
        ("scatter", {"0.9 of the predicted": Truth(scale=lambda cell, n: 0.9)}),
        ("single runs", {"theory a deviation off": Truth(shift=lambda cell, n: n**-0.5)}),
    ):
        of_kind = partial(_fluctuations, kind=kind)
        yield from _each(kind, predicted | false, of_kind, tuple(predicted), made_up_fluctuations, **scatter)
    far: dict[str, Any] = {"sizes": (10**4, 10**5, 10**6), "replicates": 16}
    yield from _each("mean at n to a million", {"exact": Truth()} | _OFF, _large, ("exact",), **far)


CASES: tuple[Case, ...] = tuple(_cases())
