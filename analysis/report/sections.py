"""Every question that the report asks of a store, in the order in which it shows them but for the store's own."""

from __future__ import annotations

from analysis.answers.section import Section
from analysis.questions import (
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
    rates,
    sgd,
    tuning,
    universality,
)

__all__ = ["SECTIONS"]

SECTIONS: tuple[Section, ...] = (
    rates.SECTION,
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
