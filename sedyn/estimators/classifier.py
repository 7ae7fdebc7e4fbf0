"""Classes by a network of finite width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

from sedyn.arrays.shapes import Float, Shaped
from sedyn.errors import InvalidInput
from sedyn.estimators.base import Labels, NetworkEstimator
from sedyn.estimators.calibration import LOG_ODDS, NO_ODDS, calibration_of
from sedyn.estimators.features import read_table, require_finite
from sedyn.estimators.options import training_field
from sedyn.estimators.samples import distinct, read_weights
from sedyn.model.fields import documented, field
from sedyn.model.functions import loss_named

__all__ = ["NetworkClassifier"]

PROBABILISTIC = ("logistic", "softmax")


def _is_probabilistic(model: NetworkClassifier) -> bool:
    if model.loss not in PROBABILISTIC:
        raise AttributeError(f"loss={model.loss!r}: probabilities need loss='logistic' or 'softmax'")
    return True


def _class_weight(name: str, value: Any) -> Any:
    """Check what classes weigh; which classes there are is seen in `fit`."""
    if value is None or isinstance(value, Mapping) or (isinstance(value, str) and value == "balanced"):
        return value
    raise InvalidInput(name, value, "'balanced', or a weight for each class in a dict")


@documented
@dataclass(eq=False, repr=False, kw_only=True)
class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """Classes by a network of finite width, stopped where its estimated test error is least.

    As `NetworkRegressor`, with one output whose labels are -1 and 1 for two classes, and an output for each of more.
    The loss is logistic unless another one is asked for, which for more than two classes is softmax. With a learning
    rate or a weight decay of one's own, outputs start at the prior log-odds.

    Attributes
    ----------
    classes_ : ndarray, shape (classes,)
        In the order of the columns of `predict_proba`; of two the second has label 1.
    history_ : xarray.Dataset
        `train_error` and `estimated_test_error` by iteration: twice the mean loss, which for labels is the squared
        error.
    best_iteration_, estimated_test_error_, estimated_test_error_stderr_, selection_bias_, learning_rate_, \
weight_decay_, kept_features_, feature_mean_, feature_scale_, spectrum_, first_weights_, deep_weights_
        As in `NetworkRegressor`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((300, 100))
    >>> model = NetworkClassifier(random_state=0).fit(X, np.where(X[:, 0] > 0, "yes", "no"))
    >>> model.predict_proba(X).shape
    (300, 2)
    """

    loss: str = training_field("loss", "logistic")
    class_weight: Mapping | str | None = field(
        None, _class_weight, "What samples of each class weigh: None, ``balanced``, or a dict."
    )

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that sparse tables are taken."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _loss(self, labels: Labels) -> str:
        """The loss asked for; logistic of more than two classes is softmax."""
        return "softmax" if self.loss == "logistic" and labels.kind == "classes" else self.loss

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> NetworkClassifier:
        """Train on all samples.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)
        y : array-like, shape (samples,)
            Classes, two at least.
        sample_weight : array-like, shape (samples,), optional
            What each sample weighs.

        Returns
        -------
        NetworkClassifier
            Itself.

        Raises
        ------
        InvalidInput
            As for `NetworkRegressor.fit`, or if y has fewer than two classes.
        """
        self._check()
        X, y = read_table(self, X, y=y, ensure_min_samples=2)
        require_finite(X, self._names())
        try:
            check_classification_targets(y)
        except ValueError as error:
            raise InvalidInput("y", y, str(error)) from None
        weights = read_weights(sample_weight, X)
        classes, members = np.unique(y, return_inverse=True)
        if (present := np.unique(members[weights > 0])).size < 2:
            raise InvalidInput("y", y, f"y has one class, {classes[present].tolist()[0]!r}; two classes are needed")
        self.classes_ = classes
        samples = distinct(X, members, weights * self._weights_of_classes(y, weights)[members])
        self._learn(samples, self._labels(samples.y, samples.weights))
        return self

    def _weights_of_classes(self, y: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, " classes"]:
        try:
            return compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=weights)
        except ValueError as error:
            raise InvalidInput("class_weight", self.class_weight, str(error)) from None

    def _labels(self, members: np.ndarray, weights: np.ndarray) -> Labels:
        """What the loss is of: -1 and 1 of two classes, else a row for each class."""
        rows = 1.0 * (members == np.arange(self.classes_.size)[:, None])
        shares = rows @ weights / weights.sum()
        if self.classes_.size == 2 and not loss_named(self.loss).joint:
            log_odds = np.log(shares[1:] / shares[:1])
            mean = log_odds if self.loss == "logistic" else shares[1:] - shares[:1]
            return Labels(rows[1:] - rows[:1], "binary", mean, 1.0)
        logarithms = np.log(np.maximum(shares, np.finfo(float).tiny))
        return Labels(rows, "classes", logarithms if self.loss in PROBABILISTIC else shares, 1.0)

    def _fresh_targets(self) -> Shaped[np.ndarray, " n"]:
        """Classes as the user gave them."""
        return self.classes_[self._fresh_y]

    def decision_function(self, X: Any) -> Float[np.ndarray, "samples ..."]:
        """Network outputs: of two classes one, positive for the second; of more one for each.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,) or (samples, classes)
        """
        outputs = self._output(X)
        if self.classes_.size > 2:
            return outputs.T
        return outputs[0] if len(outputs) == 1 else outputs[1] - outputs[0]

    def predict(self, X: Any) -> Shaped[np.ndarray, " samples"]:
        """Predicted classes.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,)
        """
        decision = self.decision_function(X)
        members = decision > 0 if decision.ndim == 1 else decision.argmax(axis=1)
        return self.classes_[members.astype(int)]

    @available_if(_is_probabilistic)
    def predict_proba(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """Probabilities of the classes; with the losses logistic and softmax only.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples, classes)
        """
        decision = self.decision_function(X)
        if decision.ndim == 1:
            return np.stack([expit(-decision), expit(decision)], axis=1)
        return softmax(decision, axis=1)

    def calibrated_proba(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """Probabilities that agree with how often fresh-like samples are of each class; with any loss.

        Outputs are multiplied by a number and shifted for each class, so that the training samples' classes are
        likeliest given what the network says of these samples as if they were fresh ones. Samples weigh what they
        weighed in training.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples, classes)

        Raises
        ------
        InvalidInput
            If the fit has no estimate.

        Notes
        -----
        Source: docs/theory.md#calibrated.
        """
        fresh, prior = self._known_outputs(), LOG_ODDS if self.loss in PROBABILISTIC else NO_ODDS
        return calibration_of(fresh, self._fresh_y, self._fresh_weights, prior).probabilities(self._output(X))
