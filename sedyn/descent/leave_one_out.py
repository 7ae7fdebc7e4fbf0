"""Exact leave-one-out: a descent without each sample in turn, many side by side (docs/theory.md#leave-one-out).

The price is n descents: it is for small n, and the yardstick of the estimates elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sedyn.arrays.shapes import Float, Integer
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.designs.shared import SharedDesign
from sedyn.model.algorithm import states
from sedyn.model.architecture import layers_of
from sedyn.model.batching import Batches
from sedyn.model.network import forward
from sedyn.model.problem import Problem
from sedyn.model.update import updates_of

__all__ = ["fresh_outputs", "leave_one_out_work"]

# Numbers that the descents side by side work with at a time, 8 bytes each.
NUMBERS_AT_A_TIME = 2**23


def leave_one_out_work(problem: Problem) -> float:
    """Multiplications and additions that exact leave-one-out takes in products with the features and of the network."""
    n, d, q = problem.n, problem.d, problem.units
    return 4.0 * n * n * q * (d + problem.depth * q) * (problem.steps + 1)


def fresh_outputs(
    problem: Problem,
    inputs: Data,
    features: Float[np.ndarray, "n d"],
    groups: Integer[np.ndarray, " n"],
    *,
    centred: bool,
) -> Float[np.ndarray, "iterations C n"]:
    """Outputs for each sample of the network that was trained without it, at every iteration.

    A sample that is left out has weight 0, so that the mean loss is still over n; all else is as it was: start,
    batches, gradient noise.

    Parameters
    ----------
    problem : Problem
    inputs : Data
        Of one replicate, on a CPU.
    features : ndarray, shape (n, d)
        X, the rows of the design.
    groups : ndarray of int, shape (n,)
        Samples with one number are left out together, as `sedyn.estimate.rows.equal_rows` finds them.
    centred : bool
        Whether the mean of all rows was subtracted from them. Those that train are then centred anew without the rows
        left out, or else these would be known as minus the sum of the others.

    Returns
    -------
    ndarray, shape (T + 1, C, n)
        NaN where such a run has diverged.
    """
    outputs = np.empty((problem.steps + 1, problem.outputs, problem.n))
    together = max(1, NUMBERS_AT_A_TIME // (20 * problem.units * (problem.n + problem.d)))
    count = int(groups.max()) + 1
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, count, together):
            left_out = np.arange(start, min(start + together, count))[:, None] == groups  # (R, n)
            run, sample = np.nonzero(left_out)
            for state in _descents(problem, inputs, features, left_out, centred):
                h = state.trained[run, :, sample][:, :, None]
                deep = tuple(weights[run] for weights in state.deep_weights)
                outputs[state.iteration][:, sample] = forward(h, deep, layers_of(problem))[:, :, 0].T
    return outputs


def _descents(
    problem: Problem, inputs: Data, features: np.ndarray, left_out: np.ndarray, centred: bool
) -> Iterator[dynamics.State]:
    """Descents side by side, each without the samples that one row of `left_out` marks."""
    replicates = left_out.shape[0]

    def beside(array: np.ndarray) -> np.ndarray:
        return np.repeat(np.asarray(array)[None], replicates, axis=0)

    def weights() -> Iterator[np.ndarray]:
        for step in range(problem.steps):
            own = None if inputs.batches is None else inputs.batches[step]
            yield ~left_out * (1.0 if own is None else own)

    shift = left_out @ features / (problem.n - left_out.sum(axis=1, keepdims=True)) if centred else None
    data = inputs._replace(
        design=SharedDesign(inputs.design, shift),
        labels=beside(inputs.labels),
        start=beside(inputs.start),
        deep_weights=tuple(map(beside, inputs.deep_weights)),
        batches=Batches(weights),
        gradient_noise=None if inputs.gradient_noise is None else inputs.gradient_noise.repeated(replicates),
        estimate=None,
    )
    return states(dynamics, problem, data, updates_of(problem))
