"""Stores asked every question, and the answers put on the terminal, into files and on one self-contained page."""

from analysis.report.entry import main, report, standing
from analysis.report.refusal import NothingToReport

__all__ = ["NothingToReport", "main", "report", "standing"]
