"""The descent of a fit, gone through again so that every way to know a test error judges the same networks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.designs.dense import DenseDesign
from sedyn.model.algorithm import states
from sedyn.model.architecture import layers_of
from sedyn.model.functions import loss_named
from sedyn.model.network import DeepWeights, forward, losses
from sedyn.model.problem import Problem
from sedyn.model.update import Update, updates_of

__all__ = ["Descent", "Weights"]

# A learning rate that moves no weight: what such a fit ends with is what every fit with its seed begins with.
NOTHING = 1e-300


class Weights(NamedTuple):
    """Of a network at an iteration.

    Attributes
    ----------
    first : ndarray, shape (q, d)
        W^t.
    deep : tuple of ndarray
        V^t.
    """

    first: np.ndarray
    deep: DeepWeights


class Descent(NamedTuple):
    """A run of gradient descent on a table, with a fixed number of steps.

    Attributes
    ----------
    model : NetworkRegressor or NetworkClassifier
        Fitted by it: knows how to standardize.
    problem : Problem
    updates : list of Update
        One for each step.
    features : ndarray, shape (n, d)
        Standardized.
    labels : ndarray, shape (C, n)
        Likewise, or classes as the loss takes them.
    start : Weights
    """

    model: Any
    problem: Problem
    updates: list[Update]
    features: np.ndarray
    labels: np.ndarray
    start: Weights

    @classmethod
    def of(cls, model: Any, X: np.ndarray, y: np.ndarray) -> Descent:
        """Train, and find how.

        Parameters
        ----------
        model : NetworkRegressor or NetworkClassifier
            With a number of steps, a seed, no decay, and learning rate and momentum open.
        X, y : ndarray, shape (n, columns), (n,)
            Rows that differ from each other.

        Returns
        -------
        Descent
        """
        plain = clone(model).set_params(estimate=False, early_stopping=False)
        fitted = plain.fit(X, y)
        still = clone(plain).set_params(steps=1, learning_rate=NOTHING, deep_learning_rate=NOTHING).fit(X, y)
        problem = fitted.problem_
        start = Weights(still.first_weights_ * np.sqrt(problem.d), still.deep_weights_)
        updates = [update._replace(momentum=t / (t + 3), nesterov=True) for t, update in enumerate(updates_of(problem))]
        return cls(fitted, problem, updates, standardized(fitted, X), labels_of(fitted, y), start)

    @property
    def data(self) -> Data:
        """What the kernels run on."""
        d = self.problem.d
        return Data(DenseDesign(self.features, d**-0.5), np.ones(d), self.labels, *self.start)

    @property
    def squared_scale(self) -> float:
        """Of the targets: errors are in their units."""
        return float(getattr(self.model, "response_scale_", 1.0)) ** 2

    def iterates(self) -> list[Weights]:
        """Weights at every iteration, the start among them."""
        run = states(dynamics, self.problem, self.data, self.updates)
        return [Weights(state.first_weights, state.deep_weights) for state in run]

    def outputs(self, weights: Weights, features: np.ndarray) -> np.ndarray:
        """Outputs of the network on standardized features, shape (C, rows)."""
        h = weights.first @ (features.T / np.sqrt(self.problem.d))
        return forward(h, weights.deep, layers_of(self.problem))

    def error(self, outputs: np.ndarray, labels: np.ndarray) -> float:
        """Mean squared error in the units of the targets, or twice the mean log loss."""
        return float(2 * self.squared_scale * losses(loss_named(self.problem.loss), outputs, labels).mean())

    def errors(self, iterates: list[Weights], X: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Error on other rows at every iteration, shape (T + 1,)."""
        features, labels = standardized(self.model, X), labels_of(self.model, y)
        return np.array([self.error(self.outputs(weights, features), labels) for weights in iterates])


def standardized(model: Any, X: np.ndarray) -> np.ndarray:
    """Features as the fitted model takes them, shape (rows, d)."""
    return (X[:, model.kept_features_] - model.feature_mean_) / model.feature_scale_


def labels_of(model: Any, y: np.ndarray) -> np.ndarray:
    """Targets as the fitted model's loss takes them, shape (C, rows)."""
    if not hasattr(model, "classes_"):
        return ((y - model.response_mean_) / model.response_scale_)[None]
    if model.classes_.size == 2:
        return np.where(y == model.classes_[1], 1.0, -1.0)[None]
    return 1.0 * (y == model.classes_[:, None])
