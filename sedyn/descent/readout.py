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

from sedyn.arrays.backend import Array, array_namespace, constant_like
from sedyn.arrays.roots import psd_root
from sedyn.arrays.shapes import Float, Integer
from sedyn.designs.dense import dense_design
from sedyn.kernels import dispatch
from sedyn.model.architecture import layers_of
from sedyn.model.evaluation import mean_over_shifts, sample_scores, score_names, scores_of_outputs
from sedyn.model.functions import loss_named
from sedyn.model.label_laws import LabelLaw, noise_variables
from sedyn.model.network import DeepWeights, has_kink
from sedyn.model.problem import Problem
from sedyn.model.seeds import Stream

__all__ = [
    "Control",
    "Quadrature",
    "Readout",
    "Weights",
    "draw_quadrature",
    "fit_control",
    "fresh_sample_scores",
    "fresh_samples",
    "labels_of_points",
    "path_scores",
    "quadrature_scores",
    "readout_dimensions",
    "readout_of",
    "readout_points",
    "readout_words",
]

# Independent shifts of the quadrature; their spread is its standard error.
SHIFTS = 2
# Points of one shift at n = 128 for each dimension, so that the error of the average is about a tenth of the scatter of
# runs (measured, benchmarks/results/replicates.md). Where many are needed it falls like their number to the power
# -5/8, and the scatter like the root of n. Fewer than the least are too coarse for links and starts that few points see
# badly.
POINTS_PER_DIMENSION, GROWTH, LEAST_POINTS, MOST_POINTS = 28, 0.8, 2**8, 2**14
# How many times as many a network with kinks takes, whose errors points average less well.
POINTS_FOR_KINKS = 2
# How much further than its law reaches the points of a single index do; those of several share it.
STRETCH = 0.5
# Points of one shift for each product of two coordinates that a control is fitted with.
POINTS_PER_PRODUCT = 4
# Fresh samples: as many as training samples within these bounds.
LEAST_SAMPLES, MOST_SAMPLES = 2**12, 2**16
# Features of fresh samples held in memory at a time.
FEATURES_PER_BLOCK = 2**22


class Weights(NamedTuple):
    """Weights of R replicates at some iterations, and overlaps of the first layer in the features' covariance.

    Attributes
    ----------
    first_weights : array, shape (R, iterations, q, d)
    deep_weights : tuple of array
        With axes (R, iterations) in front.
    signal_overlap : array, shape (R, iterations, q, k)
        With the signals.
    weight_gram : array, shape (R, iterations, q, q)
        Among each other.
    """

    first_weights: Float[Array, "R iterations q d"]
    deep_weights: DeepWeights
    signal_overlap: Float[Array, "R iterations q k"]
    weight_gram: Float[Array, "R iterations q q"]


class Readout(Protocol):
    """Test errors of several replicates, whose weights it meets at some iterations after others."""

    def meet(self, weights: Weights) -> None:
        """Meet the weights of the next iterations."""
        ...

    def scores(self) -> dict[str, Float[Array, "iterations R"]]:
        """Test scores and their standard errors at the iterations met, by the names that datasets have for them."""
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
        self.problem, self.points = problems[0], draw_quadrature(problems, readout_words(problems[0], stream, device))
        self.of_signals = xp.matmul(signals, xp.matrix_transpose(signals)) / signals.shape[-1]
        self.labels = labels_of_points(problems, self.points, self.of_signals)
        self.met: list[tuple[Array, DeepWeights]] = []

    def meet(self, weights: Weights) -> None:
        """Keep what the quadrature sees of the weights; see `Readout.meet`."""
        xp, overlap, k = array_namespace(self.of_signals), weights.signal_overlap, self.problem.signals
        rows = k + overlap.shape[-2]
        overlaps = xp.empty((*overlap.shape[:2], rows, rows), dtype=overlap.dtype, device=overlap.device)
        overlaps[..., :k, :k] = self.of_signals[:, None, ...]
        overlaps[..., :k, k:] = xp.matrix_transpose(overlap)
        overlaps[..., k:, :k], overlaps[..., k:, k:] = overlap, weights.weight_gram
        self.met.append((overlaps, weights.deep_weights))

    def scores(self) -> dict[str, Float[Array, "iterations R"]]:
        """Test scores and their standard errors; see `Readout.scores`."""
        overlaps, deep = self.met[0]
        if len(self.met) > 1:
            of_each, layers = zip(*self.met, strict=True)
            xp = array_namespace(self.of_signals)
            overlaps = xp.concat(of_each, axis=1)
            deep = tuple(xp.concat(layer, axis=1) for layer in zip(*layers, strict=True))
        given = self.problem, self.points, self.labels
        at_once = path_scores(*given, overlaps, deep)
        if at_once is not None:
            return _by_name(self.problem, *at_once)
        each = [(overlaps[:, t, ...], tuple(layer[:, t, ...] for layer in deep)) for t in range(overlaps.shape[1])]
        return _named(self.problem, [quadrature_scores(*given, *weights) for weights in each], axis=1)


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
        for t in range(weights.first_weights.shape[1]):
            deep = tuple(layer[:, t, ...] for layer in weights.deep_weights)
            self.met.append((weights.first_weights[:, t, ...] * self.scales, deep))

    def scores(self) -> dict[str, Float[Array, "iterations R"]]:
        """Test scores and their standard errors; see `Readout.scores`."""
        found = []
        for replicate, problem in enumerate(self.problems):
            own = self.stream.some(slice(replicate, replicate + 1))
            first_weights = [first[replicate, ...] for first, _ in self.met]
            deep_weights = [tuple(layer[replicate, ...] for layer in deep) for _, deep in self.met]
            signals = self.signals[replicate, ...]
            found.append(fresh_sample_scores(problem, first_weights, deep_weights, signals, own, self.device))
        return _named(self.problems[0], found, axis=-1)


def _named(problem: Problem, found: Sequence[tuple[Array, Array]], axis: int) -> dict[str, Array]:
    """Put scores and standard errors, (scores, ...) each, side by side along an axis and under their names."""
    xp = array_namespace(found[0][0])
    return _by_name(problem, *(xp.stack(parts, axis=axis) for parts in zip(*found, strict=True)))


def _by_name(
    problem: Problem, scores: Float[Array, "scores iterations R"], standard_errors: Float[Array, "scores iterations R"]
) -> dict[str, Array]:
    return {
        f"test_{name}{suffix}": values[i, ...]
        for i, name in enumerate(score_names(problem))
        for suffix, values in (("", scores), ("_stderr", standard_errors))
    }


class Quadrature(NamedTuple):
    """Points that stand for fresh Gaussian samples of R replicates, those of one shift after those of another.

    Attributes
    ----------
    normals : array, shape (R, k + q, N)
        Standardized projections of fresh samples.
    noise : array, shape (R, `noise_variables`, N)
        Standard normals that label noise is made of, where it has to be drawn.
    weights : array, shape (R, shifts, N / shifts)
        Of sum 1 in each shift.
    """

    normals: Float[Array, "R k+q N"]
    noise: Float[Array, "R _ N"]
    weights: Float[Array, "R shifts M"]


def readout_dimensions(problem: Problem) -> int:
    """Normal variables of a fresh sample, as far as the quadrature has to see them."""
    return problem.signals + problem.units + noise_variables(problem)


def readout_points(problem: Problem) -> int:
    """Points of one shift, the nearest power of two; the same for all problems with one `Problem.stack_key`."""
    growth = (problem.outputs * problem.n / 128) ** GROWTH
    each = POINTS_PER_DIMENSION * (POINTS_FOR_KINKS if has_kink(problem) else 1)
    nearest = round(math.log2(each * readout_dimensions(problem) * growth))
    return min(max(1 << nearest, LEAST_POINTS), MOST_POINTS)


def control_points(problem: Problem) -> int:
    """Points of one shift that a control is fitted on, a power of two: some for each of its coefficients."""
    wanted = POINTS_PER_PRODUCT * readout_dimensions(problem) ** 2
    return max(readout_points(problem), 1 << (wanted - 1).bit_length())


def fresh_samples(problem: Problem) -> int:
    """Fresh samples that a test error is averaged over where features are not Gaussian, a power of two."""
    return min(max(LEAST_SAMPLES, 1 << (problem.n - 1).bit_length()), MOST_SAMPLES)


def readout_words(problem: Problem, stream: Stream, device: str = "cpu") -> Integer[Array, "R shifts dimensions"]:
    """Random words that the quadratures of replicates are shifted by.

    Parameters
    ----------
    problem : Problem
        For all in which replicates agree.
    stream : Stream
        Of all replicates.
    device : {'cpu', 'gpu'}, optional

    Returns
    -------
    array of uint64, shape (R, shifts, dimensions)
    """
    dimensions = readout_dimensions(problem)
    words = stream.words(SHIFTS * dimensions, device=device)
    return array_namespace(words).reshape(words, (-1, SHIFTS, dimensions))


def draw_quadrature(
    problems: Sequence[Problem], words: Integer[Array, "R shifts dimensions"], points: int | None = None
) -> Quadrature:
    """Draw the quadratures of the test errors of replicates, of one set of points (docs/theory.md#stretched-points).

    Parameters
    ----------
    problems : sequence of Problem
        One for each replicate, see `Problem.stack_key`.
    words : array of uint64, shape (R, shifts, dimensions)
        Random, see `readout_words`.
    points : int, optional
        Of one shift, a power of two; by default `readout_points`.

    Returns
    -------
    Quadrature
    """
    problem, xp = problems[0], array_namespace(words)
    k, noise = problem.signals, noise_variables(problem)
    normals, weights = dispatch.stretched_points(words, points or readout_points(problem), k, 1 + STRETCH / k)
    normals = xp.reshape(xp.moveaxis(normals, 1, 2), (words.shape[0], words.shape[2], -1))
    # The noise comes second, so that its coordinates are among the evenest.
    drawn, rest = normals[:, k : k + noise, :], [normals[:, :k, :], normals[:, k + noise :, :]]
    return Quadrature(xp.concat(rest, axis=1) if noise else normals, drawn, weights)


def labels_of_points(problems: Sequence[Problem], points: Quadrature, of_signals: Float[Array, "R k k"]) -> LabelLaw:
    """Labels of the samples that points stand for, or their law, which weights do not change.

    Parameters
    ----------
    problems : sequence of Problem
        One for each replicate, see `Problem.stack_key`.
    points : Quadrature
    of_signals : array, shape (R, k, k)
        Gram matrix of the signals over d, in the features' covariance.

    Returns
    -------
    LabelLaw
    """
    xp, k = array_namespace(of_signals), problems[0].signals
    indices = xp.matmul(dispatch.causal_root(of_signals), points.normals[:, :k, :])
    deviations = constant_like(np.array([[[problem.noise]] for problem in problems]), of_signals)
    return dispatch.label_law(problems[0], indices, points.noise, deviations)


def quadrature_scores(
    problem: Problem, points: Quadrature, labels: LabelLaw, overlaps: Float[Array, "R kq kq"], deep_weights: DeepWeights
) -> tuple[Float[Array, "scores R"], Float[Array, "scores R"]]:
    """Test scores and their standard errors with Gaussian features (docs/theory.md#test-error-quadrature).

    Parameters
    ----------
    problem : Problem
        For all in which replicates agree.
    points : Quadrature
    labels : LabelLaw
        See `labels_of_points`.
    overlaps : array, shape (R, k + q, k + q)
        Gram matrix of [mu, W] over d, in the features' covariance.
    deep_weights : tuple of array

    Returns
    -------
    scores, standard_errors : array, shape (scores, R)
        They say nothing where an overlap is not finite: such a replicate has diverged.
    """
    xp = array_namespace(overlaps)
    root = dispatch.causal_root(overlaps)[..., problem.signals :, :]
    outputs = dispatch.forward(xp.matmul(root, points.normals), deep_weights, layers_of(problem))
    scores = scores_of_outputs(problem, outputs, labels)
    return mean_over_shifts(xp.sum(xp.reshape(scores, (-1, *points.weights.shape)) * points.weights, axis=-1))


def path_scores(
    problem: Problem,
    points: Quadrature,
    labels: LabelLaw,
    overlaps: Float[Array, "R iterations kq kq"],
    deep_weights: DeepWeights,
) -> tuple[Float[Array, "scores iterations R"], Float[Array, "scores iterations R"]] | None:
    """Find `quadrature_scores` of all iterations at once, where a kernel does.

    Parameters
    ----------
    problem, points, labels
        As for `quadrature_scores`.
    overlaps : array, shape (R, iterations, k + q, k + q)
        At each iteration.
    deep_weights : tuple of array
        With axes (R, iterations) in front.

    Returns
    -------
    scores, standard_errors : array, shape (scores, iterations, R)
        In place of both, None where there is no kernel.
    """
    known = labels.as_some(loss_named(problem.loss))
    if known is None or score_names(problem) != ("error",):
        return None
    (some, more), xp = known, array_namespace(overlaps)
    roots = dispatch.causal_root(overlaps)[..., problem.signals :, :]
    given = layers_of(problem), loss_named(problem.loss), roots, deep_weights, points.normals
    losses = dispatch.average_scores(*given, some, points.weights)
    if losses is None:
        return None
    scores, standard_errors = dispatch.error_over_shifts(losses, more)
    return xp.matrix_transpose(scores)[None, ...], xp.matrix_transpose(standard_errors)[None, ...]


def fresh_sample_scores(
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
    samples, q, drawn = fresh_samples(problem), problem.units, noise_variables(problem)
    directions = xp.concat([signals, *first_weights], axis=0)
    points = draw_quadrature([problem], readout_words(problem, stream, device), control_points(problem))
    labels = labels_of_points([problem], points, xp.matmul(signals, signals.T)[None, ...] / d)
    controls = [
        fit_control(problem, points, labels, xp.concat([signals, first], axis=0), deep)
        for first, deep in zip(first_weights, deep_weights, strict=True)
    ]
    totals = xp.zeros((2, len(names), len(first_weights)), dtype=signals.dtype, device=signals.device)
    per_block = max(1, FEATURES_PER_BLOCK // d)
    for block, start in enumerate(range(0, samples, per_block)):
        count = min(per_block, samples - start)
        of_features, of_noise = stream.below(1 + 2 * block), 2 + 2 * block
        projections = dense_design(count, d, problem.feature_law, of_features, device).matmul(directions)
        normals = stream.normals(drawn, count, part=of_noise, device=device)[0, ...]
        known = dispatch.label_law(problem, projections[:k, :], normals)
        for t, deep in enumerate(deep_weights):
            h = projections[k + t * q : k + (t + 1) * q, :]
            scores = sample_scores(problem, h, known, deep) - controls[t](projections[:k, :], h, normals)
            totals[:, :, t] += xp.stack([xp.sum(scores, axis=-1), xp.sum(scores * scores, axis=-1)])
    mean, square = totals[0, ...] / samples, totals[1, ...] / samples
    return mean, xp.sqrt(xp.maximum(square - mean**2, 0.0) / (samples - 1))


class Control(NamedTuple):
    """For each score a quadratic function of a fresh sample's projections and of the normals that its noise is made of.

    Its mean is zero under every standardized law.

    Attributes
    ----------
    whitening : array, shape (k + q, k + q)
        Makes projections on signals and weights uncorrelated.
    linear : array, shape (scores, m)
    quadratic : array, shape (scores, m, m)
        Of the m whitened projections and normals.
    mean : array, shape (scores,)
        What linear and quadratic part average to.
    """

    whitening: Float[Array, "k+q k+q"]
    linear: Float[Array, "scores m"]
    quadratic: Float[Array, "scores m m"]
    mean: Float[Array, " scores"]

    def __call__(
        self, indices: Float[Array, "k N"], h: Float[Array, "q N"], normals: Float[Array, "_ N"]
    ) -> Float[Array, "scores N"]:
        """Values on samples: projections on the signals and weights, and the standard normals of their noise."""
        xp = array_namespace(h)
        white = xp.matmul(self.whitening, xp.concat([indices, h], axis=0))
        white = xp.concat([white, normals], axis=0)
        slopes = self.linear[:, :, None] + xp.matmul(self.quadratic, white)
        return xp.sum(slopes * white, axis=1) - self.mean[:, None]


def fit_control(
    problem: Problem,
    points: Quadrature,
    labels: LabelLaw,
    directions: Float[Array, "kq d"],
    deep_weights: DeepWeights,
) -> Control:
    """Least-squares fit of a control to the scores with Gaussian features.

    Whitened, a quadratic fit is a projection on Hermite polynomials: averages of the score times the first two.

    Parameters
    ----------
    problem : Problem
    points : Quadrature
        Of this one replicate; matched moments make the polynomials orthogonal on the points too, to second order.
    labels : LabelLaw
        See `labels_of_points`.
    directions : array, shape (k + q, d)
        Signals and first-layer weights.
    deep_weights : tuple of array

    Returns
    -------
    Control
    """
    xp, k = array_namespace(directions), problem.signals
    gram = xp.matmul(directions, directions.T) / directions.shape[1]
    gram = xp.where(xp.all(xp.isfinite(gram)), gram, 0.0)  # of a diverged run, which has no scores either
    root = dispatch.causal_root(gram)
    deep = tuple(layer[None, ...] for layer in deep_weights)
    projections = xp.matmul(root, points.normals[0, ...])
    scores = sample_scores(problem, projections[None, k:, :], labels, deep)[:, 0, :]
    weights = xp.reshape(points.weights, (-1,)) / SHIFTS
    _, inverse = psd_root(gram)
    white = xp.concat([xp.matmul(inverse, projections), points.noise[0, ...]], axis=0)
    weighted = white * (weights * (scores - xp.sum(weights * scores, axis=-1, keepdims=True)))[:, None, :]
    linear, quadratic = xp.sum(weighted, axis=-1), xp.matmul(weighted, white.T) / 2
    # Directions without variance are left out of the whitened ones, whose covariance then is a projection.
    kept, size = xp.matmul(xp.matmul(inverse, gram), inverse), gram.shape[0]
    of_noise = xp.sum(xp.linalg.diagonal(quadratic)[:, size:], axis=-1)
    mean = xp.sum(quadratic[:, :size, :size] * kept, axis=(-2, -1)) + of_noise
    return Control(inverse, linear, quadratic, mean)
