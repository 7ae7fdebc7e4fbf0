"""Claim by claim, over all stores of a page: what became of it, by which number, and what would decide the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from analysis.answers.finding import PAPER, Claim, Finding, Verdict
from analysis.answers.words import number_text, short_text
from analysis.report.chapter import Answer, Chapter
from analysis.statistics.intervals import Interval
from analysis.store import Seconds

__all__ = ["ClaimLine", "claim_lines", "duration", "what_decides"]


class ClaimLine(NamedTuple):
    """One claim, and the findings on it.

    Attributes
    ----------
    claim : Claim
    what : str
        What it is about, and the number claimed, in words.
    verdict : {'holds', 'fails', 'undecided'}
        It fails if any finding does, and is otherwise what the most precise finding says.
    counts : str
        Of findings that hold, are undecided and fail.
    number : str
        That of the deciding finding, with its interval.
    reached : str
        The largest n of its store.
    decides : str
        What would decide those that are undecided, and in what time.
    chapter, section : str
        Where the deciding finding stands.
    partly : bool
        Whether it is examined along an axis to where it ends, and holds at some values and fails at others.
    """

    claim: Claim
    what: str
    verdict: Verdict
    counts: str
    number: str
    reached: str
    decides: str
    chapter: str
    section: str
    partly: bool = False

    @property
    def said(self) -> str:
        """The verdict in words."""
        return "in part" if self.partly else self.verdict


class _Placed(NamedTuple):
    """A finding and where it stands."""

    finding: Finding
    chapter: Chapter
    answer: Answer


def claim_lines(chapters: Sequence[Chapter]) -> list[ClaimLine]:
    """Gather findings by their claim, those of sections that take theory to its end apart.

    Parameters
    ----------
    chapters : sequence of Chapter

    Returns
    -------
    list of ClaimLine
        The paper's claims first, in the order in which the stores have them.
    """
    by_claim: dict[tuple[Claim, str, str], list[_Placed]] = {}
    for chapter in chapters:
        for answer in chapter.answers:
            for finding in answer.findings:
                if finding.claim is not None:
                    key = finding.claim, finding.quantity, answer.section.examines or ""
                    by_claim.setdefault(key, []).append(_Placed(finding, chapter, answer))
    lines = [_line(*key, placed) for key, placed in by_claim.items()]
    return sorted(lines, key=lambda line: line.claim.source != PAPER)


def what_decides(finding: Finding, seconds: Seconds) -> str:
    """Say what would decide a finding, and in what time at most: as if every cell of the store needed as much more.

    Parameters
    ----------
    finding : Finding
    seconds : Seconds
        Computing time of its store.

    Returns
    -------
    str
        Empty unless it is undecided.
    """
    if finding.verdict != "undecided":
        return ""
    factor, samples = finding.lack.runs, finding.lack.samples
    if np.isfinite(samples):
        time = _at_most((samples - 1) * seconds.theory)
        return f"; {samples:.1f} times the samples of theory would decide, or let runs decide{time}"
    if not np.isfinite(factor):
        return "; more runs of the same sizes alone do not decide"
    return f"; {factor:.1f} times the runs would decide{_at_most((factor - 1) * seconds.runs)}"


def _at_most(cost: float) -> str:
    return f", in {duration(cost)} on one core at most" if np.isfinite(cost) else ""


def _line(claim: Claim, quantity: str, examines: str, placed: Sequence[_Placed]) -> ClaimLine:
    failing = [one for one in placed if one.finding.verdict == "fails"]
    deciding = min(failing or placed, key=_width)
    counts = Counter(one.finding.verdict for one in placed)
    finding, n = deciding.finding, deciding.answer.measured.coords.get("n")
    where = f", along {examines.replace('_', ' ')}" if examines else ""
    interval = Interval(finding.value, finding.low, finding.high)
    known = np.isfinite([finding.low, finding.high]).all()
    return ClaimLine(
        claim,
        f"{claim.label.replace('-', ' ')}: {quantity} {claim.number}{where}",
        finding.verdict,
        " / ".join(str(counts[verdict]) for verdict in ("holds", "undecided", "fails")),
        short_text(interval) if known else number_text(finding.value),
        f"{int(n.max()):,}" if n is not None and n.size else "-",
        _decides([one for one in placed if one.finding.verdict == "undecided"]),
        deciding.chapter.name,
        deciding.answer.section.name,
        bool(examines and counts["holds"] and counts["fails"]),
    )


def _width(one: _Placed) -> float:
    """How wide the interval of a finding is; infinite without one."""
    width = one.finding.high - one.finding.low
    return float(width) if np.isfinite(width) else np.inf


def _decides(undecided: Sequence[_Placed]) -> str:
    """Say what would decide, the most costly last: replicates where these are known to, or what the sentence says."""
    if not undecided:
        return ""
    known = [one for one in undecided if np.isfinite(one.finding.lack.runs)]
    parts = []
    if known:
        factors = [one.finding.lack.runs for one in known]
        time = _together((one.chapter.name, one.finding.lack.runs, one.chapter.seconds.runs) for one in known)
        span = f"{min(factors):.1f} to {max(factors):.1f}" if len(known) > 1 else f"{factors[0]:.1f}"
        parts.append(f"{len(known)}: {span} times the runs{time}")
    solved = [one for one in undecided if np.isfinite(one.finding.lack.samples)]
    if solved:
        time = _together((one.chapter.name, one.finding.lack.samples, one.chapter.seconds.theory) for one in solved)
        most = max(one.finding.lack.samples for one in solved)
        parts.append(f"{len(solved)}: up to {most:.1f} times the samples of theory{time}")
    if others := len(undecided) - len(known) - len(solved):
        parts.append(f"{others}: {'see its sentence' if others == 1 else 'see their sentences'}")
    return "; ".join(parts)


def _together(needs: Iterable[tuple[str, float, float]]) -> str:
    """Say in what time stores get what their findings need; each store's are decided by the most that one needs."""
    most: dict[str, float] = {}
    taken: dict[str, float] = {}
    for name, factor, seconds in needs:
        most[name], taken[name] = max(most.get(name, 1.0), factor), seconds
    cost = sum((most[name] - 1) * taken[name] for name in most)
    return f", {duration(cost)} on one core" if np.isfinite(cost) else ""


def duration(seconds: float) -> str:
    """Write a time as a reader says it: ``3.5 min``."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
