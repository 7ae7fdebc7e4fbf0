"""Tan and Bellec (2024), arXiv 2410.02629: the risk of the iterates of a linear model, from their residuals.

With residuals R^s = y - X b^s at iteration s and psi the derivative of the loss, both are

    r_t = |R^t + sum over s < t of w(t, s) psi(R^s)|^2 / n,

estimates of the squared prediction error of b^t. They differ in how the weights w follow from the way iterates answer
to a push: r-tilde knows the covariance of the rows, and takes the trace of its product with the answer; r-hat does not,
and solves for the weights. Traces are taken with random signs, or exactly where these are as many as dimensions. The
paper is about gradient descent, with and without proximal steps; momentum enters through the same linear recursion.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg import solve_triangular

from sedyn.model.update import Update

__all__ = ["r_hat", "r_tilde"]

PROBES = 16
"""Random signs that traces are taken with; the paper's code takes 2, with n = 10 000."""


def r_hat(features: np.ndarray, residuals: np.ndarray, slopes: np.ndarray, pulls: np.ndarray, updates: list[Update],
          probes: int = PROBES) -> np.ndarray:  # fmt: skip
    """Estimate the risk without the covariance.

    Parameters
    ----------
    features : ndarray, shape (n, d)
    residuals, slopes, pulls : ndarray, shape (T + 1, n)
        R^t, and psi' and psi there.
    updates : list of Update
        Of each step, on the mean loss.
    probes : int, optional

    Returns
    -------
    ndarray, shape (T + 1,)
    """
    n = len(features)
    signs = _probes(n, probes)
    plain = _traces(features, slopes, updates, np.broadcast_to(signs, (len(updates), *signs.shape)), signs)
    own = _traces(features, slopes, updates, slopes[:-1, :, None] * signs, signs)
    weights = solve_triangular(np.diag(slopes.sum(axis=1)) - own, plain, lower=True)
    return _risk(residuals, pulls, weights)


def r_tilde(features: np.ndarray, residuals: np.ndarray, slopes: np.ndarray, pulls: np.ndarray, updates: list[Update],
            covariance: np.ndarray, probes: int = PROBES) -> np.ndarray:  # fmt: skip
    """Estimate the risk with the covariance of the rows, shape (d, d); all else as in `r_hat`."""
    signs = _probes(features.shape[1], probes)
    pushes = np.broadcast_to(signs / len(features), (len(updates), *signs.shape))
    weights = np.zeros((len(residuals),) * 2)
    for t, answers in enumerate(_answers(features, slopes, updates, pushes)):
        weights[t, : len(answers)] = np.einsum("sdm,dm->s", answers, covariance @ signs)
    return _risk(residuals, pulls, weights)


def _risk(residuals: np.ndarray, pulls: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return ((residuals + weights @ pulls) ** 2).mean(axis=1)


def _probes(size: int, count: int) -> np.ndarray:
    """Columns whose outer products are the identity, or its mean, shape (size, count)."""
    if count >= size:
        return np.eye(size)
    return np.random.default_rng(0).choice([-1.0, 1.0], (size, count)) / np.sqrt(count)


def _traces(
    features: np.ndarray, slopes: np.ndarray, updates: list[Update], pushed: np.ndarray, signs: np.ndarray
) -> np.ndarray:
    """Trace of psi'^t X times the answer at t to a push at s by X^T times what is pushed, shape (T + 1, T + 1)."""
    found = np.zeros((len(slopes),) * 2)
    pushes = features.T @ pushed / len(features)
    for t, answers in enumerate(_answers(features, slopes, updates, pushes)):
        found[t, : len(answers)] = np.einsum("snm,n,nm->s", features @ answers, slopes[t], signs)
    return found


def _answers(
    features: np.ndarray, slopes: np.ndarray, updates: list[Update], pushes: np.ndarray
) -> Iterator[np.ndarray]:
    """How b^t has answered to pushes at each s < t, shape (t, d, probes), for t = 0, 1, ..., T."""
    n, d = features.shape
    current = previous = np.zeros((0, d, pushes.shape[-1]))
    yield current
    for t, update in enumerate(updates):
        drive = features.T @ (slopes[t][:, None] * (features @ current)) / n
        nothing = np.zeros((1, *current.shape[1:]))
        current, previous, drive = (np.concatenate([old, nothing]) for old in (current, previous, drive))
        drive[-1] = -pushes[t]
        current, previous = update(current, previous, drive)
        yield current
