"""Compiled activations and losses, against those of the registries and of the C library."""

import math

import numpy as np
import pytest

from sedyn.arrays.compiling import compiled
from sedyn.kernels.cpu import functions
from sedyn.model.functions import ACTIVATIONS, loss_named
from tests.sedyn.model.test_losses import MEMBERS


def activated(activation, x):
    """Values and slopes of a compiled activation, of two units side by side that are found to be the same."""
    signals, slopes = np.stack([x, x, np.empty_like(x), np.empty_like(x)]), np.full((4, x.size), 7.0)
    getattr(functions, f"_activate_{ACTIVATIONS[activation].compiled}")(signals, slopes, 0, 2, 2)
    np.testing.assert_array_equal(signals[:2], [x, x])
    np.testing.assert_array_equal(slopes[:2], 7)
    np.testing.assert_array_equal([signals[2], slopes[2]], [signals[3], slopes[3]])
    return signals[2], slopes[2]


@pytest.mark.parametrize("activation", ACTIVATIONS.built_in)
def test_activations_everywhere(activation):
    magnitudes = np.concatenate([10.0 ** np.arange(-300, 300, 7), np.geomspace(1e-9, 800, 20_000)])
    x = np.concatenate([magnitudes, -magnitudes, [0.0, np.nan]])
    value, slope = activated(activation, x)
    with np.errstate(all="ignore"):
        expected, derivative = ACTIVATIONS[activation].jet(x, 1)
    # The registries take the logistic function from tanh: silu(-30) is then right to 30 roundings of 1.
    np.testing.assert_allclose(value, expected, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(slope, derivative, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ACTIVATIONS.built_in)
def test_numbers_do_not_depend_on_where_a_sample_stands(activation):
    # Vectors, several of them in one turn, and what is left over: the same bits for the same sample.
    x = np.random.default_rng(5).normal(scale=3, size=200)
    value, slope = activated(activation, x)
    for start, stop in [(0, 1), (0, 63), (1, 65), (7, 136), (64, 200), (130, 199)]:
        np.testing.assert_array_equal(activated(activation, x[start:stop]), [value[start:stop], slope[start:stop]])


def test_error_function_and_logarithm_to_the_last_places():
    # Both to 1.5 units of the last place; the C library, which is the reference, to 1.
    x = np.concatenate([np.geomspace(5e-324, 1e300, 20_000), np.linspace(0, 7, 200_001), [np.inf]])
    x = np.concatenate([x, -x])
    value, _ = activated("erf", x)
    np.testing.assert_array_max_ulp(value, np.array([math.erf(number) for number in x]), maxulp=2)
    np.testing.assert_array_equal(np.signbit(value), np.signbit(x))
    x = np.concatenate([np.geomspace(5e-324, 1, 20_000), np.linspace(0, 1, 50_001)])
    log1p = compiled(set())(lambda number: functions._log1p_to_one(number))
    value = np.array([log1p(number) for number in x])
    np.testing.assert_array_max_ulp(value, np.log1p(x), maxulp=2)
    assert np.isnan(log1p(np.nan))


def lost(loss, f, y):
    """Values and slopes of a compiled loss, for outputs and labels (C, m), of samples that others come before."""
    outputs, m = f.shape
    signals, pulls = np.concatenate([np.full((1, m), np.nan), f]), np.full((outputs + 1, m), 7.0)
    value = np.full(3 + m, 7.0)
    labels, member = np.concatenate([np.full((outputs, 3), np.nan), y], axis=1), loss_named(loss)
    lose = getattr(functions, f"_lose_{member.compiled}")
    lose(np.array(member.numbers), signals, 1, labels, 3, value, pulls)
    assert (value[:3] == 7).all()
    assert (pulls[0] == 7).all()
    return value[3:], pulls[1:]


@pytest.mark.parametrize("loss", MEMBERS)
def test_losses_everywhere(loss):
    magnitudes = np.concatenate([10.0 ** np.arange(-300, 150, 7), np.geomspace(1e-9, 800, 5_000), [1, 2, np.inf]])
    f = np.concatenate([magnitudes, -magnitudes, [0.0, np.nan]])
    for label in (-1.0, 1.0):
        y = np.full_like(f, label)
        with np.errstate(all="ignore"):
            expected, derivative = loss_named(loss).jet(f, y, 1)
            value, slope = lost(loss, np.stack([f, f[::-1]]), np.stack([y, y]))
            several = expected + expected[::-1]
        np.testing.assert_allclose(value, several, rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(slope, [derivative, derivative[::-1]], rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("classes", [1, 2, 3, 10])
def test_softmax_everywhere(classes):
    rng = np.random.default_rng(classes)
    f = rng.standard_normal((classes, 4000)) * 10.0 ** rng.uniform(-9, 6, 4000)
    f[:, 3:6] = [0, 700, -700]
    f[-1, :3] = np.nan, np.inf, -np.inf
    y = np.eye(classes)[:, rng.integers(0, classes, 4000)]
    with np.errstate(all="ignore"):
        expected, derivative = loss_named("softmax").jet(f, y, 1)
        value, slope = lost("softmax", f, y)
    np.testing.assert_array_equal(np.isfinite(value), np.isfinite(expected))
    finite = np.isfinite(value)
    assert (~finite).sum() in (2, 3)
    # A difference of outputs is known to the rounding of the largest.
    rounding = np.finfo(float).eps * (1 + np.abs(f).max(axis=0))
    assert (np.abs(value[finite] - expected[finite]) <= 4 * rounding[finite]).all()
    np.testing.assert_allclose(slope, derivative, rtol=1e-13, atol=1e-14)
