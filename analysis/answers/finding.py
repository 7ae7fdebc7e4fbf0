"""A finding, the one sentence in which it is written, and the rule that judges an exponent against a claim."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from analysis.answers.words import interval_text, number_text, power_text
from analysis.statistics.intervals import Interval

__all__ = ["MARGIN", "Finding", "Verdict", "judge"]

Verdict = Literal["holds", "fails", "undecided"]

MARGIN = 0.25
"""Half-way from n^-1/2, or from 1/n, to the next power that would mean something else."""


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
    """

    subject: str
    verdict: Verdict
    sentence: str
    quantity: str = ""
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan

    @property
    def number(self) -> str:
        """The number with its interval, in brackets and after a space; empty if there is none."""
        if not self.quantity or not np.isfinite(self.value):
            return ""
        interval = interval_text(Interval(self.value, self.low, self.high))
        return f" ({self.quantity} {number_text(self.value)}{'' if interval == '-' else f' {interval}'})"

    def __str__(self) -> str:
        return f"{self.subject}: {self.verdict}: {self.sentence}{self.number}"


def judge(exponent: Interval, claim: float, margin: float = MARGIN) -> tuple[Verdict, str]:
    """Compare an exponent of n with the exponent claimed (docs/theory.md#exponent).

    Parameters
    ----------
    exponent : Interval of float
        As measured.
    claim : float
        The exponent claimed, below zero.
    margin : float
        Half-way to the next exponent that would mean something else. An interval inside claim -+ margin decides.

    Returns
    -------
    verdict : {'holds', 'fails', 'undecided'}
    sentence : str
    """
    _, low, high = exponent
    power = power_text(claim)
    if not np.isfinite([low, high]).all():
        return "undecided", "no exponent: too little data"
    if low <= claim <= high:
        if claim - margin < low and high < claim + margin:
            return "holds", f"consistent with {power}"
        return "undecided", f"consistent with {power}, but the interval is wide"
    words = f"{'slower' if low > claim else 'faster'} than {power}"
    if low > claim + margin or high < claim - margin or (low > claim and high >= 0):
        return "fails", words
    return "undecided", f"{words} over these n; larger n decide"
