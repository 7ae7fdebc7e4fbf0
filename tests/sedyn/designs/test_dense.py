"""Dense designs: products, passes over them, and that neither threads nor storage show in the numbers."""

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

import sedyn
from sedyn import Problem
from sedyn.designs.dense import DenseDesign, dense_design
from sedyn.designs.protocol import Design
from sedyn.kernels.program import form_of
from sedyn.model.features import feature_law
from sedyn.model.functions import ACTIVATIONS, Activation
from tests.helpers import stream
from tests.networks import plain_network
from tests.sedyn.model.test_losses import MEMBERS

# Two lanes of several blocks, and a last block and a last tile that are not full.
SHAPE = (2101, 3003)


def drawn(law, shape=SHAPE, dtype="float64", seed=1):
    return dense_design(*shape, feature_law(law), stream(seed), dtype=dtype)


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
    """Training samples of a network, all of them different."""
    rng = np.random.default_rng(seed)
    shapes = [(width, width)] * (depth - 2) + [(width, 1)] * (depth > 1)
    deep = tuple(rng.standard_normal(shape) for shape in shapes)
    y = np.sign(rng.standard_normal(n))
    sample_weights = rng.integers(0, 3, n) * 1.0 if weighted else None
    return plain_network(activation, loss, deep, y, sample_weights)


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
    exact = Design.descend(DenseDesign(full(design)), weights, network, curvature=curvature)
    assert (exact[1].curvature is not None) == curvature
    if curvature and dtype == "float32":
        # Sums of 3003 single numbers are off by 2e-6, and curvatures of this network change up to 193 times as much.
        tolerance = 2e-6 * 193
    assert_same_pass(design.descend(weights, network, curvature=curvature), exact, atol=tolerance)


@pytest.mark.parametrize("activation", ACTIVATIONS.built_in)
@pytest.mark.parametrize("loss", MEMBERS)
@pytest.mark.parametrize(("width", "depth"), [(1, 1), (3, 2), (4, 4)])
def test_compiled_networks_are_those_of_the_registries(activation, loss, width, depth):
    rng = np.random.default_rng(0)
    design = DenseDesign(4 * rng.standard_normal((203, 9)), 1 / 3)
    weights = rng.standard_normal((width, 9))
    for weighted in (False, True):
        network = network_on(203, width, depth, activation, loss, weighted)
        assert form_of(network, width, "cpu") is not None
        expected = Design.descend(design, weights, network, curvature=False)
        assert_same_pass(design.descend(weights, network, curvature=False), expected, rtol=1e-12, atol=1e-13)


def test_a_network_of_the_user_goes_the_other_way():
    ACTIVATIONS.register("mine", Activation(ACTIVATIONS["tanh"].jet))
    design, weights = drawn("gaussian"), np.random.default_rng(0).standard_normal((3, SHAPE[1]))
    mine, built_in = (network_on(SHAPE[0], 3, activation=name) for name in ("mine", "tanh"))
    assert form_of(mine, 3, "cpu") is None
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
        monkeypatch.setattr("sedyn.kernels.cpu.samples.thread_count", lambda threads=threads: threads)
        trained, derivatives, products = design.descend(weights, network, curvature=False)
        results.append((trained, derivatives.loss, *derivatives.deep_gradient, products))
    for found in zip(*results, strict=True):
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)
    assert_same_pass(
        (trained, derivatives, products), Design.descend(design, weights, network, curvature=False), atol=1e-4
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
