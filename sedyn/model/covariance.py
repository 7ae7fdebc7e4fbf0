"""Spectra of the feature covariance, each with mean 1: its trace is the number of features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.errors import InvalidInput
from sedyn.model.families import Family, Law, read_law
from sedyn.model.registry import Registry

__all__ = ["SPECTRA", "SpectrumFamily", "SpectrumLaw", "spectrum_law"]


@dataclass(frozen=True)
class SpectrumFamily(Family):
    """Spectra that differ in numbers alone.

    Parameters
    ----------
    eigenvalues : callable
        ``eigenvalues(d, *numbers)``: shape (d,), in decreasing order, with mean 1.
    shares : callable, optional
        ``shares(*numbers)``: of the features, one for each eigenvalue, where both are the same for every d; without,
        the spectrum changes with d.
    """

    eigenvalues: Callable[..., Float[np.ndarray, " d"]]
    shares: Callable[..., tuple[float, ...]] | None = None


@dataclass(frozen=True)
class SpectrumLaw(Law[SpectrumFamily]):
    """The spectrum of the feature covariance, for every number of features."""

    @property
    def changes_with_d(self) -> bool:
        """Whether the spectrum is another one for another number of features."""
        return self.family.shares is None

    def require_whole(self, d: int) -> None:
        """Refuse a number of features of which some share is no whole number.

        Raises
        ------
        InvalidInput
            Naming the nearest share that is.
        """
        shares = self.family.shares(*self.numbers) if self.family.shares else ()
        if all(math.isclose(share * d, max(1, round(share * d))) for share in shares):
            return
        others = len(shares) - 1  # eigenvalues, of which each needs a feature
        if d <= others:
            remedy = f"its {len(shares)} eigenvalues need as many features, not d={d}"
        else:
            near = min(max(1, round(shares[0] * d)), d - others) / d
            remedy = f"a share of d={d} features must be whole; the nearest is {near!r}"
        raise InvalidInput("covariance", self.text, remedy)

    def eigenvalues(self, d: int) -> Float[np.ndarray, " {d}"]:
        """Eigenvalues of the covariance of d features, in decreasing order, with mean 1.

        Returns
        -------
        ndarray, shape (d,)

        Raises
        ------
        InvalidInput
            As for `require_whole`.
        """
        self.require_whole(d)
        return self.family.eigenvalues(d, *self.numbers)


def _power_law(d: int, exponent: float) -> np.ndarray:
    eigenvalues = (np.arange(1, d + 1) / d) ** -exponent
    return eigenvalues / eigenvalues.mean()


def _two_level(d: int, ratio: float, share: float) -> np.ndarray:
    others = 1 / (1 + share * (ratio - 1))  # without d, so that it is the same to the last bit for every d
    scaled = round(share * d)
    return np.sort(np.repeat([ratio * others, others], [scaled, d - scaled]))[::-1]


SPECTRA: Registry[SpectrumFamily] = Registry(
    "covariance",
    {
        "identity": SpectrumFamily(np.ones, shares=lambda: (1.0,)),
        "power_law": SpectrumFamily(
            _power_law,
            parameters=("exponent",),
            valid=lambda exponent: 0 <= exponent < 1,
            condition="an exponent in [0, 1)",
        ),
        "two_level": SpectrumFamily(
            _two_level,
            shares=lambda ratio, share: (share, 1 - share),
            parameters=("ratio", "share"),
            valid=lambda ratio, share: ratio > 0 and 0 < share < 1,
            condition="a ratio > 0 and a share in (0, 1)",
        ),
    },
)


@cache
def spectrum_law(text: str) -> SpectrumLaw:
    """Find the spectrum of the feature covariance that a text names.

    Parameters
    ----------
    text : str
        ``identity``; ``power_law(exponent)``, of which the j-th eigenvalue is proportional to (j/d)^-exponent, so that
        the largest grows with d; or ``two_level(ratio, share)``, the same for every d, of which a share of the
        eigenvalues is `ratio` times each of the others.

    Returns
    -------
    SpectrumLaw

    Raises
    ------
    InvalidInput
        If the name is unknown, or its numbers are missing, unwanted or out of range.
    """
    return SpectrumLaw(*read_law(text, SPECTRA))
