"""The tables of the panel, from its file of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.estimators.panel import NETWORKS, RATES

__all__ = ["AgainstLeftOut", "AgainstTruth", "Said", "all_said", "show"]

GOOD, BAD = np.log(1.15), np.log(1.25)
NORMAL = {90: 1.645, 95: 1.96}
ASPECT_CLASSES = ((0.0, 0.9), (0.9, 3.0), (3.0, np.inf))
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


def all_said(known: Known, where: str, way: str) -> list[Said]:
    """What a way, 'ours' or 'one run', said of all cells, where they 'stop' or at the 'end'."""
    found = []
    for key, one in known.items():
        table, _, cell = key.split("|")
        own = one[where]
        seconds = own["folds_seconds"], one["seconds"]
        found.append(Said(table, cell, one["n"] / one["d"], own[way], own["folds"], *seconds))
    return found


class AgainstLeftOut(NamedTuple):
    """How far estimates are from exact leave-one-out of the same iteration, where that was run.

    Attributes
    ----------
    cells : int
    median : float
        Of abs log(found / leave-one-out), found without what is added for choosing.
    good : float
        Share within 15 %.
    silent : float
        Share off by more than 25 % of which nothing is said.
    alarms : float
        Share of the good ones of which something is said.
    """

    cells: int
    median: float
    good: float
    silent: float
    alarms: float

    @classmethod
    def of(cls, said: list[Said]) -> AgainstLeftOut:
        """Sum up."""
        there = [one for one in said if np.isfinite(one.of["left_out"])]
        off = np.array([abs(_log((one.of["found"] - one.of["gained"]) / one.of["left_out"])) for one in there])
        warned, good = np.array([one.warned for one in there], bool), off < GOOD
        return cls(len(there), *(float(x) for x in (np.median(off), good.mean(), np.mean((off > BAD) & ~warned))),
                   float(warned[good].mean()))  # fmt: skip


class AgainstTruth(NamedTuple):
    """How far estimates, and those of five folds, are from what is true on fresh samples.

    Attributes
    ----------
    cells : int
    covered : tuple of float
        How often 90 and 95 % intervals cover, the fresh samples' scatter added to the stated error.
    rms, rms_folds : float
        Of log(found / true).
    excess, excess_stderr : float
        Mean square of ours less that of five folds, and its standard error over tables.
    good, good_folds : float
        Share within 15 %.
    expected : float
        Share of estimates that would be, were their errors normal and as large as stated, with the scatter.
    """

    cells: int
    covered: tuple[float, ...]
    rms: float
    rms_folds: float
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
        error = np.hypot(stderr, scatter)
        off = np.array([_log(one.of["found"] / one.of["true"]) for one in said])
        other = np.array([_log(one.folds / one.of["true"]) for one in said])
        tables = np.array([one.table for one in said])
        each = [np.mean((off**2 - other**2)[tables == name]) for name in np.unique(tables)]
        chances = np.random.default_rng(0).standard_normal((1000, 1)) * error / true
        return cls(
            len(said),
            tuple(float(np.mean(abs(found - true) < normal * error)) for normal in NORMAL.values()),
            float(np.sqrt(np.mean(off**2))),
            float(np.sqrt(np.mean(other**2))),
            float(np.mean(off**2 - other**2)),
            float(np.std(each, ddof=1) / np.sqrt(len(each))) if len(each) > 1 else np.nan,
            float(np.mean(abs(off) < GOOD)),
            float(np.mean(abs(other) < GOOD)),
            float(np.mean((chances > np.exp(-GOOD) - 1) & (chances < np.exp(GOOD) - 1))),
        )


def groups(said: list[Said]) -> Iterator[tuple[str, list[Said]]]:
    """All, and by shape, rate and network; those with cells."""
    choices: dict[str, Callable[[Said], bool]] = {"all": lambda one: True}
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


def show(known: Known) -> None:
    """Print the tables."""
    print("| cells | where | way | number | median off leave-one-out | within 15 % | off by 25 %, not warned | "
          "warnings, of good ones |\n|---|---|---|---:|---:|---:|---:|---:|")  # fmt: skip
    for where in ("stop", "end"):
        for way in ("ours", "one run"):
            for name, own in groups(all_said(known, where, way)):
                if any(np.isfinite(one.of["left_out"]) for one in own) and (way == "one run" or name == "all"):
                    found = AgainstLeftOut.of(own)
                    print(f"| {name} | {where} | {way} | {found.cells} | {found.median:.3f} | {found.good:.3f} "
                          f"| {found.silent:.3f} | {found.alarms:.3f} |")  # fmt: skip
    print("\n| cells | where | number | covered at 90 % | at 95 % | rms of log(found / true) | 5-fold | "
          "difference of squares | within 15 % | 5-fold | by its stated error |")  # fmt: skip
    print("|---|---|" + "---:|" * 9)
    for where in ("stop", "end"):
        for name, own in groups(all_said(known, where, "ours")):
            of = AgainstTruth.of(own)
            covered = " | ".join(f"{share:.3f}" for share in of.covered)
            print(f"| {name} | {where} | {of.cells} | {covered} | {of.rms:.2f} | {of.rms_folds:.2f} "
                  f"| {of.excess:.3f} ± {of.excess_stderr:.3f} | {of.good:.2f} | {of.good_folds:.2f} "
                  f"| {of.expected:.2f} |")  # fmt: skip
    print()
    for way in ("ours", "one run"):
        said = [one for where in ("stop", "end") for one in all_said(known, where, way)]
        more = np.median([(one.of["seconds"] - one.descent_seconds) / one.folds_seconds for one in said])
        print(f"{way}: knowing costs {more:.2f} of what five folds cost, in the median")


def _log(ratio: float) -> float:
    """Of what is not positive: as if a thousandth."""
    return float(np.log(max(ratio, 1e-3)))
