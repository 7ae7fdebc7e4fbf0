"""Deferred designs, against the dense design on the matrix that completes them."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

import sedyn
from sedyn import Problem
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.designs.deferred import DeferredDesign
from sedyn.designs.dense import DenseDesign
from sedyn.kernels.dispatch import definitions_only
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.gradient_noise import GradientNoise
from sedyn.model.labels import labels_of
from sedyn.model.seeds import streams_of
from sedyn.model.update import updates_of
from tests.helpers import orders_of, start_of, stream

BASE = Problem(n=60, d=45, width=3, depth=3, steps=20, learning_rate=0.4, init_overlap=0.3)
CASES = {
    "full batch": {},
    "more directions than samples and features": {"n": 30, "d": 25},
    "mini-batches": {"batch_fraction": 0.4},
    "momentum and decay": {"momentum": 0.6, "weight_decay": 0.05},
    "nesterov": {"momentum": 0.6, "momentum_form": "nesterov", "learning_rate": 0.2},
    "gradient noise": {"temperature": 0.1},
    "two signals": {"signals": 2, "combine": "product", "init_overlap": 0.7},
    "correlated features": {"covariance": "power_law(0.3)"},
    "two levels of features": {"covariance": "two_level(5, 0.2)"},
    "two outputs, skip, biases": {"outputs": 2, "signals": 2, "skip": True, "bias": "all"},
    "frozen": {"train": "first", "deep_init": "signs"},
}


def directions(side):
    """How many of each replicate are not of zeros."""
    return np.count_nonzero(side.known()[0].any(axis=-1), axis=-1)


def descend(problem, design, first, signals, deep=None):
    """States at every iteration."""
    scales = np.sqrt(problem.eigenvalues)
    noise = problem.noise * np.random.default_rng(5).standard_normal((problem.outputs, problem.n))
    y = labels_of(problem, design.matmul(signals * scales), noise)
    batches = Batches(lambda: batch_weights(problem, orders_of(problem.n, 6)))
    deep = initial_deep_weights(problem) if deep is None else deep
    noise = GradientNoise(stream(7), 1 + 20) if problem.temperature else None
    data = Data(design, scales, y, first, deep, batches, gradient_noise=noise)
    return list(states(dynamics, problem, data, updates_of(problem)))


def assert_same_iterates(problem, first, signals, deep=None):
    deferred = DeferredDesign(problem.n, problem.d, stream(2), capacity=8)
    path = descend(problem, deferred, first, signals, deep)
    completed = DenseDesign(deferred.complete(np.random.default_rng(3)).matrices[0])
    again = descend(problem, completed, first, signals, deep)
    assert len(path) == problem.steps + 1
    for state, other in zip(path, again, strict=True):
        np.testing.assert_allclose(state.first_weights, other.first_weights, atol=1e-10)
        np.testing.assert_allclose(state.trained, other.trained, atol=1e-10)
        for weights, others in zip(state.deep_weights, other.deep_weights, strict=True):
            np.testing.assert_allclose(weights, others, atol=1e-10)
    return deferred


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
def test_deferred_is_dense_on_the_completed_matrix(fields):
    problem = dataclasses.replace(BASE, **fields)
    rows = start_of(problem, 0)
    assert_same_iterates(problem, rows[: problem.units], rows[problem.units :])


def test_deferred_with_dependent_rows():
    rows = start_of(BASE, 0)
    first, signals = rows[:3].copy(), rows[3:]
    first[1] = first[0]
    first[2] = first[0] * (1 + 1e-9) + 1e-9 * first[2]
    design = assert_same_iterates(BASE, first, signals)
    assert (directions(design.weights) <= BASE.d).all()


def test_deferred_with_a_gradient_of_zero():
    # With a zero last layer no gradient reaches the first one, and with frozen layers it stays so.
    problem = dataclasses.replace(BASE, train="first")
    rows = start_of(problem, 0)
    deep = tuple(0 * weights for weights in initial_deep_weights(problem))
    design = assert_same_iterates(problem, rows[:3], rows[3:], deep)
    assert directions(design.gradients) == 0


def test_deferred_bases_stay_orthonormal():
    rows = start_of(BASE, 0)
    design = DeferredDesign(BASE.n, BASE.d, stream(2))
    descend(BASE, design, rows[:3], rows[3:])
    (weights, images), (gradients, images_there) = (side.known() for side in (design.weights, design.gradients))
    for basis in (weights[0], gradients[0]):
        # One that would be dependent on those before is of zeros.
        np.testing.assert_allclose(basis @ basis.T, np.diag(basis.any(axis=-1) * 1.0), atol=1e-13)
    assert (directions(design.weights), directions(design.gradients)) == (BASE.d, BASE.n)
    # The two sides' images say the same about Q_g^T X Q_w.
    np.testing.assert_allclose(gradients[0] @ images[0].T, images_there[0] @ weights[0].T, atol=1e-12)


def test_deferred_products_of_a_diverged_run_are_nan():
    design = DeferredDesign(5, 4, stream(0))
    assert np.isnan(design.matmul(np.full((2, 4), np.inf))).all()
    assert directions(design.weights) == 0


def products_of(design, weights, steps=4):
    """What some steps ask of a design that nothing but the products themselves moves."""
    found = []
    for _ in range(steps):
        trained = design.matmul(weights)
        drive = design.rmatmul(np.tanh(trained) / trained.shape[-1] ** 0.5)
        found += [trained, drive]
        weights = weights - 0.3 * drive
    return found


def side_by_side(replicates):
    """Random numbers of some replicates of a problem."""
    return streams_of([BASE] * len(replicates), 0, replicates).features


def test_a_diverging_replicate_leaves_its_neighbours():
    weights = np.random.default_rng(0).standard_normal((3, 2, 45))
    weights[1, 1, 7] = np.inf
    design = DeferredDesign(60, 45, side_by_side([0, 1, 2]))
    found = products_of(design, weights)
    for part in found:
        assert np.isnan(part[1]).all()
    np.testing.assert_array_equal(directions(design.weights), [8, 0, 8])
    for place, replicate in enumerate([0, 2]):
        alone = products_of(DeferredDesign(60, 45, side_by_side([replicate])), weights[[replicate]])
        for part, expected in zip(found, alone, strict=True):
            np.testing.assert_array_equal(part[[0, 2][place]], expected[0])


@pytest.mark.parametrize(("replicates", "n", "d"), [(5, 60, 45), (1, 9000, 5000)])
def test_compiled_products_are_those_of_the_definition_on_any_number_of_threads(replicates, n, d):
    weights = np.random.default_rng(0).standard_normal((replicates, 3, d))
    weights[:, 1] = weights[:, 0]

    def products():
        return products_of(DeferredDesign(n, d, side_by_side(range(replicates)), capacity=2), weights)

    with threadpool_limits(1):
        found = products()
    with threadpool_limits(2):
        for part, expected in zip(products(), found, strict=True):
            np.testing.assert_array_equal(part, expected)
    with definitions_only():
        for part, expected in zip(products(), found, strict=True):
            np.testing.assert_allclose(part, expected, atol=1e-11)


@pytest.mark.parametrize("replicates", [120, pytest.param(500, marks=pytest.mark.slow)])
def test_deferred_and_dense_have_the_same_law(replicates):
    problem = Problem(n=24, d=16, width=2, depth=2, steps=6, learning_rate=1.0, init_overlap=0.5)
    dense, deferred = (
        sedyn.simulate(problem, range(start, start + replicates), engine=engine, estimate=False)
        for engine, start in (("dense", 0), ("deferred", replicates))
    )
    p_values = []
    for name in ("train_error", "test_error", "signal_overlap", "weight_gram", "deep_weights"):
        one = dense[name].isel(iteration=[1, 3, 6]).values.reshape(replicates, -1)
        two = deferred[name].isel(iteration=[1, 3, 6]).values.reshape(replicates, -1)
        for left, right in zip(one.T, two.T, strict=True):
            if np.isfinite(left).all() and np.ptp(left) > 0:
                p_values.append(stats.ks_2samp(left, right).pvalue)
    assert len(p_values) > 20
    assert min(p_values) * len(p_values) > 1e-3  # Bonferroni
