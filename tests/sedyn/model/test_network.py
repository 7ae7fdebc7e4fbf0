import itertools

import numpy as np
import pytest

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.functions import ACTIVATIONS, LOSSES, loss_named
from sedyn.model.labels import labels_of
from sedyn.model.layers import HIDDEN, Dense, Elementwise, Forward, Stack
from sedyn.model.network import Network, differentiate, forward, has_kink
from tests.networks import plain_network
from tests.sedyn.model.test_losses import MEMBERS

STEP = 1e-5


def sample_network(rng, width, depth, samples):
    h = rng.standard_normal((width, samples))
    shapes = [(width, width)] * (depth - 2) + [(width, 1)] * (depth > 1)
    return h, tuple(rng.standard_normal(shape) for shape in shapes)


def central_difference(function, x, index):
    up, down = x.copy(), x.copy()
    up[index] += STEP
    down[index] -= STEP
    return (function(up) - function(down)) / (2 * STEP)


@pytest.mark.parametrize("name", ACTIVATIONS.built_in)
def test_activation_derivatives_are_finite_differences(name):
    jet = ACTIVATIONS[name].jet
    x = np.linspace(-4, 4, 41) + 0.013
    for order in range(3):
        assert len(jet(x, order)) == order + 1
        np.testing.assert_array_equal(jet(x, order)[order], jet(x, 2)[order])
    for order in range(2):
        numerical = (jet(x + STEP, 2)[order] - jet(x - STEP, 2)[order]) / (2 * STEP)
        np.testing.assert_allclose(jet(x, 2)[order + 1], numerical, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS.built_in)
def test_activations_survive_large_arguments(name):
    with np.errstate(over="raise", invalid="raise"):
        assert all(np.isfinite(values).all() for values in ACTIVATIONS[name].jet(np.array([-700.0, 700.0]), 2))


@pytest.mark.parametrize("name", MEMBERS)
def test_loss_derivatives_are_finite_differences(name):
    jet = loss_named(name).jet
    f, y = np.linspace(-3, 3, 40), np.where(np.arange(40) % 2, 1.0, -1.0)
    for order in range(2):
        numerical = (jet(f + STEP, y, 2)[order] - jet(f - STEP, y, 2)[order]) / (2 * STEP)
        np.testing.assert_allclose(jet(f, y, 2)[order + 1], numerical, atol=1e-9)


@pytest.mark.parametrize(("width", "depth"), [(1, 1), (1, 2), (3, 2), (2, 3), (4, 4)])
@pytest.mark.parametrize(("activation", "loss"), list(itertools.product(["tanh", "gelu"], MEMBERS)))
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_and_curvature_are_finite_differences(width, depth, activation, loss, weighted):
    rng = np.random.default_rng(depth)
    samples = 6
    h, deep = sample_network(rng, width, depth, samples)
    y = np.sign(rng.standard_normal(samples))
    weights = rng.uniform(0, 2, samples) if weighted else None
    assert_finite_differences(h, plain_network(activation, loss, deep, y, weights))


LAYERED = {
    "bias": {"bias": "all"},
    "bias of the output": {"bias": "output"},
    "residual": {"residual": True},
    "skip": {"skip": True},
    "outputs": {"outputs": 3, "signals": 3},
    "classes": {"outputs": 3, "signals": 3, "labels": "classes", "loss": "softmax"},
    "linear classes": {"outputs": 2, "signals": 2, "labels": "classes", "loss": "softmax", "depth": 1, "bias": "all"},
    "classes, skip, bias, residual": {
        **{"outputs": 2, "signals": 2, "labels": "classes", "loss": "softmax"},
        **{"skip": True, "bias": "all", "residual": True},
    },
    "all but classes": {"outputs": 2, "skip": True, "bias": "all", "residual": True, "loss": "huber"},
}


@pytest.fixture(params=LAYERED)
def layered(request):
    """A network of every kind of layer, its pre-activations, and the problem that names it."""
    fields = {"n": 40, "d": 20, "width": 2, "depth": 4, "activation": "gelu", **LAYERED[request.param]}
    problem, rng = Problem(**fields), np.random.default_rng(3)
    deep = tuple(start + 0.1 * rng.standard_normal(start.shape) for start in initial_deep_weights(problem))
    indices, noise = rng.standard_normal((problem.signals, 7)), 0.3 * rng.standard_normal((problem.outputs, 7))
    network = Network.of(problem, deep, labels_of(problem, indices, noise), rng.uniform(0, 2, 7))
    return rng.standard_normal((problem.units, 7)), network, problem


def test_softmax_is_the_cross_entropy():
    jet, rng = LOSSES["softmax"].jet, np.random.default_rng(0)
    f, classes = 3 * rng.standard_normal((4, 30)), rng.integers(0, 4, 30)
    value, slope, bend = jet(f, np.eye(4)[classes].T, 2)
    probabilities = np.exp(f) / np.exp(f).sum(axis=0)
    np.testing.assert_allclose(value, -np.log(probabilities[classes, np.arange(30)]), rtol=1e-13)
    np.testing.assert_allclose(slope, probabilities - np.eye(4)[classes].T, atol=1e-15)
    np.testing.assert_allclose(bend.sum(axis=0), 0, atol=1e-15)
    large, _ = jet(np.array([[1000.0], [0.0], [-1000.0], [0.0]]), np.eye(4)[:, :1], 1)
    assert large == 0


def test_layers_are_differentiated_as_finite_differences(layered):
    assert_finite_differences(*layered[:2])


def assert_finite_differences(h, network):
    """Losses, gradients and curvature against what the network's outputs alone say."""
    weights = 1 if network.sample_weights is None else network.sample_weights

    def losses(h, deep):
        outputs = forward(h, deep, network.layers)
        value = network.loss.jet(outputs, network.labels, 0)[0]
        return weights * (value if network.loss.joint else value.sum(axis=0))

    def gradient(h):
        return differentiate(h, network).gradient

    result, deep = differentiate(h, network), network.deep
    np.testing.assert_allclose(result.loss * weights, losses(h, deep), atol=1e-15)
    for unit in range(h.shape[0]):
        shifted = np.zeros_like(h)
        shifted[unit] = STEP
        numerical = (losses(h + shifted, deep) - losses(h - shifted, deep)) / (2 * STEP)
        np.testing.assert_allclose(result.gradient[unit], numerical, atol=1e-7)
        numerical = (gradient(h + shifted) - gradient(h - shifted)) / (2 * STEP)
        np.testing.assert_allclose(result.curvature[:, unit], numerical, atol=1e-7)
    np.testing.assert_allclose(result.curvature, np.swapaxes(result.curvature, 0, 1), atol=1e-13)
    for place, parameter in enumerate(deep):
        for index in np.ndindex(parameter.shape):

            def mean_loss(entries, place=place):
                return losses(h, (*deep[:place], entries, *deep[place + 1 :])).mean()

            numerical = central_difference(mean_loss, parameter, index)
            np.testing.assert_allclose(result.deep_gradient[place][index], numerical, atol=1e-7)


def test_curvature_can_be_left_out():
    h, deep = sample_network(np.random.default_rng(0), 3, 3, 5)
    network = plain_network("tanh", "squared", deep, np.ones(5))
    without, with_ = differentiate(h, network, curvature=False), differentiate(h, network)
    assert without.curvature is None
    np.testing.assert_array_equal(without.gradient, with_.gradient)


def relu_within(parts):
    return Stack((Dense(parts.width, parts.draw), Elementwise(ACTIVATIONS["relu"])))


def test_a_kink_within_a_hidden_layer_is_known():
    sedyn.register_hidden("relu_within", relu_within)
    fields = {"n": 40, "d": 20, "width": 2, "depth": 3, "steps": 2}
    for more in ({}, {"residual": True}, {"skip": True}):
        assert has_kink(Problem(**fields, hidden="relu_within", **more))
        assert not has_kink(Problem(**fields, **more))
    runs = sedyn.simulate(Problem(**fields, hidden="relu_within"), 1)
    assert "hidden layer 'relu_within' has a kink" in runs.attrs["no_estimate_because"]
    assert sedyn.state_evolution(Problem(**fields, hidden="relu_within"), 64, 2).attrs["response"] == "stein"


def test_a_kind_of_hidden_layer_without_such_a_layer_is_refused():
    sedyn.register_hidden("relu_within", relu_within)
    with pytest.raises(InvalidInput, match="hidden='relu_within': is the kind of hidden layers above the first"):
        Problem(n=40, d=20, depth=2, hidden="relu_within")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda parts: None, "its layer fails on 4 samples of 3 units"),
        (lambda parts: Dense(2, parts.draw), "its layer must lead from 3 units to as many"),
    ],
)
def test_what_builds_no_hidden_layer_is_refused(build, message):
    with pytest.raises(InvalidInput) as refusal:
        sedyn.register_hidden("no_layer", build)
    assert message in str(refusal.value)
    assert "no_layer" not in HIDDEN


@pytest.mark.parametrize("jet", [lambda f, y, order: 3, lambda f, y, order: (f,), lambda f, y, order: (f.sum(),)])
def test_what_is_no_loss_is_refused(jet):
    with pytest.raises(InvalidInput, match="jet="):
        sedyn.register_loss("no_loss", jet)
    assert "no_loss" not in LOSSES


def test_units_that_are_the_inputs_have_the_curvature_of_any_units():
    """Of each its matrix has one entry, on the diagonal, also where two are the same input."""
    rng, q, samples = np.random.default_rng(5), 3, 7
    layer, pull = Elementwise(ACTIVATIONS["tanh"]), rng.standard_normal((2, q, samples))
    signals, chosen = rng.standard_normal((2, q, samples)), np.eye(q)[[2, 0, 2]]
    tangents = np.broadcast_to(chosen[:, :, None], (2, q, q, samples))
    known, unknown = (
        layer.backward((), layer.forward((), Forward(signals, tangents, inputs=inputs), 2).memo, pull).bend
        for inputs in (True, False)
    )
    assert np.any(known)
    np.testing.assert_allclose(known, unknown, rtol=1e-14)
