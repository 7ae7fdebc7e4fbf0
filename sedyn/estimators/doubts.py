"""When not to believe the estimate: one line for each reason, with what would help."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from sedyn.estimators.samples import Samples
from sedyn.estimators.training import Fit
from sedyn.model.problem import Problem

__all__ = ["TINY", "Doubt", "EstimateWarning", "doubts_about"]

REPEATED = 0.1
"""Share of samples that repeat others from which on they are spoken of."""
DISAGREEMENT = 0.2
"""Logarithm of the ratio of two estimates from which on it is spoken of."""
EDGE = 0.8
"""Share of the largest stable learning rate beyond which it is spoken of."""
LAST_SHARE, FEW_STEPS = 0.1, 20
"""Share of the steps that tells how fast the estimate still falls, and below how many steps nothing does."""
TINY = np.finfo(float).tiny


class EstimateWarning(UserWarning):
    """The estimated test error, or the iteration that was chosen by it, may be off."""


class Doubt(NamedTuple):
    """A reason not to believe the estimate.

    Attributes
    ----------
    message : str
        One line, with what would help.
    """

    message: str

    def tell(self, stacklevel: int) -> None:
        """Warn of it."""
        warnings.warn(self.message, EstimateWarning, stacklevel=stacklevel + 1)


def doubts_about(
    problem: Problem,
    fit: Fit,
    samples: Samples,
    largest: float,
    *,
    most_steps: int,
    stderr: float,
    rests_on_few: bool,
    begun: bool,
    warm: bool,
    exact: bool,
) -> list[Doubt]:
    """List the reasons not to believe the estimate of a fit.

    Parameters
    ----------
    problem : Problem
    fit : Fit
    samples : Samples
    largest : float
        Curvature of a linear model's mean loss in its steepest direction.
    most_steps : int
        How many steps there may have been.
    stderr : float
        Standard error of the estimate, as a share of it.
    rests_on_few : bool
        Whether one sample in n + 1 that looks like another class would more than double the estimate.
    begun : bool
        Whether training began with a fitted linear model, which may be all that there is to learn.
    warm : bool
        Whether training began with weights of a fit before.
    exact : bool
        Whether the estimate is exact leave-one-out.

    Returns
    -------
    list of Doubt
    """
    last, estimates = len(fit.train_error) - 1, np.array(fit.estimated_test_error)
    best = int(np.nanargmin(estimates)) if np.isfinite(estimates).sum() > 1 else None
    rates = problem.learning_rates[: max(1, last)]
    kept, other = estimates[fit.iteration], fit.second_estimate
    apart = np.isfinite(other) and not abs(np.log(max(other, TINY) / max(kept, TINY))) < DISAGREEMENT
    stable = 2 * (1 + problem.momentum) / largest
    reasons = {
        "the estimate is lowest before the first step: nothing in the features helps, or the learning rate is too "
        "large; use a smaller learning_rate": best == 0 and not (begun or warm),
        f"the estimate was still falling at the last step, {last}; use more steps, or a larger learning_rate": best
        == last
        == most_steps
        and _falls(estimates, stderr),
        f"two ways to estimate disagree, the other gives {other / max(kept, TINY):.2f} of it; use fewer steps, a "
        "smaller width, or estimate='exact'": apart,
        "classes are told apart so well that one sample more could double the estimate; see its standard error, or "
        "estimated_score('accuracy')": rests_on_few,
        f"learning_rate={max(rates):.3g} is near or beyond the largest stable one, {stable:.3g}, where estimates are "
        "too high; use a smaller one, or learning_rate='auto'": max(rates) > EDGE * stable,
        f"{samples.repeated:.0%} of the samples repeat others; copies count as one sample, whose error is estimated "
        "for samples that are not among them; drop them, or give sample_weight": samples.repeated > REPEATED,
        f"n={problem.n} samples are fewer than half of d={problem.d} features, where estimates are rough; use fewer "
        "features": problem.n < problem.d / 2 and not exact,
        "warm_start: what samples taught in the fit before stays in the estimate, which is too low if they are the "
        "same; set warm_start=False for an estimate": warm,
    }
    return [Doubt(message) for message, holds in reasons.items() if holds]


def _falls(estimates: np.ndarray, stderr: float) -> bool:
    """Whether as many steps more would lower an estimate by more than its error.

    A fall by less is no reason to doubt it, and slow descents end in one more often than not. Directions of the
    features are learned one after the other, each at its own rate, so that errors fall like a power of the steps: what
    the last tenth of them gained says which, and as many steps more gain that power of two
    (benchmarks/results/estimators.md).
    """
    last = len(estimates) - 1
    before = last - round(LAST_SHARE * last)
    if last < FEW_STEPS or not np.isfinite(estimates[before]):
        return True
    ratio = max(estimates[last], TINY) / max(estimates[before], TINY)
    power = np.log(ratio) / np.log(last / before)
    return not 1 - 2**power < stderr
