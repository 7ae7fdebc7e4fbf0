"""The estimate by modes against leave-one-out, where it is an identity, and against retraining elsewhere."""

import dataclasses

import numpy as np
import pytest

from sedyn import Problem
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.descent.leave_one_out import fresh_outputs
from sedyn.designs.dense import DenseDesign
from sedyn.estimate.by_modes import ByModes
from sedyn.estimate.rows import row_modes, row_scales
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights, layers_of
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.network import forward
from sedyn.model.update import updates_of
from tests.helpers import orders_of, stream

LINEAR = Problem(n=24, d=16, width=1, depth=1, steps=12, learning_rate=0.5)
VARIANTS = {
    "as it is": {},
    "fewer samples than features": {"n": 12, "d": 30, "learning_rate": 0.1},
    "momentum and decay": {"momentum": 0.5, "weight_decay": 0.1},
    "nesterov": {"momentum": 0.5, "momentum_form": "nesterov"},
    "rates by step": {"learning_rate": tuple(np.linspace(0.1, 0.7, 12))},
}


def left_out(problem, data, x, groups=None, *, centred=False):
    """Outputs by exact leave-one-out, (T + 1, C, n)."""
    groups = np.arange(problem.n) if groups is None else groups
    return np.array(list(fresh_outputs(problem, data, updates_of(problem), x, groups, centred=centred)))


def data_of(problem, seed=0, batches=None):
    """A table of rows of unequal lengths, and what trains on it."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((problem.n, problem.d)) * np.sqrt(rng.exponential(size=(problem.n, 1)))
    y = x @ rng.standard_normal(problem.d) / np.sqrt(problem.d) + 0.5 * rng.standard_normal(problem.n)
    first = rng.standard_normal((problem.units, problem.d))
    design, ones = DenseDesign(x, 1 / np.sqrt(problem.d)), np.ones(problem.d)
    data = Data(design, ones, y[None], first, initial_deep_weights(problem), batches)
    return x, data


def by_modes(problem, x, data, count=40):
    """Outputs at the fresh-like pre-activations, for every iteration."""
    estimate = ByModes.begin(row_modes(x, centred=False, count=count), row_scales(x), data.start)
    found = []
    for state in states(dynamics, problem, data._replace(estimate=estimate), updates_of(problem)):
        fresh = state.estimate.fresh_like(state.trained)
        found.append(forward(fresh, state.deep_weights, layers_of(problem)))
    return np.array(found)


def retrained(problem, x, data):
    """Outputs for each sample after a descent of its own on the others, one descent after another."""
    outputs = np.empty((problem.steps + 1, problem.outputs, problem.n))
    for i in range(problem.n):
        weights = (np.arange(problem.n) != i) * 1.0

        def without(i=i, weights=weights):
            for step in range(problem.steps):
                yield weights if data.batches is None else weights * data.batches[step]

        own = data._replace(batches=Batches(without))
        for state in states(dynamics, problem, own, updates_of(problem)):
            h = state.first_weights @ x[i][:, None] / np.sqrt(problem.d)
            outputs[state.iteration, :, i] = forward(h, state.deep_weights, layers_of(problem))[:, 0]
    return outputs


@pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS)
def test_linear_model_with_squared_loss_is_leave_one_out(fields):
    problem = dataclasses.replace(LINEAR, **fields)
    x, data = data_of(problem)
    np.testing.assert_allclose(by_modes(problem, x, data), retrained(problem, x, data), atol=1e-11)


def test_few_nodes_for_each_sample_lose_nothing_that_shows():
    """Sixteen Gauss nodes instead of sixty modes, over four times as many steps."""
    problem = dataclasses.replace(LINEAR, n=80, d=60, steps=128)
    x, data = data_of(problem)
    exact, found = by_modes(problem, x, data, 60), by_modes(problem, x, data, 16)
    removed = np.abs(exact - [state.trained for state in states(dynamics, problem, data, updates_of(problem))])
    assert np.abs(found - exact).max() < 1e-4 * removed.max()


@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 3},
        {"depth": 2, "momentum": 0.5, "weight_decay": 0.1},
        {"depth": 2, "batch_fraction": 0.5, "train": "first"},
        {"depth": 2, "temperature": 0.1},
        {"depth": 2, "bias": "all", "skip": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("together", [2**23, 5000])
def test_leave_one_out_side_by_side_is_retraining_one_after_another(fields, together, monkeypatch):
    from sedyn.descent import leave_one_out
    from sedyn.model.gradient_noise import GradientNoise

    monkeypatch.setattr(leave_one_out, "NUMBERS_AT_A_TIME", together)
    problem = Problem(n=14, d=10, width=2, steps=5, learning_rate=0.5, **fields)
    batches = Batches(lambda: batch_weights(problem, orders_of(problem.n, 3)))
    x, data = data_of(problem, batches=None if problem.full_batch else batches)
    if problem.temperature:
        data = data._replace(gradient_noise=GradientNoise(stream(1), 1 + len(data.deep_weights)))
    found = left_out(problem, data, x / np.sqrt(problem.d))
    np.testing.assert_allclose(found, retrained(problem, x, data), atol=1e-12)


def test_leave_one_out_of_centred_rows_centres_the_others_anew():
    problem = Problem(n=12, d=30, width=2, depth=2, steps=6, learning_rate=0.5)
    x, data = data_of(problem)
    centred = x - x.mean(axis=0)
    data = data._replace(design=DenseDesign(centred, 1 / np.sqrt(problem.d)))
    found = left_out(problem, data, centred / np.sqrt(problem.d), centred=True)
    for i in range(problem.n):
        anew = x - np.delete(x, i, axis=0).mean(axis=0)
        own = data._replace(design=DenseDesign(anew, 1 / np.sqrt(problem.d)))
        np.testing.assert_allclose(found[:, :, i], retrained(problem, anew, own)[:, :, i], atol=1e-12)


def test_equal_rows_are_left_out_together():
    problem = Problem(n=16, d=10, width=2, depth=2, steps=6, learning_rate=0.5)
    x, data = data_of(problem)
    x[8:] = x[:8]
    data = data._replace(design=DenseDesign(x, 1 / np.sqrt(problem.d)))
    groups = np.tile(np.arange(8), 2)
    found = left_out(problem, data, x / np.sqrt(problem.d), groups)
    for group in range(8):
        weights = (groups != group) * 1.0
        own = data._replace(batches=Batches(lambda weights=weights: [weights] * problem.steps))
        for state in states(dynamics, problem, own, updates_of(problem)):
            expected = forward(state.trained, state.deep_weights, layers_of(problem))[:, groups == group]
            np.testing.assert_allclose(found[state.iteration][:, groups == group], expected, atol=1e-12)
