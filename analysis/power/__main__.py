"""Measure how often verdicts are right, and write the table of the documentation.

Run as ``python -m analysis.power``: a quarter of an hour on one core, ``--output docs/power.md`` for the page. With
``--only`` it measures some kinds of finding, and lines of the page on others stay.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from analysis.power.cases import CASES, Case, findings_of
from sweeps.terminal import say

__all__ = ["main", "tried"]

HEADINGS = (
    "finding",
    "truth",
    "claim",
    "stores",
    "holds",
    "undecided",
    "fails",
    "stores with one that fails",
    "wanted",
)
POWER, LEVEL = 0.95, 0.01
"""Share of stores in which a false claim is to fail at full sizes, and of findings in which a true one may."""


def tried(case: Case, stores: int, first: int = 0) -> tuple[Counter[str], int]:
    """Judge so many stores.

    Parameters
    ----------
    case : Case
    stores : int
        How many.
    first : int
        Seed of the first; the others follow.

    Returns
    -------
    verdicts : Counter
        Of all findings.
    refused : int
        Stores in which a finding fails.
    """
    verdicts: Counter[str] = Counter()
    refused = 0
    for seed in range(first, first + stores):
        found = [finding.verdict for finding in findings_of(case, seed)]
        verdicts.update(found)
        refused += "fails" in found
    return verdicts, refused


def _line(case: Case, stores: int) -> str:
    verdicts, refused = tried(case, stores)
    shares = [f"{verdicts[verdict] / verdicts.total():.1%}" for verdict in ("holds", "undecided", "fails")]
    claim = "false" if case.false else "true"
    if case.false:
        wanted = f"{'yes' if refused >= POWER * stores else 'no'}: {POWER:.0%} of stores"
    else:
        wanted = f"{'yes' if verdicts['fails'] <= LEVEL * verdicts.total() else 'no'}: {LEVEL:.0%} of findings"
    cells = (case.kind, case.truth, claim, str(stores), *shares, f"{refused / stores:.1%}", wanted)
    return f"| {' | '.join(cells)} |"


def _kept(page: Path, heading: str) -> tuple[str, dict[str, str]]:
    """What stands above the table of a page, and its lines by what they are about."""
    above, _, lines = page.read_text(encoding="utf-8").partition(f"{heading}\n")
    return above, {_about(line): line for line in lines.splitlines()[1:]}


def _about(line: str) -> str:
    return "|".join(line.split("|")[:3])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table, a line for each kind of finding and truth.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name.

    Returns
    -------
    int
        Exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m analysis.power", description=__doc__)
    parser.add_argument("--stores", type=int, default=200, metavar="N", help="made-up stores of each kind and truth")
    parser.add_argument("--only", default="", metavar="WORDS", help="kinds of finding that have these words")
    parser.add_argument("--output", metavar="FILE", help="a page with a table, which is made anew")
    words = parser.parse_args(arguments)
    heading = f"| {' | '.join(HEADINGS)} |"
    page = Path(words.output) if words.output else None
    above, lines = _kept(page, heading) if page else ("", {})
    for case in (case for case in CASES if words.only in case.kind):
        begun = perf_counter()
        line = _line(case, words.stores)
        lines[_about(line)] = line
        say(f"{line}  {perf_counter() - begun:.0f} s")
        if page:
            order = [f"| {case.kind} | {case.truth} " for case in CASES]
            table = [heading, f"|{'---|' * len(HEADINGS)}", *(lines[about] for about in order if about in lines), ""]
            page.write_text(above + "\n".join(table), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
