import itertools

import numpy as np
import pytest

from sedyn.model.functions import ACTIVATIONS, LOSSES, loss_named
from sedyn.model.network import Network, differentiate, forward
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
    act, los = ACTIVATIONS[activation], loss_named(loss)

    def losses(h, deep):
        return los.jet(forward(h, deep, act), y, 0)[0] * (1 if weights is None else weights)

    def gradient(h):
        return differentiate(h, Network(act, los, deep, y, weights)).gradient

    result = differentiate(h, Network(act, los, deep, y, weights))
    np.testing.assert_allclose(result.loss, los.jet(forward(h, deep, act), y, 0)[0])
    for unit in range(width):
        shifted = np.zeros_like(h)
        shifted[unit] = STEP
        numerical = (losses(h + shifted, deep) - losses(h - shifted, deep)) / (2 * STEP)
        np.testing.assert_allclose(result.gradient[unit], numerical, atol=1e-7)
        numerical = (gradient(h + shifted) - gradient(h - shifted)) / (2 * STEP)
        np.testing.assert_allclose(result.curvature[:, unit], numerical, atol=1e-7)
    np.testing.assert_allclose(result.curvature, np.swapaxes(result.curvature, 0, 1), atol=1e-13)
    for layer, weight in enumerate(deep):
        for index in np.ndindex(weight.shape):

            def mean_loss(matrix, layer=layer):
                return losses(h, (*deep[:layer], matrix, *deep[layer + 1 :])).mean()

            numerical = central_difference(mean_loss, weight, index)
            np.testing.assert_allclose(result.deep_gradient[layer][index], numerical, atol=1e-7)


def test_curvature_can_be_left_out():
    h, deep = sample_network(np.random.default_rng(0), 3, 3, 5)
    network = Network(ACTIVATIONS["tanh"], LOSSES["squared"], deep, np.ones(5))
    without, with_ = differentiate(h, network, curvature=False), differentiate(h, network)
    assert without.curvature is None
    np.testing.assert_array_equal(without.gradient, with_.gradient)
