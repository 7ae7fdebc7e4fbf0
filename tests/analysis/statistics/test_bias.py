import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from analysis.statistics import bias
from analysis.statistics.bias import bias_law
from analysis.statistics.bootstrap import Bootstrap
from analysis.statistics.stack import Stack

SIZES = np.array([64, 128, 256, 512, 1024, 4096])


def runs(*, bias=4.0, power=-1.0, solver=0.0, replicates=24, steps=4, units=2, seed=0):
    """Fluctuation n^-1/2 with correlated iterations, a bias of either sign in each entry, and a solver's error."""
    rng = np.random.default_rng(seed)
    shape = (1, len(SIZES), replicates, steps, units)
    n = SIZES[:, None, None, None]
    path = 0.8 * rng.standard_normal((*shape[:3], 1, units)) + 0.6 * rng.standard_normal(shape)
    amplitude = bias * np.linspace(-1, 1, steps * units).reshape(steps, units)
    predicted = np.ones((1, len(SIZES), steps, units)) + solver * rng.standard_normal(units)
    simulated = 1 + path / np.sqrt(n) + amplitude * n**power
    stated = np.full(predicted.shape, solver)
    return Stack(simulated, np.zeros(shape), predicted, stated, {"cell": np.zeros(1)}, SIZES, np.arange(steps))


def law(data, seed=0, draws=200):
    usable = np.ones((1, len(SIZES), data.simulated.shape[3]), dtype=bool)
    return bias_law(data, usable, Bootstrap(draws, seed), level=0.95)


def test_the_exponent_without_noise_is_exact():
    data = runs(power=-0.8)
    quiet = data._replace(simulated=1 + (data.simulated - 1) * 0 + 3 * SIZES[:, None, None, None] ** -0.8)
    jitter = 1e-6 * np.random.default_rng(0).standard_normal(data.simulated.shape)
    found = law(quiet._replace(simulated=quiet.simulated + jitter))
    assert abs(found.exponent.value + 0.8) < 0.011  # half a step of its grid
    assert found.exponent.low <= found.exponent.value <= found.exponent.high
    np.testing.assert_allclose(np.sqrt(found.square.value), 3 * SIZES**-0.8, rtol=1e-3)


@pytest.mark.parametrize(("power", "solver"), [(-1.0, 0.0), (-1.0, 0.005), (-0.5, 0.0)])
def test_interval_covers_as_often_as_it_says(power, solver):
    draws = 150
    found = [law(runs(bias=10 * 64 ** (-1 - power), power=power, solver=solver, seed=s), seed=s) for s in range(draws)]
    inside = np.mean([one.exponent.low <= power <= one.exponent.high for one in found])
    assert abs(inside - 0.95) < 3 * np.sqrt(0.95 * 0.05 / draws)
    exponents = np.array([one.exponent.value for one in found])
    assert abs(exponents.mean() - power) < 4 * exponents.std() / np.sqrt(draws)


@pytest.mark.parametrize("solver", [0.0, 0.01])
def test_no_bias_is_rarely_seen(solver):
    draws = 100
    found = [law(runs(bias=0.0, solver=solver, seed=s), seed=s) for s in range(draws)]
    p_values = np.array([one.p_value for one in found])
    assert (p_values <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


def test_bound_is_above_the_bias_as_often_as_it_says():
    draws = 100
    bias = 20.0  # at the largest n about a standard error of the mean
    share = bias * np.sqrt(np.mean(np.linspace(-1, 1, 8) ** 2)) * SIZES[-1] ** -0.5
    bounds = np.array([law(runs(bias=bias, seed=s), seed=s).bound for s in range(draws)])
    assert (bounds > share).mean() > 0.95 - 3 * np.sqrt(0.95 * 0.05 / draws)


def test_noise_and_fluctuation_are_those_of_the_runs():
    found = law(runs(solver=0.02, replicates=400))
    np.testing.assert_allclose(found.fluctuation, SIZES**-0.5, rtol=0.1)
    np.testing.assert_allclose(found.noise, np.hypot(found.fluctuation / 20, 0.02), rtol=1e-9)


def test_too_few_replicates_or_sizes_have_no_exponent():
    assert np.isnan(law(runs(replicates=5)).exponent.value)
    few = runs()
    usable = np.ones((1, len(SIZES), 4), dtype=bool)
    usable[:, 2:] = False
    assert np.isnan(bias_law(few, usable, Bootstrap(10), level=0.95).exponent.value)


def test_values_between_powers_are_those_of_the_cubic_spline():
    values = np.random.default_rng(0).normal(size=(len(bias.POWERS), 2))
    expected = CubicSpline(bias.POWERS, values, axis=0)(bias.FINE)
    np.testing.assert_allclose(bias._between_powers() @ values, expected, atol=1e-13)
    cubic = bias.POWERS**3 - 2 * bias.POWERS
    np.testing.assert_allclose(bias._between_powers() @ cubic, bias.FINE**3 - 2 * bias.FINE, atol=1e-12)
