"""The tables of the panel, from its file of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.estimators.panel import NETWORKS, RATES

__all__ = ["AgainstLeftOut", "AgainstTruth", "Said", "Share", "all_said", "show"]

GOOD, BAD = np.log(1.15), np.log(1.25)
NORMAL = {90: 1.645, 95: 1.96}
ASPECT_CLASSES = ((0.0, 0.9), (0.9, 3.0), (3.0, np.inf))
SPEAKS_OF = (
    "lowest before the first step", "still falling at the last step", "two ways to estimate disagree",
    "classes are told apart", "near or beyond the largest stable one", "repeat others", "fewer than half of",
)  # fmt: skip
"""Words that tell a warning from the others."""
Known = dict[str, dict[str, Any]]


class Said(NamedTuple):
    """What one way said of one cell where it stops, or at its end.

    Attributes
    ----------
    table, cell : str
    aspect_ratio : float
        n/d.
    of : dict
        As `benchmarks.estimators.panel` keeps it.
    folds, folds_seconds, descent_seconds : float
        The last of a descent to the end.
    """

    table: str
    cell: str
    aspect_ratio: float
    of: dict[str, Any]
    folds: float
    folds_seconds: float
    descent_seconds: float

    @property
    def warned(self) -> bool:
        """Of anything."""
        return bool(self.of["warnings"])

    @property
    def off(self) -> float:
        """Logarithm of found / leave-one-out, without what is added for choosing; NaN where that was not run."""
        return _log((self.of["found"] - self.of["gained"]) / self.of["left_out"])


def all_said(known: Known, where: str, way: str) -> list[Said]:
    """What a way, 'ours' or 'one run', said of all cells, where they 'stop' or at the 'end'."""
    found = []
    for key, one in known.items():
        table, _, cell = key.split("|")
        own = one[where]
        seconds = own["folds_seconds"], one["seconds"]
        found.append(Said(table, cell, one["n"] / one["d"], own[way], own["folds"], *seconds))
    return found


class Share(NamedTuple):
    """How often something is so.

    Attributes
    ----------
    value : float
    stderr : float
        Over tables, all cells of one together; NaN of one table.
    """

    value: float
    stderr: float

    @classmethod
    def of(cls, hits: np.ndarray, tables: np.ndarray) -> Share:
        """Sum up what each cell says, one true or false for each, by the tables that they are of."""
        if not hits.size:
            return cls(np.nan, np.nan)
        value = float(np.mean(hits))
        names, places = np.unique(tables, return_inverse=True)
        away = np.bincount(places.reshape(-1), hits - value)  # of a table's cells, more than there would be at the mean
        count = len(names)
        spread = np.sqrt(count / (count - 1) * np.sum(away**2)) / hits.size if count > 1 else np.nan
        return cls(value, float(spread))

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.stderr:.3f}"


class AgainstLeftOut(NamedTuple):
    """How far estimates are from exact leave-one-out of the same iteration, where that was run.

    Attributes
    ----------
    cells : int
    median : float
        Of abs log(found / leave-one-out), found without what is added for choosing.
    good : Share
        Within 15 %.
    silent : Share
        Off by more than 25 %, of which nothing is said.
    alarms : Share
        Of the good ones, of which something is said.
    """

    cells: int
    median: float
    good: Share
    silent: Share
    alarms: Share

    @classmethod
    def of(cls, said: list[Said]) -> AgainstLeftOut:
        """Sum up."""
        there = _judged(said)
        off = np.array([abs(one.off) for one in there])
        warned, good = np.array([one.warned for one in there], bool), off < GOOD
        tables = np.array([one.table for one in there])
        shares = Share.of(good, tables), Share.of((off > BAD) & ~warned, tables), Share.of(warned[good], tables[good])
        return cls(len(there), float(np.median(off)), *shares)


class AgainstTruth(NamedTuple):
    """How far estimates, and those of five folds, are from what is true on fresh samples.

    Attributes
    ----------
    cells : int
    covered : tuple of Share
        How often 90 and 95 % intervals cover, as fits state them, from the logarithm of the estimate; the fresh
        samples' scatter is added to the stated error.
    covered_by_halves : tuple of float
        Likewise, by intervals that reach as far below the estimate as above it.
    rms, rms_folds : float
        Of log(found / true).
    rms_left_out, rms_there : float
        Of exact leave-one-out at the same iterations, where that was run, and of ours there.
    excess, excess_stderr : float
        Mean square of ours less that of five folds, and its standard error over tables.
    good, good_folds : float
        Share within 15 %.
    expected : float
        Share of estimates that would be, were their errors normal and as large as stated, with the scatter.
    """

    cells: int
    covered: tuple[Share, ...]
    covered_by_halves: tuple[float, ...]
    rms: float
    rms_folds: float
    rms_left_out: float
    rms_there: float
    excess: float
    excess_stderr: float
    good: float
    good_folds: float
    expected: float

    @classmethod
    def of(cls, said: list[Said]) -> AgainstTruth:
        """Sum up."""
        found, stderr, true, scatter = (
            np.array([one.of[name] for one in said]) for name in ("found", "stderr", "true", "scatter")
        )
        error, relative = np.hypot(stderr, scatter), np.hypot(stderr / found, scatter / true)
        off = np.array([_log(one.of["found"] / one.of["true"]) for one in said])
        other = np.array([_log(one.folds / one.of["true"]) for one in said])
        left_out = np.array([_log(one.of["left_out"] / one.of["true"]) for one in said])
        there = np.isfinite(left_out)
        tables = np.array([one.table for one in said])
        each = [np.mean((off**2 - other**2)[tables == name]) for name in np.unique(tables)]
        chances = np.random.default_rng(0).standard_normal((1000, 1)) * error / true
        return cls(
            len(said),
            tuple(Share.of(abs(off) < normal * relative, tables) for normal in NORMAL.values()),
            tuple(float(np.mean(abs(found - true) < normal * error)) for normal in NORMAL.values()),
            *(_rms(each) for each in (off, other, left_out[there], off[there])),
            float(np.mean(off**2 - other**2)),
            float(np.std(each, ddof=1) / np.sqrt(len(each))) if len(each) > 1 else np.nan,
            float(np.mean(abs(off) < GOOD)),
            float(np.mean(abs(other) < GOOD)),
            float(np.mean((chances > np.exp(-GOOD) - 1) & (chances < np.exp(GOOD) - 1))),
        )


def groups(said: list[Said]) -> Iterator[tuple[str, list[Said]]]:
    """All, those of which no leave-one-out was run by us, and by shape, rate and network; those with cells."""
    choices: dict[str, Callable[[Said], bool]] = {"all": lambda one: True}
    choices["without leave-one-out"] = lambda one: not one.of["exact"]
    for low, high in ASPECT_CLASSES:
        choices[f"n/d {low:g} to {high:g}"] = lambda one, low=low, high=high: low <= one.aspect_ratio < high
    for rate in RATES:
        choices[f"rate {rate}"] = lambda one, rate=rate: one.cell.startswith(f"{rate},")
    for network in NETWORKS:
        words = f"width {network['width']}, depth {network['depth']}"
        choices[words] = lambda one, words=words: one.cell.endswith(words)
    for name, choice in choices.items():
        if own := [one for one in said if choice(one)]:
            yield name, own


def by_kind(said: list[Said]) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Count cells within 15 % of leave-one-out, between, and off by more than 25 %: all, and by what is warned of."""
    choices: dict[str, Callable[[list[str]], bool]] = {"all cells": lambda lines: True, "any warning": bool}
    for words in SPEAKS_OF:
        choices[words] = lambda lines, words=words: any(words in line for line in lines)
    choices["anything else"] = lambda lines: any(not any(words in line for words in SPEAKS_OF) for line in lines)
    for name, choice in choices.items():
        off = np.array([abs(one.off) for one in _judged(said) if choice(one.of["warnings"])])
        good, bad = int(np.sum(off < GOOD)), int(np.sum(off > BAD))
        yield name, (good, off.size - good - bad, bad)


def show(known: Known) -> None:
    """Print the tables of `benchmarks/results/estimators.md`."""
    ways, places = ("ours", "one run"), ("stop", "end")
    for where in places:
        print(f"\nAt the {where}:\n\n| cells | way | number | median off by | within 15 % "
              "| off by 25 % without a warning | warnings, of good ones |\n|---|---|" + "---:|" * 5)  # fmt: skip
        for way in ways:
            for name, own in groups(all_said(known, where, way)):
                if _judged(own):
                    cells, median, *shares = AgainstLeftOut.of(own)
                    print(f"| {name} | {way} | {cells} | {median:.3f} | {' | '.join(map(str, shares))} |")
    print("\n| the warning speaks of | way | stop: within 15 % | between | off by 25 % | end: within 15 % | between "
          "| off by 25 % |\n|---|---|" + "---:|" * 6)  # fmt: skip
    for way in ways:
        counts = (by_kind(all_said(known, where, way)) for where in places)
        for (name, at_stop), (_, at_end) in zip(*counts, strict=True):
            if sum(at_stop) + sum(at_end):
                print(f"| {name} | {way} | {' | '.join(map(str, at_stop + at_end))} |")
    summaries = [
        (f"{where}, {name}", AgainstTruth.of(own))
        for where in places
        for name, own in groups(all_said(known, where, "ours"))
    ]
    print("\n| cells | number | covered at 90 % | by equal halves | at 95 % | by equal halves |\n|---|" + "---:|" * 5)
    for name, of in summaries:
        both = zip(of.covered, of.covered_by_halves, strict=True)
        print(f"| {name} | {of.cells} | {' | '.join(f'{share} | {halves:.3f}' for share, halves in both)} |")
    print("\n| cells | number | rms of log(found / true) | 5-fold | leave-one-out | ours there "
          "| squares less 5-fold's | within 15 % | 5-fold | stated |\n|---|" + "---:|" * 9)  # fmt: skip
    for name, of in summaries:
        print(f"| {name} | {of.cells} | {of.rms:.2f} | {of.rms_folds:.2f} | {of.rms_left_out:.2f} "
              f"| {of.rms_there:.2f} | {of.excess:.3f} ± {of.excess_stderr:.3f} "
              f"| {of.good:.2f} | {of.good_folds:.2f} | {of.expected:.2f} |")  # fmt: skip
    print()
    for way in ways:
        said = all_said(known, "end", way)
        more = np.median([(one.of["seconds"] - one.descent_seconds) / one.folds_seconds for one in said])
        print(f"{way}: knowing costs {more:.2f} of what five folds of as many steps cost, in the median")


def _judged(said: list[Said]) -> list[Said]:
    """Those beside which leave-one-out was run."""
    return [one for one in said if np.isfinite(one.off)]


def _rms(values: np.ndarray) -> float:
    """NaN of nothing."""
    return float(np.sqrt(np.mean(values**2))) if values.size else np.nan


def _log(ratio: float) -> float:
    """Of what is not positive: as if a thousandth."""
    return float(np.log(np.maximum(ratio, 1e-3)))
