"""Replicates that a precision takes, known before anything runs: theory predicts how far runs scatter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sedyn.deviations.fluctuations import fluctuations, require_fluctuations
from sedyn.errors import InvalidInput
from sedyn.model.observables import fluctuating, parts_of
from sedyn.model.problem import Problem
from sedyn.theory.inputs import least_samples
from sweeps.cost import fluctuations_work
from sweeps.plan import Cell, SweepSpec
from sweeps.target import Target

__all__ = ["Foreseen", "foresee"]

MOST_SECONDS = 20.0
"""About what all predictions of a sweep take together."""
SAMPLES = tuple(2**power for power in range(12, 7, -1))
"""Of which a prediction takes as many as its time allows: with 2^9 a variance is known to about a tenth."""
RANDOMIZATIONS = 2


class Foreseen(NamedTuple):
    """What a target of precision will take.

    Attributes
    ----------
    replicates : list of (cell, count)
        For each cell of which it is known, the replicates with which the target is met, at least the first round; the
        cells with most first.
    unknown : mapping of str to int
        Why it is not known of the others, and of how many.
    """

    replicates: list[tuple[Cell, int]]
    unknown: Mapping[str, int]


def foresee(spec: SweepSpec, target: Target) -> Foreseen:
    """Predict the replicates of each cell (docs/theory.md#replicates-for-precision).

    Parameters
    ----------
    spec : SweepSpec
    target : Target
        Of a precision.

    Returns
    -------
    Foreseen
    """
    known: list[tuple[Cell, int]] = []
    unknown: Counter[str] = Counter()
    for cells in spec.theory_groups.values():
        try:
            variance = _largest_variance(cells[0].problem, target.observable, MOST_SECONDS / len(spec.theory_groups))
        except InvalidInput as error:
            unknown[str(error)] += len(cells)
            continue
        for cell in cells:
            met = math.ceil(variance / (cell.problem.n * target.stderr**2))
            known.append((cell, max(met, spec.replicates)))
    return Foreseen(sorted(known, key=lambda one: -one[1]), unknown)


def _largest_variance(problem: Problem, observable: str, seconds: float) -> float:
    """Of sqrt(n) (run - theory), over iterations and entries.

    Raises
    ------
    InvalidInput
        If it cannot be predicted, or not in this time.
    """
    if observable not in fluctuating(parts_of(problem)):
        raise InvalidInput("target.observable", observable, "its fluctuations are not predicted")
    least = least_samples(problem)
    require_fluctuations(problem, least, "problem.steps")
    for samples in (max(least, some) for some in SAMPLES):
        if sum(fluctuations_work(problem, samples, RANDOMIZATIONS)) < seconds:
            covariance = fluctuations(problem, samples, RANDOMIZATIONS)[observable]
            variance = covariance.sel(iteration_=covariance["iteration"]).values
            if np.isfinite(variance).any():
                return float(np.nanmax(variance))
            raise InvalidInput("target.observable", observable, "theory has no finite fluctuations of it")
    raise InvalidInput("problem.steps", problem.steps, "its fluctuations would take more time than a plan should")
