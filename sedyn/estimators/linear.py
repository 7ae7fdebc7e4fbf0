"""The linear model inside a network, with the penalty of least leave-one-out error (docs/theory.md#linear-start).

It is where training begins, so that what descent is slow at, directions in which features hardly vary, is done before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from sedyn.arrays.shapes import Float
from sedyn.estimators.rates import curvature_bound
from sedyn.estimators.scores import losses_with_doubt
from sedyn.model.functions import Loss
from sedyn.model.network import losses

__all__ = ["LARGEST_SYSTEM", "LinearModel", "Modes", "choose", "modes_of", "solve"]

LARGEST_SYSTEM = 1024
"""Unknowns of a system of equations, at most, where curvatures differ from sample to sample."""
# Penalties that are tried, from the largest down, as shares of the largest curvature.
LARGEST_SHARE, SMALLEST_SHARE = 5.0, 1e-12
IN_A_DECADE = {True: 8, False: 3}  # where a solution is a product of matrices, and where it takes Newton's method
# Decades of smaller penalties in which nothing was gained, after which none is tried by Newton's method.
DECADES_OF_PATIENCE = 2
# Samples of the largest errors, without which the model is fitted again where what they keep is known to first order.
FITTED_AGAIN = 20
# Samples of the samples, of which each has a best penalty.
RESAMPLED = 100
NEWTON_STEPS, NEWTON_TOLERANCE, HALVINGS = 50, 1e-9, 30
# Those of classes may be shifted together, which changes nothing: they need some.
PENALTY_OF_INTERCEPTS = 1e-8
# What is left of a curvature without the sample's own part of it, at least.
LEAST_LEFT = 1e-6


class Modes(NamedTuple):
    """Features in the coordinates in which their second moments are diagonal.

    Attributes
    ----------
    coordinates : ndarray, shape (n, m)
        Of the samples, less their mean if there is an intercept.
    eigenvalues : ndarray, shape (m,)
        Weighted mean of the squares of each coordinate.
    directions : ndarray, shape (m, d)
        Of the coordinates among features, orthonormal.
    mean : ndarray, shape (d,), or None
        Weighted mean of the features; None without an intercept.
    """

    coordinates: Float[np.ndarray, "n m"]
    eigenvalues: Float[np.ndarray, " m"]
    directions: Float[np.ndarray, "m d"]
    mean: Float[np.ndarray, " d"] | None

    @property
    def with_intercept(self) -> Float[np.ndarray, "n M"]:
        """Coordinates, and ones if there is an intercept."""
        if self.mean is None:
            return self.coordinates
        return np.column_stack([self.coordinates, np.ones(len(self.coordinates))])


class LinearModel(NamedTuple):
    """A fitted linear model.

    Attributes
    ----------
    weights : ndarray, shape (C, d)
        Of the features.
    intercept : ndarray, shape (C,)
    penalty : float
        Times half the squared weights, beside the mean loss.
    kept : ndarray, shape (C, n)
        What a sample's outputs keep of its own gradient: without it they are leave-one-out's.
    """

    weights: Float[np.ndarray, "C d"]
    intercept: Float[np.ndarray, " C"]
    penalty: float
    kept: Float[np.ndarray, "C n"]


_Factor = tuple[np.ndarray, bool]
"""As `scipy.linalg.cho_factor` gives it."""


class _Point(NamedTuple):
    """Parameters, shape (C, M), what they make of the samples, and the derivatives there."""

    parameters: np.ndarray
    outputs: np.ndarray
    gradients: np.ndarray
    curvatures: np.ndarray
    objective: float


def modes_of(features: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"], *, intercept: bool) -> Modes:
    """Turn features into coordinates of diagonal second moments.

    Parameters
    ----------
    features : ndarray, shape (n, d)
    weights : ndarray, shape (n,)
        Of the samples, positive and with mean 1.
    intercept : bool
        Whether a constant is fitted too.

    Returns
    -------
    Modes
    """
    n, d = features.shape
    mean = np.average(features, axis=0, weights=weights) if intercept else None
    centred = features if mean is None else features - mean
    rows = centred * np.sqrt(weights)[:, None]
    gram = (rows.T @ rows if d <= n else rows @ rows.T) / n
    eigenvalues, vectors = np.linalg.eigh(gram)
    there = eigenvalues > max(n, d) * np.finfo(float).eps * eigenvalues[-1]
    eigenvalues, vectors = eigenvalues[there], vectors[:, there]
    directions = vectors.T if d <= n else vectors.T @ rows / np.sqrt(n * eigenvalues)[:, None]
    return Modes(centred @ directions.T, eigenvalues, directions, mean)


def choose(
    modes: Modes, labels: Float[np.ndarray, "C n"], weights: Float[np.ndarray, " n"], loss: Loss
) -> LinearModel | None:
    """Fit the linear model with the penalty of least leave-one-out error.

    Of that error the minimum is flat and noisy. So it is sought for many samples of the samples, and the penalty is the
    geometric mean of theirs.

    Parameters
    ----------
    modes : Modes
        Of the features.
    labels : ndarray, shape (C, n)
    weights : ndarray, shape (n,)
        Of the samples, with mean 1.
    loss : Loss

    Returns
    -------
    LinearModel or None
        None where there would be too many unknowns.
    """
    quadratic = _curvatures_are_equal(loss, labels)
    unknowns = modes.with_intercept.shape[1] * (len(labels) if loss.joint else 1)
    if not quadratic and unknowns > LARGEST_SYSTEM:
        return None
    ratio = 10 ** (-1 / IN_A_DECADE[quadratic])
    count = 1 + round(np.log(SMALLEST_SHARE / LARGEST_SHARE) / np.log(ratio))
    largest = curvature_bound(loss, len(labels)) * modes.eigenvalues.max()
    penalties = LARGEST_SHARE * largest * ratio ** np.arange(count)
    start, best, errors = None, 0, []
    for penalty in penalties:
        start, left_out, _ = _fit(modes, labels, weights, loss, penalty, start)
        errors.append(weights * losses_with_doubt(loss, left_out, labels))
        if errors[-1].sum() < errors[best].sum():
            best = len(errors) - 1
        if not quadratic and len(errors) - 1 - best > DECADES_OF_PATIENCE * IN_A_DECADE[quadratic]:
            break
    counts = np.random.default_rng(0).multinomial(weights.size, np.full(weights.size, 1 / weights.size), RESAMPLED)
    penalty = float(np.exp(np.log(penalties[np.argmin(counts @ np.array(errors).T, axis=1)]).mean()))
    parameters, left_out, kept = _fit(modes, labels, weights, loss, penalty, start)
    model = LinearModel(*_in_features(modes, parameters), penalty, kept)
    if not quadratic:
        for sample in np.argsort(-weights * losses(loss, left_out, labels))[:FITTED_AGAIN]:
            others = np.where(np.arange(weights.size) == sample, 0.0, weights)
            own = _coefficients(modes, *solve(modes, labels, others, loss, model))
            kept[:, sample] = (parameters - own) @ modes.with_intercept[sample]
    return model


def solve(
    modes: Modes,
    labels: Float[np.ndarray, "C n"],
    weights: Float[np.ndarray, " n"],
    loss: Loss,
    near: LinearModel,
) -> tuple[Float[np.ndarray, "C d"], Float[np.ndarray, " C"]]:
    """Fit again with other weights of the samples and the same penalty.

    Parameters
    ----------
    modes : Modes
        Of the features.
    labels : ndarray, shape (C, n)
    weights : ndarray, shape (n,)
    loss : Loss
    near : LinearModel
        With the penalty, and weights that are near those sought.

    Returns
    -------
    weights : ndarray, shape (C, d)
    intercept : ndarray, shape (C,)
    """
    start = _coefficients(modes, near.weights, near.intercept)
    found = [
        _newton(modes, labels[some], weights, loss, near.penalty, start[some])[0].parameters
        for some in _systems(loss, len(labels))
    ]
    return _in_features(modes, np.concatenate(found))


def _coefficients(modes: Modes, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """Those of coordinates, of weights of features and intercept."""
    found = weights @ modes.directions.T
    return found if modes.mean is None else np.column_stack([found, intercept + weights @ modes.mean])


def _in_features(modes: Modes, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of features and intercept, of those of coordinates."""
    m = modes.eigenvalues.size
    weights = parameters[:, :m] @ modes.directions
    if modes.mean is None:
        return weights, np.zeros(len(weights))
    return weights, parameters[:, m] - weights @ modes.mean


def _fit(
    modes: Modes, labels: np.ndarray, weights: np.ndarray, loss: Loss, penalty: float, start: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters, outputs for samples that were left out, and what they keep otherwise."""
    rows = modes.with_intercept
    start = np.zeros((len(labels), rows.shape[1])) if start is None else start
    parts = []
    for some in _systems(loss, len(labels)):
        point, curvature = _newton(modes, labels[some], weights, loss, penalty, start[some])
        own = _own_responses(rows, curvature, len(point.outputs)) / len(rows)
        curvatures = np.moveaxis(point.curvatures * weights, -1, 0)
        left = np.eye(len(point.outputs)) - np.matmul(own, curvatures)
        kept = -_solved(left, np.matmul(own, (point.gradients * weights).T[:, :, None]))[:, :, 0].T
        parts.append((point.parameters, point.outputs - kept, kept))
    parameters, left_out, kept = (np.concatenate(part) for part in zip(*parts, strict=True))
    return parameters, left_out, kept


def _systems(loss: Loss, outputs: int) -> list[slice]:
    """Outputs whose equations are solved together: all, or each by itself."""
    return [slice(None)] if loss.joint else [slice(c, c + 1) for c in range(outputs)]


def _solved(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve small systems, one for each sample; of one unknown it must not vanish."""
    if left.shape[-1] == 1:
        return right / np.maximum(left, LEAST_LEFT)
    return np.linalg.solve(left, right)


def _curvatures_are_equal(loss: Loss, labels: np.ndarray) -> bool:
    """Whether a loss is a parabola."""
    f = np.linspace(-3, 3, 7) * np.ones((len(labels), 1))
    return not loss.joint and bool(np.ptp(loss.jet(f, np.ones_like(f), 2)[2]) == 0)


def _look(
    rows: np.ndarray, labels: np.ndarray, weights: np.ndarray, loss: Loss, penalties: np.ndarray, parameters: np.ndarray
) -> _Point:
    outputs = parameters @ rows.T
    value, gradients, curvatures = loss.jet(outputs, labels, 2)
    if not loss.joint:
        value, curvatures = value[0], curvatures[:, None]
    objective = float(value @ weights / weights.size + (penalties * parameters**2).sum() / 2)
    return _Point(parameters, outputs, gradients, curvatures, objective)


def _newton(
    modes: Modes, labels: np.ndarray, weights: np.ndarray, loss: Loss, penalty: float, start: np.ndarray
) -> tuple[_Point, np.ndarray | _Factor]:
    """Minimum of the mean loss and the penalty, and the curvature there as its Cholesky factor, of (C M, C M).

    For a parabola whose weights are those of the modes the curvature is diagonal, and given as such, (M,).
    """
    rows, n = modes.with_intercept, len(weights)
    penalties = np.full(rows.shape[1], penalty)
    if modes.mean is not None:
        penalties[-1] = PENALTY_OF_INTERCEPTS
    point = _look(rows, labels, weights, loss, penalties, start)
    own = np.ones(rows.shape[1])
    own[: modes.eigenvalues.size] = modes.eigenvalues
    # Weights are those of the modes, but for samples that are left out and have none.
    diagonal = _curvatures_are_equal(loss, labels) and bool((weights > 0).all())
    for step in range(NEWTON_STEPS + 1):
        slope = (point.gradients * weights) @ rows / n + penalties * point.parameters
        curvature: np.ndarray | _Factor
        if diagonal:
            curvature = float(point.curvatures.flat[0]) * own + penalties
            change = slope / curvature
        else:
            curvature = _factor(rows, point.curvatures * weights / n, penalties)
            change = cho_solve(curvature, slope.ravel()).reshape(slope.shape)
        gain = float((slope * change).sum())
        if step == NEWTON_STEPS or not gain > NEWTON_TOLERANCE * max(point.objective, np.finfo(float).tiny):
            break
        for _ in range(HALVINGS):
            there = _look(rows, labels, weights, loss, penalties, point.parameters - change)
            if there.objective <= point.objective:
                break
            change = change / 2
        else:
            break
        point = there
    return point, curvature


def _factor(rows: np.ndarray, curvatures: np.ndarray, penalties: np.ndarray) -> _Factor:
    """Cholesky factor of the curvature of all parameters."""
    outputs, _, _ = curvatures.shape
    size = rows.shape[1]
    whole = np.empty((outputs, size, outputs, size))
    for c in range(outputs):
        for e in range(c + 1):
            whole[c, :, e] = whole[e, :, c] = (rows.T * curvatures[c, e]) @ rows
    flat = whole.reshape(outputs * size, -1)
    flat[np.diag_indices(len(flat))] += np.tile(penalties, outputs)
    return cho_factor(flat)


def _own_responses(rows: np.ndarray, curvature: np.ndarray | _Factor, outputs: int) -> np.ndarray:
    """Each sample's quadratic form, shape (n, C, C)."""
    if isinstance(curvature, np.ndarray):
        return (rows / curvature * rows).sum(axis=1)[:, None, None]
    size = rows.shape[1]
    inverse = cho_solve(curvature, np.eye(outputs * size)).reshape(outputs, size, outputs, size)
    own = np.empty((len(rows), outputs, outputs))
    for c in range(outputs):
        for e in range(c + 1):
            own[:, c, e] = own[:, e, c] = ((rows @ inverse[c, :, e]) * rows).sum(axis=1)
    return own
