"""How far theory's solver may be off, known from few randomizations (docs/theory.md#standard-error)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.statistics.laws import student_quantile

__all__ = ["combined_freedom", "freedom", "reach", "solver_shifts"]


def freedom(theory: xr.Dataset) -> float:
    """Degrees of freedom of the solver's standard errors: randomizations less one.

    Infinite where theory has no attribute ``randomizations``: standard errors are then taken for exact.
    """
    return float(theory.attrs.get("randomizations", np.inf)) - 1


def solver_shifts(rng: np.random.Generator, shape: tuple[int, ...], freedom: float) -> np.ndarray:
    """Draw errors of the solver in units of its stated standard error, for a bootstrap to shift theory by.

    A mean of independent randomizations is off by Student's t times the standard error estimated from the same
    randomizations. With 8 of them 95% of the errors are within 2.36 standard errors, not 1.96, and with 4 within 3.18.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the draws.
    shape : tuple of int
        Of the draws.
    freedom : float
        Of the stated standard error, see `freedom`; infinite for normal errors.

    Returns
    -------
    ndarray, shape `shape`
        Independent draws.

    Notes
    -----
    The variance is freedom / (freedom - 2): above 1, and with 3 randomizations or fewer there is none. Squares of the
    stated standard error are unbiased all the same, so what is subtracted for the solver takes those, not the spread of
    these draws; and a spread of draws from 3 randomizations or fewer is as large as the largest draw.
    """
    shifts = rng.standard_normal(shape)
    return shifts / np.sqrt(rng.chisquare(freedom, shape) / freedom) if np.isfinite(freedom) else shifts


def reach(freedom: float, level: float = 0.95) -> float:
    """Stated standard errors within which the solver's error is with some probability, see `solver_shifts`.

    Parameters
    ----------
    freedom : float
        Degrees of freedom of the stated standard error.
    level : float
        The probability.

    Returns
    -------
    float
    """
    return float(student_quantile((1 + level) / 2, freedom))


def combined_freedom(runs: np.ndarray, count: np.ndarray, solver: np.ndarray, freedom: float) -> np.ndarray:
    """Degrees of freedom of the standard error of a mean over runs less theory.

    Parameters
    ----------
    runs : ndarray, any shape
        Standard error of the mean over runs.
    count : ndarray, a shape that broadcasts with it
        How many they are, at least 2.
    solver : ndarray, a shape that broadcasts with it
        Standard error of the solver.
    freedom : float
        Its degrees of freedom, see `freedom`.

    Returns
    -------
    ndarray, the shape of all three

    References
    ----------
    Welch (1947) and Satterthwaite (1946), for the sum of two estimated variances.
    """
    squares = runs**2, solver**2
    return sum(squares) ** 2 / (squares[0] ** 2 / (count - 1) + squares[1] ** 2 / freedom)
