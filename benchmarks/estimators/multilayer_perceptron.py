"""scikit-learn's networks, which hold rows back to know when to stop."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.scores import log_loss

__all__ = ["EarlyStopped", "early_stopped"]


class EarlyStopped(NamedTuple):
    """What a network with early stopping says of itself, and what is true.

    Attributes
    ----------
    found : float
        Mean squared error that follows from its R2 on the rows held back; NaN for classes, of which it keeps accuracy.
    true : float
        Mean squared error on fresh rows, or twice the mean log loss.
    """

    found: float
    true: float


def early_stopped(X: np.ndarray, y: np.ndarray, fresh_X: np.ndarray, fresh_y: np.ndarray, *, classes: bool,
                  seed: int) -> EarlyStopped:  # fmt: skip
    """Fit it with its defaults, and a scaler before it; targets are standardized as a user would.

    Parameters
    ----------
    X, y, fresh_X, fresh_y : ndarray
        Rows that train, and fresh ones.
    classes : bool
        Whether targets are classes.
    seed : int
    """
    kind = MLPClassifier if classes else MLPRegressor
    model = make_pipeline(StandardScaler(), kind(early_stopping=True, max_iter=1000, random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if classes:
            return EarlyStopped(np.nan, 2 * log_loss(model.fit(X, y), fresh_X, fresh_y))
        mean, spread = y.mean(), y.std()
        model.fit(X, (y - mean) / spread)
    found = spread**2 * (1 - model[-1].best_validation_score_)
    return EarlyStopped(float(found), float(np.mean((mean + spread * model.predict(fresh_X) - fresh_y) ** 2)))
