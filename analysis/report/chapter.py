"""A store, read once and asked every question: what the terminal, the page and the files are made from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from analysis.answers.finding import Finding
from analysis.answers.section import Captioned, Section, Tabulated
from analysis.report.cautions import cautions
from analysis.report.command import path_word, sweep_command
from analysis.report.figures import BANDS, CAPTION, learning_curves
from analysis.report.refusal import NothingToReport
from analysis.statistics.datasets import grid_axes
from analysis.store import Seconds, load
from sedyn.arrays.threads import one_blas_thread
from sedyn.errors import InvalidInput

__all__ = ["Answer", "Chapter", "findings_on", "is_url", "read_chapter"]


class Answer(NamedTuple):
    """What a section found in a store."""

    section: Section
    measured: xr.Dataset
    findings: Sequence[Finding]
    figures: Sequence[Captioned]
    tables: Sequence[Tabulated]


class Chapter(NamedTuple):
    """Everything that a page shows of one store.

    Attributes
    ----------
    name : str
        Of the store, without ``.zarr``.
    lead : str
        What was run, in one sentence.
    answers : sequence of Answer
        Of those sections that the store can answer.
    unanswered : sequence of (str, str)
        Name of every other section, and why not.
    learning_curves : Captioned
    attributes : dict
        Problem, seed, versions: the provenance.
    commands : sequence of str
        The sweep that makes the same store, if the store keeps its settings, and the report of it.
    seconds : Seconds
        Computing time of all results in the store.
    cautions : sequence of str
        What theory's standard errors do not say.
    """

    name: str
    lead: str
    answers: Sequence[Answer]
    unanswered: Sequence[tuple[str, str]]
    learning_curves: Captioned
    attributes: dict[str, Any]
    commands: Sequence[str]
    seconds: Seconds = Seconds()
    cautions: Sequence[str] = ()


def read_chapter(path: str | Path, sections: Sequence[Section]) -> Chapter:
    """Open a store and ask it every question.

    Parameters
    ----------
    path : path or URL
        A Zarr store with the groups ``simulation`` and ``theory``.
    sections : sequence of Section
        The questions, in the order in which they are answered; that of the store's own name comes first.

    Returns
    -------
    Chapter

    Raises
    ------
    NothingToReport
        If the store is missing, is not a sweep's, or has no observable in both groups.
    """
    simulation, theory, settings, seconds = _read(path)
    name = _name(path)
    answers, unanswered = [], []
    with one_blas_thread():  # products here are small: threads would wait for each other
        for section, reason in _asked(sections, name, simulation):
            if reason is not None:
                unanswered.append((section.name, reason))
                continue
            measured = _with_asked(section.measure(simulation, theory), simulation)
            measured.attrs["store"] = f"{name}.zarr"
            figures = section.figures(simulation, theory, measured)
            answers.append(Answer(section, measured, section.findings(measured), figures, section.tables(measured)))
        curves = learning_curves(simulation, theory)
    caption = CAPTION + BANDS * ("test_error_covariance" in theory)
    attributes = {**theory.attrs, **simulation.attrs, **settings}
    here = str(path) if is_url(path) or not Path(path).is_absolute() else f"stores/{name}.zarr"
    commands = [*([sweep_command(settings, name)] if settings else []), f"python -m analysis.report {path_word(here)}"]
    return Chapter(
        name,
        _lead(simulation),
        answers,
        unanswered,
        Captioned("learning_curves", curves, caption),
        attributes,
        commands,
        seconds,
        cautions(simulation),
    )


def _with_asked(measured: xr.Dataset, simulation: xr.Dataset) -> xr.Dataset:
    """Let a measure say which cells of its grid were asked for, where not all were."""
    if "asked" not in simulation.coords:
        return measured
    asked = simulation["asked"]
    return measured.assign_coords(
        asked=asked.any([dim for dim in asked.dims if dim == "n" or dim not in measured.dims])
    )


def findings_on(path: str | Path, sections: Sequence[Section]) -> list[tuple[Section, Finding]]:
    """Ask a store the same questions, and take no more than what they find.

    Parameters
    ----------
    path, sections
        As for `read_chapter`.

    Returns
    -------
    list of (Section, Finding)

    Raises
    ------
    NothingToReport
        As for `read_chapter`.
    """
    simulation, theory, _, _ = _read(path)
    asked = [section for section, reason in _asked(sections, _name(path), simulation) if reason is None]
    with one_blas_thread():
        return [
            (section, found)
            for section in asked
            for found in section.findings((section.judged or section.measure)(simulation, theory))
        ]


def _name(path: str | Path) -> str:
    """Name of a store, without ``.zarr``."""
    return str(path).rstrip("/").rpartition("/")[2].removesuffix(".zarr")


def _asked(sections: Sequence[Section], name: str, simulation: xr.Dataset) -> list[tuple[Section, str | None]]:
    """Order the questions, that of the store's own name first, each with why it is not asked, or None if it is."""
    ordered = sorted(sections, key=lambda section: section.name != name)
    reasons = [section.unanswerable(simulation) for section in ordered]
    apart = [one for one, reason in zip(ordered, reasons, strict=True) if one.examines and reason is None]
    asked = []
    for section, reason in zip(ordered, reasons, strict=True):
        if apart and section.presumes and section.name != name:
            axis = str(apart[0].examines).replace("_", " ")
            reason = f"it presumes theory all along {axis}; {apart[0].name} examines where that ends"
        asked.append((section, reason))
    return asked


def _read(path: str | Path) -> tuple[xr.Dataset, xr.Dataset, dict[str, Any], Seconds]:
    try:
        simulation, theory, settings, seconds = load(path)
    except InvalidInput as error:
        raise NothingToReport(error.field, error.value, error.remedy) from error
    if not any(
        name in theory and bool(simulation[name].notnull().any()) and bool(theory[name].notnull().any())
        for name in simulation.data_vars
    ):
        remedy = "nothing finished yet; run the sweep again, it continues where it stopped"
        raise NothingToReport("path", str(path), remedy)
    return simulation, theory, settings, seconds


def is_url(path: str | Path) -> bool:
    """Whether a store is elsewhere."""
    return "://" in str(path)


def _lead(simulation: xr.Dataset) -> str:
    sizes = simulation["n"].values
    places = math.prod(simulation.sizes[axis] for axis in grid_axes(simulation["train_error"]))
    asked = simulation.coords.get("asked")
    counts = [places] if asked is None else asked.sum([dim for dim in asked.dims if dim != "n"]).values.tolist()
    least, most = min(counts), max(counts)
    problems = f"{least if least == most else f'{least} to {most}'} {'problem' if most == 1 else 'problems'}"
    span = f"n from {int(sizes.min()):,} to {int(sizes.max()):,} ({len(sizes)} sizes)"
    return (
        f"{span if len(sizes) > 1 else f'n = {int(sizes[0]):,}'}, {problems} at each n, "
        f"{simulation.sizes.get('replicate', 1)} replicates, "
        f"{simulation.sizes['iteration'] - 1} gradient-descent steps."
    )
