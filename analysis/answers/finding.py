"""A finding, the one sentence in which it is written, and the rule that judges an exponent against a claim."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from analysis.answers.words import interval_text, number_text, power_text
from analysis.statistics.intervals import Interval
from analysis.statistics.laws import normal_quantile
from analysis.statistics.power_law import Exponents, leverages

__all__ = [
    "ALONE",
    "CERTAIN",
    "EXTENSION",
    "HOLDING",
    "MARGIN",
    "PAPER",
    "UNSETTLED",
    "Claim",
    "Finding",
    "Lack",
    "Verdict",
    "Widths",
    "judge",
    "lacking",
    "lacking_sign",
    "refuted",
    "together",
    "within",
]

Verdict = Literal["holds", "fails", "undecided"]

MARGIN = 0.1
"""Of an exponent of a distance: what a claim that holds is told from. A power that is off by so much or more holds as
seldom as intervals fail to cover."""
CERTAIN = 2.0
"""A claim is refuted by an interval so many times as wide as the one stated: a page has hundreds of findings, and of
claims that are true hardly one may fail."""
HOLDING = 1.3
"""A claim holds if an interval so many times as wide as the one stated excludes what must not pass for it. A sweep to
verdicts looks after every round and ends where all claims hold: of 22 looks at a number, each with at least
`sweeps.verdict.APART` times the replicates of the one before, the 2.55 standard errors that an end of this interval is
away are exceeded at one or more with a probability of 5 %, the 1.96 of the stated one with 17 %."""
IMPROBABLE = 0.01
"""Probability of residuals below which a fit does not describe the sizes."""
UNSETTLED = 4.0
"""Times as many replicates where a number is too far from a claim to hold, and its interval has the claim inside: where
it will be nobody knows yet."""


class Widths(NamedTuple):
    """Times as wide as stated that intervals are taken to be.

    Attributes
    ----------
    certain : float
        For a claim to be refuted.
    holding : float
        For what must not pass for a claim to be excluded.
    """

    certain: float
    holding: float


ALONE = Widths(CERTAIN, HOLDING)
"""Of an interval that holds by itself."""


def together(count: int, level: float = 0.95) -> Widths:
    """Find how much wider to take intervals that are as wide as it takes for so many to hold together.

    Parameters
    ----------
    count : int
        Of intervals that hold at the level by Bonferroni.
    level : float
        That of all.

    Returns
    -------
    Widths
        Ends as many standard errors away as of `ALONE`, or of the interval itself if that is more.
    """
    alone, each = normal_quantile((1 + level) / 2), normal_quantile(1 - (1 - level) / 2 / count)
    return Widths(*(max(width * float(alone / each), 1.0) for width in ALONE))


class Claim(NamedTuple):
    """What a finding is a verdict on.

    Attributes
    ----------
    number : str
        As a reader writes it: ``-1/2``.
    source : str
        Who claims it: `PAPER` or `EXTENSION`.
    label : str
        Of the equation in docs/theory.md that says it.
    """

    number: str
    source: str
    label: str

    def __str__(self) -> str:
        return f"{self.number} ({self.source}, theory.md#{self.label})"


PAPER = "paper"
"""Source of what the theorems of docs/theory.md's first reference say of the limit, and of the rate of its approach."""
EXTENSION = "our extension"
"""Source of what this project adds, derived in its own documentation and nowhere proven."""


class Lack(NamedTuple):
    """What would decide a finding that is undecided.

    Attributes
    ----------
    runs : float
        Times as many replicates as there are, if its numbers stay as they are; NaN where that is not known, or
        replicates alone do not decide.
    leverage : mapping of int to float
        Which n they are to have: up to a factor, the variance of the finding's number is the sum over n of these over
        the replicates there.
    cells : mapping of str to value
        Values of grid axes that it is about; of an axis that is not named, all.
    samples : float
        Times as many samples of theory as there are, where its own error keeps the finding open; NaN elsewhere.
    """

    runs: float = np.nan
    leverage: Mapping[int, float] = {}
    cells: Mapping[str, Any] = {}
    samples: float = np.nan


class Finding(NamedTuple):
    """One answer of a section.

    Attributes
    ----------
    subject : str
        What it is about, as a reader writes it: ``test error``, ``student_t(3) features``.
    verdict : {'holds', 'fails', 'undecided'}
        Of the claim that the section examines.
    sentence : str
        The answer in plain words, without the numbers below.
    quantity : str
        What the number is: ``exponent``, ``ratio to the null level``; empty if there is none.
    value, low, high : float
        The number and its interval; NaN where there is none.
    claim : Claim, optional
        What the verdict is on, if it is a number.
    lack : Lack
        What would decide it, if it is undecided.
    """

    subject: str
    verdict: Verdict
    sentence: str
    quantity: str = ""
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    claim: Claim | None = None
    lack: Lack = Lack()

    @property
    def number(self) -> str:
        """The number with its interval, in brackets and after a space; empty if there is none."""
        if not self.quantity or not np.isfinite(self.value):
            return ""
        interval = interval_text(Interval(self.value, self.low, self.high))
        claim = f"; claim: {self.claim}" if self.claim else ""
        return f" ({self.quantity} {number_text(self.value)}{'' if interval == '-' else f' {interval}'}{claim})"

    def __str__(self) -> str:
        return f"{self.subject}: {self.verdict}: {self.sentence}{self.number}"


def judge(
    exponents: Exponents, claim: float, larger_from: float, margin: float = MARGIN, widths: Widths = ALONE
) -> tuple[Verdict, str]:
    """Compare an exponent of n with the exponent claimed (docs/theory.md#exponent).

    It fails if the fits of `refuted` put it on the same side of the claim, however near. What small sizes add to a
    power that is reached at large ones is in none of them. It holds if no fit speaks against the claim and one that has
    it inside its interval is so precise that it would have told a power off by `margin` (`within`).

    Parameters
    ----------
    exponents : Exponents
        As measured.
    claim : float
        The exponent claimed, below zero.
    larger_from : float
        The smallest n of the larger half of the sizes.
    margin : float
        Distance to an exponent that must not pass for the one claimed.
    widths : Widths
        `ALONE`, or those of `together` where the intervals of many exponents hold together.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    whole, larger, corrected = exponents[:3]
    power = power_text(claim)
    if not np.isfinite(whole).all():
        return "undecided", "no exponent: too little data"
    side, late = whole.side(claim), larger.side(claim)
    words = {1: f"slower than {power}", -1: f"faster than {power}", 0: f"consistent with {power}"}
    if refuted(exponents, claim, widths):
        return "fails", f"{words[late]}, from n = {larger_from:,.0f} on as well" if side == late else (
            f"{words[late]} from n = {larger_from:,.0f} on"
        )
    if larger.wider(widths.certain).side(claim):
        return "undecided", f"{words[late]} from n = {larger_from:,.0f} on, unless by what small n add; larger n decide"
    if side == 0:
        if within(whole, claim, margin, widths.holding):
            return "holds", words[0]
        return "undecided", f"{words[0]}, but the interval is wide"
    over = f"{words[side]} over these n"
    if within(larger, claim, margin, widths.holding):
        return "holds", f"{over}, consistent with it from n = {larger_from:,.0f} on"
    if within(corrected, claim, margin, widths.holding):
        return "holds", f"{over}, consistent with it beside a correction of order 1/n"
    return "undecided", f"{over}; larger n decide"


def refuted(exponents: Exponents, claim: float, widths: Widths = ALONE) -> int:
    """Tell whether an exponent of n is another than the one claimed.

    The larger half of the sizes excludes the claim, and so do all sizes with a correction on the same side, whether it
    is of relative order 1/n, by the interval for what is certain, or n^-1/2. Where the exponent is seen to near the
    claim as sizes grow, by how much the largest are still off is a matter of more than the first correction: then the
    fit with both is to exclude it for certain, and to describe the sizes. An exponent that stays, or goes away from the
    claim, needs no correction to be explained.

    Parameters
    ----------
    exponents, claim, widths
        As for `judge`.

    Returns
    -------
    int
        1 if it is above the claim, -1 below; 0 if nothing is refuted.
    """
    side = exponents.larger.side(claim)
    fits = [exponents.corrected.wider(widths.certain), exponents.rooted.wider(widths.holding)]
    if _nears(exponents, claim, widths.holding):
        if exponents.misfit < IMPROBABLE:
            return 0
        fits.append(exponents.twice.wider(widths.certain))
    return side if all(fit.side(claim) == side for fit in fits) else 0


def _nears(exponents: Exponents, claim: float, wider: float) -> bool:
    """Whether the exponent is seen to near the claim as sizes grow, by an interval so many times as wide as stated."""
    return exponents.approach.wider(wider).side(0.0) * exponents.larger.side(claim) < 0


def lacking(
    exponents: Exponents,
    claim: float,
    n: np.ndarray,
    margin: float = MARGIN,
    widths: Widths = ALONE,
) -> Lack:
    """Estimate how many times as many replicates would let `judge` decide, if the exponents stay as they are.

    A fit can let the claim hold if its interval has it inside and its number is nearer to it than to what must not pass
    for it: that over all sizes, or, where this one excludes the claim, one of the two others. One that is farther, and
    not as far as that, needs `UNSETTLED` times as many to be known. Those of `refuted` together can refute it, unless
    the exponent nears the claim: then larger sizes decide.

    Parameters
    ----------
    exponents, claim, margin, widths
        As for `judge`.
    n : ndarray, shape (sizes,)
        The sizes.

    Returns
    -------
    Lack
        Of 1 or more; NaN where more of the same does not decide, or there is no interval.
    """
    fits = exponents[:4]
    half = [(each.high - each.low) / 2 for each in fits]
    off = [abs(each.value - claim) for each in fits]
    ways: list[tuple[float, int]] = []  # times as many, and the fit that decides
    if not exponents.larger.wider(widths.certain).side(claim):
        outside = exponents.whole.side(claim) != 0
        inside = [fit for fit in ((1, 2) if outside else (0,)) if off[fit] <= half[fit] and off[fit] < margin]
        ways += [
            (widths.holding * half[fit] / (margin - off[fit]) if off[fit] < margin / 2 else UNSETTLED**0.5, fit)
            for fit in inside
        ]
    beyond = {1: 1.0, 2: widths.certain, 3: widths.holding}
    sides = {np.sign(exponents[fit].value - claim) for fit in beyond}
    if len(sides) == 1 and 0 not in sides and not _nears(exponents, claim, 1.0):
        ways.append(max((width * half[fit] / off[fit], fit) for fit, width in beyond.items()))
    ways = [way for way in ways if np.isfinite(way[0])]
    if not ways:
        return Lack()
    factor, fit = min(ways)
    return Lack(max(float(factor) ** 2, 1.0), dict(zip(n.tolist(), leverages(n)[fit].tolist(), strict=True)))


def lacking_sign(number: Interval, n: int, cell: Mapping[Hashable, Any]) -> Lack:
    """Estimate how many times as many replicates would show that a number at one size is above 0, or below.

    Parameters
    ----------
    number : Interval
        Whose interval is not wholly on one side of 0, or not far enough.
    n : int
        The size.
    cell : mapping
        Values of the grid axes.

    Returns
    -------
    Lack
    """
    half = (number.high - number.low) / 2
    needed = HOLDING if number.value > 0 else CERTAIN
    factor = (needed * half / abs(number.value)) ** 2 if number.value and np.isfinite(half) else np.nan
    return Lack(float(factor), {n: 1.0}, {str(axis): value for axis, value in cell.items()})


def within(number: Interval, claim: float, margin: float, holding: float = HOLDING) -> bool:
    """Tell whether an interval has a claim inside and, made wider, excludes what must not pass for it.

    Parameters
    ----------
    number : Interval
    claim : float
    margin : float
        Distance to a number that must not pass for the one claimed.
    holding : float
        Times as wide as stated.

    Returns
    -------
    bool
    """
    wide = number.wider(holding)
    return bool(claim - margin < wide.low and number.low <= claim <= number.high and wide.high < claim + margin)
