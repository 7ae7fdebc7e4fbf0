"""Every question that the report asks of a store, in the order in which it shows them but for the store's own."""

from __future__ import annotations

from analysis import (
    breakdown_horizon,
    breakdown_rate,
    breakdown_width,
    coverage,
    deep_concentration,
    early_stopping,
    effective_signal,
    gaussian_fluctuations,
    generalization_estimate,
    large,
    rates_section,
    sgd,
    tuning,
    universality,
)
from analysis.section import Section

__all__ = ["SECTIONS"]

SECTIONS: tuple[Section, ...] = (
    rates_section.SECTION,
    gaussian_fluctuations.SECTION,
    coverage.SECTION,
    deep_concentration.SECTION,
    effective_signal.SECTION,
    universality.SECTION,
    sgd.SECTION,
    breakdown_width.SECTION,
    breakdown_horizon.SECTION,
    breakdown_rate.SECTION,
    large.SECTION,
    generalization_estimate.SECTION,
    early_stopping.SECTION,
    tuning.SECTION,
)
