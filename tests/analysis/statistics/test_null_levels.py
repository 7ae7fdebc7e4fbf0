import numpy as np
import pytest
from scipy import stats
from scipy.integrate import trapezoid
from scipy.special import ndtr

from analysis.statistics import null_levels
from sedyn.theory.distances import from_normal
from tests.helpers import assert_within_se


def drawn(size, seed=1, count=2000):
    return np.random.default_rng(seed).standard_normal((count, size))


def assert_is_mean(level, values, *errors):
    assert_within_se(level, values.mean(), values.std() / np.sqrt(values.size), *errors)


@pytest.mark.parametrize("size", [50, 1000])
def test_kolmogorov_level_is_exact_to_a_tenth_of_a_percent(size):
    x = np.linspace(0, 4 / np.sqrt(size), 401)
    np.testing.assert_allclose(null_levels.kolmogorov(size), trapezoid(stats.kstwo.sf(x, size), x), rtol=1e-3)


@pytest.mark.parametrize("size", [7, 100, 1500])
def test_wasserstein_level_is_the_mean_distance_of_normal_samples(size):
    distances = from_normal(np.sort(drawn(size)))
    nodes = np.array([-2.5, -1.0, 0.3, 3.0])
    level = null_levels.wasserstein_shares(size, ndtr(nodes)) @ np.diff(nodes)
    assert_is_mean(level, distances.wasserstein)


@pytest.mark.parametrize("size", [7, 100, 1500])
def test_levels_of_standardized_samples(size):
    values = np.sort(drawn(size))
    distances = from_normal((values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True))
    level = null_levels.standardized(size)
    more = np.sqrt(2000 / null_levels.DRAWS)  # the levels are drawn as well
    for name in ("kolmogorov", "wasserstein"):
        values = getattr(distances, name)
        assert_is_mean(getattr(level, name), values, more * values.std() / np.sqrt(values.size))


def test_a_wasserstein_level_has_the_unit_of_the_law():
    """Of exponential draws, whose law is known by its quantiles alone, compared on a fine grid."""
    size = 400
    probabilities = np.concatenate(
        [np.geomspace(1e-5, 0.1, 60), np.linspace(0.11, 0.89, 79), 1 - np.geomspace(0.1, 1e-5, 60)]
    )
    level = null_levels.wasserstein_shares(size, probabilities) @ np.diff(-np.log1p(-probabilities))
    x = np.linspace(0, 15, 6001)
    draws = np.sort(np.random.default_rng(0).exponential(size=(1500, size)))
    gaps = [np.abs(np.searchsorted(row, x) / size + np.expm1(-x)).sum() * (x[1] - x[0]) for row in draws]
    assert_is_mean(level, np.array(gaps))
