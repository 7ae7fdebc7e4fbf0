"""What chance makes of differences of correlations, on normal runs whose correlation is known."""

import numpy as np
import pytest
from scipy.stats import binomtest, kstest

from analysis.statistics.correlations import apart, largest_by_chance

STEPS, REPLICATES = 4, 60
PREDICTED = np.outer([1.0, 2.0, 3.0, 0.5], [1.0, 2.0, 3.0, 0.5]) * 0.7 ** abs(
    np.subtract.outer(np.arange(STEPS), np.arange(STEPS))
)


def compared(seed, covariance, replicates=REPLICATES, cells=2):
    """Runs of some cells with a covariance, against the prediction."""
    rng = np.random.default_rng(seed)
    runs = rng.multivariate_normal(np.ones(STEPS), covariance, (cells, replicates))
    return [apart(one, PREDICTED, 200, rng) for one in runs]


def test_differences_are_those_of_plain_correlations():
    rng = np.random.default_rng(0)
    runs = rng.standard_normal((REPLICATES, STEPS)) @ rng.standard_normal((STEPS, STEPS))
    pairs = np.triu_indices(STEPS, 1)
    expected = np.corrcoef(runs, rowvar=False)[pairs] - 0.7 ** (pairs[1] - pairs[0])
    np.testing.assert_allclose(apart(runs, PREDICTED, 10, rng).found, expected, rtol=1e-12)


def test_chance_makes_what_repeated_runs_make():
    repeated = np.stack([compared(seed, PREDICTED, cells=1)[0].found for seed in range(600)])
    drawn = compared(0, PREDICTED, cells=1)[0].by_chance
    error = (1 / (2 * 600) + 1 / (2 * 200)) ** 0.5
    np.testing.assert_allclose(drawn.std(0) / repeated.std(0), 1, atol=4 * error)


def test_p_values_of_the_largest_are_uniform_under_the_truth_and_small_under_another():
    p_values = [largest_by_chance(compared(seed, PREDICTED)) for seed in range(200)]
    assert kstest(p_values, "uniform").pvalue > 1e-3
    assert binomtest(int(np.sum(np.array(p_values) < 0.05)), 200, 0.05).pvalue > 1e-3
    other = PREDICTED.copy()
    other[0, 3] = other[3, 0] = 0.0
    assert largest_by_chance(compared(0, other, replicates=400)) < 0.01


@pytest.mark.parametrize("shape", [(40, 1), (40, 0), (4, 4)])
def test_too_few_runs_or_iterations_say_nothing(shape):
    rng = np.random.default_rng(0)
    assert apart(rng.standard_normal(shape), np.eye(shape[1]), 10, rng) is None


def test_a_prediction_of_lower_rank_is_compared():
    rng = np.random.default_rng(1)
    twice = np.repeat(rng.standard_normal((50, 2)), 2, axis=1)
    found = apart(twice, np.kron(np.eye(2), np.ones((2, 2))), 50, rng)
    np.testing.assert_allclose(found.by_chance[:, [0, 5]], 0, atol=1e-7)  # which are equal in every run
    np.testing.assert_allclose(found.found[[0, 5]], 0, atol=1e-7)
