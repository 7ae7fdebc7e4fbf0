"""What a fit takes of memory and work, told before any of it."""

from __future__ import annotations

from sedyn.arrays import machine
from sedyn.errors import InvalidInput
from sedyn.estimate.rows import MODES
from sedyn.model.network import numbers_of_further_outputs
from sedyn.model.problem import Problem

__all__ = ["fit_memory", "require_memory"]

DOUBLE = 8
COPIES_OF_CURVATURE = 3  # what is added up, what is added to it, and their sum


def fit_memory(problem: Problem, *, estimate: bool, history: bool = False) -> int:
    """Bytes that a fit takes at its peak, features and their modes included.

    Parameters
    ----------
    problem : Problem
    estimate : bool
        Whether the test error is estimated.
    history : bool, optional
        Whether from the derivatives of all steps, as by a spectrum other than the modes.

    Returns
    -------
    int
    """
    n, d, q = problem.n, problem.d, problem.units
    numbers = 3 * n * d + n * (8 * q * problem.depth + numbers_of_further_outputs(problem)) + 4 * q * d
    if estimate:
        smaller = min(n, d)
        numbers += 3 * smaller**2 + 2 * n * smaller  # the Gram matrix and its modes
        numbers += COPIES_OF_CURVATURE * n * q * q + 4 * n * q * min(MODES, smaller)
    if history:
        numbers += problem.steps * n * (q * q + q)
    return DOUBLE * numbers


def require_memory(problem: Problem, *, estimate: bool, history: bool = False) -> None:
    """Refuse a fit that has no room in this machine's memory.

    Parameters
    ----------
    problem : Problem
    estimate : bool
        Whether the test error is estimated.
    history : bool, optional
        As for `fit_memory`.

    Raises
    ------
    InvalidInput
        Naming what it takes, and what would work.
    """
    needed, there = fit_memory(problem, estimate=estimate, history=history), machine.room("cpu")
    if needed > there:
        less = "fewer steps, or spectrum='modes'" if history else "fewer samples or features"
        words = f"with n={problem.n} and d={problem.d} a fit takes {needed / 1e9:.3g} GB of {there / 1e9:.3g} GB"
        raise InvalidInput("width", problem.width, f"{words}; use a smaller width, or {less}")
