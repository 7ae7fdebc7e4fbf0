"""The test error of given weights: their error on fresh samples, with its own standard error.

A fresh sample with Gaussian features sees the weights by their overlaps only, so an average over a few dimensions
replaces fresh data (docs/theory.md#test-error-quadrature). Other laws are met with fresh samples, drawn in blocks after
the run for all iterations at once. From each error a quadratic function of the sample is subtracted, a control variate:
its mean is known, since every law is standardized, and it is fitted to what the errors would be with Gaussian features
(docs/theory.md#control-variate).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.designs.dense import dense_design
from sedyn.model.evaluation import mean_scores, sample_scores, score_names
from sedyn.model.labels import label_noise, labels_of
from sedyn.model.network import DeepWeights
from sedyn.model.problem import Problem
from sedyn.model.seeds import Stream
from sedyn.theory.sampling import matched_normals, psd_root, shifted_points

__all__ = [
    "Control",
    "Quadrature",
    "Readout",
    "Weights",
    "draw_points",
    "draw_quadrature",
    "fit_control",
    "fresh_sample_errors",
    "quadrature_error",
    "readout_of",
    "readout_points",
]

# Points, or fresh samples: as many as training samples within these bounds, so that the error of the average stays
# near or below the fluctuation of the training run itself.
LEAST_POINTS, MOST_POINTS = 2**12, 2**16
# Independent shifts of the quadrature; their spread is its standard error.
SHIFTS = 4
# Features of fresh samples held in memory at a time.
FEATURES_PER_BLOCK = 2**22


class Weights(NamedTuple):
    """Weights of R replicates at one iteration, and overlaps of the first layer in the features' covariance.

    Attributes
    ----------
    first_weights : array, shape (R, q, d)
    deep_weights : tuple of array
    signal_overlap : array, shape (R, q, k)
        With the signals.
    weight_gram : array, shape (R, q, q)
        Among each other.
    """

    first_weights: Float[Array, "R q d"]
    deep_weights: DeepWeights
    signal_overlap: Float[Array, "R q k"]
    weight_gram: Float[Array, "R q q"]


class Readout(Protocol):
    """Test errors of several replicates, whose weights it meets at one iteration after another."""

    def meet(self, weights: Weights) -> None:
        """Meet the weights of the next iteration."""
        ...

    def errors(self) -> dict[str, Float[Array, "iterations R"]]:
        """Test errors and their standard errors at the iterations met, by the names that datasets have for them."""
        ...


def readout_of(
    problems: Sequence[Problem],
    signals: Float[Array, "R k d"],
    scales: Float[Array, " d"],
    stream: Stream,
    device: str = "cpu",
) -> Readout:
    """Choose how the test errors of replicates are found.

    Parameters
    ----------
    problems : sequence of Problem
        One for each replicate, see `Problem.stack_key`.
    signals : array, shape (R, k, d)
        Of each replicate, scaled by the features' standard deviations.
    scales : array, shape (d,)
        These standard deviations.
    stream : Stream
        Of all replicates.
    device : {'cpu', 'gpu'}, optional

    Returns
    -------
    Readout
    """
    if problems[0].features == "gaussian":
        return GaussianReadout(problems, signals, stream, device)
    return SampledReadout(problems, signals, scales, stream, device)


class GaussianReadout:
    """With Gaussian features: a quadrature that sees the weights by their overlaps; see `readout_of`."""

    def __init__(
        self,
        problems: Sequence[Problem],
        signals: Float[Array, "R k d"],
        stream: Stream,
        device: str,
    ) -> None:
        xp = array_namespace(signals)
        points = [
            draw_quadrature(problem, stream.some(slice(r, r + 1)).seed(), device) for r, problem in enumerate(problems)
        ]
        self.points = Quadrature(*(xp.stack(parts) for parts in zip(*points, strict=True)))
        self.problem = problems[0]
        self.of_signals = xp.matmul(signals, xp.matrix_transpose(signals)) / self.problem.d
        self.found: list[tuple[Array, Array]] = []

    def meet(self, weights: Weights) -> None:
        """Average over the quadrature; see `Readout.meet`."""
        xp = array_namespace(self.of_signals)
        above = xp.concat([self.of_signals, xp.matrix_transpose(weights.signal_overlap)], axis=-1)
        below = xp.concat([weights.signal_overlap, weights.weight_gram], axis=-1)
        overlaps = xp.concat([above, below], axis=-2)
        self.found.append(quadrature_error(self.problem, self.points, overlaps, weights.deep_weights))

    def errors(self) -> dict[str, Float[Array, "iterations R"]]:
        """Test errors and their standard errors; see `Readout.errors`."""
        return _named(self.problem, self.found, axis=1)


class SampledReadout:
    """With features of any law: fresh samples drawn at the end, the same for all iterations; see `readout_of`."""

    def __init__(
        self,
        problems: Sequence[Problem],
        signals: Float[Array, "R k d"],
        scales: Float[Array, " d"],
        stream: Stream,
        device: str,
    ) -> None:
        self.problems, self.signals, self.scales, self.stream, self.device = problems, signals, scales, stream, device
        self.met: list[tuple[Array, DeepWeights]] = []

    def meet(self, weights: Weights) -> None:
        """Keep the weights until the samples are drawn; see `Readout.meet`."""
        self.met.append((weights.first_weights * self.scales, weights.deep_weights))

    def errors(self) -> dict[str, Float[Array, "iterations R"]]:
        """Test errors and their standard errors; see `Readout.errors`."""
        found = []
        for replicate, problem in enumerate(self.problems):
            stream = self.stream.some(slice(replicate, replicate + 1))
            first_weights = [first[replicate, ...] for first, _ in self.met]
            deep_weights = [tuple(layer[replicate, ...] for layer in deep) for _, deep in self.met]
            signals = self.signals[replicate, ...]
            found.append(fresh_sample_errors(problem, first_weights, deep_weights, signals, stream, self.device))
        return _named(self.problems[0], found, axis=-1)


def _named(problem: Problem, found: Sequence[tuple[Array, Array]], axis: int) -> dict[str, Array]:
    """Put scores and standard errors, (scores, ...) each, side by side along an axis and under their names."""
    xp = array_namespace(found[0][0])
    errors, standard_errors = (xp.stack(parts, axis=axis) for parts in zip(*found, strict=True))
    return {
        f"test_{name}{suffix}": values[i, ...]
        for i, name in enumerate(score_names(problem))
        for suffix, values in (("", errors), ("_stderr", standard_errors))
    }


class Quadrature(NamedTuple):
    """Points that stand for fresh Gaussian samples, in independent shifts.

    Attributes
    ----------
    normals : array, shape (..., shifts, q + k, N)
        Standardized projections of fresh samples.
    noise : array, shape (..., shifts, C, N)
        Label noise.
    """

    normals: Float[Array, "... shifts q+k N"]
    noise: Float[Array, "... shifts C N"]


def readout_points(problem: Problem) -> int:
    """Points or fresh samples that a test error is averaged over, a power of two."""
    return min(max(LEAST_POINTS, 1 << (problem.n - 1).bit_length()), MOST_POINTS)


def draw_points(problem: Problem, seed: np.random.SeedSequence, device: str = "cpu") -> Float[Array, "shifts _ N"]:
    """Draw shifted Sobol points with matched moments, first for the normals of the label noise and then for features.

    Parameters
    ----------
    problem : Problem
        Its units, signals, outputs and n decide on dimension and number of points.
    seed : SeedSequence
    device : {'cpu', 'gpu'}, optional

    Returns
    -------
    array, shape (shifts, C + q + k, N)
    """
    dimensions, points = problem.units + problem.signals + problem.outputs, readout_points(problem) // SHIFTS
    return backend.asarray(matched_normals(shifted_points(seed, dimensions, points, SHIFTS)), device)


def draw_quadrature(problem: Problem, seed: np.random.SeedSequence, device: str = "cpu") -> Quadrature:
    """Draw the quadrature of a problem's test error.

    Parameters
    ----------
    problem, seed, device
        As for `draw_points`.

    Returns
    -------
    Quadrature
    """
    points, outputs = draw_points(problem, seed, device), problem.outputs
    return Quadrature(points[:, outputs:, :], label_noise(problem, points[:, :outputs, :]))


def quadrature_error(
    problem: Problem, points: Quadrature, overlaps: Float[Array, "*replicates kq kq"], deep_weights: DeepWeights
) -> tuple[Float[Array, "scores ..."], Float[Array, "scores ..."]]:
    """Test scores and their standard errors with Gaussian features.

    Parameters
    ----------
    problem : Problem
    points : Quadrature
    overlaps : array, shape (..., k + q, k + q)
        Gram matrix of [mu, W] over d, in the features' covariance.
    deep_weights : tuple of array

    Returns
    -------
    scores, standard_errors : array, shape (scores, ...)
        NaN where an overlap is not finite.
    """
    xp, k = array_namespace(points.normals), problem.signals
    finite = xp.all(xp.isfinite(overlaps), axis=(-2, -1))
    root = psd_root(xp.where(finite[..., None, None], overlaps, 0.0))[0]
    of_shifts = []
    for shift in range(SHIFTS):  # one after another, so that less is at work at a time
        projections = xp.matmul(root, points.normals[..., shift, :, :])
        y = labels_of(problem, projections[..., :k, :], points.noise[..., shift, :, :])
        of_shifts.append(mean_scores(problem, projections[..., k:, :], y, deep_weights))
    errors = xp.where(finite[..., None], xp.stack(of_shifts, axis=-1), xp.nan)
    return xp.mean(errors, axis=-1), xp.std(errors, axis=-1, correction=1) / math.sqrt(SHIFTS)


def fresh_sample_errors(
    problem: Problem,
    first_weights: Sequence[Float[Array, "q d"]],
    deep_weights: Sequence[DeepWeights],
    signals: Float[Array, "k d"],
    stream: Stream,
    device: str = "cpu",
) -> tuple[Float[Array, "scores iterations"], Float[Array, "scores iterations"]]:
    """Test scores and their standard errors on fresh samples of any feature law, the same for all iterations.

    Parameters
    ----------
    problem : Problem
    first_weights : sequence of array, shape (q, d)
        At each iteration, scaled by the features' standard deviations.
    deep_weights : sequence of tuple of array
        At each iteration.
    signals : array, shape (k, d)
        Signals, scaled likewise.
    stream : Stream
        Of a single replicate.
    device : {'cpu', 'gpu'}, optional

    Returns
    -------
    scores, standard_errors : array, shape (scores, iterations)
    """
    xp, names = array_namespace(signals), score_names(problem)
    k, d = signals.shape
    samples, q, outputs = readout_points(problem), problem.units, problem.outputs
    directions = xp.concat([signals, *first_weights], axis=0)
    points = draw_points(problem, stream.seed(), device)
    controls = [
        fit_control(problem, points, xp.concat([signals, first], axis=0), deep)
        for first, deep in zip(first_weights, deep_weights, strict=True)
    ]
    totals = xp.zeros((2, len(names), len(first_weights)), dtype=signals.dtype, device=signals.device)
    per_block = max(1, FEATURES_PER_BLOCK // d)
    for block, start in enumerate(range(0, samples, per_block)):
        count = min(per_block, samples - start)
        of_features, of_noise = stream.below(1 + 2 * block), 2 + 2 * block
        projections = dense_design(count, d, problem.feature_law, of_features, device).matmul(directions)
        normals = stream.normals(outputs, count, part=of_noise, device=device)[0, ...]
        y = labels_of(problem, projections[:k, :], label_noise(problem, normals))
        for t, deep in enumerate(deep_weights):
            h = projections[k + t * q : k + (t + 1) * q, :]
            errors = sample_scores(problem, h, y, deep) - controls[t](projections[:k, :], h, normals)
            totals[:, :, t] += xp.stack([xp.sum(errors, axis=-1), xp.sum(errors * errors, axis=-1)])
    mean, square = totals[0, ...] / samples, totals[1, ...] / samples
    return mean, xp.sqrt(xp.maximum(square - mean**2, 0.0) / (samples - 1))


class Control(NamedTuple):
    """For each score a quadratic function of a fresh sample's projections and of the normals that its noise is made of.

    Its mean is zero under every standardized law.

    Attributes
    ----------
    whitening : array, shape (k + q, k + q)
        Makes projections on signals and weights uncorrelated.
    linear : array, shape (scores, k + q + C)
    quadratic : array, shape (scores, k + q + C, k + q + C)
        Of the whitened projections and the normals.
    mean : array, shape (scores,)
        What linear and quadratic part average to.
    """

    whitening: Float[Array, "k+q k+q"]
    linear: Float[Array, "scores k+q+C"]
    quadratic: Float[Array, "scores k+q+C k+q+C"]
    mean: Float[Array, " scores"]

    def __call__(
        self, indices: Float[Array, "k N"], h: Float[Array, "q N"], normals: Float[Array, "C N"]
    ) -> Float[Array, "scores N"]:
        """Values on samples: projections on the signals and weights, and the standard normals of their noise."""
        xp = array_namespace(h)
        white = xp.matmul(self.whitening, xp.concat([indices, h], axis=0))
        white = xp.concat([white, normals], axis=0)
        slopes = self.linear[:, :, None] + xp.matmul(self.quadratic, white)
        return xp.sum(slopes * white, axis=1) - self.mean[:, None]


def fit_control(
    problem: Problem, points: Float[Array, "shifts _ N"], directions: Float[Array, "kq d"], deep_weights: DeepWeights
) -> Control:
    """Least-squares fit of a control to the errors with Gaussian features.

    Whitened, a quadratic fit is a projection on Hermite polynomials: averages of the error times the first two.

    Parameters
    ----------
    problem : Problem
    points : array, shape (shifts, C + q + k, N)
        See `draw_points`; matched moments make the polynomials orthogonal on the points too, to second order.
    directions : array, shape (k + q, d)
        Signals and first-layer weights.
    deep_weights : tuple of array

    Returns
    -------
    Control
    """
    xp, k = array_namespace(directions), problem.signals
    gram = xp.matmul(directions, directions.T) / directions.shape[1]
    gram = xp.where(xp.all(xp.isfinite(gram)), gram, 0.0)  # of a diverged run, which has no errors either
    root, inverse = psd_root(gram)
    linear, quadratic = 0.0, 0.0
    (shifts, _, samples), outputs = points.shape, problem.outputs
    for shift in range(shifts):
        normals, noise = points[shift, outputs:, :], points[shift, :outputs, :]
        projections = xp.matmul(root, normals)
        y = labels_of(problem, projections[:k, :], label_noise(problem, noise))
        errors = sample_scores(problem, projections[k:, :], y, deep_weights)
        white = xp.concat([normals, noise], axis=0)
        weighted = white * (errors - xp.mean(errors, axis=-1, keepdims=True))[:, None, :]
        linear = linear + xp.sum(weighted, axis=-1)
        quadratic = quadratic + xp.matmul(weighted, white.T) / 2
    linear, quadratic = linear / (shifts * samples), quadratic / (shifts * samples)
    # Directions without variance are left out of the whitened ones, whose covariance then is a projection.
    kept, size = xp.matmul(inverse, root), root.shape[0]
    of_noise = xp.sum(xp.linalg.diagonal(quadratic)[:, size:], axis=-1)
    mean = xp.sum(quadratic[:, :size, :size] * kept, axis=(-2, -1)) + of_noise
    return Control(inverse, linear, quadratic, mean)
