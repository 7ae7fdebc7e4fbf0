import numpy as np
from scipy import stats

from analysis.statistics.laws import f_tail, normal_quantile, student_quantile


def test_quantiles_and_tails_are_those_of_scipys_laws():
    rng = np.random.default_rng(0)
    probability, value = rng.random(2000), rng.exponential(2, 2000)
    freedom = np.concatenate([rng.integers(1, 5000, 1900), 100 * rng.random(60), [0.0] * 20, [np.nan] * 20])
    np.testing.assert_array_equal(normal_quantile(probability), stats.norm.ppf(probability))
    np.testing.assert_array_equal(student_quantile(probability, freedom), stats.t.ppf(probability, freedom))
    np.testing.assert_array_equal(
        -student_quantile(1e-3 * probability, freedom), stats.t.isf(1e-3 * probability, freedom)
    )
    infinite = np.full(2000, np.inf)
    np.testing.assert_allclose(student_quantile(probability, infinite), normal_quantile(probability), rtol=1e-14)
    above, below = rng.integers(1, 40, 2000), rng.integers(1, 400, 2000)
    np.testing.assert_array_equal(f_tail(value, above, below), stats.f.sf(value, above, below))
