"""Correlations between iterations beside predicted ones, and what chance alone makes of their differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Apart", "apart", "largest_by_chance"]


class Apart(NamedTuple):
    """Differences of correlations from predicted ones, a number for each pair of iterations.

    Attributes
    ----------
    found : ndarray, shape (pairs,)
        Of the runs.
    by_chance : ndarray, shape (draws, pairs)
        Of as many normal runs that are as predicted, drawn again and again.
    """

    found: np.ndarray
    by_chance: np.ndarray


def apart(runs: np.ndarray, covariance: np.ndarray, draws: int, rng: np.random.Generator) -> Apart | None:
    """Compare the correlations of runs with predicted ones.

    Parameters
    ----------
    runs : ndarray, shape (replicates, T)
    covariance : ndarray, shape (T, T)
        Predicted, up to a factor.
    draws : int
    rng : Generator

    Returns
    -------
    Apart or None
        None where there is no pair, or no more runs than iterations.
    """
    from scipy.stats import wishart  # of a library that takes longer to load than most measures take

    replicates, steps = runs.shape
    if steps < 2 or replicates <= steps:
        return None
    pairs = np.triu_indices(steps, 1)
    predicted = _scaled(covariance)
    values, vectors = np.linalg.eigh(predicted)
    root = vectors * np.sqrt(values.clip(0))
    # Cross products of so many normal runs; their rank is that of the prediction.
    drawn = root @ wishart.rvs(replicates - 1, np.eye(steps), draws, rng).reshape(-1, steps, steps) @ root.T
    found, by_chance = (_scaled(one)[..., *pairs] for one in (np.cov(runs, rowvar=False), drawn))
    return Apart(found - predicted[pairs], by_chance - predicted[pairs])


def largest_by_chance(several: Sequence[Apart]) -> float:
    """Probability that the largest of all differences is as large as it is, or more, if runs are as predicted.

    Parameters
    ----------
    several : sequence of Apart
        Of independent runs, with equally many draws.

    Returns
    -------
    float
        At least one over the number of draws.
    """
    found = max(abs(one.found).max() for one in several)
    by_chance = np.max([abs(one.by_chance).max(1) for one in several], axis=0)
    return float((1 + (by_chance >= found).sum()) / (1 + by_chance.size))


def _scaled(covariance: np.ndarray) -> np.ndarray:
    deviations = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    return covariance / (deviations[..., :, None] * deviations[..., None, :])
