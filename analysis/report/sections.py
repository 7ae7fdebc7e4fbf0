"""Every question that the report asks of a store, in the order in which it shows them but for the store's own."""

from __future__ import annotations

from analysis.answers.section import Section
from analysis.questions import (
    batches,
    breakdown_horizon,
    breakdown_rate,
    breakdown_width,
    classes,
    coverage,
    deep_concentration,
    early_stopping,
    effective_signal,
    fluctuations,
    gaussian_fluctuations,
    generalization_estimate,
    large,
    rates,
    sgd,
    tuning,
    universality,
)

__all__ = ["SECTIONS"]

_ASKED = (
    *(rates, fluctuations, gaussian_fluctuations, coverage, deep_concentration, effective_signal, universality),
    *(sgd, batches, classes),
    *(breakdown_width, breakdown_horizon, breakdown_rate, large, generalization_estimate, early_stopping, tuning),
)
SECTIONS: tuple[Section, ...] = tuple(question.SECTION for question in _ASKED)
