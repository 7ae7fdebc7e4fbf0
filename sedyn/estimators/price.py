"""What a fit takes of memory and work, told before any of it."""

from __future__ import annotations

import warnings

from sedyn.arrays import machine
from sedyn.descent.leave_one_out import WORK_IN_A_SECOND
from sedyn.errors import InvalidInput
from sedyn.estimate.rows import MODES
from sedyn.estimate.self_consistent import seconds_of
from sedyn.model.functions import loss_named
from sedyn.model.network import numbers_of_further_outputs
from sedyn.model.problem import Problem

__all__ = ["fit_memory", "require_memory", "seconds_of_starts", "tell_price"]

DOUBLE = 8
COPIES_OF_CURVATURE = 3  # what is added up, what is added to it, and their sum
COPIES_OF_LINEAR = 4  # its curvature, the factor, half of the inverse and a block of it
# Products with all rows in which a linear model is fitted again without a sample: 2 to 20, of 100 rows and more.
PRODUCTS_OF_A_START = 12
LONG_SECONDS = 60.0
"""What an estimate may take without a word before it."""


def fit_memory(problem: Problem, *, estimate: bool, history: bool = False, linear: bool = False) -> int:
    """Bytes that a fit takes at its peak, features and their modes included.

    Parameters
    ----------
    problem : Problem
    estimate : bool
        Whether the test error is estimated.
    history : bool, optional
        Whether from the derivatives of all steps, as by a spectrum other than the modes.
    linear : bool, optional
        Whether training begins with the linear model inside.

    Returns
    -------
    int
    """
    n, d, q = problem.n, problem.d, problem.units
    smaller = min(n, d)
    numbers = 3 * n * d + n * (8 * q * problem.depth + numbers_of_further_outputs(problem)) + 4 * q * d
    if estimate:
        numbers += 3 * smaller**2 + 2 * n * smaller  # the Gram matrix and its modes
        numbers += COPIES_OF_CURVATURE * n * q * q + 4 * n * q * min(MODES, smaller)
    if history:
        numbers += problem.steps * n * (q * q + q)
    if linear:
        joint = problem.outputs if loss_named(problem.loss).joint else 1
        numbers += 3 * smaller**2 + 3 * n * smaller  # the Gram matrix and coordinates in its modes
        numbers += COPIES_OF_LINEAR * (joint * (smaller + 1)) ** 2 + 20 * n * problem.outputs * (joint + 4)
    return DOUBLE * numbers


def require_memory(problem: Problem, *, estimate: bool, history: bool = False, linear: bool = False) -> None:
    """Refuse a fit that has no room in this machine's memory.

    Parameters
    ----------
    problem : Problem
    estimate : bool
        Whether the test error is estimated.
    history, linear : bool, optional
        As for `fit_memory`.

    Raises
    ------
    InvalidInput
        Naming what it takes, and what would work.
    """
    needed, there = fit_memory(problem, estimate=estimate, history=history, linear=linear), machine.room("cpu")
    if needed > there:
        less = "fewer steps, or spectrum='modes'" if history else "fewer samples or features"
        words = f"with n={problem.n} and d={problem.d} a fit takes {needed / 1e9:.3g} GB of {there / 1e9:.3g} GB"
        raise InvalidInput("width", problem.width, f"{words}; use a smaller width, or {less}")


def seconds_of_starts(problem: Problem) -> float:
    """Seconds that the linear models take that exact leave-one-out begins with, one without each sample, on one core.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    float
    """
    n, outputs = problem.n, problem.outputs
    joint = outputs if loss_named(problem.loss).joint else 1
    work = 4.0 * n * n * outputs * (min(n, problem.d) + joint) * PRODUCTS_OF_A_START
    return work / WORK_IN_A_SECOND


def tell_price(problem: Problem, likely_steps: int) -> None:
    """Warn before a long fit of what its estimate takes, which grows like the width's third power.

    Parameters
    ----------
    problem : Problem
    likely_steps : int
        That a fit takes where it may end sooner.
    """
    steps = min(problem.steps, likely_steps)
    seconds = seconds_of(problem.n, problem.d, problem.units, steps)
    if seconds > LONG_SECONDS:
        message = f"width={problem.width}: the estimate of {steps} steps adds about {seconds:.2g} s, of more steps more"
        warnings.warn(f"{message}; use a smaller width, or estimate=False", UserWarning, stacklevel=4)
