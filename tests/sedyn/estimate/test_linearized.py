"""Linearized runs against runs in which one sample weighs a little more, and against leave-one-out."""

import dataclasses

import numpy as np
import pytest
from scipy.linalg import hadamard

from sedyn import Problem
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.descent.leave_one_out import fresh_outputs
from sedyn.designs.dense import DenseDesign
from sedyn.estimate.by_spectrum import BySpectrum
from sedyn.estimate.linearized import LinearizedRuns, Pass
from sedyn.estimate.rows import row_scales
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.network import Network, differentiate
from sedyn.model.quadrature import SpectralMeasure
from sedyn.model.update import updates_of
from tests.helpers import orders_of

BASE = Problem(n=8, d=6, width=2, depth=2, steps=5, learning_rate=0.4)
VARIANTS = {
    "two layers": {},
    "three layers, momentum, decay": {"depth": 3, "momentum": 0.5, "weight_decay": 0.1, "deep_learning_rate": 0.2},
    "biases, beside a linear model": {"bias": "all", "skip": True},
    "logistic, mini-batches": {"loss": "logistic", "labels": "binary", "batch_fraction": 0.5},
}


def left_out(problem, data, x, groups=None, *, centred=False):
    """Outputs by exact leave-one-out, (T + 1, C, n)."""
    groups = np.arange(problem.n) if groups is None else groups
    return np.array(list(fresh_outputs(problem, data, updates_of(problem), x, groups, centred=centred)))


def data_of(problem, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((problem.n, problem.d)) / np.sqrt(problem.d)
    y = np.tanh(x @ rng.standard_normal(problem.d)) + 0.5 * rng.standard_normal(problem.n)
    y = np.sign(y) if problem.labels == "binary" else y
    batches = None if problem.full_batch else Batches(lambda: batch_weights(problem, orders_of(problem.n, 3)))
    start = rng.standard_normal((problem.units, problem.d))
    data = Data(DenseDesign(x), np.ones(problem.d), y[None], start, initial_deep_weights(problem), batches)
    return x, data


def terms_of(problem, data, signs, fresh_of):
    """Of the deeper layers and of the first, for every iteration and linearized run: (2, T + 1, P)."""
    runs, updates, found = LinearizedRuns.begin(signs, data.start, data.deep_weights), updates_of(problem), []
    for state in states(dynamics, problem, data, updates):
        fresh = fresh_of(state)
        whole = Network.of(problem, state.deep_weights, data.labels)
        terms = runs.deeper_term(whole, fresh), runs.first_layer_term(whole, state.trained, fresh)
        found.append(terms)
        if state.iteration < problem.steps:
            batch = None if data.batches is None else data.batches[state.iteration]
            network = Network.of(problem, state.deep_weights, data.labels, batch)
            given = Pass(data.design, network, state.trained, state.derivatives, fresh)
            runs = runs.step(problem, given, updates[state.iteration])
    return np.swapaxes(found, 0, 1)


@pytest.mark.parametrize("fields", VARIANTS.values(), ids=VARIANTS)
def test_terms_are_how_weights_answer_to_a_samples_weight(fields):
    """With nothing taken out of h, and with signs whose products cancel: derivatives of whole runs, by differences."""
    problem = dataclasses.replace(BASE, **fields)
    _, data = data_of(problem)
    found = terms_of(problem, data, hadamard(8).astype(float), lambda state: state.trained).mean(axis=2)
    size, expected = 1e-5, np.zeros((2, problem.steps + 1))
    whole = list(states(dynamics, problem, data, updates_of(problem)))
    for i in range(problem.n):
        deep, first = [], []
        for sign in (1, -1):
            heavier = 1 + sign * size * (np.arange(problem.n) == i)

            def weights(heavier=heavier):
                for step in range(problem.steps):
                    yield heavier if data.batches is None else heavier * data.batches[step]

            path = list(states(dynamics, problem, data._replace(batches=Batches(weights)), updates_of(problem)))
            deep.append([state.deep_weights for state in path])
            first.append([state.trained[:, i] for state in path])
        for t, state in enumerate(whole):
            # moved as far as a sample of weight 1 would move them, half of it up and half down
            moved = [(a - b) / 2 for a, b in zip(deep[0][t], deep[1][t], strict=True)]
            pairs = [zip(state.deep_weights, moved, strict=True) for _ in (1, -1)]
            ends = [tuple(v + sign * one for v, one in pair) for sign, pair in zip((1, -1), pairs, strict=True)]
            losses = [Network.of(problem, end, data.labels).losses(state.trained)[i] for end in ends]
            expected[0, t] -= 2 * (losses[0] - losses[1]) / (2 * size) / problem.n
            gradient = differentiate(state.trained, Network.of(problem, state.deep_weights, data.labels)).gradient[:, i]
            expected[1, t] -= 2 * gradient @ (first[0][t] - first[1][t]) / (2 * size) / problem.n
    assert (np.abs(expected).max(axis=1) > 0.01).all()
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_frozen_deeper_layers_keep_nothing():
    problem = dataclasses.replace(BASE, train="first")
    _, data = data_of(problem)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (2, 8))
    assert (terms_of(problem, data, signs, lambda state: state.trained)[0] == 0).all()


def test_with_few_samples_it_brings_the_estimate_to_leave_one_out():
    problem = Problem(n=60, d=30, width=2, depth=2, steps=16, learning_rate=0.3, noise=0.5)
    without, with_term = [], []
    for seed in range(4):
        x, data = data_of(problem, seed)
        scales, measure = row_scales(x), SpectralMeasure(np.array([(x * x).sum(1).mean()]), np.ones(1))
        data = data._replace(estimate=BySpectrum.begin(problem, measure, data.start, scales))
        exact = left_out(problem, data, x)
        leave_one_out = ((exact - data.labels) ** 2).mean(axis=(1, 2))[1:]
        path = states(dynamics, problem, data, updates_of(problem))
        scores = [dynamics.scores(problem, data, state)["estimated_test_error"] for state in path]
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (32, problem.n))
        term = terms_of(problem, data, signs, lambda s: s.estimate.fresh_like(s.trained))[0].mean(axis=1)
        without.append(np.array(scores)[1:] / leave_one_out - 1)
        with_term.append((np.array(scores) + term)[1:] / leave_one_out - 1)
    rms = [np.sqrt(np.mean(np.square(each))) for each in (without, with_term)]
    assert rms[0] > 0.03
    assert rms[1] < rms[0] / 3


def test_where_the_features_are_not_what_the_estimate_takes_them_for_the_first_layer_tells():
    """Rows of unequal lengths: small with row scales, and without them as large as what is off."""
    problem = Problem(n=200, d=100, width=2, depth=2, steps=16, learning_rate=0.4, train="first")
    rng = np.random.default_rng(0)
    x, data = data_of(problem)
    x *= np.sqrt(rng.exponential(size=(problem.n, 1)))
    data = data._replace(design=DenseDesign(x))
    measure = SpectralMeasure(np.array([(x * x).sum(1).mean()]), np.ones(1))
    exact = ((left_out(problem, data, x) - data.labels) ** 2)[-1].mean()
    signs = rng.choice([-1.0, 1.0], (64, problem.n))
    found = {}
    for name, scales in (("scaled", row_scales(x)), ("equal", None)):
        own = data._replace(estimate=BySpectrum.begin(problem, measure, data.start, scales))
        terms = terms_of(problem, own, signs, lambda s: s.estimate.fresh_like(s.trained))[1, -1]
        *_, last = states(dynamics, problem, own, updates_of(problem))
        error = dynamics.scores(problem, own, last)["estimated_test_error"]
        found[name] = error / exact - 1, terms.mean() / error, terms.std() / 8 / error
    (right, no_term, _), (off, term, stderr) = found["scaled"], found["equal"]
    assert abs(right) < 1e-3
    assert abs(no_term) < 1e-3
    assert off > 0.02
    assert abs(off + term) < 0.1 * off + 3 * stderr
