"""A number with its interval, and how draws of a bootstrap give one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from analysis.statistics.laws import student_quantile

__all__ = ["ENDS", "Interval", "spread", "student", "student_reach"]

ENDS = ("", "_low", "_high")
"""What the names of variables end in: a number, and the ends of its interval."""


class Interval(NamedTuple):
    """A number with its interval, or arrays of them of one shape."""

    value: Any
    low: Any
    high: Any

    @classmethod
    def of(cls, measured: xr.Dataset, name: str, by: str = "") -> Interval:
        """Read a number with its interval out of a dataset.

        Parameters
        ----------
        measured : Dataset
            With ``<name>``, ``<name>_low`` and ``<name>_high``, of any dimensions.
        name : str
            What the names of the three begin with.
        by : str
            What they end in.

        Returns
        -------
        Interval
            Numbers, or arrays of those dimensions.
        """
        return cls(*(measured[f"{name}{end}{by}"].values[()] for end in ENDS))

    def wider(self, factor: float) -> Interval:
        """Move both ends away from the number, so many times as far as they are."""
        return Interval(*(self.value + factor * (end - self.value) for end in (self.value, self.low, self.high)))

    def side(self, claim: float) -> int:
        """On which side of a claim a number is for certain: 1 above it, -1 below, 0 if the interval contains it.

        Zero as well where there is no interval.
        """
        return int(self.low > claim) - int(self.high < claim)

    def variables(self, name: str, *dims: Any, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
        """Name the three arrays as variables of a dataset.

        Parameters
        ----------
        name : str
            What their names begin with.
        *dims : str
            Their dimensions.
        shape : tuple of int, optional
            Of these dimensions, if the arrays have another with as many numbers.

        Returns
        -------
        dict
        """
        arrays = (np.asarray(array) if shape is None else np.reshape(array, shape) for array in self)
        return {f"{name}{end}": (dims, array) for end, array in zip(ENDS, arrays, strict=True)}


def spread(drawn: np.ndarray, replicates: int) -> np.ndarray:
    """Standard error of an estimate from its bootstrap draws.

    Parameters
    ----------
    drawn : ndarray, shape (1 + draws, ...)
        The estimate, and its draws.
    replicates : int
        Independent replicates behind it. A draw has the variance of the replicates at hand, which is less than that of
        all by one of them.

    Returns
    -------
    ndarray, shape (...)
        NaN for a single replicate.
    """
    return np.sqrt(replicates / (replicates - 1)) * drawn[1:].std(0) if replicates > 1 else np.nan * drawn[0]


def student_reach(replicates: int, level: float) -> float:
    """Standard errors to either side of an estimate that make an interval.

    Parameters
    ----------
    replicates : int
        Independent replicates that the standard error comes from.
    level : float
        Coverage of the interval.

    Returns
    -------
    float
        Student's quantile with one degree of freedom less than replicates; NaN for a single one.
    """
    return float(student_quantile((1 + level) / 2, replicates - 1)) if replicates > 1 else np.nan


def student(drawn: np.ndarray, replicates: int, level: float) -> Interval:
    """Put an interval around an estimate.

    Parameters
    ----------
    drawn : ndarray, shape (1 + draws, ...)
        The estimate, and its bootstrap draws.
    replicates : int
        Independent replicates behind it.
    level : float
        Coverage of the interval.

    Returns
    -------
    Interval
        Arrays of shape (...): the estimate -+ `student_reach` times its `spread`.
    """
    reach = student_reach(replicates, level) * spread(drawn, replicates)
    return Interval(drawn[0], drawn[0] - reach, drawn[0] + reach)
