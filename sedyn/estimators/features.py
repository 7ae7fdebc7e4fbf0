"""What a user's table becomes: standardized features, and the spectrum of their covariance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.utils.validation import validate_data

from sedyn.arrays import machine
from sedyn.arrays.shapes import Float, Integer, Shaped
from sedyn.checks import listed, number
from sedyn.errors import InvalidInput, require_one_of, require_whole

__all__ = [
    "Standardization",
    "eigenvalues_of",
    "random_state",
    "read_table",
    "read_targets",
    "require_finite",
    "spectrum",
    "standardization_of",
]

SPECTRA = ("modes", "ledoit_wolf", "identity")
# A column whose spread is rounding next to its size carries nothing that could be standardized.
CONSTANT = 16 * np.finfo(float).eps
MOST_FEATURES = 2**31
# Squares of larger values, added up, may be more than floats can be.
LARGEST_VALUE = 1e100
# Columns that a message names one by one.
NAMED = 10


class _NoNumbers(InvalidInput, TypeError):
    """Data of a type that holds no numbers, for which scikit-learn asks for a TypeError."""


def read_table(estimator: BaseEstimator, X: Any, **how: Any) -> Any:
    """Validate a user's data as scikit-learn does; its refusals become this project's.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose data they are; from X it learns the number of features and their names, or is held to them.
    X : array-like, shape (n, columns)
    **how : object
        ``y``, and the further arguments of `sklearn.utils.validation.validate_data`.

    Returns
    -------
    ndarray or tuple of ndarray
        X, or X and y.

    Raises
    ------
    InvalidInput
        If they are no arrays of numbers of these shapes.
    ValueError
        scikit-learn's own, on several lines, if columns have other names than in fitting.
    """
    try:
        read = validate_data(estimator, X, dtype=np.float64, ensure_all_finite=False, accept_sparse=True, **how)
        return (_dense(read[0]), *read[1:]) if isinstance(read, tuple) else _dense(read)
    except (ValueError, TypeError) as error:
        if "feature names" in str(error).lower():
            raise
        kind = _NoNumbers if isinstance(error, TypeError) else InvalidInput
        if words := _columns_without_numbers(X):
            raise kind("X", X, words) from None
        # scikit-learn quotes arrays, on lines of their own
        lines = [line for line in str(error).splitlines() if not line.startswith((" ", "[", "array="))]
        of_targets = "y" in how and lines[0].startswith(("Input y", "y "))
        fields = ("y", how["y"]) if of_targets else ("X, y" if "y" in how else "X", X)
        raise kind(*fields, " ".join(lines)) from None


def _columns_without_numbers(X: Any) -> str:
    """Name the columns of a data frame that hold something else, and what helps; nothing of other tables."""
    if not (hasattr(X, "columns") and hasattr(X, "dtypes")):
        return ""
    others = [repr(name) for name in X.columns if not _holds_numbers(X[name])]
    if not others:
        return ""
    return f"{_listed(others)}: no numbers; encode them, for example by pandas.get_dummies, or drop them"


def _holds_numbers(column: Any) -> bool:
    try:
        return np.asarray(column).dtype.kind not in "mM" and np.asarray(column, dtype=np.float64).ndim == 1
    except (ValueError, TypeError):
        return False


def _listed(names: Sequence[str]) -> str:
    """The first of the names, and how many there are beside them."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def read_targets(y: Shaped[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
    """Take targets as numbers, of a size that has a square.

    Parameters
    ----------
    y : ndarray, shape (n,) or (n, targets)

    Returns
    -------
    ndarray, of that shape

    Raises
    ------
    InvalidInput
        If they are no numbers, or their squares are too large for floats.
    """
    try:
        targets = y.astype(np.float64)
    except (ValueError, TypeError):
        raise InvalidInput("y", y, "targets are no numbers; of classes use NetworkClassifier") from None
    if targets.size and np.abs(targets).max() > LARGEST_VALUE:
        raise InvalidInput("y", y, f"values beyond {LARGEST_VALUE:.0e} have no squares; use other units")
    return targets


def _dense(X: Any) -> np.ndarray:
    """A table with its zeros, which standardized features have none of, if there is room for it."""
    if not issparse(X):
        return X
    needed, there = 8.0 * X.shape[0] * X.shape[1], machine.room("cpu")
    if needed > there:
        what = f"sparse array of shape {X.shape}"
        raise InvalidInput(
            "X", what, f"standardized features are dense and take {needed / 1e9:.3g} GB of {there / 1e9:.3g} GB"
        )
    return X.toarray()


def spectrum(field: str, value: Any) -> Any:
    """Check the option that says what the feature covariance has for a spectrum.

    Parameters
    ----------
    field : str
        Its name, as the user writes it.
    value : object
        What was given.
    """
    if isinstance(value, str):
        return require_one_of(field, value, SPECTRA)
    words = f"one of {', '.join(SPECTRA)}, or an eigenvalue for each feature"
    numbers = listed(number(">= 0", lambda x: x >= 0), words, most=MOST_FEATURES)(field, value)
    if not any(numbers):
        raise InvalidInput(field, value, f"{words}, not all 0")
    return value


def random_state(field: str, value: Any) -> Any:
    """Check the option that all randomness comes from.

    Parameters
    ----------
    field : str
        Its name, as the user writes it.
    value : object
        What was given.
    """
    if value is None or isinstance(value, np.random.RandomState):
        return value
    return require_whole(field, value, 0, 2**32 - 1, condition="a whole number >= 0, a numpy RandomState, or None")


class Standardization(NamedTuple):
    """What makes features of a table's columns (docs/theory.md#standardized-features).

    Attributes
    ----------
    kept : ndarray of int, shape (d,)
        Columns that vary.
    mean, scale : ndarray, shape (d,)
        What is subtracted from and divided out of them.
    """

    kept: Integer[np.ndarray, " kept"]
    mean: Float[np.ndarray, " kept"]
    scale: Float[np.ndarray, " kept"]

    def apply(self, X: Float[np.ndarray, "n columns"]) -> Float[np.ndarray, "n d"]:
        """Features of the rows of a table, (n, columns) to (n, d)."""
        return (X[:, self.kept] - self.mean) / self.scale


def standardization_of(
    X: Float[np.ndarray, "n columns"], names: Sequence[str], weights: Float[np.ndarray, " n"], *, standardize: bool
) -> Standardization:
    """Find the columns that vary, and their means and standard deviations; a warning names the others.

    Parameters
    ----------
    X : ndarray, shape (n, columns)
    names : sequence of str
        Of the columns.
    weights : ndarray, shape (n,)
        Of the samples.
    standardize : bool
        Without, the columns that vary are taken as they are.

    Returns
    -------
    Standardization

    Raises
    ------
    InvalidInput
        If no column varies.
    """
    mean = np.average(X, axis=0, weights=weights)
    spread = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights))
    constant = spread <= CONSTANT * np.abs(X).max(axis=0)
    if constant.all():
        raise InvalidInput("X", f"{X.shape[1]} feature(s)", "every column is constant; nothing can be learned")
    if constant.any():
        columns = [name for name, same in zip(names, constant, strict=True) if same]
        warnings.warn(f"X: constant columns are dropped: {_listed(columns)}", UserWarning, stacklevel=4)
    kept = np.flatnonzero(~constant)
    if not standardize:
        return Standardization(kept, np.zeros(kept.size), np.ones(kept.size))
    return Standardization(kept, mean[kept], spread[kept])


def eigenvalues_of(
    features: Float[np.ndarray, "n d"], spectrum: str | ArrayLike, dropped: int
) -> Float[np.ndarray, " d"]:
    """Eigenvalues of the feature covariance, with the mean that the features have (docs/theory.md#shrunk-spectrum).

    Parameters
    ----------
    features : ndarray, shape (n, d)
    spectrum : {'ledoit_wolf', 'identity'} or array of shape (d,)
        Of the Ledoit-Wolf shrinkage covariance, all equal, or given up to a factor.
    dropped : int
        How many columns of the table are no features, for a message.

    Returns
    -------
    ndarray, shape (d,)

    Raises
    ------
    InvalidInput
        If a given one has another length.
    """
    d = features.shape[1]
    mean = float(np.mean(features * features))
    if isinstance(spectrum, str):
        return np.full(d, mean) if spectrum == "identity" else _shrunk(features, mean)
    given = np.asarray(spectrum, dtype=float)
    if given.shape != (d,):
        which = f"{d} features that vary ({dropped} constant)" if dropped else f"{d} features"
        raise InvalidInput("spectrum", f"array of shape {given.shape}", f"give one eigenvalue for each of {which}")
    return given * (mean / given.mean())


def _shrunk(features: np.ndarray, mean: float) -> np.ndarray:
    """Eigenvalues of the Ledoit-Wolf covariance, in decreasing order."""
    n, d = features.shape
    shrinkage = ledoit_wolf_shrinkage(features, assume_centered=True)
    gram = features.T @ features if d <= n else features @ features.T
    sample = np.zeros(d)
    sample[: gram.shape[0]] = np.linalg.eigvalsh(gram / n).clip(0)
    return (1 - shrinkage) * np.sort(sample)[::-1] + shrinkage * mean


def require_finite(X: Float[np.ndarray, "n columns"], names: Sequence[str]) -> None:
    """Refuse NaN, infinity, and what has no square.

    Parameters
    ----------
    X : ndarray, shape (n, columns)
    names : sequence of str
        Of the columns.

    Raises
    ------
    InvalidInput
        Naming where the first one is.
    """
    fine = np.abs(X) <= LARGEST_VALUE
    if not fine.all():
        row, column = np.argwhere(~fine)[0]
        value = float(X[row, column])
        kind = "NaN" if np.isnan(value) else "inf" if np.isinf(value) else f"beyond {LARGEST_VALUE:.0e}"
        remedy = "use other units" if np.isfinite(value) else "impute or drop it"
        raise InvalidInput("X", value, f"{kind} in row {row}, column {names[column]}; {remedy}")
