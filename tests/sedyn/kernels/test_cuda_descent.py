"""The pass that reads a design once, without a GPU: run on the host, cut for cards, and what it reads counted."""

import itertools
import math

import numpy as np
import pytest

from sedyn.arrays import backend
from sedyn.arrays.backend import Card
from sedyn.kernels.cuda import descent
from sedyn.kernels.dispatch import definitions_only, descend_each, differentiate
from sedyn.kernels.program import MOST_UNITS, form_of, program_of
from tests.networks import assert_same_derivatives, drawn_network, plain_network
from tests.sedyn.kernels.conftest import H100
from tests.sedyn.kernels.test_cuda import EVERYTHING

A100 = Card(architecture=80, shared_memory=163 * 1024)
PLAIN = {"depth": 3}
TOLERANCES = {"float64": 1e-12, "float32": 3e-6}


def drawn_pass(replicates, n, d, structure=PLAIN, loss="squared", weighted=True, dtype="float64"):
    """Designs, weights and networks of replicates, as `descend_each` takes them."""
    rng = np.random.default_rng(n + d)
    h, network = drawn_network(rng, n, structure, loss, weighted, (replicates,))
    matrices = rng.standard_normal((replicates, n, d)).astype(dtype)
    return matrices, rng.standard_normal((replicates, h.shape[1], d)), network, 1 / np.sqrt(d)


def defined_pass(matrices, weights, network, scale, *, curvature):
    """The same by definition, in double precision."""
    scaled = scale * matrices.astype(float)
    trained = weights @ scaled.swapaxes(-1, -2)
    with definitions_only():
        derivatives = differentiate(trained, network, curvature=curvature)
    return trained, derivatives, derivatives.gradient @ scaled


def largest(*arrays):
    return max([1.0, *(np.abs(each).max(initial=0) for each in arrays if each is not None)])


def compare(on_host, *args, curvature=True, card=H100, **kwargs):
    arguments = drawn_pass(*args, **kwargs)
    tolerance = TOLERANCES[str(arguments[0].dtype)]
    trained, derivatives, products = defined_pass(*arguments, curvature=curvature)
    found = on_host(descend_each, *arguments, curvature=curvature, card=card)
    assert on_host.launches == ["descend", "gather"]
    np.testing.assert_allclose(found[0], trained, rtol=0, atol=tolerance * largest(trained))
    np.testing.assert_allclose(found[2], products, rtol=0, atol=tolerance * largest(products))
    scale = largest(derivatives.loss, derivatives.gradient, derivatives.curvature)
    assert_same_derivatives(found[1], derivatives, rtol=0, atol=tolerance * scale)
    return found


@pytest.mark.parametrize(
    ("width", "d", "dtype"),
    [
        (1, 37, "float32"),
        (2, 300, "float64"),
        (3, 64, "float32"),
        (4, 515, "float64"),
        (5, 256, "float32"),
        (6, 129, "float64"),
        (7, 20, "float32"),
        (8, 96, "float64"),
    ],
)
def test_every_width_in_both_precisions(on_host, width, d, dtype):
    compare(on_host, 2, 50 + width, d, {"width": width, "depth": 2}, weighted=width % 2 == 0, dtype=dtype)


@pytest.mark.parametrize("curvature", [False, True])
@pytest.mark.parametrize(("n", "d", "replicates"), [(1, 1, 1), (2, 3, 4), (73, 5, 3), (200, 30, 1), (1000, 8, 1)])
def test_designs_of_any_shape(on_host, n, d, replicates, curvature):
    compare(on_host, replicates, n, d, curvature=curvature)


@pytest.mark.parametrize(
    ("structure", "loss"),
    [
        (EVERYTHING, "softmax"),
        ({"depth": 1, "bias": True, "outputs": 3}, "softmax"),
        ({"depth": 1}, "huber"),
        ({"bias": True, "skip": True, "residual": True, "activations": ("gelu", "softplus")}, "logistic"),
        ({"outputs": 2, "activations": ("relu", "erf")}, "absolute(1)"),
    ],
)
def test_every_kind_of_network(on_host, structure, loss):
    compare(on_host, 2, 61, 24, structure, loss)


# Shared memory so small that a sample's features have to be shared, or a tile to be of few samples.
@pytest.mark.parametrize(
    ("d", "kilobytes", "cluster", "dtype"),
    [(600, 22, 1, "float64"), (601, 13, 2, "float64"), (1204, 16, 4, "float64"), (2600, 11, 8, "float32")],
)
def test_features_shared_by_blocks_of_a_cluster(on_host, d, kilobytes, cluster, dtype):
    card = Card(90, kilobytes * 1024)
    arguments = drawn_pass(2, 90, d, dtype=dtype)
    program = form_of(arguments[2], 3, "gpu")
    assert descent.cut(90, d, program, arguments[0].itemsize, card).cluster == cluster
    compare(on_host, 2, 90, d, dtype=dtype, card=card)


def test_a_cluster_whose_last_blocks_have_nothing_to_do(on_host, monkeypatch):
    own = descent._cut_for(50, 20, program_of(drawn_pass(1, 50, 20)[2].layers, 3), 8, H100, 8)
    monkeypatch.setattr(descent, "cut", lambda *shape: own)
    compare(on_host, 1, 50, 20)


# Each an order in which tiles, networks and blocks of a cluster could get in each other's way.
@pytest.mark.parametrize("cluster", [1, 2])
@pytest.mark.parametrize(
    ("tile", "stages", "lag", "networks"), [(1, 2, 1, 1), (2, 4, 3, 8), (4, 5, 1, 2), (32, 3, 2, 3)]
)
def test_tiles_in_flight(on_host, monkeypatch, tile, stages, lag, networks, cluster):
    program = program_of(drawn_pass(1, 150, 70)[2].layers, 3)
    own = descent._cut_for(150, 70, program, 8, H100, 2)
    own = own._replace(cluster=cluster, columns=2, warps=2, part_rows=96)
    own = own._replace(tile=tile, stages=stages, lag=lag, networks=networks)
    own = own._replace(shared_memory=descent._shared_memory(own, 72, program, 8))
    monkeypatch.setattr(descent, "cut", lambda *shape: own)
    compare(on_host, 2, 150, 70)


@pytest.mark.parametrize(("warps", "tile", "stages"), [(1, 4, 3), (3, 8, 2), (2, 32, 1)])
def test_warps_with_all_features_of_their_samples(on_host, monkeypatch, warps, tile, stages):
    program = program_of(drawn_pass(1, 150, 60)[2].layers, 3)
    own = descent.cut(150, 60, program, 8, H100)
    assert own.networks == 0
    own = own._replace(warps=warps, tile=tile, stages=stages, part_rows=warps * tile * 2)
    own = own._replace(shared_memory=descent._shared_memory(own, 60, program, 8))
    monkeypatch.setattr(descent, "cut", lambda *shape: own)
    compare(on_host, 2, 150, 60)


@pytest.mark.parametrize(("d", "card"), [(40, H100), (602, Card(90, 22 * 1024))])
def test_numbers_hang_on_neither_the_order_of_threads_nor_the_replicates_beside(on_host, d, card):
    matrices, weights, network, scale = drawn_pass(3, 120, d)
    first, again = (on_host(descend_each, matrices, weights, network, scale, curvature=True, card=card) for _ in "12")
    alone = network._replace(
        deep=tuple(each[1:2] for each in network.deep),
        labels=network.labels[1:2],
        sample_weights=network.sample_weights[1:2],
    )
    one = on_host(descend_each, matrices[1:2].copy(), weights[1:2], alone, scale, curvature=True, card=card)
    for found, same, own in zip(flat(first), flat(again), flat(one), strict=True):
        np.testing.assert_array_equal(found, same)
        np.testing.assert_array_equal(found[1:2], own)


def flat(found):
    trained, derivatives, products = found
    return [
        trained,
        derivatives.loss,
        derivatives.gradient,
        *derivatives.deep_gradient,
        derivatives.curvature,
        products,
    ]


def test_divergence_stays_in_its_replicate(on_host):
    matrices, weights, network, scale = drawn_pass(2, 40, 10, {"depth": 2, "activations": ("relu",)})
    weights[0] = np.inf
    with np.errstate(all="ignore"):
        _, derivatives, products = on_host(descend_each, matrices, weights, network, scale, curvature=False)
        expected = defined_pass(matrices, weights, network, scale, curvature=False)[2]
    assert not np.isfinite(products[0]).any()
    assert not np.isfinite(derivatives.loss[0]).any()
    np.testing.assert_allclose(products[1], expected[1], rtol=1e-12)


def program_with(width):
    deep = np.zeros((width, width)), np.zeros((width, 1))
    return program_of(plain_network("tanh", "squared", deep, np.ones(1)).layers, width)


SHAPES = itertools.product(
    (1, 50, 128, 2048, 16384), (1, 33, 64, 1024, 4096, 16384), (1, 3, 4, 8), (4, 8), (A100, H100)
)


def test_every_cut_is_whole_and_fits():
    served = 0
    for n, d, width, itemsize, card in SHAPES:
        own = descent.cut(n, d, program_with(width), itemsize, card)
        if own is None:
            continue
        served += 1
        pitch = math.ceil(math.ceil(d / own.cluster) / 4) * 4
        alone = own.networks == 0
        together = own.columns * 32 // own.side * (1 if alone else own.warps)
        assert own.side <= own.tile
        assert own.side == 1 or alone
        assert together >= pitch
        assert own.full == (together * own.cluster == d)
        assert own.part_rows % (own.tile * (own.warps if alone else 1)) == 0
        assert 32 % own.tile == 0
        assert own.stages > own.lag
        assert (own.lag == 0) == alone
        assert own.networks <= own.lag + 1
        assert not alone or own.stages * own.tile >= width
        assert own.shared_memory <= card.shared_memory
        assert own.cluster == 1 or (card == H100 and not alone)
        assert d % own.vector == own.columns % own.vector == 0
        assert own.vector * itemsize in (4, 8, 16)
    assert served > 200


# Of one design on an H100: bytes of a pass beside its entries read once, in the entries' own bytes.
@pytest.mark.parametrize(
    ("n", "d", "width", "dtype", "at_most"),
    [
        (2048, 1024, 3, "float32", 1.13),
        (2048, 1024, 3, "float64", 1.13),
        (16384, 16384, 4, "float32", 1.09),
        (16384, 4096, 4, "float32", 1.09),
        (4096, 4096, 4, "float32", 1.14),
    ],
)
def test_a_pass_reads_little_but_the_design_and_that_once(n, d, width, dtype, at_most):
    itemsize = np.dtype(dtype).itemsize
    own = descent.cut(n, d, program_with(width), itemsize, H100)
    moved = descent.bytes_moved(n, d, program_with(width), itemsize, own)
    assert 1 < moved / (n * d * itemsize) <= at_most


def test_it_leaves_alone_what_does_not_fit(monkeypatch):
    monkeypatch.setattr(backend, "on_cuda", lambda x: True)
    arguments = drawn_pass(1, 20, 10)
    wide = drawn_pass(1, 20, 10, {"width": MOST_UNITS["gpu"] + 1})
    integers = (np.ones((1, 20, 10), np.int8), *arguments[1:])
    for card, given, served in (
        (H100, arguments, True),
        (A100, arguments, True),
        (A100._replace(architecture=75), arguments, False),
        (H100._replace(shared_memory=300), arguments, False),
        (H100, wide, False),
        (H100, integers, False),
    ):
        monkeypatch.setattr(backend, "gpu_card", lambda card=card: card)
        assert (descend_each.chosen(*given, curvature=True) is descent.descend) == served
