"""Which findings on a store are open, and what would decide them: what a sweep to verdicts goes by."""

from __future__ import annotations

from pathlib import Path

from analysis.report.chapter import NothingToReport, findings_on
from analysis.report.sections import SECTIONS
from sedyn.checks import checked, path
from sweeps.target import Open, Standing

__all__ = ["standing"]


@checked(path=path)
def standing(path: str | Path) -> Standing:
    """Judge every finding that the report has of a store.

    Parameters
    ----------
    path : path or URL
        A store that a sweep wrote.

    Returns
    -------
    Standing
        Of a store of which nothing can be said yet, without findings.

    Raises
    ------
    InvalidInput
        If there is no store.
    """
    try:
        found = findings_on(path, SECTIONS)
    except NothingToReport:
        return Standing(0, ())
    open_ = [
        Open(f"{section.name}: {finding.subject}", lack.runs, lack.cells, lack.leverage, lack.samples)
        for section, finding in found
        if finding.verdict == "undecided"
        for lack in (finding.lack,)
    ]
    return Standing(len(found) - len(open_), open_)
