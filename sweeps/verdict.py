"""Replicates until findings are decided: which cells get more, how many, and when it is enough; samples of theory too.

They come in rounds. When one is complete, all findings on the store are judged anew, and those that are open say where
more replicates, or more samples of theory, would decide them. The next round follows from that and from nothing else,
and the store keeps what it asks for; so a sweep that was stopped goes on with the same round, whatever ran where. Time
alone may end it earlier: by what the store says its results took, and what judging them took.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from time import process_time
from typing import Any, NamedTuple

import numpy as np

from sedyn.arrays import machine
from sedyn.theory.memory import theory_memory
from sweeps.cost import seconds_of
from sweeps.plan import Cell, SweepSpec, Task
from sweeps.rounds import RoundTasks
from sweeps.schedule import joined, simulation_tasks
from sweeps.store import DONE, Store, facts, missing, solve_with, states
from sweeps.target import Judge, Open, Standing, Target

__all__ = ["APART", "GROWTH", "Round", "VerdictTasks", "least_costly", "next_round"]

GROWTH = 4
"""Times as many replicates or samples of a cell, at most, from round to round: what few say about how many are needed
is rough."""
APART = 1.25
"""Times as many replicates, at least, before a finding is judged again for their sake: at what level a claim holds goes
by how often it is looked at (`analysis.answers.finding.HOLDING`)."""
REACH = 2.0
"""Times as much as the limits allow that a finding may need, and be pursued all the same: its need is an estimate."""
NAMED = 5
"""Findings that a line names."""

Position = tuple[int, ...]


class Round(NamedTuple):
    """Where findings stand, and what the next round asks for.

    Attributes
    ----------
    standing : Standing
    counts : dict of tuple to int
        Replicates of every cell, by its position in the store.
    samples : dict of tuple to int
        Samples that theories of some cells are solved with anew.
    added : int
        Replicates that it adds.
    seconds : float
        What these take, of all cores together.
    spent : float
        What the store's results took.
    judging : float
        What judging them took, of the driver's core, since the sweep was begun or went on.
    """

    standing: Standing
    counts: dict[Position, int]
    samples: dict[Position, int]
    added: int
    seconds: float
    spent: float
    judging: float


def least_costly(variance: np.ndarray, seconds: np.ndarray, counts: np.ndarray, most: int, factor: float) -> np.ndarray:
    """Find the cheapest replicates of each cell that make the variance of a number so many times smaller.

    Replicates of a cell go like the root of its variance over its seconds, where that is more than there are.

    Parameters
    ----------
    variance : ndarray, shape (cells,)
        What one replicate of a cell alone would leave of the variance of the number.
    seconds : ndarray, shape (cells,)
        Of one replicate.
    counts : ndarray, shape (cells,)
        Replicates that there are.
    most : int
        Replicates of one cell at most.
    factor : float
        Times that the variance is to fall; as far as it can where that is too much.

    Returns
    -------
    ndarray, shape (cells,)
        Real numbers.
    """
    shape = np.sqrt(variance / seconds)

    def at(scale: float) -> np.ndarray:
        return np.clip(shape * scale, counts, np.maximum(counts, most))

    wanted = (variance / counts).sum() / factor
    moved = shape > 0
    if not moved.any():
        return counts.astype(float)
    low, high = 0.0, float((max(most, counts.max()) / shape[moved]).max())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if (variance / at(middle)).sum() <= wanted else (middle, high)
    return at(high)


class _Cells(NamedTuple):
    """The cells of a sweep in its store, all in their order, with the predicted seconds of a replicate."""

    cells: Sequence[Cell]
    positions: list[Position]
    values: list[dict[str, Any]]
    predicted: np.ndarray

    @classmethod
    def of(cls, store: Store, spec: SweepSpec) -> _Cells:
        values = [store.values_of(spec, cell) for cell in spec.cells]
        positions = [place for place in map(store.position, values) if place is not None]
        assert len(positions) == len(values), "the store has grown for every cell"
        block = tuple(range(store.block))
        seconds = [seconds_of(spec.simulation_task(cell, (), block)) / store.block for cell in spec.cells]
        return cls(spec.cells, positions, values, np.array(seconds))

    def about(self, one: Open) -> np.ndarray:
        """Which cells a finding is about."""
        return np.array(
            [all(values.get(axis, value) == value for axis, value in one.cells.items()) for values in self.values]
        )

    def matching(self, one: Open) -> np.ndarray:
        """What a replicate of each cell alone would leave of the variance of a finding's number, up to a factor."""
        return self.about(one) * np.array([one.leverage.get(cell.problem.n, 0.0) for cell in self.cells])

    def counts(self, store: Store, least: int) -> np.ndarray:
        """Replicates that each is to have: so many at least, or what is wanted of it."""
        return np.array([max(least, store.wanted(values)) for values in self.values])


def next_round(store: Store, spec: SweepSpec, target: Target, judge: Judge, judging: float = 0.0) -> Round:
    """Judge a store whose rounds are complete, and plan what comes next.

    Findings that are decided at the least cost come first, as many as the time that is left allows.

    Parameters
    ----------
    store : Store
    spec : SweepSpec
        With every axis of the store.
    target : Target
    judge : callable
    judging : float
        Seconds of a core that judging took before.

    Returns
    -------
    Round
    """
    cells, known = _Cells.of(store, spec), states(store, "simulation")
    counts = cells.counts(store, spec.replicates)
    begun = process_time()
    standing = judge(store.location)
    judging += process_time() - begun
    done = np.array([(known[place] == DONE).sum() for place in cells.positions])
    measured = facts(store, "simulation", "seconds")
    spent = float(np.nansum(measured) + np.nansum(facts(store, "theory", "seconds")))
    taken = np.array([np.nansum(measured[place]) for place in cells.positions])
    # A round is planned by predicted times, which are the same everywhere; only time itself is as it was measured.
    each = np.where(done > 0, taken / np.maximum(done, 1), cells.predicted)
    left = math.inf if target.max_seconds is None else target.max_seconds - spent - judging
    have = np.maximum(counts, done)

    samples, solving = _samples(store, spec, cells, standing.open, left)
    left -= solving

    def cost(wanted: np.ndarray) -> float:
        return float((np.maximum(wanted - have, 0) * each).sum())

    wishes = []
    for one in standing.open:
        variance = cells.matching(one)
        if not (np.isfinite(one.runs) and variance.any()):
            continue
        wanted = least_costly(variance, cells.predicted, have, target.max_replicates, max(one.runs, APART))
        gained = (variance / have).sum() / (variance / wanted).sum()
        if gained * REACH >= one.runs and cost(wanted) <= REACH * left and (wanted > have).any():
            wishes.append((float(((wanted - have) * cells.predicted).sum()), wanted))
    following = counts
    for _, wanted in sorted(wishes, key=lambda wish: wish[0]):
        limit = np.minimum(GROWTH * have, np.maximum(have, target.max_replicates))
        whole = np.minimum(-(-np.ceil(wanted) // store.block) * store.block, limit).astype(int)
        more = np.where(wanted > have, np.maximum(following, whole), following)
        if cost(more) > left:
            break
        following = more
    asked = dict(zip(cells.positions, following.tolist(), strict=True))
    added = int(np.maximum(following - have, 0).sum())
    return Round(standing, asked, samples, added, cost(following) + solving, spent, judging)


def _samples(
    store: Store, spec: SweepSpec, cells: _Cells, standing: Sequence[Open], left: float
) -> tuple[dict[Position, int], float]:
    """Find samples that theories are to be solved with anew, and what that takes, cheapest findings first.

    What has no room in memory is not pursued.
    """
    groups = list(spec.theory_groups.values())
    numbers = {cell.values: number for number, group in enumerate(groups) for cell in group}
    group_of = np.array([numbers[cell.values] for cell in cells.cells])
    have = np.full(len(groups), spec.samples)
    np.maximum.at(have, group_of, [store.samples(values) for values in cells.values])

    def seconds(counts: np.ndarray) -> float:
        more = np.flatnonzero(counts > have)
        return sum(seconds_of(spec.theory_task(groups[at][0], ((),), None, int(counts[at]))) for at in more)

    wishes = []
    for one in standing:
        if not one.samples > 1:
            continue
        asked = np.isin(np.arange(len(groups)), group_of[cells.about(one)])
        wanted, step = (
            have * np.where(asked, 2 ** math.ceil(math.log2(factor)), 1)
            for factor in (one.samples, min(one.samples, GROWTH))
        )
        room = all(_fits(spec, groups[at][0], int(wanted[at])) for at in np.flatnonzero(asked))
        if room and seconds(wanted) <= REACH * left:
            wishes.append((seconds(step), step))
    following = have
    for _, wanted in sorted(wishes, key=lambda wish: wish[0]):
        more = np.maximum(following, wanted)
        if seconds(more) > left:
            break
        following = more
    places = zip(cells.positions, group_of, strict=True)
    return {place: int(following[at]) for place, at in places if following[at] > have[at]}, seconds(following)


def _fits(spec: SweepSpec, cell: Cell, samples: int) -> bool:
    """Whether a theory with so many samples has room in memory."""
    return theory_memory(cell.problem, samples, spec.randomizations, spec.device) <= machine.room(spec.device)


class VerdictTasks(RoundTasks):
    """Gives out what the present round lacks, the longest first; none follows one with a failure.

    Parameters
    ----------
    store : Store
        Grows as more replicates are needed.
    spec : SweepSpec
        Its `replicates` are the first round.
    target : Target
    judge : callable
        Says which findings are open.
    device : {'cpu', 'gpu'}
        What tasks are planned for.

    Attributes
    ----------
    standing : Standing or None
        As last judged; None while the first round runs.
    judging : float
        Seconds of a core that judging took.
    """

    def __init__(self, store: Store, spec: SweepSpec, target: Target, judge: Judge, device: str) -> None:
        self._store, self._spec, self._target = store, store.spelled(spec), target
        self._judge, self._device = judge, device
        self._cells = _Cells.of(store, self._spec)
        self.standing: Standing | None = None
        self.judging = 0.0
        super().__init__()

    @property
    def note(self) -> str:
        """Say how many findings are open."""
        return "" if self.standing is None else str(self.standing)

    @property
    def reached(self) -> str:
        """Say which findings are open; empty if that is not known, since tasks failed."""
        if self.standing is None or self.failed:
            return ""
        names = ", ".join(one.finding for one in self.standing.open[:NAMED])
        more = f" and {len(self.standing.open) - NAMED} more" if len(self.standing.open) > NAMED else ""
        return f"{self.standing}{f': {names}{more}' if names else ''}"

    def _plan(self, *, first: bool) -> Sequence[Task]:
        if self.failed:
            return ()
        cells = self._cells
        while not (tasks := sorted(self._lacking(), key=seconds_of)):
            found = next_round(self._store, self._spec, self._target, self._judge, self.judging)
            self.standing, self.judging = found.standing, found.judging
            if not (found.added or found.samples):
                break
            each = list(zip(cells.values, cells.positions, strict=True))
            if found.samples:
                more = [(values, found.samples[place]) for values, place in each if place in found.samples]
                solve_with(self._store, more)
            counts = [(values, found.counts[place]) for values, place in each]
            self._store.want(counts, self._target.asked(self._spec.replicates))
        return tasks[::-1]

    def _lacking(self) -> Iterator[Task]:
        cells, known = self._cells, states(self._store, "simulation")
        counts = cells.counts(self._store, self._spec.replicates)
        sized = replace(self._spec, replicates=int(counts.max()))
        each = (
            simulation_tasks(sized, cell, place, lacks.tolist(), self._store.block, self._device)
            for cell, place, count in zip(cells.cells, cells.positions, counts, strict=True)
            if (lacks := np.flatnonzero(known[place][:count] != DONE)).size
        )
        yield from joined(self._spec, chain.from_iterable(each), self._device)
        yield from missing(self._store, self._spec).theories
