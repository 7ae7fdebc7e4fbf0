"""Two classes by a network of finite width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from sedyn.arrays.shapes import Float, Shaped
from sedyn.errors import InvalidInput
from sedyn.estimators.base import NetworkEstimator
from sedyn.estimators.features import read_table
from sedyn.estimators.options import training_field
from sedyn.model.fields import documented

__all__ = ["NetworkClassifier"]


def _is_probabilistic(model: NetworkClassifier) -> bool:
    if model.loss != "logistic":
        raise AttributeError(f"loss={model.loss!r}: probabilities need loss='logistic'")
    return True


@documented
@dataclass(eq=False, repr=False)
class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Two classes by a network of finite width, stopped where its estimated test error is least.

    As `NetworkRegressor`, with the classes as labels -1 and 1; the loss is logistic unless another one is asked for.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The classes that have labels -1 and 1.
    history_ : xarray.Dataset
        `train_error` and `estimated_test_error` by iteration: twice the mean logistic loss, or the mean squared error.
    best_iteration_, kept_features_, feature_mean_, feature_scale_, spectrum_, first_weights_, deep_weights_
        As in `NetworkRegressor`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((300, 100))
    >>> model = NetworkClassifier(random_state=0).fit(X, np.where(X[:, 0] > 0, "yes", "no"))
    >>> model.predict_proba(X).shape
    (300, 2)
    """

    _labels = "binary"

    loss: str = training_field("loss", "logistic")
    learning_rate: float | Sequence[float] = training_field("learning_rate", 0.4)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that there are two classes and no more."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any) -> NetworkClassifier:
        """Train on all samples.

        Parameters
        ----------
        X : array-like, shape (samples, features)
        y : array-like, shape (samples,)
            Two different classes.

        Returns
        -------
        NetworkClassifier
            Itself.

        Raises
        ------
        InvalidInput
            As for `NetworkRegressor.fit`, or if y has not two classes.
        """
        self._check()
        X, y = read_table(self, X, y=y, ensure_min_samples=2)
        try:
            check_classification_targets(y)
        except ValueError as error:
            raise InvalidInput("y", y, str(error)) from None
        classes, members = np.unique(y, return_inverse=True)
        if classes.size > 2:
            remedy = f"Only binary classification is supported. y has {classes.size} classes; choose two"
            raise InvalidInput("y", y, remedy)
        if classes.size < 2:
            raise InvalidInput("y", y, f"y has one class, {classes[0]!r}; two classes are needed")
        self.classes_ = classes
        self._learn(X, 2.0 * members - 1.0, 1.0)
        return self

    def decision_function(self, X: Any) -> Float[np.ndarray, " samples"]:
        """Network output, positive for the second class.

        Parameters
        ----------
        X : array-like, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,)
        """
        return self._output(X)

    def predict(self, X: Any) -> Shaped[np.ndarray, " samples"]:
        """Predicted classes.

        Parameters
        ----------
        X : array-like, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,)
        """
        members = self._output(X) > 0
        return self.classes_[members.astype(int)]

    @available_if(_is_probabilistic)
    def predict_proba(self, X: Any) -> Float[np.ndarray, "samples 2"]:
        """Probabilities of the classes; with the logistic loss only.

        Parameters
        ----------
        X : array-like, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples, 2)
        """
        output = self._output(X)
        return np.stack([expit(-output), expit(output)], axis=1)
