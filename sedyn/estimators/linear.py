"""The linear model inside a network, with the penalty of least leave-one-out error (docs/theory.md#linear-start).

It is where training begins, so that what descent is slow at, directions in which features hardly vary, is done before.
Of a parabola every matrix is diagonal; where curvatures differ from sample to sample a penalty takes one matrix, which
tells what samples keep, and the penalties are few.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.blas import dtrmm
from scipy.linalg.lapack import dpotri

from sedyn.arrays.shapes import Float
from sedyn.estimators.choosing import Resamples
from sedyn.estimators.newton import Objectives, Point, minimum
from sedyn.estimators.rates import curvature_bound
from sedyn.estimators.scores import losses_with_doubt
from sedyn.model.functions import Loss
from sedyn.model.network import losses

__all__ = ["LARGEST_SYSTEM", "LinearModel", "Modes", "choose", "modes_of", "solve"]

LARGEST_SYSTEM = 1024
"""Unknowns of a system of equations, at most, where curvatures differ from sample to sample."""
# Penalties that are tried, from the largest down, as shares of the largest curvature.
LARGEST_SHARE, SMALLEST_SHARE = 5.0, 1e-12
IN_A_DECADE = {True: 8, False: 2}  # of a parabola, and where a solution takes Newton's method
# Of a parabola the share of the samples of the samples whose own penalty is smaller than the one that is taken, lest
# few samples of large errors choose one that is far too small.
SMALLER = 0.8
# Decades of smaller penalties in which nothing was gained, after which none is tried by Newton's method.
DECADES_OF_PATIENCE = 2
# Samples of the largest errors, without which the model is fitted again where what they keep is known to first order.
FITTED_AGAIN = 20
# What Newton's method leaves to gain, as a share of the objective: where penalties are compared, and of what is kept.
ROUGHLY, EXACTLY = 1e-6, 1e-16
# Those of classes may be shifted together, which changes nothing: they need some. It stays below that of the weights: a
# sample would else be told from the mean of the others, which centring has made 0. A parabola needs none.
PENALTY_OF_INTERCEPTS, SHARE_OF_INTERCEPTS = 1e-8, 1e-3
# What is left of a curvature without the sample's own part of it, at least: rounding. With more than that a model that
# fits every sample would have next to no error.
LEAST_LEFT = 1e-12
# Numbers that models side by side work with at a time.
NUMBERS_AT_A_TIME = 2**21


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
    gained : ndarray, shape (R,)
        By how much the penalties that resamples of the samples choose have a larger mean loss than this one, on the
        samples that were not drawn.
    """

    weights: Float[np.ndarray, "C d"]
    intercept: Float[np.ndarray, " C"]
    penalty: float
    kept: Float[np.ndarray, "C n"]
    gained: Float[np.ndarray, " R"]


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
    geometric mean of theirs; of a parabola, whose errors have the heaviest tails, one that is large among theirs.

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
    family = _Family(modes, labels, weights, loss)
    if not family.parabola and family.unknowns > LARGEST_SYSTEM:
        return None
    resamples = Resamples.of(weights)
    penalty, near, of_resamples = _best_penalty(family, resamples)
    point = family.minima(np.array([penalty]), near, EXACTLY)
    parameters, outputs = point.parameters.reshape(len(labels), -1), point.outputs.reshape(labels.shape)
    if family.parabola:
        left_out = family.left_out_of_parabola(np.array([penalty]))[0]
        kept = outputs - left_out
    else:
        curvature = family.dense(penalty, point.curvatures[0])
        kept = family.kept(curvature, point.curvatures[0], point.gradients[0])
        left_out = outputs - kept
    own = resamples.sums(losses_with_doubt(loss, left_out, labels)[1])
    gained = resamples.left_out(of_resamples - own)
    if not family.parabola:
        worst = np.argsort(-weights * losses(loss, left_out, labels))[:FITTED_AGAIN]
        others = np.where(np.arange(weights.size) == worst[:, None], 0.0, weights)
        own = family.fitted_again(penalty, others, None, point.parameters, curvature)
        kept[:, worst] = np.einsum("kcm,km->ck", parameters - own, family.rows[worst])
    return LinearModel(*_in_features(modes, parameters), penalty, kept, gained)


def solve(
    modes: Modes,
    labels: Float[np.ndarray, "C n"],
    weights: Float[np.ndarray, "sets n"],
    loss: Loss,
    near: LinearModel,
    shifts: Float[np.ndarray, "sets m"] | None = None,
) -> tuple[Float[np.ndarray, "sets C d"], Float[np.ndarray, "sets C"]]:
    """Fit again with other weights of the samples and the same penalty.

    Parameters
    ----------
    modes : Modes
        Of the features.
    labels : ndarray, shape (C, n)
    weights : ndarray, shape (sets, n)
        For each fit; their mean over fits is near the weights with which the modes are diagonal.
    loss : Loss
    near : LinearModel
        With the penalty, and weights that are near those sought.
    shifts : ndarray, shape (sets, m), optional
        Added to the coordinates of all samples.

    Returns
    -------
    weights : ndarray, shape (sets, C, d)
    intercept : ndarray, shape (sets, C)
    """
    family = _Family(modes, labels, weights.mean(axis=0), loss)
    start = _coefficients(modes, near.weights, near.intercept).reshape(1, *family.labels.shape[:2], -1)
    curvatures = family.objectives(np.array([near.penalty])).at(start).curvatures[0]
    curvature = family.curvature(near.penalty, curvatures)
    return _in_features(modes, family.fitted_again(near.penalty, weights, shifts, start, curvature))


class _Diagonal:
    """Curvature of each system, of one that is the same for all samples: a small matrix for each mode."""

    def __init__(self, curvature: Float[np.ndarray, "... M C C"]) -> None:
        self.inverses = 1 / curvature if curvature.shape[-1] == 1 else np.linalg.inv(curvature)

    def solve(self, slope: Float[np.ndarray, "... C M"]) -> Float[np.ndarray, "... C M"]:
        """Multiply with the inverse."""
        return np.einsum("...mce,...em->...cm", self.inverses, slope)


class _Dense:
    """The same where curvatures differ: a matrix of all of a system's parameters."""

    def __init__(self, curvature: Float[np.ndarray, "S C M C M"]) -> None:
        self.shape = curvature.shape[1:3]
        self.factors = [cho_factor(each.reshape(np.prod(self.shape), -1), lower=True) for each in curvature]

    def solve(self, slope: Float[np.ndarray, "... S C M"]) -> Float[np.ndarray, "... S C M"]:
        """Multiply with the inverse."""
        found = np.empty_like(slope)
        for s, factor in enumerate(self.factors):
            flat = slope[..., s, :, :].reshape(-1, np.prod(self.shape))
            found[..., s, :, :] = cho_solve(factor, flat.T).T.reshape(-1, *self.shape)
        return found

    def own(self, rows: Float[np.ndarray, "n M"]) -> Float[np.ndarray, "S n C C"]:
        """Each row's quadratic form with the inverse."""
        outputs, size = self.shape
        own = np.empty((len(self.factors), len(rows), outputs, outputs))
        for s, (factor, _) in enumerate(self.factors):
            lower = dpotri(factor, lower=True)[0].reshape(outputs, size, outputs, size)
            for c in range(outputs):
                half = np.tril(lower[c, :, c]) - np.diag(np.diag(lower[c, :, c]) / 2)
                own[s, :, c, c] = 2 * np.einsum("mi,im->i", dtrmm(1.0, half, rows.T, lower=True), rows)
                for e in range(c):
                    own[s, :, c, e] = own[s, :, e, c] = np.einsum("im,im->i", rows @ lower[c, :, e], rows)
        return own


class _Family:
    """The linear models of a table by penalty: S systems of C outputs with M parameters each.

    Outputs of a joint loss are one system, of others each is its own.
    """

    def __init__(self, modes: Modes, labels: np.ndarray, weights: np.ndarray, loss: Loss) -> None:
        self.modes, self.weights, self.loss, self.shape = modes, weights, loss, labels.shape
        self.rows = modes.with_intercept
        self.labels = labels[None] if loss.joint else labels[:, None]

    @property
    def unknowns(self) -> int:
        """Of a system."""
        return self.labels.shape[1] * self.rows.shape[1]

    @cached_property
    def parabola(self) -> bool:
        """Whether all curvatures are equal."""
        f = np.linspace(-3, 3, 7) * np.ones((self.shape[0], 1))
        return not self.loss.joint and bool(np.ptp(self.loss.jet(f, np.ones_like(f), 2)[2]) == 0)

    @cached_property
    def second_moments(self) -> Float[np.ndarray, " M"]:
        """Of the rows, which are orthogonal: of their coordinates, and of the ones of an intercept."""
        found = np.ones(self.rows.shape[1])
        found[: self.modes.eigenvalues.size] = self.modes.eigenvalues
        return found

    def penalties(self, each: Float[np.ndarray, " P"]) -> Float[np.ndarray, "P M"]:
        """Of the parameters: intercepts have none, or next to none."""
        found = np.repeat(each[:, None], self.rows.shape[1], axis=1)
        of_intercepts = 0 * each if self.parabola else np.minimum(PENALTY_OF_INTERCEPTS, SHARE_OF_INTERCEPTS * each)
        found[:, self.modes.eigenvalues.size :] = of_intercepts[:, None]
        return found

    def objectives(self, each: Float[np.ndarray, " P"]) -> Objectives:
        """For each penalty, and each system."""
        return Objectives(self.rows, self.labels, self.weights, self.loss, self.penalties(each)[:, None])

    def at_zero(self) -> Point:
        """Where nothing is learned, whatever the penalty."""
        return self.objectives(np.ones(1)).at(np.zeros((1, *self.labels.shape[:2], self.rows.shape[1])))

    def minima(self, each: Float[np.ndarray, " P"], near: Point, tolerance: float) -> Point:
        """Fit with each penalty, from the last model of a point."""
        start = np.repeat(near.parameters[-1:], each.size, axis=0)
        curvature = self.by_modes(each, near.curvatures[-1] @ self.weights / self.weights.size)
        return minimum(self.objectives(each), start, curvature.solve, tolerance)

    def fitted_again(
        self,
        penalty: float,
        weights: Float[np.ndarray, "sets n"],
        shifts: Float[np.ndarray, "sets m"] | None,
        near: Float[np.ndarray, "1 S C M"],
        curvature: _Diagonal | _Dense,
    ) -> Float[np.ndarray, "sets outputs M"]:
        """Parameters with other weights, and shifts of the coordinates, from parameters near and their curvature."""
        objectives = self.objectives(np.array([penalty]))
        if shifts is not None and self.modes.mean is not None:
            shifts = np.column_stack([shifts, np.zeros(len(shifts))])
        together = max(1, NUMBERS_AT_A_TIME // ((4 + self.labels.shape[1]) * self.labels.size))
        found = []
        for first in range(0, len(weights), together):
            some = slice(first, first + together)
            own = objectives._replace(
                weights=weights[some, None], shifts=None if shifts is None else shifts[some, None]
            )
            start = np.repeat(near, len(weights[some]), axis=0)
            found.append(minimum(own, start, curvature.solve, EXACTLY).parameters)
        return np.concatenate(found).reshape(len(weights), self.shape[0], -1)

    def by_modes(self, each: Float[np.ndarray, " P"], curvature: Float[np.ndarray, "... S C C"]) -> _Diagonal:
        """The objectives' curvature for each penalty, were that of all samples the same."""
        bent = curvature[..., None, :, :] * self.second_moments[:, None, None]
        return _Diagonal(bent + self.penalties(each)[:, None, :, None, None] * np.eye(curvature.shape[-1]))

    def curvature(self, penalty: float, curvatures: Float[np.ndarray, "S C C n"]) -> _Diagonal | _Dense:
        """The objectives' curvature with one penalty, from the samples' own."""
        if self.parabola:
            return self.by_modes(np.array([penalty]), curvatures @ self.weights / self.weights.size)
        return self.dense(penalty, curvatures)

    def dense(self, penalty: float, curvatures: Float[np.ndarray, "S C C n"]) -> _Dense:
        """The same where the samples' own differ."""
        each, n = np.array([penalty]), self.weights.size
        systems, outputs, size = *curvatures.shape[:2], self.rows.shape[1]
        whole = np.zeros((systems, outputs, size, outputs, size))
        for s in range(systems):
            for c in range(outputs):
                for e in range(c):
                    pushes = curvatures[s, c, e] * (self.weights / n)
                    whole[s, c, :, e] = whole[s, e, :, c] = (self.rows.T * pushes) @ self.rows
                half = self.rows * np.sqrt(curvatures[s, c, c].clip(0) * (self.weights / n))[:, None]
                whole[s, c, :, c] = half.T @ half + np.diag(self.penalties(each)[0])
        return _Dense(whole)

    def kept(
        self,
        curvature: _Dense,
        curvatures: Float[np.ndarray, "S C C n"],
        gradients: Float[np.ndarray, "S C n"],
    ) -> Float[np.ndarray, "outputs n"]:
        """What samples keep of their own gradients, if these are answered with everybody's curvature but theirs."""
        own = curvature.own(self.rows) / self.weights.size
        if own.shape[-1] == 1:
            own = own[..., 0, 0]
            left = 1 - own * (curvatures[..., 0, 0, :] * self.weights)
            return -(own * (gradients[..., 0, :] * self.weights) / np.maximum(left, LEAST_LEFT)).reshape(self.shape)
        left = np.eye(own.shape[-1]) - own @ np.moveaxis(curvatures * self.weights, -1, -3)
        right = own @ np.moveaxis(gradients * self.weights, -1, -2)[..., None]
        return -np.moveaxis(np.linalg.solve(left, right)[..., 0], -1, -2).reshape(self.shape)

    def left_out(self, each: Float[np.ndarray, " P"], point: Point) -> Float[np.ndarray, "P outputs n"]:
        """Outputs for samples of the models without them, with each penalty, one after another."""
        models = zip(each, point.curvatures, point.gradients, strict=True)
        kept = np.stack([self.kept(self.dense(own, bent), bent, pulls) for own, bent, pulls in models])
        return point.outputs.reshape(kept.shape) - kept

    def left_out_of_parabola(self, each: Float[np.ndarray, " P"]) -> Float[np.ndarray, "P outputs n"]:
        """The same of a parabola, for all penalties at once and without their models.

        A model that fits every sample leaves gradients and what is left of curvatures as small as its penalty. Both are
        added up from what each mode leaves of them, since as differences from 1 they would be rounding.
        """
        n, zero, penalties = self.weights.size, self.at_zero(), self.penalties(each)
        curvature = float(zero.curvatures.flat[0])
        pulls = zero.gradients.reshape(self.shape)
        learned = (pulls * self.weights) @ self.rows / (n * self.second_moments)
        shares = self.weights[:, None] * self.rows**2 / (n * self.second_moments)
        unlearned = penalties / (curvature * self.second_moments + penalties)
        gradients = pulls - learned @ self.rows.T + (learned * unlearned[:, None]) @ self.rows.T
        left = (1 - shares.sum(axis=1)).clip(0) + unlearned @ shares.T
        return (gradients / left[:, None] - pulls) / curvature


def _best_penalty(family: _Family, resamples: Resamples) -> tuple[float, Point, Float[np.ndarray, "R G"]]:
    """The penalty of least leave-one-out error, a model with one near, and the sums of losses of resamples' own."""
    decade = IN_A_DECADE[family.parabola]
    largest = curvature_bound(family.loss, family.shape[0]) * family.modes.eigenvalues.max()
    count = 1 + round(decade * np.log10(LARGEST_SHARE / SMALLEST_SHARE))
    penalties = LARGEST_SHARE * largest * 10 ** (-np.arange(count) / decade)
    labels, point = family.labels.reshape(family.shape), family.at_zero()
    errors: list[np.ndarray] = []
    for first in range(0, count, decade):
        some = penalties[first : first + decade]
        if family.parabola:
            left_out = family.left_out_of_parabola(some)
        else:
            point = family.minima(some, point, ROUGHLY)
            left_out = family.left_out(some, point)
        each = losses_with_doubt(family.loss, left_out, np.broadcast_to(labels, left_out.shape))[1]
        errors.extend(map(resamples.sums, each))
        since = len(errors) - 1 - np.argmin(np.sum(errors, axis=1))
        if not family.parabola and since >= DECADES_OF_PATIENCE * decade:
            break
    sums = np.array(errors)
    lowest = np.argmin(resamples.drawn(sums), axis=1)
    logarithms = np.log(penalties[lowest])
    chosen = np.quantile(logarithms, SMALLER) if family.parabola else logarithms.mean()
    return float(np.exp(chosen)), point, sums[lowest]


def _coefficients(modes: Modes, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """Those of coordinates, of weights of features and intercept."""
    found = weights @ modes.directions.T
    return found if modes.mean is None else np.column_stack([found, intercept + weights @ modes.mean])


def _in_features(modes: Modes, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of features and intercept, of those of coordinates, shape (..., C, M)."""
    m = modes.eigenvalues.size
    weights = parameters[..., :m] @ modes.directions
    if modes.mean is None:
        return weights, np.zeros(weights.shape[:-1])
    return weights, parameters[..., m] - weights @ modes.mean
