"""Quantiles and tails of a few laws, number by number those of `scipy.stats`, which takes a second to load."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

__all__ = ["f_tail", "normal_quantile", "student_quantile"]


def normal_quantile(probability: Any) -> Any:
    """Quantile of the standard normal law.

    Parameters
    ----------
    probability : array-like

    Returns
    -------
    float or ndarray
        Of the same shape.
    """
    return special.ndtri(probability)


def student_quantile(probability: Any, freedom: Any) -> Any:
    """Quantile of Student's law.

    Parameters
    ----------
    probability, freedom : array-like
        Of shapes that go together. Infinite degrees of freedom are the normal law's.

    Returns
    -------
    float or ndarray
        NaN where there is no degree of freedom.
    """
    freedom = np.asarray(freedom, float)
    return np.where(freedom > 0, special.stdtrit(np.where(freedom > 0, freedom, 1.0), probability), np.nan)[()]


def f_tail(value: Any, above: Any, below: Any) -> Any:
    """Probability that a number of Fisher's law is larger.

    Parameters
    ----------
    value : array-like
        At least 0.
    above, below : array-like
        Degrees of freedom of numerator and denominator, at least 1.

    Returns
    -------
    float or ndarray
    """
    return special.fdtrc(above, below, value)
