"""The test error of given weights: their error on fresh rows, with its own standard error.

A fresh row with Gaussian features sees the weights by their overlaps only, so an average over a few dimensions
replaces fresh data. Other laws are met with fresh rows, drawn in blocks after the run for all iterations at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sedyn import backend
from sedyn.backend import Array, array_namespace, to_numpy
from sedyn.design import dense_design
from sedyn.evaluation import mean_error, sample_errors
from sedyn.features import feature_sampler
from sedyn.labels import respond
from sedyn.network import DeepWeights
from sedyn.problem import Problem
from sedyn.sampling import matched_normals, psd_root, sobol_uniforms

__all__ = ["Quadrature", "draw_quadrature", "fresh_rows_errors", "quadrature_error", "test_points"]

# Points, or fresh rows: as many as training samples within these bounds, so that the error of the average stays
# near or below the fluctuation of the training run itself.
LEAST_POINTS, MOST_POINTS = 2**12, 2**16
# Independent scrambles of the quadrature; their spread is its standard error.
SCRAMBLES = 4
# Features of fresh rows held in memory at a time.
FEATURES_PER_BLOCK = 2**23


class Quadrature(NamedTuple):
    """Points that stand for fresh Gaussian rows, one entry for each scramble.

    Attributes
    ----------
    normals : tuple of array, shape (q + k, N)
        Standardized projections of fresh rows.
    noise : tuple of array, shape (N,)
        Standardized label noise.
    """

    normals: tuple[Array, ...]
    noise: tuple[Array, ...]


def test_points(problem: Problem) -> int:
    """Points or fresh rows that a test error is averaged over, a power of two."""
    return min(max(LEAST_POINTS, 1 << (problem.n - 1).bit_length()), MOST_POINTS)


def draw_quadrature(problem: Problem, seed: np.random.SeedSequence, device: str = "cpu") -> Quadrature:
    """Draw scrambled Sobol points with matched moments.

    Parameters
    ----------
    problem : Problem
        Its width, signals and n decide on dimension and number of points.
    seed : SeedSequence
    device : {'cpu', 'gpu'}, optional
    """
    dimensions, points = problem.width + problem.signals + 1, test_points(problem) // SCRAMBLES
    uniforms = [sobol_uniforms(stream, dimensions, points) for stream in seed.spawn(SCRAMBLES)]
    scrambles = [matched_normals(backend.asarray(each, device)) for each in uniforms]
    return Quadrature(
        tuple(normals[1:, :] for normals in scrambles),
        tuple(normals[0, :] for normals in scrambles),
    )


def quadrature_error(
    problem: Problem, points: Quadrature, overlap: np.ndarray, gram: np.ndarray, signal: np.ndarray, deep: DeepWeights
) -> tuple[float, float]:
    """Test error and its standard error with Gaussian features.

    Parameters
    ----------
    problem : Problem
    points : Quadrature
    overlap : ndarray, shape (q, k)
        W^T Sigma mu / d.
    gram : ndarray, shape (q, q)
        W^T Sigma W / d.
    signal : ndarray, shape (k, k)
        mu^T Sigma mu / d.
    deep : tuple of array
        Deeper weights.
    """
    k = problem.signals
    root = psd_root(np.block([[signal, overlap.T], [overlap, gram]]))[0]
    errors = []
    for normals, noise in zip(points.normals, points.noise, strict=True):
        xp = array_namespace(normals)
        projections = xp.matmul(xp.asarray(root, dtype=normals.dtype, device=normals.device), normals)
        y = respond(problem, projections[:k, :], noise)
        errors.append(mean_error(problem, projections[k:, :], y, deep))
    return float(np.mean(errors)), float(np.std(errors, ddof=1) / math.sqrt(len(errors)))


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
    totals = np.zeros((2, len(first)))
    per_block = max(1, FEATURES_PER_BLOCK // d)
    for start in range(0, rows, per_block):
        count = min(per_block, rows - start)
        block_seed, noise_seed = seed.spawn(2)
        projections = dense_design(count, d, sampler, block_seed, device).matmul(directions)
        noise = backend.asarray(np.random.default_rng(noise_seed).standard_normal(count), device)
        y = respond(problem, projections[:k, :], noise)
        for t, weights in enumerate(deep):
            errors = sample_errors(problem, projections[k + t * q : k + (t + 1) * q, :], y, weights)
            totals[:, t] += to_numpy(xp.sum(errors)), to_numpy(xp.sum(errors * errors))
    mean, square = totals / rows
    return mean, np.sqrt((square - mean**2).clip(0) / (rows - 1))
