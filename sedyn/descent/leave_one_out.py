"""Exact leave-one-out: a descent without each sample in turn, many side by side (docs/theory.md#leave-one-out).

The price is n descents: it is for small n, and the yardstick of the estimates elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from sedyn.arrays.shapes import Float, Integer
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.designs.shared import SharedDesign
from sedyn.model.algorithm import states
from sedyn.model.architecture import layers_of
from sedyn.model.batching import Batches
from sedyn.model.network import DeepWeights, forward
from sedyn.model.problem import Problem
from sedyn.model.update import Update

__all__ = ["WORK_IN_A_SECOND", "fresh_outputs", "seconds_for"]

# Numbers that a block of the descents side by side works with at a time, 8 bytes each.
NUMBERS_AT_A_TIME = 2**23
WORK_IN_A_SECOND = 5e9
"""Multiplications and additions in a second, of one core as it was measured."""


def seconds_for(problem: Problem) -> float:
    """Seconds that exact leave-one-out takes on one core, about, for all steps of a problem.

    Measured from n = 100 to 400, depth 2 and 3, up to five classes, it took 0.5 to 0.9 of this; where it is below a
    tenth of a second, what each step takes at least, near a millisecond, is not counted.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    float
    """
    n, d, q = problem.n, problem.d, problem.units
    work = 4.0 * n * n * q * (d + problem.depth * q) * (problem.steps + 1)  # with features and in the network
    return work / WORK_IN_A_SECOND


def fresh_outputs(
    problem: Problem,
    inputs: Data,
    updates: Iterable[Update],
    features: Float[np.ndarray, "n d"],
    groups: Integer[np.ndarray, " n"],
    *,
    centred: bool,
    weights: Float[np.ndarray, " n"] | None = None,
    starts: tuple[Float[np.ndarray, "groups q d"], DeepWeights] | None = None,
) -> Iterator[Float[np.ndarray, "C n"]]:
    """Outputs for each sample of the network that was trained without it, iteration by iteration.

    A sample that is left out has weight 0, so that the mean loss is still over n; all else is as it was: start, if no
    other is given, batches, gradient noise.

    Parameters
    ----------
    problem : Problem
    inputs : Data
        Of one replicate, on a CPU.
    updates : iterable of Update
        One for each step.
    features : ndarray, shape (n, d)
        X, the rows of the design.
    groups : ndarray of int, shape (n,)
        Samples with one number are left out together, as `sedyn.estimate.rows.equal_rows` finds them.
    centred : bool
        Whether the mean of all rows was subtracted from them. Those that train are then centred anew without the rows
        left out, or else these would be known as minus the sum of the others.
    weights : ndarray, shape (n,), optional
        Of the samples in the mean that was subtracted, with mean 1.
    starts : tuple, optional
        First-layer weights, shape (groups, q, d), and deeper ones that each run begins with, where the start too has
        learned from the samples.

    Yields
    ------
    ndarray, shape (C, n)
        At iterations 0, 1, ...; not finite where such a run has diverged.
    """
    together = max(1, NUMBERS_AT_A_TIME // (20 * problem.units * (problem.n + problem.d)))
    count, steps = int(groups.max()) + 1, list(updates)
    parts = [np.arange(start, min(start + together, count)) for start in range(0, count, together)]
    blocks = [part[:, None] == groups for part in parts]
    runs, shares = [], np.ones(problem.n) if weights is None else weights
    for part, left_out in zip(parts, blocks, strict=True):
        if starts is None:
            own = tuple(np.repeat(each[None], part.size, axis=0) for each in (inputs.start, *inputs.deep_weights))
        else:
            own = tuple(each[part] for each in (starts[0], *starts[1]))
        runs.append(_descents(problem, inputs, steps, features, left_out, own, shares if centred else None))
    for each in zip(*runs, strict=True):
        outputs = np.empty((problem.outputs, problem.n))
        for state, left_out in zip(each, blocks, strict=True):
            run, sample = np.nonzero(left_out)
            h = state.trained[run, :, sample][:, :, None]
            deep = tuple(weights[run] for weights in state.deep_weights)
            outputs[:, sample] = forward(h, deep, layers_of(problem))[:, :, 0].T
        yield outputs


def _descents(
    problem: Problem,
    inputs: Data,
    updates: Iterable[Update],
    features: np.ndarray,
    left_out: np.ndarray,
    starts: tuple[np.ndarray, ...],
    shares: np.ndarray | None,
) -> Iterator[dynamics.State]:
    """Descents side by side, each without the samples that one row of `left_out` marks."""
    replicates = left_out.shape[0]

    def beside(array: np.ndarray) -> np.ndarray:
        return np.repeat(np.asarray(array)[None], replicates, axis=0)

    def weights() -> Iterator[np.ndarray]:
        for step in range(problem.steps):
            own = None if inputs.batches is None else inputs.batches[step]
            yield ~left_out * (1.0 if own is None else own)

    shift = None
    if shares is not None:
        left_out_shares = left_out * shares
        shift = left_out_shares @ features / (problem.n - left_out_shares.sum(axis=1, keepdims=True))
    data = inputs._replace(
        design=SharedDesign(inputs.design, shift),
        labels=beside(inputs.labels),
        start=starts[0],
        deep_weights=starts[1:],
        batches=Batches(weights),
        gradient_noise=None if inputs.gradient_noise is None else inputs.gradient_noise.repeated(replicates),
        estimate=None,
    )
    return states(dynamics, problem, data, updates)
