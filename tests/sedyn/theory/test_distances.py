import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from sedyn.theory.distances import from_normal, from_sample

LAWS = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "shifted and wide": lambda rng, size: 0.3 + 1.4 * rng.standard_normal(size),
    "with ties": lambda rng, size: np.round(rng.standard_normal(size)),
    "far away": lambda rng, size: 6 + rng.standard_exponential(size),
}


@pytest.mark.parametrize("size", [1, 7, 200])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_distances_from_the_normal_law(law, size):
    values = np.sort(law(np.random.default_rng(size), size))
    found = from_normal(values)
    assert found.kolmogorov == pytest.approx(stats.kstest(values, "norm").statistic, abs=1e-14)
    ends = np.concatenate([[-12.0], values, [18.0]])
    area = 0.0
    for i, (low, high) in enumerate(itertools.pairwise(ends)):
        level = i / size
        turn = np.clip(stats.norm.ppf(level), low, high)
        for a, b in ((low, turn), (turn, high)):
            area += abs(integrate.quad(lambda x, level=level: stats.norm.cdf(x) - level, a, b, epsabs=1e-14)[0])
    assert found.wasserstein == pytest.approx(area, abs=1e-11)


def test_many_laws_at_once():
    values = np.sort(np.random.default_rng(0).standard_normal((2, 3, 50)))
    found = from_normal(values)
    assert found.kolmogorov.shape == found.wasserstein.shape == (2, 3)
    assert found.wasserstein[1, 2] == from_normal(values[1, 2]).wasserstein


@pytest.mark.parametrize("sizes", [(2, 3), (9, 200), (200, 150)])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_distances_between_samples(law, sizes):
    rng = np.random.default_rng(sizes)
    values, others = np.sort(law(rng, sizes[0])), np.sort(LAWS["with ties"](rng, sizes[1]))
    found = from_sample(values, others)
    assert found.kolmogorov == pytest.approx(stats.ks_2samp(values, others, method="asymp").statistic, abs=1e-14)
    assert found.wasserstein == pytest.approx(stats.wasserstein_distance(values, others), abs=1e-13)


def test_without_values_there_is_no_distance():
    values, nothing = np.arange(3.0), np.full(4, np.nan)
    assert np.isnan([*from_normal(nothing), *from_sample(values, nothing)]).all()
