"""Any score of a fitted model on fresh samples, without fresh samples (docs/theory.md#any-score).

Outputs at the fresh-like pre-activations are to the targets what outputs on fresh samples would be; so every score, and
every interval, is taken of them.
"""

from __future__ import annotations

import copy
import warnings
from statistics import NormalDist
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer
from sklearn.utils.validation import check_is_fitted

from sedyn.arrays.shapes import Float, Shaped
from sedyn.checks import FLAG, number, tried
from sedyn.errors import InvalidInput
from sedyn.model.functions import Loss
from sedyn.model.network import losses

__all__ = [
    "COVERAGE",
    "FreshLike",
    "error_interval",
    "loss_of_one_contradiction",
    "losses_with_doubt",
    "stderr_of_mean",
    "stderr_of_what_is_learned",
    "weighted_quantiles",
]

CONTRADICTING = 0.1
"""Share of one sample with which a further one has another label than any that were seen like it."""
COVERAGE = number("in (0, 1)", lambda x: 0 < x < 1)
GROUPS = 20
"""Parts of the samples that are left out in turn for the standard error of a score."""


def error_interval(estimate: float, stderr: float, coverage: float) -> tuple[float, float]:
    """Interval for a mean of losses, from the logarithm of its estimate (docs/theory.md#error-interval).

    Losses are positive and have long tails: where an estimate is too low its standard error is too small, since both
    are of the same samples, so that an interval of equal halves misses what is above it.

    Parameters
    ----------
    estimate, stderr : float
        Neither is negative.
    coverage : float
        In (0, 1).

    Returns
    -------
    low, high : float
    """
    if not stderr:
        return estimate, estimate
    if not estimate:
        return 0.0, float("inf")
    with np.errstate(over="ignore"):
        factor = float(np.exp(NormalDist().inv_cdf((1 + coverage) / 2) * stderr / estimate))
    return estimate / factor, estimate * factor


def stderr_of_mean(values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"]) -> float:
    """Standard error of a weighted mean, from the spread of the values.

    Parameters
    ----------
    values, weights : ndarray, shape (n,)

    Returns
    -------
    float
    """
    shares = weights / weights.sum()
    away = values - shares @ values
    return float(np.sqrt(shares**2 @ away**2 * values.size / max(1, values.size - 1)))


def stderr_of_what_is_learned(
    loss: Loss,
    outputs: Float[np.ndarray, "C n"],
    fresh: Float[np.ndarray, "C n"],
    labels: Float[np.ndarray, "C n"],
    weights: Float[np.ndarray, " n"],
    gained: float,
) -> float:
    """Standard error of the mean loss of fresh-like samples since they have taught each other (docs/theory.md#taught).

    What samples teach is right for each other by chance, and the spread of their losses knows nothing of it.

    Parameters
    ----------
    loss : Loss
    outputs, fresh, labels : ndarray, shape (C, n)
        Outputs for the samples, and for them as if they were fresh.
    weights : ndarray, shape (n,)
        Of the samples.
    gained : float
        What the mean loss of fresh-like samples is too low by.

    Returns
    -------
    float
    """
    shares = weights / weights.sum()
    _, gradients, curvatures = loss.jet(fresh, labels, 2)
    curvature = np.einsum("ccn->n", curvatures) if loss.joint else curvatures.sum(axis=0)
    learned = shares @ (losses(loss, fresh, labels) - losses(loss, outputs, labels)) + gained
    if min(shares @ curvature, learned) <= 0:
        return 0.0
    squares = shares @ (gradients**2).sum(axis=0)
    return float(np.sqrt(2 * (shares @ shares) * squares / (shares @ curvature) * learned))


def losses_with_doubt(
    loss: Loss, outputs: Float[np.ndarray, "*models C n"], labels: Float[np.ndarray, "*models C n"]
) -> tuple[Float[np.ndarray, "*models n"], Float[np.ndarray, "*models n"]]:
    """Losses of fresh-like samples, and those by which one model is preferred to another (docs/theory.md#doubt).

    Parameters
    ----------
    loss : Loss
    outputs, labels : ndarray, shape (..., C, n)

    Returns
    -------
    own : ndarray, shape (..., n)
    doubted : ndarray, shape (..., n)
        Of classes with the chance of another label: where all samples are told apart, their losses alone would prefer
        the model that is surest of itself.
    """
    own, others = losses(loss, outputs, labels), _of_others(loss, outputs, labels)
    if others is None:
        return own, own
    chance = CONTRADICTING / (own.shape[-1] + 1)
    return own, (1 - chance) * own + chance * others


def loss_of_one_contradiction(
    loss: Loss, outputs: Float[np.ndarray, "C n"], labels: Float[np.ndarray, "C n"], weights: Float[np.ndarray, " n"]
) -> float:
    """What the mean loss would be more by, were one sample in n + 1 of another class than what it looks like.

    Parameters
    ----------
    loss : Loss
    outputs, labels : ndarray, shape (C, n)
    weights : ndarray, shape (n,)
        Of the samples.

    Returns
    -------
    float
        Zero where labels are no classes.
    """
    others = _of_others(loss, outputs, labels)
    return 0.0 if others is None else float(np.average(others, weights=weights)) / (weights.size + 1)


def _of_others(loss: Loss, outputs: np.ndarray, labels: np.ndarray) -> Float[np.ndarray, "*models n"] | None:
    """Losses with another label, the mean over all others; None where labels are no classes."""
    if not (loss.joint or loss.binary):
        return None
    return losses(loss, outputs, (1 - labels) / (labels.shape[-2] - 1) if loss.joint else -labels)


def weighted_quantiles(
    values: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], probabilities: Float[np.ndarray, " p"]
) -> Float[np.ndarray, " p"]:
    """Quantiles that a further value lies below with at least these probabilities; infinite where none is known to.

    Parameters
    ----------
    values, weights : ndarray, shape (n,)
        Weights have mean 1.
    probabilities : ndarray, shape (p,)

    Returns
    -------
    ndarray, shape (p,)
    """
    order = np.argsort(values)
    below = np.cumsum(weights[order]) / (weights.sum() + 1)  # the further value itself weighs 1
    places = np.searchsorted(below, probabilities - 1e-12)
    return np.append(values[order], np.inf)[places]


class FreshLike:
    """What a fit knows of its training samples as if they were fresh ones."""

    n_features_in_: int
    estimate: bool | str
    estimated_test_error_: float
    estimated_test_error_stderr_: float
    _fresh_outputs: Float[np.ndarray, "C n"] | None

    def _keep_fresh(
        self, y: Shaped[np.ndarray, "n ..."], weights: Float[np.ndarray, " n"], outputs: Float[np.ndarray, "C n"] | None
    ) -> None:
        """Keep the targets and what the network would make of them, were they fresh."""
        self._fresh_y, self._fresh_weights, self._fresh_outputs = y, weights, outputs

    def _known_outputs(self) -> Float[np.ndarray, "C n"]:
        """Outputs at the fresh-like pre-activations; refused where there are none."""
        check_is_fitted(self)
        if self._fresh_outputs is None:
            raise InvalidInput("estimate", self.estimate, "this fit has no estimate, see history_; there is no score")
        return self._fresh_outputs

    def estimated_score(self, scoring: Any = None, *, return_stderr: bool = False) -> float | tuple[float, float]:
        """Estimate any score on fresh samples, from the training samples.

        Parameters
        ----------
        scoring : str or callable, optional
            As in scikit-learn, for example ``neg_mean_absolute_error``; or None: the estimator's own `score`.
        return_stderr : bool, optional
            Whether its standard error is wanted too: a jackknife over parts of the samples.

        Returns
        -------
        float, or tuple of float
            The score; and its standard error.

        Raises
        ------
        InvalidInput
            If the fit has no estimate, or there is no such score.
        """
        FLAG("return_stderr", return_stderr)
        self._known_outputs()
        try:
            scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
        except (ValueError, KeyError):
            raise InvalidInput("scoring", scoring, "a scorer's name in scikit-learn, or a scorer") from None
        if not (scorer is None or callable(scorer)):
            raise InvalidInput("scoring", scoring, "a scorer's name in scikit-learn, or a scorer")
        n = len(self._fresh_y)

        def score_of(rows: np.ndarray) -> float:
            fails = "a scorer's name in scikit-learn, or a scorer; this one fails"
            return tried("scoring", scoring, lambda: self._score_of(scorer, rows), fails)

        score = score_of(np.arange(n))
        if not return_stderr:
            return score
        parts = np.array_split(np.random.default_rng(0).permutation(n), min(GROUPS, n))
        with warnings.catch_warnings():  # of all samples it has warned
            warnings.simplefilter("ignore")
            left_out = np.array([score_of(np.setdiff1d(np.arange(n), part)) for part in parts])
        spread = np.sum((left_out - left_out.mean()) ** 2)
        return score, float(np.sqrt(spread * (len(parts) - 1) / len(parts)))

    @property
    def estimated_score_(self) -> float:
        """The estimate of what `score` would give on fresh samples: R2, or accuracy."""
        return self._score_of(None, np.arange(self._known_outputs().shape[1]))

    def estimated_test_error_interval(self, coverage: float = 0.9) -> tuple[float, float]:
        """Interval for the test error, `estimated_test_error_` over and times the same factor.

        Parameters
        ----------
        coverage : float, optional
            How often it holds the error on infinitely many fresh samples, in (0, 1).

        Returns
        -------
        low, high : float
            In the units of `estimated_test_error_`.

        Raises
        ------
        InvalidInput
            If the coverage is out of range, or the fit has no estimate.

        Notes
        -----
        Source: docs/theory.md#error-interval.
        """
        coverage = COVERAGE("coverage", coverage)
        self._known_outputs()
        return error_interval(self.estimated_test_error_, self.estimated_test_error_stderr_, coverage)

    def _score_of(self, scorer: Any, rows: np.ndarray) -> float:
        """Score of some training samples, as if they were fresh."""
        likeness: Any = copy.copy(self)
        likeness._output = lambda X: self._known_outputs()[:, rows]
        y, weights = self._fresh_targets()[rows], self._fresh_weights[rows]
        X = np.zeros((rows.size, self.n_features_in_))
        plain = {} if np.ptp(weights) == 0 else {"sample_weight": weights}
        if scorer is None:
            return float(likeness.score(X, y, **plain))
        return float(scorer(likeness, X, y, **plain))

    def _fresh_targets(self) -> Shaped[np.ndarray, "n ..."]:
        """Targets as the user gave them."""
        return self._fresh_y
