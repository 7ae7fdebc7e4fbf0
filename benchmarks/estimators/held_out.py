"""Rows held out: one part, or each part in turn, judged by networks that the other rows train for as many steps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from benchmarks.estimators.descent import Descent

__all__ = ["folds", "held_out", "holdout"]

SHARE, FOLDS = 0.2, 5


def holdout(descent: Descent, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Error on a fifth of the rows, at every iteration of a descent on the others, shape (T + 1,)."""
    stratify = y if hasattr(descent.model, "classes_") else None
    kept, held = train_test_split(np.arange(len(y)), test_size=SHARE, random_state=0, stratify=stratify)
    return held_out(descent, X, y, [(kept, held)])


def folds(descent: Descent, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Error on each of five parts, of descents on the other four, shape (T + 1,)."""
    kind = StratifiedKFold if hasattr(descent.model, "classes_") else KFold
    return held_out(descent, X, y, kind(FOLDS, shuffle=True, random_state=0).split(X, y))


def held_out(
    descent: Descent, X: np.ndarray, y: np.ndarray, parts: Iterable[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Mean error over rows that are held out, of descents on those that are kept, shape (T + 1,).

    Parameters
    ----------
    descent : Descent
        On all rows; the others are like it.
    X, y : ndarray, shape (n, columns), (n,)
    parts : iterable of tuple of ndarray
        Rows kept, and rows held out.
    """
    total, rows = 0.0, 0
    for kept, held in parts:
        other = Descent.of(descent.model, X[kept], y[kept])
        total = total + held.size * other.errors(other.iterates(), X[held], y[held])
        rows += held.size
    return total / rows
