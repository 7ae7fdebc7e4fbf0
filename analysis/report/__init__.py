"""Stores asked every question, and the answers put on the terminal, into files and on one self-contained page."""

from analysis.report.chapter import NothingToReport
from analysis.report.judging import standing
from analysis.report.writing import main, report

__all__ = ["NothingToReport", "main", "report", "standing"]
