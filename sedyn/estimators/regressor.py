"""Regression by a network of finite width."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from sedyn.arrays.shapes import Float
from sedyn.errors import InvalidInput
from sedyn.estimators.base import NetworkEstimator
from sedyn.estimators.features import read_table
from sedyn.model.fields import documented
from sedyn.model.functions import loss_named

__all__ = ["NetworkRegressor"]


@documented
class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """Network of finite width, trained by gradient descent and stopped where its estimated test error is least.

    Features and targets are standardized, features are divided by the root of their number, and predictions are scaled
    back. First-layer weights start at standard normals, deeper ones as `deep_init` says, and gradient descent runs for
    `steps` steps. At each iteration the test error is estimated from the training samples alone, so that all of them
    train: no holdout, no retraining.

    The learning rate is of the mean loss with standardized features and targets, and the number of a loss, as Huber's
    threshold, is in units of the targets' standard deviation. An activation with a kink (relu) has no estimate and
    needs ``early_stopping=False``. A given spectrum is scaled to the mean that the features have. Without
    `standardize`, features and targets must have mean 0 and variance near 1 already.

    Attributes
    ----------
    history_ : xarray.Dataset
        `train_error` and `estimated_test_error` by iteration, in units of the squared targets.
    best_iteration_ : int
        Iteration the weights are from.
    kept_features_ : ndarray of int
        Columns that vary; constant ones are dropped.
    feature_mean_, feature_scale_ : ndarray, shape (kept features,)
        What was subtracted from and divided out of them; zeros and ones without `standardize`.
    response_mean_, response_scale_ : float
        The same of the targets.
    spectrum_ : ndarray, shape (kept features,), or None
        Eigenvalues the estimate used; None where there is no estimate.
    first_weights_ : ndarray, shape (width, kept features)
        Of standardized features.
    deep_weights_ : tuple of ndarray
        Deeper weights, fan_in x fan_out each.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Source: docs/theory.md#estimated-test-error, docs/theory.md#standardized-features, docs/theory.md#shrunk-spectrum.

    The estimate assumes samples near features in number, both large, and features that are independent in the basis of
    their covariance. Where it is off, as measured in ``benchmarks/generalization.py``: with few samples it is too low,
    by O(1/n), because it leaves out what each sample changes in the deeper layers; with strongly correlated features it
    is somewhat too high, because shrinkage leaves eigenvalues closer together than the true ones; and where the
    learning rate times the largest eigenvalue is past the edge of stability, it is not to be trusted.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((300, 100))
    >>> y = np.tanh(X[:, 0]) + 0.1 * rng.standard_normal(300)
    >>> model = NetworkRegressor(random_state=0).fit(X, y)
    >>> model.history_.estimated_test_error.dims
    ('iteration',)
    """

    _labels = "additive"

    def fit(self, X: Any, y: Any) -> NetworkRegressor:
        """Train on all samples.

        Parameters
        ----------
        X : array-like, shape (samples, features)
        y : array-like, shape (samples,)
            Targets.

        Returns
        -------
        NetworkRegressor
            Itself.

        Raises
        ------
        InvalidInput
            If an option is out of range, X or y is no array of numbers of the shapes above, a value is not finite, the
            spectrum has the wrong length, every column is constant, or training diverges without early stopping.
        """
        self._check()
        if loss_named(self.loss).binary:
            raise InvalidInput("loss", self.loss, "is for two classes; use NetworkClassifier, or squared or huber")
        X, y = read_table(self, X, y=y, ensure_min_samples=2, y_numeric=True)
        y = y.astype(np.float64)
        self.response_mean_, self.response_scale_ = 0.0, 1.0
        if self.standardize:
            self.response_mean_, self.response_scale_ = float(y.mean()), float(y.std()) or 1.0
        self._learn(X, (y - self.response_mean_) / self.response_scale_, self.response_scale_)
        return self

    def predict(self, X: Any) -> Float[np.ndarray, " samples"]:
        """Predicted targets.

        Parameters
        ----------
        X : array-like, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,)
        """
        standardized = self._output(X)
        return self.response_mean_ + self.response_scale_ * standardized
