"""Ridge regression that chooses its penalty by generalized cross-validation."""

from __future__ import annotations

import numpy as np

__all__ = ["PENALTIES", "generalized_cross_validation", "ridge_paths"]

PENALTIES = np.logspace(-4, 3, 36)
"""For the mean squared error of standardized features."""


def generalized_cross_validation(features: np.ndarray, targets: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Find n |y - yhat|^2 / (n - df)^2 for each penalty, shape (penalties,).

    Parameters
    ----------
    features : ndarray, shape (n, d)
        Centred.
    targets : ndarray, shape (n,)
        Centred; the mean is one degree of freedom.
    penalties : ndarray, shape (penalties,)
        Of |w|^2 beside the mean squared error.
    """
    n = len(targets)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    shrunk = singular**2 / (singular**2 + n * penalties[:, None])
    projected = left.T @ targets
    residual = targets @ targets - np.sum((1 - (1 - shrunk) ** 2) * projected**2, axis=1)
    freedom = 1 + shrunk.sum(axis=1)
    return n * residual / (n - freedom) ** 2


def ridge_paths(
    X: np.ndarray, y: np.ndarray, fresh_X: np.ndarray, fresh_y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the score says and what is true for each penalty, shape (penalties,) each."""
    mean, spread = X.mean(axis=0), X.std(axis=0)
    kept = spread > 0
    features, fresh = ((some[:, kept] - mean[kept]) / spread[kept] for some in (X, fresh_X))
    center = y.mean()
    left, singular, right = np.linalg.svd(features, full_matrices=False)
    answers = singular / (singular**2 + len(y) * PENALTIES[:, None]) * (left.T @ (y - center))
    predicted = center + fresh @ (answers @ right).T
    truth = ((predicted - fresh_y[:, None]) ** 2).mean(axis=0)
    return generalized_cross_validation(features, y - center, PENALTIES), truth
