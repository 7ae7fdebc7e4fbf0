"""Compiled activations and losses, against those of the registries and of the C library."""

import math

import numpy as np
import pytest

from sedyn.kernels.cpu.network import ActivationForm, LossForm, _log1p_to_one, activate, lose
from sedyn.model.functions import ACTIVATIONS, loss_named
from tests.sedyn.model.test_losses import MEMBERS


@pytest.mark.parametrize("activation", ACTIVATIONS.built_in)
def test_activations_everywhere(activation):
    magnitudes = np.concatenate([10.0 ** np.arange(-300, 300, 7), np.geomspace(1e-9, 800, 20_000)])
    x = np.concatenate([magnitudes, -magnitudes, [0.0, np.nan]])
    value, slope = np.empty_like(x), np.empty_like(x)
    activate(ActivationForm[ACTIVATIONS[activation].compiled].value, x, value, slope)
    with np.errstate(all="ignore"):
        expected, derivative = ACTIVATIONS[activation].jet(x, 1)
    # The registries take the logistic function from tanh: silu(-30) is then right to 30 roundings of 1.
    np.testing.assert_allclose(value, expected, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(slope, derivative, rtol=1e-12, atol=1e-14)


def test_error_function_and_logarithm_to_the_last_places():
    # Both to 1.5 units of the last place; the C library, which is the reference, to 1.
    x = np.concatenate([np.geomspace(5e-324, 1e300, 20_000), np.linspace(0, 7, 200_001), [np.inf]])
    x = np.concatenate([x, -x])
    value, slope = np.empty_like(x), np.empty_like(x)
    activate(ActivationForm.erf.value, x, value, slope)
    np.testing.assert_array_max_ulp(value, np.array([math.erf(number) for number in x]), maxulp=2)
    np.testing.assert_array_equal(np.signbit(value), np.signbit(x))
    x = np.concatenate([np.geomspace(5e-324, 1, 20_000), np.linspace(0, 1, 50_001)])
    value = np.array([_log1p_to_one(number) for number in x])
    np.testing.assert_array_max_ulp(value, np.log1p(x), maxulp=2)
    assert np.isnan(_log1p_to_one(np.nan))


@pytest.mark.parametrize("loss", MEMBERS)
def test_losses_everywhere(loss):
    magnitudes = np.concatenate([10.0 ** np.arange(-300, 150, 7), np.geomspace(1e-9, 800, 5_000), [1, 2, np.inf]])
    f = np.concatenate([magnitudes, -magnitudes, [0.0, np.nan]])
    value, slope, member = np.empty_like(f), np.empty_like(f), loss_named(loss)
    for label in (-1.0, 1.0):
        y = np.full_like(f, label)
        lose(LossForm[member.compiled].value, np.array(member.numbers), f, y, value, slope)
        with np.errstate(all="ignore"):
            expected, derivative = member.jet(f, y, 1)
        np.testing.assert_allclose(value, expected, rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(slope, derivative, rtol=1e-14, atol=1e-14)
