import dataclasses
import math

import numpy as np
import pytest
from scipy import sparse, stats
from threadpoolctl import threadpool_limits

import sedyn
from sedyn import Problem
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.designs.deferred import DeferredDesign
from sedyn.designs.dense import DenseDesign, dense_design
from sedyn.designs.protocol import two_products
from sedyn.kernels.cpu import network as compiled_activations
from sedyn.kernels.cpu.network import compiled_network
from sedyn.model.algorithm import states
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.covariance import spectrum
from sedyn.model.features import feature_sampler
from sedyn.model.functions import ACTIVATIONS, LOSSES
from sedyn.model.initialization import initial_deep_weights, initial_rows
from sedyn.model.labels import labels_of
from sedyn.model.network import Network
from sedyn.model.update import updates_of

# Two lanes of several blocks, and a last block and a last tile that are not full.
SHAPE = (2101, 3003)


def drawn(law, shape=SHAPE, dtype="float64", seed=1):
    return dense_design(*shape, feature_sampler(law), np.random.SeedSequence(seed), dtype=dtype)


def full(design):
    matrix = design.matrix.toarray() if sparse.issparse(design.matrix) else design.matrix
    return matrix.astype(float) * design.scale


@pytest.mark.parametrize("law", ["gaussian", "rademacher", "sparse(0.01)"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
@pytest.mark.parametrize("q", [1, 4, 6, 40])
def test_products_are_those_of_the_matrix(law, dtype, tolerance, q):
    design = drawn(law, dtype=dtype)
    x = full(design)
    rng = np.random.default_rng(0)
    weights, gradients = rng.standard_normal((q, SHAPE[1])), rng.standard_normal((q, SHAPE[0]))
    np.testing.assert_allclose(design.matmul(weights), weights @ x.T, atol=tolerance)
    np.testing.assert_allclose(design.rmatmul(gradients), gradients @ x, atol=tolerance)


def network_on(n, width, depth=3, activation="tanh", loss="squared", weighted=True, seed=0):
    """Training rows of a network, all of them different."""
    rng = np.random.default_rng(seed)
    shapes = [(width, width)] * (depth - 2) + [(width, 1)] * (depth > 1)
    deep = tuple(rng.standard_normal(shape) for shape in shapes)
    y = np.sign(rng.standard_normal(n))
    return Network(activation, loss, deep, y, rng.integers(0, 3, n) * 1.0 if weighted else None)


def assert_same_pass(found, expected, **tolerances):
    for one, two in zip(found[1], expected[1], strict=True):
        if isinstance(two, tuple):
            for weights, others in zip(one, two, strict=True):
                np.testing.assert_allclose(weights, others, **tolerances)
        elif two is not None:
            np.testing.assert_allclose(one, two, **tolerances)
    np.testing.assert_allclose(found[0], expected[0], **tolerances)
    np.testing.assert_allclose(found[2], expected[2], **tolerances)


@pytest.mark.parametrize("law", ["gaussian", "rademacher", "sparse(0.01)"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-4)])
@pytest.mark.parametrize("curvature", [False, True])
def test_a_pass_is_two_products(law, dtype, tolerance, curvature):
    design, network = drawn(law, dtype=dtype), network_on(SHAPE[0], 5)
    weights = np.random.default_rng(0).standard_normal((5, SHAPE[1]))
    exact = two_products(DenseDesign(full(design)), weights, network, curvature=curvature)
    assert (exact[1].curvature is not None) == curvature
    assert_same_pass(design.descend(weights, network, curvature=curvature), exact, atol=tolerance)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("width", "depth"), [(1, 1), (3, 2), (4, 4)])
def test_compiled_networks_are_those_of_the_registries(activation, loss, width, depth):
    rng = np.random.default_rng(0)
    design = DenseDesign(4 * rng.standard_normal((203, 9)), 1 / 3)
    weights = rng.standard_normal((width, 9))
    for weighted in (False, True):
        network = network_on(203, width, depth, activation, loss, weighted)
        assert compiled_network(network, width) is not None
        expected = two_products(design, weights, network, curvature=False)
        assert_same_pass(design.descend(weights, network, curvature=False), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_compiled_activations_everywhere(activation):
    magnitudes = np.concatenate([10.0 ** np.arange(-300, 300, 7), np.geomspace(1e-9, 800, 20_000)])
    x = np.concatenate([magnitudes, -magnitudes, [0.0, np.nan]])
    value, slope = np.empty_like(x), np.empty_like(x)
    compiled_activations.activate(compiled_activations.ACTIVATIONS.index(activation), x, value, slope)
    with np.errstate(all="ignore"):
        expected, derivative = ACTIVATIONS[activation].jet(x, 1)
    # The registries take the logistic function from tanh: silu(-30) is then right to 30 roundings of 1.
    np.testing.assert_allclose(value, expected, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(slope, derivative, rtol=1e-12, atol=1e-14)


def test_compiled_error_function_and_logarithm_to_the_last_places():
    # Both to 1.5 units of the last place; the C library, which is the reference, to 1.
    x = np.concatenate([np.geomspace(5e-324, 1e300, 20_000), np.linspace(0, 7, 200_001), [np.inf]])
    x = np.concatenate([x, -x])
    value, slope = np.empty_like(x), np.empty_like(x)
    compiled_activations.activate(compiled_activations.ERF, x, value, slope)
    np.testing.assert_array_max_ulp(value, np.array([math.erf(number) for number in x]), maxulp=2)
    np.testing.assert_array_equal(np.signbit(value), np.signbit(x))
    x = np.concatenate([np.geomspace(5e-324, 1, 20_000), np.linspace(0, 1, 50_001)])
    value = np.array([compiled_activations._log1p_to_one(number) for number in x])
    np.testing.assert_array_max_ulp(value, np.log1p(x), maxulp=2)
    assert np.isnan(compiled_activations._log1p_to_one(np.nan))


@pytest.mark.parametrize("loss", LOSSES)
def test_compiled_losses_everywhere(loss):
    magnitudes = np.concatenate([10.0 ** np.arange(-300, 150, 7), np.geomspace(1e-9, 800, 5_000), [1, 2, np.inf]])
    f = np.concatenate([magnitudes, -magnitudes, [0.0, np.nan]])
    value, slope = np.empty_like(f), np.empty_like(f)
    for label in (-1.0, 1.0):
        y = np.full_like(f, label)
        compiled_activations.lose(compiled_activations.LOSSES.index(loss), f, y, value, slope)
        with np.errstate(all="ignore"):
            expected, derivative = LOSSES[loss].jet(f, y, 1)
        np.testing.assert_allclose(value, expected, rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(slope, derivative, rtol=1e-14, atol=1e-14)


def test_a_network_of_the_user_goes_the_other_way(monkeypatch):
    monkeypatch.setitem(ACTIVATIONS._entries, "mine", ACTIVATIONS["tanh"])
    design, weights = drawn("gaussian"), np.random.default_rng(0).standard_normal((3, SHAPE[1]))
    mine, built_in = (network_on(SHAPE[0], 3, activation=name) for name in ("mine", "tanh"))
    assert compiled_network(mine, 3) is None
    found = design.descend(weights, mine, curvature=False)
    assert_same_pass(design.descend(weights, built_in, curvature=False), found, atol=1e-12)


def test_infinities_and_nan_keep_their_meaning():
    matrix = np.ones((3, 5))
    weights = np.array([[1.0, np.inf, 1, 1, 1], [1, np.nan, 1, 1, 1], [1, 1, 1, 1, 1]])
    products = DenseDesign(matrix).matmul(weights)
    np.testing.assert_array_equal(products, [[np.inf] * 3, [np.nan] * 3, [5.0] * 3])


def test_storage():
    assert drawn("rademacher").matrix.dtype == np.int8
    assert sparse.issparse(drawn("sparse(0.01)").matrix)
    assert drawn("gaussian", dtype="float32").matrix.dtype == np.float32


@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.parametrize("law", ["gaussian", "rademacher", "sparse(0.01)", "student_t(5)"])
def test_nothing_depends_on_the_number_of_threads(law, width):
    results = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            design = drawn(law)
            weights = np.random.default_rng(0).standard_normal((width, SHAPE[1]))
            trained, derivatives, products = design.descend(weights, network_on(SHAPE[0], width), curvature=False)
            found = (derivatives.loss, derivatives.gradient, *derivatives.deep_gradient)
            results.append((full(design), trained, *found, products))
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("n", [1, 5, 78, 97, 1000])
def test_the_order_of_sums_does_not_depend_on_which_thread_comes_first(n, monkeypatch):
    design, network = drawn("gaussian", (n, 700), "float32"), network_on(n, 3)
    weights = np.random.default_rng(0).standard_normal((3, 700))
    results = []
    for threads in (1, 2, 3, 7, 7, 7):  # more than processors, so that they come in any order
        monkeypatch.setattr("sedyn.designs.dense.thread_count", lambda threads=threads: threads)
        trained, derivatives, products = design.descend(weights, network, curvature=False)
        results.append((trained, derivatives.loss, *derivatives.deep_gradient, products))
    for found in zip(*results, strict=True):
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)
    assert_same_pass(
        (trained, derivatives, products), two_products(design, weights, network, curvature=False), atol=1e-4
    )


@pytest.mark.parametrize("engine", ["dense", "deferred"])
def test_a_simulation_does_not_depend_on_the_number_of_threads(engine):
    problem = Problem(n=1500, d=6000, steps=4)
    runs = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            runs.append(sedyn.simulate(problem, replicates=1, engine=engine))
    # The small products outside the design are the library's.
    for name in runs[0]:
        np.testing.assert_allclose(runs[0][name], runs[1][name], rtol=1e-13)


def test_single_precision_is_the_same_data_rounded():
    one, two = drawn("gaussian", (50, 60), "float32"), drawn("gaussian", (50, 60))
    np.testing.assert_array_equal(one.matrix, two.matrix.astype(np.float32))


def test_a_descent_in_single_precision_differs_by_rounding():
    problem = Problem(n=1500, d=1000, steps=20, width=4, depth=3)
    single, double = (sedyn.simulate(problem, 1, engine="dense", dtype=dtype) for dtype in ("float32", "float64"))
    for name in double:
        np.testing.assert_allclose(single[name], double[name], atol=2e-6)


# --- deferred against dense on the completed matrix -----------------------------------------------------------------

BASE = Problem(n=60, d=45, width=3, depth=3, steps=20, learning_rate=0.4, init_overlap=0.3)
CASES = {
    "full batch": {},
    "more directions than rows and columns": {"n": 30, "d": 25},
    "mini-batches": {"batch_fraction": 0.4},
    "momentum and decay": {"momentum": 0.6, "weight_decay": 0.05},
    "two signals": {"signals": 2, "combine": "product", "init_overlap": 0.7},
    "correlated features": {"covariance": "power_law(0.3)"},
    "two levels of features": {"covariance": "two_level(5, 0.2)"},
    "frozen": {"train": "first", "deep_init": "signs"},
}


def descend(problem, design, first, signals, deep=None):
    """States at every iteration."""
    scales = np.sqrt(spectrum(problem.covariance, problem.d))
    noise = problem.noise * np.random.default_rng(5).standard_normal(problem.n)
    y = labels_of(problem, design.matmul(signals * scales), noise)
    batches = Batches(lambda: batch_weights(problem, np.random.default_rng(6)))
    deep = initial_deep_weights(problem) if deep is None else deep
    data = Data(design, scales, y, first, deep, batches)
    return list(states(dynamics, problem, data, updates_of(problem)))


def assert_same_iterates(problem, first, signals, deep=None):
    deferred = DeferredDesign(problem.n, problem.d, np.random.SeedSequence(2), capacity=8)
    path = descend(problem, deferred, first, signals, deep)
    completed = deferred.complete(np.random.default_rng(3))
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
    rows = initial_rows(problem, np.random.default_rng(0))
    assert_same_iterates(problem, rows[: problem.width], rows[problem.width :])


def test_deferred_with_dependent_rows():
    rows = initial_rows(BASE, np.random.default_rng(0))
    first, signals = rows[:3].copy(), rows[3:]
    first[1] = first[0]
    first[2] = first[0] * (1 + 1e-9) + 1e-9 * first[2]
    design = assert_same_iterates(BASE, first, signals)
    assert design.weights.count <= BASE.d


def test_deferred_with_a_gradient_of_zero():
    # With a zero last layer no gradient reaches the first one, and with frozen layers it stays so.
    problem = dataclasses.replace(BASE, train="first")
    rows = initial_rows(problem, np.random.default_rng(0))
    deep = tuple(0 * weights for weights in initial_deep_weights(problem))
    design = assert_same_iterates(problem, rows[:3], rows[3:], deep)
    assert design.gradients.count == 0


def test_deferred_bases_stay_orthonormal():
    rows = initial_rows(BASE, np.random.default_rng(0))
    design = DeferredDesign(BASE.n, BASE.d, np.random.SeedSequence(2))
    descend(BASE, design, rows[:3], rows[3:])
    for side in (design.weights, design.gradients):
        np.testing.assert_allclose(side.basis @ side.basis.T, np.eye(side.count), atol=1e-13)
    # The two sides' images say the same about Q_g^T X Q_w.
    between = design.gradients.basis @ design.weights.images.T
    np.testing.assert_allclose(between, design.gradients.images @ design.weights.basis.T, atol=1e-12)


def test_deferred_products_of_a_diverged_run_are_nan():
    design = DeferredDesign(5, 4, np.random.SeedSequence(0))
    assert np.isnan(design.matmul(np.full((2, 4), np.inf))).all()
    assert design.weights.count == 0


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
