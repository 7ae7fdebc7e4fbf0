"""Measure how often verdicts are right, and write the table of the documentation.

Run as ``python -m analysis.power``: a quarter of an hour on one core, ``--output docs/power.md`` for the page.
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

HEADINGS = ("finding", "truth", "claim", "stores", "holds", "undecided", "fails", "stores with one that fails")


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
    cells = (case.kind, case.truth, claim, str(stores), *shares, f"{refused / stores:.1%}")
    return f"| {' | '.join(cells)} |"


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
    parser.add_argument("--output", metavar="FILE", help="a page with a table, which is made anew")
    words = parser.parse_args(arguments)
    table = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    for case in CASES:
        begun = perf_counter()
        table.append(_line(case, words.stores))
        say(f"{table[-1]}  {perf_counter() - begun:.0f} s")
    if words.output:
        page = Path(words.output)
        kept = page.read_text(encoding="utf-8").partition(f"{table[0]}\n")[0]
        page.write_text("\n".join([kept + table[0], *table[1:], ""]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
