"""Every question that the report asks of a store, in the order in which it shows them."""

from __future__ import annotations

from analysis import rates_section
from analysis.section import Section

__all__ = ["SECTIONS"]

SECTIONS: tuple[Section, ...] = (rates_section.SECTION,)
