"""One training run on a user's features."""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.designs.dense import DenseDesign
from sedyn.estimate.protocol import Estimate
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.gradient_noise import GradientNoise
from sedyn.model.network import DeepWeights
from sedyn.model.problem import Problem
from sedyn.model.update import updates_of

__all__ = ["Fit", "fit_network"]


class Fit(NamedTuple):
    """Errors by iteration, and the weights that training ends with or stops at.

    Attributes
    ----------
    train_error, estimated_test_error : list of float
        Up to the last finite iteration; the estimate NaN where there is none.
    iteration : int
        Where the weights are from.
    first_weights : ndarray, shape (q, d)
        W^t.
    deep_weights : tuple of ndarray
        V^t.
    """

    train_error: list[float]
    estimated_test_error: list[float]
    iteration: int
    first_weights: Float[np.ndarray, "q d"]
    deep_weights: DeepWeights


def fit_network(
    problem: Problem,
    features: Float[np.ndarray, "n d"],
    labels: Float[np.ndarray, " n"],
    estimate: Estimate | None,
    *,
    early_stopping: bool,
) -> Fit:
    """Run gradient descent as `sedyn.simulate` does, without signals to compare with.

    Parameters
    ----------
    problem : Problem
        Its `init_seed` is the only source of randomness.
    features : ndarray, shape (n, d)
    labels : ndarray, shape (n,)
    estimate : Estimate or None
        Before the first step; None for no estimate.
    early_stopping : bool
        Whether the weights kept are those of the least estimate.

    Returns
    -------
    Fit
    """
    rng = np.random.default_rng([problem.init_seed, 1])  # `init_seed` alone is the deeper weights'
    start, deep_weights = rng.standard_normal((problem.units, problem.d)), initial_deep_weights(problem)
    batches = Batches(lambda: batch_weights(problem, copy.deepcopy(rng)))
    design = DenseDesign(features, 1 / np.sqrt(problem.d))
    noise = GradientNoise([np.random.SeedSequence([problem.init_seed, 2])]) if problem.temperature else None
    data = Data(design, np.ones(problem.d), labels[None, :], start, deep_weights, batches, estimate, noise)
    train: list[float] = []
    estimates: list[float] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for state in states(dynamics, problem, data, updates_of(problem)):
            if state.iteration == 0:
                chosen = state  # what is kept if not even the start is finite
            scores = dynamics.scores(problem, data, state)
            error, estimated = scores["train_error"], scores["estimated_test_error"]
            if not np.isfinite(error):
                break
            if not early_stopping or (estimates and estimated < np.nanmin(estimates)):
                chosen = state
            train.append(float(error))
            estimates.append(float(estimated))
    return Fit(train, estimates, chosen.iteration, chosen.first_weights, chosen.deep_weights)
