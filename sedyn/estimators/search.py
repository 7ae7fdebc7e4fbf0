"""Choosing a model by its estimate: every candidate trains once, on all samples (docs/theory.md#any-score)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.model_selection import ParameterGrid
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sedyn.arrays.shapes import Shaped
from sedyn.checks import FLAG, tried
from sedyn.errors import InvalidInput
from sedyn.estimators.base import NetworkEstimator
from sedyn.estimators.choosing import Resamples

__all__ = ["NetworkSearch"]

FOLDS = 5
"""Of the cross-validation that the price is compared with."""


def _has(name: str) -> Any:
    return available_if(lambda search: hasattr(getattr(search, "best_estimator_", search.estimator), name))


class NetworkSearch(MetaEstimatorMixin, BaseEstimator):
    """Search of a grid by the estimate, in place of cross-validation.

    Every candidate sees every sample, once; the best one is the model, and needs no refitting. Steps need no axis: each
    candidate stops where its own estimate is least.

    Parameters
    ----------
    estimator : NetworkRegressor or NetworkClassifier
        With the options that the grid leaves alone.
    grid : mapping of str to sequence, or a sequence of them
        Options to their values, as for `sklearn.model_selection.ParameterGrid`.
    scoring : str, callable or None, optional
        What candidates are chosen by, on fresh-like samples; None: the least `estimated_test_error_`.
    verbose : bool, optional
        Whether to print what the search and cross-validation cost, after the first candidate, and each score.

    Attributes
    ----------
    best_estimator_ : NetworkRegressor or NetworkClassifier
        Fitted to all samples.
    best_params_ : dict
        The candidate's place in the grid.
    best_score_ : float
        The estimate of its score, which is optimistic by what choosing among candidates gains; or minus its estimated
        test error.
    selection_bias_ : float
        What `best_score_` is too high by, about, since it is the best of several (docs/theory.md#chosen): the choice is
        made again on samples of the samples, and judged on the others. NaN with `scoring`.
    results_ : list of dict
        ``params``, ``score``, ``seconds`` and ``steps`` of every candidate, in the order of the grid.

    Examples
    --------
    >>> from sedyn import NetworkRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 20))
    >>> y = np.tanh(X[:, 0]) + 0.1 * rng.standard_normal(200)
    >>> search = NetworkSearch(NetworkRegressor(random_state=0), {"width": [1, 4], "depth": [1, 2]}).fit(X, y)
    >>> sorted(search.best_params_)
    ['depth', 'width']
    """

    def __init__(
        self,
        estimator: NetworkEstimator,
        grid: Mapping[str, Sequence] | Sequence[Mapping[str, Sequence]],
        *,
        scoring: Any = None,
        verbose: bool = False,
    ) -> None:
        self.estimator, self.grid, self.scoring, self.verbose = estimator, grid, scoring, verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> NetworkSearch:
        """Train every candidate on all samples, and keep the best.

        Parameters
        ----------
        X, y, sample_weight
            As for the estimator.

        Returns
        -------
        NetworkSearch
            Itself.

        Raises
        ------
        InvalidInput
            If the estimator is no network of this package, the grid has no candidate or an unknown option, or no
            candidate has an estimate.
        """
        FLAG("verbose", self.verbose)
        candidates = self._candidates()
        self.results_, best, models = [], -np.inf, []
        for params in candidates:
            start = time.perf_counter()
            model = clone(self.estimator).set_params(**params).fit(X, y, sample_weight)
            seconds = time.perf_counter() - start
            score = self._score_of(model)
            result = {"params": params, "score": score, "seconds": seconds, "steps": model.problem_.steps}
            self.results_.append(result)
            if self.verbose:
                self._tell(result, len(candidates))
            if np.isfinite(score):
                models.append(model)
            if score > best:
                best, self.best_estimator_, self.best_params_ = score, model, params
        if not np.isfinite(best):
            raise InvalidInput("grid", self.grid, "no candidate has an estimate; leave early_stopping=True")
        self.best_score_ = best
        self.selection_bias_ = np.nan if self.scoring is not None else self._gained(models)
        return self

    def _gained(self, models: Sequence[NetworkEstimator]) -> float:
        """What the least estimate of all is too low by."""
        resamples = Resamples.of(self.best_estimator_._fresh_weights)
        sums = np.array([resamples.sums(model._fresh_losses + model.selection_bias_) for model in models])
        own, best = resamples.drawn(sums).argmin(axis=1), models.index(self.best_estimator_)
        return max(0.0, float(resamples.left_out(sums[own] - sums[best]).mean()))

    def _candidates(self) -> list[dict[str, Any]]:
        if not isinstance(self.estimator, NetworkEstimator):
            raise InvalidInput("estimator", self.estimator, "a NetworkRegressor or NetworkClassifier")
        words = "options to their values, or a list of such mappings"
        candidates = tried("grid", self.grid, lambda: list(ParameterGrid(self.grid)), words)
        known = self.estimator.get_params()
        for name in {name for params in candidates for name in params}:
            if name not in known:
                raise InvalidInput("grid", name, f"no option of {type(self.estimator).__name__}")
        if not candidates:
            raise InvalidInput("grid", self.grid, "there is no candidate; give each option a value at least")
        return candidates

    def _score_of(self, model: NetworkEstimator) -> float:
        if np.isnan(model.estimated_test_error_):
            return -np.inf
        if self.scoring is None:
            return -model.estimated_test_error_
        return float(np.asarray(model.estimated_score(self.scoring)))

    def _tell(self, result: dict[str, Any], candidates: int) -> None:
        if len(self.results_) == 1:
            here, folds = result["seconds"] * candidates, result["seconds"] * (FOLDS * candidates + 1)
            print(f"{candidates} candidates, about {here:.3g} s; {FOLDS}-fold cross-validation about {folds:.3g} s")
        print(f"{result['params']}: {result['score']:.4g} in {result['steps']} steps, {result['seconds']:.3g} s")

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what the estimator tells."""
        return self.estimator.__sklearn_tags__()

    @property
    def classes_(self) -> Shaped[np.ndarray, " classes"]:
        """Classes of the best model."""
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.classes_

    def predict(self, X: Any) -> Shaped[np.ndarray, "samples ..."]:
        """Predictions of the best model.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples,) or (samples, targets)
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.predict(X)

    @_has("predict_proba")
    def predict_proba(self, X: Any) -> Shaped[np.ndarray, "samples classes"]:
        """Probabilities of the best model's classes.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)

        Returns
        -------
        ndarray, shape (samples, classes)
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.predict_proba(X)

    def score(self, X: Any, y: Any) -> float:
        """Score of the best model on given samples: R2, or accuracy.

        Parameters
        ----------
        X : array-like or sparse, shape (samples, features)
        y : array-like, shape (samples,)

        Returns
        -------
        float
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.score(X, y)
