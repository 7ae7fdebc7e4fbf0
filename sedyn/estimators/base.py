"""What regressor and classifier share: from a table and labels to fitted attributes, and to the network's output."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import xarray as xr
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sedyn.arrays.shapes import Float
from sedyn.errors import InvalidInput
from sedyn.estimate.by_modes import ByModes
from sedyn.estimate.by_spectrum import BySpectrum
from sedyn.estimate.protocol import Estimate, no_estimate_because
from sedyn.estimate.rows import row_modes, row_scales
from sedyn.estimators.features import Standardization, eigenvalues_of, read_table, require_finite, standardization_of
from sedyn.estimators.options import Options
from sedyn.estimators.training import Fit, fit_network
from sedyn.model.architecture import layers_of
from sedyn.model.network import forward
from sedyn.model.observables import SIMULATED, stack_iterations, to_dataset
from sedyn.model.problem import TRAINING, Problem
from sedyn.model.quadrature import gauss_quadrature
from sedyn.versions import versions

__all__ = ["NetworkEstimator"]


class NetworkEstimator(Options, BaseEstimator):
    """A network that is fitted to features and labels, and keeps the history of its training."""

    # Field `labels` of the problem that training is described by.
    _labels: str

    def _learn(self, X: Float[np.ndarray, "n columns"], labels: Float[np.ndarray, " n"], scale: float) -> None:
        """Train and set the fitted attributes.

        Parameters
        ----------
        X : ndarray, shape (n, columns)
            As given.
        labels : ndarray, shape (n,)
            Standardized targets, or classes as -1 and 1.
        scale : float
            Of the targets in units of the labels; errors are reported in the squared targets' units.
        """
        names = self._names()
        require_finite(X, names)
        standardization = standardization_of(X, names, standardize=self.standardize)
        seed = int(check_random_state(self.random_state).randint(2**31))
        data = {"n": X.shape[0], "d": standardization.kept.size, "labels": self._labels}
        problem = self._problem(**data, init_seed=seed, initialization="random")
        reason = no_estimate_because(problem)
        if reason and self.early_stopping:
            raise InvalidInput("early_stopping", True, f"{reason}, or early_stopping=False")
        self.kept_features_, self.feature_mean_, self.feature_scale_ = standardization
        features = standardization.apply(X)
        estimate = None if reason else self._begin_estimate(problem, features, X.shape[1] - problem.d)

        fit = fit_network(problem, features, labels, estimate, early_stopping=bool(self.early_stopping))
        if len(fit.train_error) <= problem.steps:
            self._tell_divergence(len(fit.train_error), fit.iteration)
        self.first_weights_ = fit.first_weights / np.sqrt(problem.d)
        self.deep_weights_, self.problem_ = fit.deep_weights, problem
        self.best_iteration_ = fit.iteration
        self.history_ = self._history(problem, fit, scale**2, reason)

    def _begin_estimate(self, problem: Problem, features: Float[np.ndarray, "n d"], dropped: int) -> Estimate:
        """What is estimated from, before the first step: modes of the features, or a spectrum, which is kept."""
        scales, like, self.spectrum_ = row_scales(features), features[: problem.units], None
        if isinstance(self.spectrum, str) and self.spectrum == "modes":
            return ByModes.begin(row_modes(features, centred=bool(self.standardize)), scales, like)
        self.spectrum_ = eigenvalues_of(features, self.spectrum, dropped)
        measure = gauss_quadrature(self.spectrum_, problem.steps + 1)
        return BySpectrum.begin(problem, measure, like, scales)

    def _names(self) -> list[str]:
        """Names of the columns, or their numbers."""
        if hasattr(self, "feature_names_in_"):
            return [repr(name) for name in self.feature_names_in_]
        return [str(column) for column in range(self.n_features_in_)]

    def _tell_divergence(self, iteration: int, best: int) -> None:
        remedy = f"training diverged at iteration {iteration}; use a smaller learning rate"
        if not self.early_stopping:
            raise InvalidInput("learning_rate", self.learning_rate, remedy)
        message = f"learning_rate={self.learning_rate!r}: {remedy} (stopped at iteration {best})"
        warnings.warn(message, ConvergenceWarning, stacklevel=4)

    def _history(self, problem: Problem, fit: Fit, squared_scale: float, reason: str | None) -> xr.Dataset:
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
        training = {name: history.attrs[name] for name in TRAINING if name in history.attrs}
        history.attrs = {"n": problem.n, "d": problem.d, **training, **attributes}
        return history

    def _output(self, X: Any) -> np.ndarray:
        """Network output on new samples, shape (samples,)."""
        check_is_fitted(self)
        X = read_table(self, X, reset=False)
        require_finite(X, self._names())
        standardization = Standardization(self.kept_features_, self.feature_mean_, self.feature_scale_)
        h = self.first_weights_ @ standardization.apply(X).T
        return forward(h, self.deep_weights_, layers_of(self.problem_))[0, :]
