"""What gradient descent runs on: a training set, where training starts, and its mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.descent.engines import stacks
from sedyn.designs.deferred import DeferredDesign
from sedyn.designs.dense import dense_design
from sedyn.designs.protocol import Design
from sedyn.designs.stacked import SingleDesign, stacked_design
from sedyn.estimate.by_spectrum import BySpectrum
from sedyn.estimate.protocol import Estimate
from sedyn.kernels.dispatch import initial_weights_and_signals
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.gradient_noise import GradientNoise
from sedyn.model.labels import label_noise, labels_of
from sedyn.model.network import DeepWeights
from sedyn.model.problem import Problem, runs_of
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.seeds import Stream, Streams

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
    streams: Streams,
    engine: str,
    device: str = "cpu",
    dtype: str = "float64",
    *,
    estimate: bool = True,
) -> Data:
    """Draw the training sets of replicates that run side by side, along a leading axis R.

    Parameters
    ----------
    problems : sequence of Problem
        One for each replicate, with one `Problem.stack_key`; a single one where
        `sedyn.descent.engines.replicates_together` says so.
    streams : Streams
        Of all replicates.
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
    problem, runs = problems[0], runs_of(problems)  # the first for all in which they agree

    def of_each(function: Callable[[Problem, Array], Array], drawn: Array) -> Array:
        """A function of a problem and of what was drawn, for the replicates of each problem at once."""
        parts = [function(own, drawn[some, ...]) for own, some in runs]
        return parts[0] if len(parts) == 1 else array_namespace(drawn).concat(parts, axis=0)

    def batches() -> Iterator[Array]:
        each = [
            batch_weights(own, partial(streams.batches.some(some).orders, own.n, device=device)) for own, some in runs
        ]
        return (array_namespace(*parts).concat(parts, axis=0) for parts in zip(*each, strict=True))

    eigenvalues = problem.eigenvalues
    scales = backend.constant(np.sqrt(eigenvalues), device)
    rows = problem.units + problem.signals
    start = of_each(initial_weights_and_signals, streams.start.normals(rows, problem.d, device=device))
    counts = [some.stop - some.start for _, some in runs]
    deep_weights = tuple(
        backend.constant(np.repeat(np.stack(layer), counts, axis=0), device)
        for layer in zip(*(initial_deep_weights(own) for own, _ in runs), strict=True)
    )
    design = _design(problem, engine, streams.features, device, dtype)
    noise = of_each(label_noise, streams.noise.normals(problem.outputs, problem.n, device=device))
    kicked = any(own.temperature for own in problems)
    return Data(
        design,
        scales,
        labels_of(problem, design.matmul(start[:, problem.units :, :] * scales), noise),
        start,
        deep_weights=deep_weights,
        batches=None if problem.full_batch else Batches(batches),
        estimate=BySpectrum.begin(problem, gauss_quadrature(eigenvalues, problem.steps + 1), start)
        if estimate
        else None,
        gradient_noise=GradientNoise(streams.gradient_noise, 1 + len(deep_weights), device) if kicked else None,
    )


def _design(problem: Problem, engine: str, stream: Stream, device: str, dtype: str) -> Design:
    """A design of replicates, of a single one where `sedyn.descent.engines.replicates_together` says so."""
    n, d, law = problem.n, problem.d, problem.feature_law
    if engine == "deferred":
        directions = problem.signals + problem.units * (problem.steps + 1)
        return DeferredDesign(n, d, stream, device, directions)
    if stacks(problem, device, dtype):
        return stacked_design(n, d, law, stream, device, dtype)
    return SingleDesign(dense_design(n, d, law, stream, device, dtype))
