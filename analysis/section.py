"""What a report is made of: one section for each question that a store can answer.

A section is a pure measure of the two groups of a store together with how to say, tabulate and draw what it found.
`analysis.report` asks every section whether a store answers its question and puts those that do on one page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

__all__ = ["Captioned", "Finding", "Section", "Tabulated", "Verdict", "without_estimate", "without_laws"]

Verdict = Literal["holds", "fails", "undecided"]


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


class Captioned(NamedTuple):
    """A figure, the words below it, and the name of its file (``<store>.<name>.png``)."""

    name: str
    figure: Figure
    caption: str


class Tabulated(NamedTuple):
    """A table: what it shows, its headings, and its lines as text."""

    title: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]


class Section(NamedTuple):
    """A question that a store may answer.

    Attributes
    ----------
    name : str
        One word, that of the experiment made for it.
    question : str
        As the heading of the section.
    unanswerable : callable
        From the groups ``simulation`` and ``theory`` to why they do not answer the question, or None if they do:
        an axis is missing, too few values of n, too few replicates.
    measure : callable
        From the two groups to a dataset with every number that the section shows.
    findings : callable
        From the measured dataset to the answers, the most important first.
    figures : callable
        From the two groups and the measured dataset to figures.
    tables : callable
        From the measured dataset to tables.
    sums_up : bool
        Whether it gives one answer about theory over all cells of the grid.
    examines : str, optional
        Grid axis along which it takes theory to where that ends. One answer over all its values would mislead, so where
        this question is answered, those that sum up are not asked.
    """

    name: str
    question: str
    unanswerable: Callable[[xr.Dataset, xr.Dataset], str | None]
    measure: Callable[[xr.Dataset, xr.Dataset], xr.Dataset]
    findings: Callable[[xr.Dataset], Sequence[Finding]]
    figures: Callable[[xr.Dataset, xr.Dataset, xr.Dataset], Sequence[Captioned]]
    tables: Callable[[xr.Dataset], Sequence[Tabulated]]
    sums_up: bool = False
    examines: str | None = None


def without_laws(simulation: xr.Dataset, needed: Sequence[str], sizes: int, replicates: int) -> str | None:
    """Say why a store does not answer a question on the laws of rows and pre-activations, or None if it does.

    Parameters
    ----------
    simulation : Dataset
    needed : sequence of str
        Its variables that the question is answered from, which only a sweep with ``laws=true`` has.
    sizes, replicates : int
        How many values of n and replicates it takes at least.
    """
    if any(name not in simulation for name in needed):
        return "no laws compared; a sweep with laws=true stores them"
    if not any(bool(simulation[name].notnull().any()) for name in needed):
        return "no comparison of laws finished"
    if simulation.sizes.get("n", 1) < sizes:
        return f"fewer than {sizes} values of n"
    if simulation.sizes.get("replicate", 1) < replicates:
        return f"fewer than {replicates} replicates"
    return None


def without_estimate(simulation: xr.Dataset) -> str | None:
    """Say why a store does not answer a question on the estimate of the test error, or None if it has one."""
    if "estimated_test_error" not in simulation:
        return "no estimated test error stored; a sweep with estimate=true stores it"
    return None if bool(simulation.estimated_test_error.notnull().any()) else "the runs have no estimated test error"
