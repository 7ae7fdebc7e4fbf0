"""What a store says of its sweep at one moment: cell by cell, failures, seconds, and which findings are open."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from analysis.report.chapter import findings_on
from analysis.report.sections import SECTIONS
from sedyn.errors import InvalidInput
from sweeps.store import DONE, FAILED, Store, columns, facts, failures, is_asked, remark_of_driver, states
from sweeps.wanted import awaited

__all__ = ["CellState", "Snapshot", "Watcher"]

FINDINGS_SECONDS = 30.0  # between two looks at the findings, which take longer than the rest


class CellState(NamedTuple):
    """How far one cell is.

    Attributes
    ----------
    name : str
        Its values on the axes.
    done, failed, wanted : int
        Replicates.
    theory : str
        ``done``, ``failed`` or ``pending``.
    seconds : float
        Computing time so far.
    """

    name: str
    done: int
    failed: int
    wanted: int
    theory: str
    seconds: float


class Snapshot(NamedTuple):
    """A sweep at one moment.

    Attributes
    ----------
    store : str
        Path or URL.
    cells : list of CellState
        Those that were asked for, in the order of the store.
    failures : dict of str to int
        How often each reason was given.
    remark : str or None
        What the sweep that is running says of itself, with the time that it thinks is left; None where none is running.
    findings : list of str
        Those that are undecided yet.
    """

    store: str
    cells: list[CellState]
    failures: dict[str, int]
    remark: str | None
    findings: list[str]

    @property
    def running(self) -> bool:
        """Whether a sweep is running."""
        return self.remark is not None

    @property
    def share(self) -> float:
        """Of the replicates and theories that were asked for, those that are done or have failed."""
        ended = sum(cell.done + cell.failed + (cell.theory != "pending") for cell in self.cells)
        return ended / max(1, sum(cell.wanted + 1 for cell in self.cells))

    @property
    def line(self) -> str:
        """The sums of all cells, in words."""
        done, failed, wanted = (
            sum(getattr(cell, name) for cell in self.cells) for name in ("done", "failed", "wanted")
        )
        theories = sum(cell.theory == "done" for cell in self.cells)
        seconds = sum(cell.seconds for cell in self.cells)
        state = (
            f"a sweep is running{f': {self.remark}' if self.remark else ''}" if self.running else "no sweep is running"
        )
        return (
            f"{done} of {wanted} replicates and {theories} of {len(self.cells)} theories done, {failed} failed, "
            f"{seconds:.1f} s computed; {state}"
        )


class Watcher:
    """Looks at a store again and again; of findings less often than of the rest.

    Parameters
    ----------
    location : str
        Path or URL.

    Raises
    ------
    InvalidInput
        If there is no store.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._findings: list[str] = []
        self._known = (-1, -float("inf"))  # results that the findings are of, and when they were looked at
        Store.open(location)

    def look(self) -> Snapshot:
        """Take a snapshot."""
        store = Store.open(self.location)
        asked = is_asked(store.settings)
        simulation, theory = states(store, "simulation"), states(store, "theory")
        seconds = np.nansum(facts(store, "simulation", "seconds"), axis=-1)
        seconds = seconds + np.nan_to_num(facts(store, "theory", "seconds"))
        along, wanted = columns(store.settings), awaited(store, simulation).sum(axis=-1)
        cells = []
        for place in map(tuple, np.argwhere(asked)):
            numbers = dict(zip(store.axes, place, strict=True))
            values = {name: values[numbers[axis]] for name, (axis, values) in along.items()}
            state = simulation[place]
            kind = {DONE: "done", FAILED: "failed"}.get(int(theory[place]), "pending")
            done, failed = int((state == DONE).sum()), int((state == FAILED).sum())
            cells.append(CellState(_name(values), done, failed, int(wanted[place]), kind, float(seconds[place])))
        reasons = Counter(failures(store, "simulation") + failures(store, "theory"))
        results = int((simulation == DONE).sum() + (theory == DONE).sum())
        now = time.monotonic()
        if results != self._known[0] and now - self._known[1] >= FINDINGS_SECONDS:
            self._findings, self._known = open_findings(self.location), (results, now)
        return Snapshot(self.location, cells, dict(reasons), remark_of_driver(self.location), self._findings)


def open_findings(location: str) -> list[str]:
    """List the findings of a store that are undecided, in words."""
    try:
        found = findings_on(location, SECTIONS)
    except InvalidInput:  # nothing that could be measured yet
        return []
    return [f"{finding.subject}: {finding.sentence}" for _, finding in found if finding.verdict == "undecided"]


def _name(values: dict[str, Any]) -> str:
    words = (f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items())
    return " ".join(words) or "single problem"
