"""What fitted models are judged by."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["error_of", "errors_of", "log_loss"]


def errors_of(model: Any, X: np.ndarray, y: np.ndarray, kind: str) -> np.ndarray:
    """Squared errors, or twice the log losses, of rows; classes have trained, and probabilities are at least 1e-15."""
    if kind == "regression":
        return (model.predict(X) - y) ** 2
    own = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return -2 * np.log(np.clip(own, 1e-15, 1))


def error_of(model: Any, X: np.ndarray, y: np.ndarray, kind: str) -> float:
    """Mean squared error, or twice the mean log loss, as the estimators report it."""
    return float(errors_of(model, X, y, kind).mean())


def log_loss(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """Mean log loss."""
    return error_of(model, X, y, "classes") / 2
