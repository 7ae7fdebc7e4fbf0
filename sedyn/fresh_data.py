"""The test error of given weights: their error on fresh rows, with its own standard error.

A fresh row with Gaussian features sees the weights by their overlaps only, so an average over a few dimensions
replaces fresh data. Other laws are met with fresh rows, drawn in blocks after the run for all iterations at once. From
each error a quadratic function of the row is subtracted, a control variate: its mean is known, since every law is
standardized, and it is fitted to what the errors would be with Gaussian features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from sedyn import backend
from sedyn.backend import Array, array_namespace, to_numpy
from sedyn.design import dense_design
from sedyn.evaluation import mean_error, sample_errors
from sedyn.features import feature_sampler
from sedyn.labels import respond
from sedyn.network import DeepWeights
from sedyn.problem import Problem
from sedyn.sampling import matched_normals, psd_root, shifted_points

__all__ = [
    "Control",
    "FreshData",
    "Quadrature",
    "draw_quadrature",
    "fit_control",
    "fresh_data",
    "fresh_rows_errors",
    "quadrature_error",
    "test_points",
]

# Points, or fresh rows: as many as training samples within these bounds, so that the error of the average stays
# near or below the fluctuation of the training run itself.
LEAST_POINTS, MOST_POINTS = 2**12, 2**16
# Independent shifts of the quadrature; their spread is its standard error.
SHIFTS = 4
# Features of fresh rows held in memory at a time.
FEATURES_PER_BLOCK = 2**22


class FreshData(Protocol):
    """Fresh rows for each of several replicates, as they meet the weights of one iteration after another."""

    def meet(self, first: Array, deep: DeepWeights) -> None:
        """Meet the weights of the next iteration.

        Parameters
        ----------
        first : array, shape (R, q, d)
            First-layer weights, scaled by the features' standard deviations.
        deep : tuple of array
            Deeper weights of each replicate.
        """
        ...

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Test errors and their standard errors at the iterations met, (iterations, R) each."""
        ...


def fresh_data(
    problem: Problem, signals: Array, seeds: Sequence[np.random.SeedSequence], device: str = "cpu"
) -> FreshData:
    """Choose how fresh data of a problem are met.

    Parameters
    ----------
    problem : Problem
    signals : array, shape (R, k, d)
        Of each replicate, scaled by the features' standard deviations.
    seeds : sequence of SeedSequence
        One for each replicate.
    device : {'cpu', 'gpu'}, optional
    """
    kind = GaussianData if problem.features == "gaussian" else RowData
    return kind(problem, signals, seeds, device)


class GaussianData:
    """Fresh rows with Gaussian features: a quadrature that sees the weights by their overlaps."""

    def __init__(self, problem: Problem, signals: Array, seeds: Sequence[np.random.SeedSequence], device: str) -> None:
        xp = array_namespace(signals)
        points = [draw_quadrature(problem, seed, device) for seed in seeds]
        self.points = Quadrature(*(xp.stack(parts) for parts in zip(*points, strict=True)))
        self.problem, self.signals = problem, signals
        self.found: list[tuple[np.ndarray, np.ndarray]] = []

    def meet(self, first: Array, deep: DeepWeights) -> None:
        """Average over the quadrature."""
        xp = array_namespace(first)
        directions = xp.concat([self.signals, first], axis=-2)
        overlaps = to_numpy(xp.matmul(directions, xp.matrix_transpose(directions))) / self.problem.d
        self.found.append(quadrature_error(self.problem, self.points, overlaps, deep))

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Test errors and their standard errors; see `FreshData.errors`."""
        errors, standard_errors = zip(*self.found, strict=True)
        return np.stack(errors), np.stack(standard_errors)


class RowData:
    """Fresh rows of any feature law, drawn at the end, the same for all iterations of a replicate."""

    def __init__(self, problem: Problem, signals: Array, seeds: Sequence[np.random.SeedSequence], device: str) -> None:
        self.problem, self.signals, self.seeds, self.device = problem, signals, seeds, device
        self.weights: list[tuple[Array, DeepWeights]] = []

    def meet(self, first: Array, deep: DeepWeights) -> None:
        """Keep the weights until the rows are drawn."""
        self.weights.append((first, deep))

    def errors(self) -> tuple[np.ndarray, np.ndarray]:
        """Test errors and their standard errors; see `FreshData.errors`."""
        found = []
        for replicate, seed in enumerate(self.seeds):
            first = [weights[replicate, ...] for weights, _ in self.weights]
            deep = [tuple(weights[replicate, ...] for weights in layers) for _, layers in self.weights]
            signals = self.signals[replicate, ...]
            found.append(fresh_rows_errors(self.problem, first, deep, signals, seed, self.device))
        errors, standard_errors = np.moveaxis(np.array(found), 0, -1)
        return errors, standard_errors


class Quadrature(NamedTuple):
    """Points that stand for fresh Gaussian rows, in independent shifts.

    Attributes
    ----------
    normals : array, shape (..., shifts, q + k, N)
        Standardized projections of fresh rows.
    noise : array, shape (..., shifts, N)
        Standardized label noise.
    """

    normals: Array
    noise: Array


def test_points(problem: Problem) -> int:
    """Points or fresh rows that a test error is averaged over, a power of two."""
    return min(max(LEAST_POINTS, 1 << (problem.n - 1).bit_length()), MOST_POINTS)


def draw_quadrature(problem: Problem, seed: np.random.SeedSequence, device: str = "cpu") -> Quadrature:
    """Draw shifted Sobol points with matched moments.

    Parameters
    ----------
    problem : Problem
        Its width, signals and n decide on dimension and number of points.
    seed : SeedSequence
    device : {'cpu', 'gpu'}, optional
    """
    dimensions, points = problem.width + problem.signals + 1, test_points(problem) // SHIFTS
    normals = backend.asarray(matched_normals(shifted_points(seed, dimensions, points, SHIFTS)), device)
    return Quadrature(normals[:, 1:, :], normals[:, 0, :])


def quadrature_error(
    problem: Problem, points: Quadrature, overlaps: np.ndarray, deep: DeepWeights
) -> tuple[np.ndarray, np.ndarray]:
    """Test error and its standard error with Gaussian features.

    Parameters
    ----------
    problem : Problem
    points : Quadrature
    overlaps : ndarray, shape (..., k + q, k + q)
        Gram matrix of [mu, W] over d, in the features' covariance.
    deep : tuple of array
        Deeper weights.

    Returns
    -------
    error, standard_error : ndarray, shape (...)
        NaN where an overlap is not finite.
    """
    xp, k = array_namespace(points.normals), problem.signals
    finite = np.isfinite(overlaps).all((-2, -1))
    root = psd_root(np.where(finite[..., None, None], overlaps, 0.0))[0][..., None, :, :]
    like = {"dtype": points.normals.dtype, "device": points.normals.device}
    projections = xp.matmul(xp.asarray(root, **like), points.normals)
    y = respond(problem, projections[..., :k, :], points.noise)
    same_for_shifts = tuple(xp.expand_dims(weights, axis=-3) for weights in deep)
    errors = mean_error(problem, projections[..., k:, :], y, same_for_shifts)
    errors = np.where(finite[..., None], errors, np.nan)
    return errors.mean(-1), errors.std(-1, ddof=1) / math.sqrt(SHIFTS)


def fresh_rows_errors(
    problem: Problem,
    first: Sequence[Array],
    deep: Sequence[DeepWeights],
    signals: Array,
    seed: np.random.SeedSequence,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Test errors and their standard errors on fresh rows of any feature law, the same rows for all iterations.

    Parameters
    ----------
    problem : Problem
    first : sequence of array, shape (q, d)
        First-layer weights at each iteration, scaled by the features' standard deviations.
    deep : sequence of tuple of array
        Deeper weights at each iteration.
    signals : array, shape (k, d)
        Signals, scaled likewise.
    seed : SeedSequence
    device : {'cpu', 'gpu'}, optional

    Returns
    -------
    errors, standard_errors : ndarray, shape (iterations,)
    """
    xp = array_namespace(signals)
    sampler, (k, d) = feature_sampler(problem.features), signals.shape
    rows, q = test_points(problem), problem.width
    directions = xp.concat([signals, *first], axis=0)
    points = draw_quadrature(problem, seed.spawn(1)[0], device)
    controls = [
        fit_control(problem, points, xp.concat([signals, weights], axis=0), deeper)
        for weights, deeper in zip(first, deep, strict=True)
    ]
    totals = np.zeros((2, len(first)))
    per_block = max(1, FEATURES_PER_BLOCK // d)
    for start in range(0, rows, per_block):
        count = min(per_block, rows - start)
        block_seed, noise_seed = seed.spawn(2)
        projections = dense_design(count, d, sampler, block_seed, device).matmul(directions)
        noise = backend.asarray(np.random.default_rng(noise_seed).standard_normal(count), device)
        y = respond(problem, projections[:k, :], noise)
        for t, weights in enumerate(deep):
            h = projections[k + t * q : k + (t + 1) * q, :]
            errors = sample_errors(problem, h, y, weights) - controls[t](projections[:k, :], h, noise)
            totals[:, t] += to_numpy(xp.sum(errors)), to_numpy(xp.sum(errors * errors))
    mean, square = totals / rows
    return mean, np.sqrt((square - mean**2).clip(0) / (rows - 1))


class Control(NamedTuple):
    """A quadratic function of a fresh row's projections and noise whose mean is zero under every standardized law.

    Attributes
    ----------
    whitening : array, shape (k + q, k + q)
        Makes projections on signals and weights uncorrelated.
    linear : array, shape (k + q + 1,)
    quadratic : array, shape (k + q + 1, k + q + 1)
        Of the whitened projections and the noise.
    mean : float
        What linear and quadratic part average to.
    """

    whitening: Array
    linear: Array
    quadratic: Array
    mean: float

    def __call__(self, indices: Array, h: Array, noise: Array) -> Array:
        """Values on rows: projections on the signals (k, N) and on the weights (q, N), and noise (N,)."""
        xp = array_namespace(h)
        white = xp.matmul(self.whitening, xp.concat([indices, h], axis=0))
        white = xp.concat([white, noise[None, :]], axis=0)
        return xp.sum((self.linear[:, None] + xp.matmul(self.quadratic, white)) * white, axis=0) - self.mean


def fit_control(problem: Problem, points: Quadrature, directions: Array, deep: DeepWeights) -> Control:
    """Least-squares fit of a control to the errors with Gaussian features.

    Whitened, a quadratic fit is a projection on Hermite polynomials: averages of the error times the first two.

    Parameters
    ----------
    problem : Problem
    points : Quadrature
        Matched moments make the polynomials orthogonal on the points too, to second order.
    directions : array, shape (k + q, d)
        Signals and first-layer weights.
    deep : tuple of array
        Deeper weights.
    """
    xp, k = array_namespace(directions), problem.signals
    kind = {"dtype": directions.dtype, "device": directions.device}
    gram = to_numpy(xp.matmul(directions, directions.T)) / directions.shape[1]
    gram = gram if np.isfinite(gram).all() else np.zeros_like(gram)  # of a diverged run, which has no errors either
    root, inverse = (xp.asarray(matrix, **kind) for matrix in psd_root(gram))
    linear, quadratic = 0.0, 0.0
    shifts, samples = points.noise.shape
    for shift in range(shifts):
        normals, noise = points.normals[shift, ...], points.noise[shift, :]
        projections = xp.matmul(root, normals)
        errors = sample_errors(problem, projections[k:, :], respond(problem, projections[:k, :], noise), deep)
        white = xp.concat([normals, noise[None, :]], axis=0)
        weighted = white * (errors - xp.mean(errors))
        linear = linear + xp.sum(weighted, axis=1)
        quadratic = quadratic + xp.matmul(weighted, white.T) / 2
    linear, quadratic = linear / (shifts * samples), quadratic / (shifts * samples)
    # Directions without variance are left out of the whitened ones, whose covariance then is a projection.
    kept = xp.matmul(inverse, root)
    mean = xp.sum(quadratic[:-1, :-1] * kept) + quadratic[-1, -1]
    return Control(inverse, linear, quadratic, float(mean))
