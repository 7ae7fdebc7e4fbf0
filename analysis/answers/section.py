"""What a report is made of: one section for each question that a store can answer.

A section is a pure measure of the two groups of a store together with how to say, tabulate and draw what it found.
`analysis.report` asks every section whether a store answers its question and puts those that do on one page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import xarray as xr
from matplotlib.figure import Figure

from analysis.answers.finding import Finding
from analysis.answers.needs import Need

__all__ = ["Captioned", "Section", "Tabulated"]


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
    needs : sequence of Need
        What a store must have to answer the question (`analysis.answers.needs`).
    measure : callable
        From the groups ``simulation`` and ``theory`` to a dataset with every number that the section shows.
    findings : callable
        From the measured dataset to the answers, the most important first.
    figures : callable
        From the two groups and the measured dataset to figures.
    tables : callable
        From the measured dataset to tables.
    presumes : bool
        Whether its claim takes for granted that theory describes every cell of the grid: it gives one answer over all
        of them, or asks what theory is good for.
    examines : str, optional
        Grid axis along which it takes theory to where that ends. Where this question is answered, those that presume
        theory at all its values are not asked.
    judged : callable, optional
        As `measure`, with what `findings` take and no more, where that is less: what a sweep to verdicts waits for
        after every round.
    """

    name: str
    question: str
    needs: Sequence[Need]
    measure: Callable[[xr.Dataset, xr.Dataset], xr.Dataset]
    findings: Callable[[xr.Dataset], Sequence[Finding]]
    figures: Callable[[xr.Dataset, xr.Dataset, xr.Dataset], Sequence[Captioned]]
    tables: Callable[[xr.Dataset], Sequence[Tabulated]]
    presumes: bool = False
    examines: str | None = None
    judged: Callable[[xr.Dataset, xr.Dataset], xr.Dataset] | None = None

    def unanswerable(self, simulation: xr.Dataset) -> str | None:
        """Say why a store does not answer the question, or None if it does.

        Parameters
        ----------
        simulation : Dataset
            The group of that name, as `analysis.store.open_store` loads it.

        Returns
        -------
        str or None
            What the first of `needs` lacks.
        """
        return next(filter(None, (need(simulation) for need in self.needs)), None)
