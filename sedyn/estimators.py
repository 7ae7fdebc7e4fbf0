"""Networks for a user's own data, as scikit-learn estimators that know their test error without a holdout.

They run the kernels of `sedyn.simulate` on the user's features, and stop where the test error estimated from the
training data alone is least (THEORY section 4).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from sedyn.descent import dynamics
from sedyn.descent.estimate import no_estimate_because
from sedyn.descent.inputs import Data
from sedyn.designs.dense import DenseDesign
from sedyn.errors import InvalidInput
from sedyn.model.algorithm import states
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.functions import ACTIVATIONS, LOSSES
from sedyn.model.initialization import initial_deep_weights
from sedyn.model.network import DeepWeights, forward
from sedyn.model.observables import SIMULATED, stack_iterations, to_dataset
from sedyn.model.problem import Problem
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.update import updates_of
from sedyn.versions import versions

__all__ = ["NetworkClassifier", "NetworkRegressor"]

# Fields of `Problem` that say how a network is trained; the others describe simulated data.
TRAINING = (
    *("width", "depth", "activation", "loss", "learning_rate", "steps", "momentum", "weight_decay"),
    *("batch_fraction", "batching", "deep_init", "train"),
)
SPECTRA = ("ledoit_wolf", "identity")
# A column whose spread is rounding next to its size carries nothing that could be standardized.
CONSTANT = 16 * np.finfo(float).eps
# Columns that a message names one by one.
NAMED = 10


class _Fit(NamedTuple):
    """One training run: errors by iteration, and the weights it ends with or stops at.

    Attributes
    ----------
    train_error, estimated_test_error : list of float
        Up to the last finite iteration; the estimate NaN where there is none.
    iteration : int
        Where the weights are from.
    first : ndarray, shape (q, d)
    deep : tuple of ndarray
    """

    train_error: list[float]
    estimated_test_error: list[float]
    iteration: int
    first: np.ndarray
    deep: DeepWeights


class _NetworkEstimator(BaseEstimator):
    """What regressor and classifier share: features, training, history."""

    _labels: str

    def __init__(
        self,
        width: int = 4,
        depth: int = 2,
        *,
        activation: str = "tanh",
        loss: str = "squared",
        learning_rate: float | Sequence[float] = 0.1,
        steps: int = 50,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        batch_fraction: float = 1.0,
        batching: str = "without_replacement",
        early_stopping: bool = True,
        spectrum: str | Sequence[float] | np.ndarray = "ledoit_wolf",
        standardize: bool = True,
        deep_init: str = "gaussian",
        train: str = "all",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.width = width
        self.depth = depth
        self.activation = activation
        self.loss = loss
        self.learning_rate = learning_rate
        self.steps = steps
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.batch_fraction = batch_fraction
        self.batching = batching
        self.early_stopping = early_stopping
        self.spectrum = spectrum
        self.standardize = standardize
        self.deep_init = deep_init
        self.train = train
        self.random_state = random_state

    def _problem(self, n: int, d: int) -> Problem:
        """Describe the training to the kernels; refuses options out of range."""
        options = {name: getattr(self, name) for name in TRAINING}
        seed = int(check_random_state(self.random_state).randint(2**31))
        problem = Problem(**options, n=n, d=d, labels=self._labels, init_seed=seed, initialization="random")
        for name in ("early_stopping", "standardize"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise InvalidInput(name, getattr(self, name), "True or False")
        return problem

    def _learn(self, X: np.ndarray, y: np.ndarray, response_scale: float) -> None:
        """Train on features as given and standardized responses, and set the fitted attributes."""
        _require_finite(X, self._names())
        kept, mean, scale = self._standardization(X)
        problem = self._problem(X.shape[0], kept.size)
        reason = no_estimate_because(problem)
        if reason and self.early_stopping:
            raise InvalidInput("early_stopping", True, f"{reason}, or early_stopping=False")
        self.kept_features_, self.feature_mean_, self.feature_scale_ = kept, mean, scale
        features = self._features(X)
        self.spectrum_, measure = None, None
        if not reason:
            self.spectrum_ = self._eigenvalues(features)
            measure = gauss_quadrature(self.spectrum_, problem.steps + 1)

        rng = np.random.default_rng([problem.init_seed, 1])  # `init_seed` alone is the deeper weights'
        start, deep_weights = rng.standard_normal((problem.width, kept.size)), initial_deep_weights(problem)
        batches = Batches(lambda: batch_weights(problem, copy.deepcopy(rng)))
        design = DenseDesign(features, 1 / np.sqrt(problem.d))
        data = Data(design, np.ones(kept.size), y, start, deep_weights, batches, measure)
        fit = _descend(problem, data, early_stopping=bool(self.early_stopping))
        if len(fit.train_error) <= problem.steps:
            self._tell_divergence(len(fit.train_error), fit.iteration)
        self.first_weights_ = fit.first / np.sqrt(problem.d)
        self.deep_weights_ = fit.deep
        self.best_iteration_ = fit.iteration
        self.history_ = self._history(problem, fit, response_scale**2, reason)

    def _standardization(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the columns that vary, and what to subtract from and divide each of them by."""
        spread = X.std(axis=0)
        constant = spread <= CONSTANT * np.abs(X).max(axis=0)
        if constant.all():
            raise InvalidInput("X", f"{X.shape[1]} feature(s)", "every column is constant; nothing can be learned")
        if constant.any():
            columns = _listed([self._names()[j] for j in np.flatnonzero(constant)])
            warnings.warn(f"X: constant columns are dropped: {columns}", UserWarning, stacklevel=4)
        kept = np.flatnonzero(~constant)
        if not self.standardize:
            return kept, np.zeros(kept.size), np.ones(kept.size)
        return kept, X[:, kept].mean(axis=0), spread[kept]

    def _names(self) -> list[str]:
        """Names of the columns, or their numbers."""
        if hasattr(self, "feature_names_in_"):
            return [repr(name) for name in self.feature_names_in_]
        return [str(column) for column in range(self.n_features_in_)]

    def _features(self, X: np.ndarray) -> np.ndarray:
        return (X[:, self.kept_features_] - self.feature_mean_) / self.feature_scale_

    def _eigenvalues(self, features: np.ndarray) -> np.ndarray:
        """Eigenvalues of the feature covariance, with the mean that the features have."""
        n, d = features.shape
        mean = float(np.mean(features * features))
        if isinstance(self.spectrum, str):
            if self.spectrum not in SPECTRA:
                raise InvalidInput.unknown("spectrum", self.spectrum, SPECTRA)
            if self.spectrum == "identity":
                return np.full(d, mean)
            shrinkage = ledoit_wolf_shrinkage(features, assume_centered=True)
            gram = features.T @ features if d <= n else features @ features.T
            sample = np.zeros(d)
            sample[: gram.shape[0]] = np.linalg.eigvalsh(gram / n).clip(0)
            return (1 - shrinkage) * np.sort(sample)[::-1] + shrinkage * mean
        try:
            given = np.asarray(self.spectrum, dtype=float)
        except (TypeError, ValueError):
            raise InvalidInput("spectrum", self.spectrum, f"one of {', '.join(SPECTRA)}, or {d} numbers") from None
        if given.shape != (d,):
            dropped = self.n_features_in_ - d
            which = f"{d} features that vary ({dropped} constant)" if dropped else f"{d} features"
            raise InvalidInput("spectrum", f"array of shape {given.shape}", f"give one eigenvalue for each of {which}")
        if not (np.all(np.isfinite(given)) and np.all(given >= 0) and np.any(given > 0)):
            raise InvalidInput("spectrum", f"array of shape {given.shape}", "eigenvalues >= 0, not all 0, no NaN")
        return given * (mean / given.mean())

    def _tell_divergence(self, iteration: int, best: int) -> None:
        remedy = f"training diverged at iteration {iteration}; use a smaller learning rate"
        if not self.early_stopping:
            raise InvalidInput("learning_rate", self.learning_rate, remedy)
        message = f"learning_rate={self.learning_rate!r}: {remedy} (stopped at iteration {best})"
        warnings.warn(message, ConvergenceWarning, stacklevel=4)

    def _history(self, problem: Problem, fit: _Fit, squared_scale: float, reason: str | None) -> xr.Dataset:
        names = ("train_error", "estimated_test_error")
        arrays = {name: squared_scale * stack_iterations(problem, getattr(fit, name)) for name in names}
        attributes = {
            "spectrum": self.spectrum if isinstance(self.spectrum, str) else "given",
            "standardize": bool(self.standardize),
            "early_stopping": bool(self.early_stopping),
            "best_iteration": fit.iteration,
            "no_estimate_because": reason or "",
            **versions(),
        }
        history = to_dataset(problem, arrays, {name: SIMULATED[name] for name in names}, attributes=attributes)
        # The kernels' description of the data is for simulated ones; what is true of a user's is how many there are.
        training = {name: history.attrs[name] for name in TRAINING}
        history.attrs = {"n": problem.n, "d": problem.d, **training, **attributes}
        return history

    def _output(self, X: Any) -> np.ndarray:
        """Network output on new rows."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite=False)
        _require_finite(X, self._names())
        h = self.first_weights_ @ self._features(X).T
        return forward(h, self.deep_weights_, ACTIVATIONS[self.activation])


class NetworkRegressor(RegressorMixin, _NetworkEstimator):
    """Network of finite width, trained by gradient descent and stopped where its estimated test error is least.

    Features are standardized and divided by the root of their number; so is the response, and predictions are scaled
    back. First-layer weights start at standard normals, deeper ones as `deep_init` says, and gradient descent runs
    for `steps` steps. At each iteration the test error is estimated from the training rows alone, so that all of them
    train: no holdout, no retraining.

    Parameters
    ----------
    width, depth : int
        Units in each hidden layer; number of weight layers. Depth 1 is a linear model and has width 1.
    activation : str
        Name known to `sedyn.model.functions`. One with a kink (relu) has no estimate and needs
        ``early_stopping=False``.
    loss : {'squared', 'huber'}
        Of standardized responses; Huber's threshold is their standard deviation.
    learning_rate : float or sequence of float
        Of the mean loss with standardized features and response; one for all steps, or one for each.
    steps : int
        Gradient-descent steps.
    momentum, weight_decay : float
        Heavy-ball coefficient in [0, 1); decay, times the learning rate, of every weight.
    batch_fraction : float
        Share of the samples in a mini-batch, in (0, 1]; 1 is full batch.
    batching : {'without_replacement', 'shuffle'}
        Each batch drawn anew, or each epoch a partition of the samples.
    early_stopping : bool
        Keep the weights of the iteration with the least estimated test error, not the last.
    spectrum : {'ledoit_wolf', 'identity'} or array of shape (features,)
        Eigenvalues of the feature covariance, which the estimate needs: of the Ledoit-Wolf shrinkage covariance, all
        equal, or given; given ones are scaled to the mean that the features have.
    standardize : bool
        Subtract mean and divide by standard deviation, features and response. Without, both must have mean 0 and
        variance near 1 already.
    deep_init : {'gaussian', 'signs'}
        Deeper weights start as N(0, 1/width), or as signs/sqrt(width) last and identity in between.
    train : {'all', 'first'}
        Which layers learn.
    random_state : int, RandomState or None
        Of starting weights and mini-batches.

    Attributes
    ----------
    history_ : xarray.Dataset
        `train_error` and `estimated_test_error` by iteration, in units of the squared response.
    best_iteration_ : int
        Iteration the weights are from.
    kept_features_ : ndarray of int
        Columns that vary; constant ones are dropped.
    feature_mean_, feature_scale_ : ndarray, shape (kept features,)
        What was subtracted from and divided out of them; zeros and ones without `standardize`.
    response_mean_, response_scale_ : float
        The same of the response.
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
    THEORY sections 1 (conventions) and 4 (estimate). The estimate assumes samples near features in number, both large,
    and features that are independent in the basis of their covariance. Where it is off, as measured in
    ``benchmarks/generalization.py``: with few samples it is too low, by O(1/n), because it leaves out what each sample
    changes in the deeper layers; with strongly correlated features it is somewhat too high, because shrinkage leaves
    eigenvalues closer together than the true ones; and where the learning rate times the largest eigenvalue is past
    the edge of stability, it is not to be trusted.

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

        Returns
        -------
        NetworkRegressor
            Itself.

        Raises
        ------
        InvalidInput
            If an option is out of range, a value is not finite, the spectrum has the wrong length, every column is
            constant, or training diverges without early stopping.
        ValueError
            If X or y is no array of numbers of the shapes above.
        """
        if isinstance(self.loss, str) and self.loss in LOSSES and LOSSES[self.loss].binary:
            raise InvalidInput("loss", self.loss, "is for two classes; use NetworkClassifier, or squared or huber")
        X, y = validate_data(
            self, X, y, dtype=np.float64, ensure_all_finite=False, ensure_min_samples=2, y_numeric=True
        )
        y = y.astype(np.float64)
        self.response_mean_, self.response_scale_ = 0.0, 1.0
        if self.standardize:
            self.response_mean_, self.response_scale_ = float(y.mean()), float(y.std()) or 1.0
        self._learn(X, (y - self.response_mean_) / self.response_scale_, self.response_scale_)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predicted responses.

        Parameters
        ----------
        X : array-like, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,)
        """
        standardized = self._output(X)
        return self.response_mean_ + self.response_scale_ * standardized


def _is_probabilistic(model: NetworkClassifier) -> bool:
    if model.loss != "logistic":
        raise AttributeError(f"loss={model.loss!r}: probabilities need loss='logistic'")
    return True


class NetworkClassifier(ClassifierMixin, _NetworkEstimator):
    """Two classes by a network of finite width, stopped where its estimated test error is least.

    As `NetworkRegressor`, with the classes as responses -1 and 1.

    Parameters
    ----------
    width, depth, activation, learning_rate, steps, momentum, weight_decay, batch_fraction, batching
        As in `NetworkRegressor`.
    loss : {'logistic', 'squared', 'huber'}
        Of the responses -1 and 1.
    early_stopping, spectrum, standardize, deep_init, train, random_state
        As in `NetworkRegressor`.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The labels of responses -1 and 1.
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

    def __init__(
        self,
        width: int = 4,
        depth: int = 2,
        *,
        activation: str = "tanh",
        loss: str = "logistic",
        learning_rate: float | Sequence[float] = 0.4,
        steps: int = 50,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        batch_fraction: float = 1.0,
        batching: str = "without_replacement",
        early_stopping: bool = True,
        spectrum: str | Sequence[float] | np.ndarray = "ledoit_wolf",
        standardize: bool = True,
        deep_init: str = "gaussian",
        train: str = "all",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            width,
            depth,
            activation=activation,
            loss=loss,
            learning_rate=learning_rate,
            steps=steps,
            momentum=momentum,
            weight_decay=weight_decay,
            batch_fraction=batch_fraction,
            batching=batching,
            early_stopping=early_stopping,
            spectrum=spectrum,
            standardize=standardize,
            deep_init=deep_init,
            train=train,
            random_state=random_state,
        )

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
            Two different labels.

        Returns
        -------
        NetworkClassifier
            Itself.

        Raises
        ------
        InvalidInput
            As for `NetworkRegressor.fit`.
        ValueError
            If X or y is no array of the shapes above, or y has not two classes.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite=False, ensure_min_samples=2)
        check_classification_targets(y)
        classes, members = np.unique(y, return_inverse=True)
        if classes.size > 2:
            raise ValueError(f"Only binary classification is supported. y has {classes.size} classes; choose two")
        if classes.size < 2:
            raise ValueError(f"y has one class, {classes[0]!r}; two classes are needed")
        self.classes_ = classes
        self._learn(X, 2.0 * members - 1.0, 1.0)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Network output, positive for the second class.

        Parameters
        ----------
        X : array-like, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,)
        """
        return self._output(X)

    def predict(self, X: Any) -> np.ndarray:
        """Predicted labels.

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
    def predict_proba(self, X: Any) -> np.ndarray:
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


def _descend(problem: Problem, data: Data, *, early_stopping: bool) -> _Fit:
    """Gradient descent as `sedyn.simulate` runs it, without signals to compare with.

    Parameters
    ----------
    problem : Problem
    data : Data
    early_stopping : bool
        Whether the weights kept are those of the least estimate.
    """
    train: list[float] = []
    estimates: list[float] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for state in states(dynamics, problem, data, updates_of(problem)):
            if state.iteration == 0:
                chosen = state  # what is kept if not even the start is finite
            error, estimate = dynamics.errors(problem, data, state)
            if not np.isfinite(error):
                break
            if not early_stopping or (estimates and estimate < np.nanmin(estimates)):
                chosen = state
            train.append(float(error))
            estimates.append(float(estimate))
    return _Fit(train, estimates, chosen.iteration, chosen.first_weights, chosen.deep_weights)


def _require_finite(X: np.ndarray, names: Sequence[str]) -> None:
    """Refuse NaN and infinity, naming where the first one is."""
    finite = np.isfinite(X)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        kind = "NaN" if np.isnan(X[row, column]) else "inf"
        raise InvalidInput("X", X[row, column], f"{kind} in row {row}, column {names[column]}; impute or drop it")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
