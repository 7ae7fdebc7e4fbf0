"""Regression by a network of finite width."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from sedyn.arrays.shapes import Float
from sedyn.errors import InvalidInput
from sedyn.estimators.base import Labels, NetworkEstimator
from sedyn.estimators.features import read_table, read_targets, require_finite
from sedyn.estimators.samples import distinct, read_weights
from sedyn.estimators.scores import COVERAGE, weighted_quantiles
from sedyn.model.fields import documented
from sedyn.model.functions import loss_named

__all__ = ["NetworkRegressor"]


@documented
class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """Network of finite width, trained by gradient descent and stopped where its estimated test error is least.

    Features and targets are standardized, features are divided by the root of their number, and predictions are scaled
    back. A linear model is part of the network (`skip`), and training begins at its solution with the penalty of least
    leave-one-out error; with a learning rate or a weight decay of one's own, at the mean of the targets. At each
    iteration the test error is estimated from the training samples alone, so that all of them train: no holdout, no
    retraining. Training ends once the estimate has turned, unless `steps` says how long it lasts.

    The learning rate is of the mean loss with standardized features and targets, and the number of a loss, as
    Huber's threshold, is in units of the targets' standard deviation. An activation with a kink (relu) has no
    estimate but exact leave-one-out, and otherwise needs ``early_stopping=False``. A given spectrum is scaled to
    the mean that the features have. Without `standardize`, features and targets must have mean 0 and variance near
    1 already. Equal samples count as one, with the sum of their weights.

    Attributes
    ----------
    history_ : xarray.Dataset
        `train_error` and `estimated_test_error` by iteration, in units of the squared targets; of several targets the
        sum, in units of their variances. Its attribute `warnings` has what speaks against the estimate.
    best_iteration_ : int
        Iteration the weights are from.
    estimated_test_error_, estimated_test_error_stderr_ : float
        Of these weights: the estimate at `best_iteration_` and `selection_bias_`; and its standard error. NaN where
        there is no estimate.
    selection_bias_ : float
        What the least estimate is too low by, about, since iteration and penalty were chosen by it
        (docs/theory.md#chosen).
    learning_rate_ : float or tuple of float
        The one that was given or chosen.
    weight_decay_ : float
        Likewise; of the linear units alone where it was chosen.
    kept_features_ : ndarray of int
        Columns that vary; constant ones are dropped.
    feature_mean_, feature_scale_ : ndarray, shape (kept features,)
        What was subtracted from and divided out of them; zeros and ones without `standardize`.
    response_mean_, response_scale_ : float or ndarray, shape (targets,)
        The same of the targets.
    spectrum_ : ndarray, shape (kept features,), or None
        Eigenvalues the estimate used, if it used any.
    first_weights_ : ndarray, shape (units, kept features)
        Of standardized features: `width` units, and with `skip` one for each target.
    deep_weights_ : tuple of ndarray
        Deeper parameters, as docs/theory.md#layers orders them.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Source: docs/theory.md#estimated-test-error, docs/theory.md#standardized-features, docs/theory.md#row-modes.

    The estimate assumes that samples are independent. It is rough with fewer samples than half the features, and past
    the edge of stability; `fit` warns of what it can see.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((300, 100))
    >>> y = np.tanh(X[:, 0]) + 0.1 * rng.standard_normal(300)
    >>> model = NetworkRegressor(random_state=0).fit(X, y)
    >>> model.history_.estimated_test_error.dims
    ('iteration',)
    """

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what is taken: sparse tables, and several targets."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> NetworkRegressor:
        """Train on all samples.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)
        y : array-like, shape (samples,) or (samples, targets)
            Targets.
        sample_weight : array-like, shape (samples,), optional
            What each sample weighs.

        Returns
        -------
        NetworkRegressor
            Itself.

        Raises
        ------
        InvalidInput
            If an option is out of range, X or y is no array of numbers of the shapes above, a value is not finite, the
            spectrum has the wrong length, every column is constant, there is no room in memory, or training diverges
            without early stopping.
        """
        self._check()
        loss = loss_named(self.loss)
        if loss.binary or loss.joint:
            raise InvalidInput("loss", self.loss, "is for classes; use NetworkClassifier, or squared or huber")
        X, y = read_table(self, X, y=y, ensure_min_samples=2, y_numeric=True, multi_output=True)
        require_finite(X, self._names())
        samples = distinct(X, read_targets(y), read_weights(sample_weight, X))
        self._several = y.ndim > 1
        targets = samples.y.reshape(len(samples.y), -1)
        mean = np.average(targets, axis=0, weights=samples.weights)
        center, scale = np.zeros(mean.size), np.ones(mean.size)
        if self.standardize:
            spread = np.sqrt(np.average((targets - mean) ** 2, axis=0, weights=samples.weights))
            center, scale = mean, np.where(spread > 0, spread, 1.0)
        unit = 1.0 if self._several else float(scale[0])
        self.response_mean_: Any = center if self._several else float(center[0])
        self.response_scale_: Any = scale if self._several else unit
        self._learn(samples, Labels(((targets - center) / scale).T, "additive", (mean - center) / scale, unit))
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "samples ..."]:
        """Predicted targets.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,), or (samples, targets) if y had two dimensions
        """
        standardized = self._output(X)
        return self.response_mean_ + self.response_scale_ * (standardized.T if self._several else standardized[0])

    def predict_interval(self, X: Any, coverage: float = 0.9) -> Float[np.ndarray, "samples ... 2"]:
        """Intervals that hold the targets of fresh samples, from the errors of fresh-like ones.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)
        coverage : float, optional
            Share of fresh targets in them, in (0, 1).

        Returns
        -------
        ndarray, shape (samples, 2), or (samples, targets, 2)
            Lower and upper ends; infinite where there are too few samples for the coverage.

        Raises
        ------
        InvalidInput
            If the coverage is out of range, or the fit has no estimate.
        """
        coverage = COVERAGE("coverage", coverage)
        outputs_of_each = self._known_outputs()
        middle = self.predict(X)
        scales = np.atleast_1d(self.response_scale_)
        targets = (self._fresh_y.reshape(len(self._fresh_y), -1) - self.response_mean_) / scales
        tail = (1 - coverage) / 2
        ends = []
        for own, outputs, scale in zip(targets.T, outputs_of_each, scales, strict=True):
            error = scale * (own - outputs)
            above = weighted_quantiles(error, self._fresh_weights, np.array([1 - tail]))[0]
            below = -weighted_quantiles(-error, self._fresh_weights, np.array([1 - tail]))[0]
            ends.append((below, above))
        found = middle.reshape(len(middle), -1)[:, :, None] + np.array(ends)
        return found if self._several else found[:, 0]
