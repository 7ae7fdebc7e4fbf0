"""What gradient descent runs on: a training set, where training starts, and its mini-batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array
from sedyn.arrays.shapes import Float
from sedyn.descent.engines import stacks
from sedyn.designs.deferred import DeferredDesign
from sedyn.designs.dense import dense_design
from sedyn.designs.protocol import Design
from sedyn.designs.stacked import SingleDesign, stacked_design
from sedyn.estimate.by_spectrum import BySpectrum
from sedyn.estimate.protocol import Estimate
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.gradient_noise import GradientNoise
from sedyn.model.initialization import initial_weights_and_signals
from sedyn.model.labels import label_noise, labels_of
from sedyn.model.network import DeepWeights
from sedyn.model.problem import Problem
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.seeds import Streams

__all__ = ["Data", "draw"]


class Data(NamedTuple):
    """A training set and where training starts. Arrays may have the same further axes in front, replicates.

    Attributes
    ----------
    design : Design
        Standardized features Z / sqrt(d). A deferred one is drawn as far as it is looked at: steps then repeat to
        rounding, where those on a design in memory repeat to the last bit.
    scales : array, shape (d,)
        Square roots of the eigenvalues of the feature covariance: X = Z diag(scales) / sqrt(d).
    labels : array, shape (..., C, n)
        y.
    start : array, shape (..., q + k, d)
        [W^0, mu]^T; without the signals where nobody knows them, and overlaps with them cannot be observed.
    deep_weights : tuple of array
        V^0.
    batches : Batches or None
        Weights of the samples, (..., n), at each step; None for full batches.
    estimate : Estimate or None
        Of the test error, before the first step; None for no estimate.
    gradient_noise : GradientNoise or None
        Kicks of the weights at each step; None at temperature 0.
    """

    design: Design
    scales: Float[Array, " d"]
    labels: Float[Array, "... C n"]
    start: Float[Array, "... q+k d"]
    deep_weights: DeepWeights
    batches: Batches | None = None
    estimate: Estimate | None = None
    gradient_noise: GradientNoise | None = None


def draw(
    problems: Sequence[Problem],
    streams: Sequence[Streams],
    engine: str,
    device: str = "cpu",
    dtype: str = "float64",
    *,
    estimate: bool = True,
) -> Data:
    """Draw the training sets of replicates that run side by side, along a leading axis R.

    Parameters
    ----------
    problems, streams : sequence of Problem, of Streams
        One for each replicate, with one `Problem.stack_key`; a single one where
        `sedyn.descent.engines.replicates_together` says so.
    engine : {'dense', 'deferred'}
    device : {'cpu', 'gpu'}, optional
    dtype : {'float64', 'float32'}, optional
        Of a dense design.
    estimate : bool, optional
        Whether the test error is to be estimated.

    Returns
    -------
    Data
    """
    problem = problems[0]  # for all in which they agree
    replicates = list(zip(problems, streams, strict=True))

    def stacked(each: Iterable[np.ndarray]) -> Array:
        return backend.asarray(np.stack(list(each)), device)

    def batches() -> Iterable[Array]:
        each = [batch_weights(own, np.random.default_rng(seeds.batches)) for own, seeds in replicates]
        return map(stacked, zip(*each, strict=True))

    eigenvalues = problem.eigenvalues
    scales = backend.asarray(np.sqrt(eigenvalues), device)
    start = stacked(initial_weights_and_signals(own, np.random.default_rng(seeds.start)) for own, seeds in replicates)
    design = _design(problem, engine, [seeds.features for seeds in streams], device, dtype)
    shape = problem.outputs, problem.n
    noise = stacked(
        label_noise(own, np.random.default_rng(seeds.noise).standard_normal(shape)) for own, seeds in replicates
    )
    return Data(
        design,
        scales,
        labels_of(problem, design.matmul(start[:, problem.units :, :] * scales), noise),
        start,
        deep_weights=tuple(map(stacked, zip(*map(initial_deep_weights, problems), strict=True))),
        batches=None if problem.full_batch else Batches(batches),
        estimate=BySpectrum.begin(problem, gauss_quadrature(eigenvalues, problem.steps + 1), start)
        if estimate
        else None,
        gradient_noise=GradientNoise([own.gradient_noise for own in streams])
        if any(own.temperature for own in problems)
        else None,
    )


def _design(problem: Problem, engine: str, seeds: Sequence[np.random.SeedSequence], device: str, dtype: str) -> Design:
    """A design of replicates, of a single one where `sedyn.descent.engines.replicates_together` says so."""
    n, d, law = problem.n, problem.d, problem.feature_law
    if engine == "deferred":
        directions = problem.signals + problem.units * (problem.steps + 1)
        return SingleDesign(DeferredDesign(n, d, seeds[0], device, directions))
    if stacks(problem, device, dtype):
        return stacked_design(n, d, law, seeds, device, dtype)
    return SingleDesign(dense_design(n, d, law, seeds[0], device, dtype))
