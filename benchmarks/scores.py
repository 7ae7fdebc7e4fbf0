"""What fitted models are judged by."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["error_of", "log_loss"]


def error_of(model: Any, X: np.ndarray, y: np.ndarray, kind: str) -> float:
    """Mean squared error, or twice the mean log loss, as the estimators report it."""
    return float(np.mean((model.predict(X) - y) ** 2)) if kind == "regression" else 2 * log_loss(model, X, y)


def log_loss(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Mean log loss; every class has trained, and probabilities are at least 1e-15."""
    own = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return float(-np.mean(np.log(np.clip(own, 1e-15, 1))))
