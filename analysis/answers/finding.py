"""A finding, the one sentence in which it is written, and the rule that judges an exponent against a claim."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from analysis.answers.words import interval_text, number_text, power_text
from analysis.statistics.intervals import Interval
from analysis.statistics.power_law import Exponents

__all__ = ["CERTAIN", "EXTENSION", "MARGIN", "PAPER", "TOGETHER", "Claim", "Finding", "Verdict", "judge", "needed"]

Verdict = Literal["holds", "fails", "undecided"]

MARGIN = 0.1
"""Of an exponent of a distance: what a claim that holds is told from. A power that is off by so much or more holds as
seldom as intervals fail to cover."""
CERTAIN = 2.0
"""A claim is refuted by an interval so many times as wide as the one stated: a page has hundreds of findings, and of
claims that are true hardly one may fail."""
TOGETHER = 1.3
"""The same of intervals that are wide enough to hold together, five or more of them."""


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
    needed : float
        Times as many replicates as there are that would decide what is undecided, if its numbers stay as they are; NaN
        where that is not known, or replicates alone do not decide.
    """

    subject: str
    verdict: Verdict
    sentence: str
    quantity: str = ""
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    claim: Claim | None = None
    needed: float = np.nan

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
    exponents: Exponents, claim: float, larger_from: float, margin: float = MARGIN, certain: float = CERTAIN
) -> tuple[Verdict, str]:
    """Compare an exponent of n with the exponent claimed (docs/theory.md#exponent).

    It fails if two fits put it on the same side of the claim, however near: that of the larger half of the sizes, and,
    by an interval `certain` times as wide, that of all sizes with a correction of order 1/n. What small sizes add to a
    power that is reached at large ones is in neither. It holds if no fit speaks against the claim and one that has it
    inside its interval is so precise that it would have told a power off by `margin`.

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
    certain : float
        `CERTAIN`, or `TOGETHER` of one of many exponents whose intervals hold together.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    whole, larger, corrected = exponents
    power = power_text(claim)
    if not np.isfinite(whole).all():
        return "undecided", "no exponent: too little data"
    side, late = whole.side(claim), larger.side(claim)
    words = {1: f"slower than {power}", -1: f"faster than {power}", 0: f"consistent with {power}"}
    if late and late == corrected.wider(certain).side(claim):
        return "fails", f"{words[late]}, from n = {larger_from:,.0f} on as well" if side == late else (
            f"{words[late]} from n = {larger_from:,.0f} on"
        )
    if larger.wider(certain).side(claim):
        return "undecided", f"{words[late]} from n = {larger_from:,.0f} on, unless by what small n add; larger n decide"
    if side == 0:
        if _precise(whole, claim, margin):
            return "holds", words[0]
        return "undecided", f"{words[0]}, but the interval is wide"
    over = f"{words[side]} over these n"
    if _precise(larger, claim, margin):
        return "holds", f"{over}, consistent with it from n = {larger_from:,.0f} on"
    if _precise(corrected, claim, margin):
        return "holds", f"{over}, consistent with it beside a correction of order 1/n"
    return "undecided", f"{over}; larger n decide"


def needed(exponents: Exponents, claim: float, margin: float = MARGIN, certain: float = CERTAIN) -> float:
    """Estimate how many times as many replicates would let `judge` decide, if the exponents stay as they are.

    Parameters
    ----------
    exponents, claim, margin, certain
        As for `judge`.

    Returns
    -------
    float
        Above 1; NaN where more of the same does not decide, or there is no interval.
    """
    half = [(each.high - each.low) / 2 for each in exponents]
    off = [abs(each.value - claim) for each in exponents]
    factors = []
    if off[0] < margin / 2:  # it would hold
        factors.append(half[0] / (margin - off[0]))
    if off[1] > margin / 2 and (exponents.larger.value > claim) == (exponents.corrected.value > claim):
        factors.append(max(half[1] / off[1], certain * half[2] / max(off[2], 1e-9)))
    factor = max(min(factors, default=np.nan) ** 2, 1.0) if factors else np.nan
    return float(factor) if np.isfinite(factor) else np.nan


def _precise(exponent: Interval, claim: float, margin: float) -> bool:
    """Whether an interval has the claim inside and excludes what must not pass for it."""
    return claim - margin < exponent.low <= claim <= exponent.high < claim + margin
