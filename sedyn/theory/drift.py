"""How much theory changes where the spectrum of the features does: whether a spectrum without a limit matters."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sedyn.model.problem import Problem
from sedyn.model.seeds import randomization_seeds
from sedyn.model.update import updates_of
from sedyn.theory.inputs import draw_points, least_samples
from sedyn.theory.run import run_each

__all__ = ["NOTICED", "SpectrumDrift", "drift_solutions", "spectrum_drift"]

SAMPLES, RANDOMIZATIONS = 2**10, 4
NOTICED = 0.02
"""Relative change of an error above which theory is called uncertain."""
ERRORS = ("train_error", "test_error")


class SpectrumDrift(NamedTuple):
    """Largest relative change of an error over iterations as d doubles, and its standard error."""

    change: float
    stderr: float

    @property
    def noticed(self) -> bool:
        """Whether the change is above `NOTICED` by more than two of its standard errors."""
        return self.change - 2 * self.stderr > NOTICED

    def __str__(self) -> str:
        size = "diverge" if np.isinf(self.change) else f"change by {self.change:.0%}"
        return (
            f"as d doubles, errors that theory predicts {size}, for the largest eigenvalues grow with d; runs may be "
            "as far from it, and its standard errors do not say so"
        )


def drift_solutions(problem: Problem) -> tuple[int, int]:
    """Count what `spectrum_drift` solves beside the theory of a problem, on the CPU.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    solutions, samples : int
        How many solutions, one after another, and the samples of each, of all its randomizations side by side; none
        where the spectrum is the same for every d.
    """
    if not problem.spectrum_law.changes_with_d:
        return 0, 0
    return 2, RANDOMIZATIONS * max(SAMPLES, least_samples(problem))


def spectrum_drift(problem: Problem, seed: int = 0) -> SpectrumDrift:
    """Solve theory with the spectrum of d features and with that of twice as many, on the same draws.

    Theory takes averages over the spectrum for a limit. A spectrum that is another one for every d, such as a
    ``power_law``, has none; where its few largest eigenvalues decide, a larger d has another theory, and runs follow
    neither. Where they do not, both theories are the same.

    Parameters
    ----------
    problem : Problem
    seed : int, optional
        As for `sedyn.state_evolution`.

    Returns
    -------
    SpectrumDrift
        Of the train and the test error, by the iteration that changes most; infinite if one of the two diverges. Zero
        for a spectrum that is the same for every d.
    """
    solutions, samples = drift_solutions(problem)
    if not solutions:
        return SpectrumDrift(0.0, 0.0)
    batch_size = None if problem.batch_size is None else 2 * problem.batch_size  # the same share
    larger = replace(problem, n=2 * problem.n, d=2 * problem.d, batch_size=batch_size)
    points = draw_points(problem, samples // RANDOMIZATIONS, randomization_seeds(problem, seed, RANDOMIZATIONS))
    found = [run_each(one, points, updates_of(one)) for one in (problem, larger)]
    worst = SpectrumDrift(0.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        for name in ERRORS:
            here, there = (solutions[name] for solutions in found)
            change = (there - here) / here.mean(0)
            if not np.isfinite(change).all():
                return SpectrumDrift(np.inf, 0.0)
            mean, error = change.mean(0), change.std(0, ddof=1) / np.sqrt(RANDOMIZATIONS)
            at = int(np.argmax(abs(mean) - 2 * error))
            here_worst = SpectrumDrift(float(abs(mean[at])), float(error[at]))
            worst = max(worst, here_worst, key=lambda drift: drift.change - 2 * drift.stderr)
    return worst
