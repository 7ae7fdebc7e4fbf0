"""Spectra of the feature covariance, each with mean 1: its trace is the number of features."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sedyn.errors import InvalidInput
from sedyn.model.functions import parse_call

__all__ = ["SPECTRA", "SpectrumLaw", "changes_with_d", "require_spectrum", "spectrum"]


class SpectrumLaw(NamedTuple):
    """A family of spectra.

    Attributes
    ----------
    eigenvalues : callable
        ``eigenvalues(d, *numbers)``: shape (d,), in decreasing order, with mean 1.
    numbers : tuple of str
        What the numbers in ``name(number, ...)`` mean.
    valid : callable
        ``valid(*numbers)``: whether they are allowed.
    condition : str
        The same in words.
    shares : callable or None
        ``shares(*numbers)``: of the features, one for each eigenvalue, where both are the same for every d; None where
        the spectrum changes with d.
    """

    eigenvalues: Callable[..., np.ndarray]
    numbers: tuple[str, ...] = ()
    valid: Callable[..., bool] = lambda: True
    condition: str = ""
    shares: Callable[..., tuple[float, ...]] | None = None


def _power_law(d: int, exponent: float) -> np.ndarray:
    eigenvalues = (np.arange(1, d + 1) / d) ** -exponent
    return eigenvalues / eigenvalues.mean()


def _two_level(d: int, ratio: float, share: float) -> np.ndarray:
    others = 1 / (1 + share * (ratio - 1))  # without d, so that it is the same to the last bit for every d
    scaled = round(share * d)
    return np.sort(np.repeat([ratio * others, others], [scaled, d - scaled]))[::-1]


SPECTRA: dict[str, SpectrumLaw] = {
    "identity": SpectrumLaw(np.ones, shares=lambda: (1.0,)),
    "power_law": SpectrumLaw(_power_law, ("exponent",), lambda exponent: 0 <= exponent < 1, "an exponent in [0, 1)"),
    "two_level": SpectrumLaw(
        _two_level,
        ("ratio", "share"),
        lambda ratio, share: 0 < ratio < math.inf and 0 < share < 1,
        "a ratio > 0 and a share in (0, 1)",
        lambda ratio, share: (share, 1 - share),
    ),
}


def spectrum(text: str, d: int) -> np.ndarray:
    """Eigenvalues of the feature covariance, in decreasing order, with mean 1.

    Parameters
    ----------
    text : str
        ``identity``; ``power_law(exponent)``: the j-th eigenvalue is proportional to (j/d)^-exponent; or
        ``two_level(ratio, share)``: a share of the eigenvalues is `ratio` times each of the others, whatever d is.
    d : int
        Number of features.

    Returns
    -------
    ndarray, shape (d,)

    Raises
    ------
    InvalidInput
        As for `require_spectrum`.
    """
    law, numbers = _parsed(text)
    _require_whole(text, law, numbers, d)
    return law.eigenvalues(d, *numbers)


def require_spectrum(text: str, d: int) -> None:
    """Refuse what names no spectrum of d features.

    Raises
    ------
    InvalidInput
        If the name is unknown, its numbers are missing, unwanted or out of range, or a share of d is no whole number.
    """
    _require_whole(text, *_parsed(text), d)


def changes_with_d(text: str) -> bool:
    """Whether the spectrum is another one for another number of features."""
    return _parsed(text)[0].shares is None


def _parsed(text: str) -> tuple[SpectrumLaw, tuple[float, ...]]:
    name, numbers = parse_call("covariance", text)
    if name not in SPECTRA:
        raise InvalidInput.unknown("covariance", name, SPECTRA)
    law = SPECTRA[name]
    if len(numbers) != len(law.numbers) or not law.valid(*numbers):
        remedy = f"write {name}({', '.join(law.numbers)}) with {law.condition}" if law.numbers else f"write {name}"
        raise InvalidInput("covariance", text, remedy)
    return law, numbers


def _require_whole(text: str, law: SpectrumLaw, numbers: tuple[float, ...], d: int) -> None:
    shares = law.shares(*numbers) if law.shares else ()
    if all(math.isclose(share * d, max(1, round(share * d))) for share in shares):
        return
    others = len(shares) - 1  # eigenvalues, of which each needs a feature
    if d <= others:
        raise InvalidInput("covariance", text, f"its {len(shares)} eigenvalues need as many features, not d={d}")
    near = min(max(1, round(shares[0] * d)), d - others) / d
    raise InvalidInput("covariance", text, f"a share of d={d} features must be whole; the nearest is {near!r}")
