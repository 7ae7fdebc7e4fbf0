import numpy as np
import pytest

from analysis.statistics.bootstrap import Bootstrap, means, medians, variances

PRESENT = np.array([True, True, False, True, True, True])


def resampled(counts, values):
    """Each draw's replicates one after another, as a bootstrap is explained."""
    return [np.repeat(values, row.astype(int), axis=0) for row in counts]


def test_a_draw_takes_as_many_replicates_as_there_are_and_none_that_is_missing():
    counts = Bootstrap(500).counts(PRESENT)
    np.testing.assert_array_equal(counts[0], PRESENT)
    np.testing.assert_array_equal(counts.sum(1), 5)
    assert (counts[:, ~PRESENT] == 0).all()
    # Binomial with 5 trials at 1/5: variance 4/5.
    assert (abs(counts[1:, PRESENT].mean(0) - 1) < 5 * np.sqrt(0.8 / 500)).all()
    assert (Bootstrap(3).counts(np.zeros(4, dtype=bool)) == 0).all()


def test_draws_are_of_as_many_replicates_wherever_these_are():
    """The first ones, which are written at once, are drawn as any others are."""
    first, apart = Bootstrap(50).counts(PRESENT[[0, 1, 3, 4, 5, 2]]), Bootstrap(50).counts(PRESENT)
    np.testing.assert_array_equal(first[:, :5], apart[:, PRESENT])
    assert (first[:, 5] == 0).all()


def test_draws_depend_on_the_seed_and_the_place_alone():
    one = Bootstrap(50, seed=3)
    np.testing.assert_array_equal(one.counts(PRESENT, 2, 1), one.counts(PRESENT, 2, 1))
    np.testing.assert_array_equal(one.counts(PRESENT, 2, 1)[:11], Bootstrap(10, seed=3).counts(PRESENT, 2, 1))
    others = [one.counts(PRESENT, 1, 2), one.counts(PRESENT, 2, 2), Bootstrap(50, seed=4).counts(PRESENT, 2, 1)]
    assert not any(np.array_equal(other, one.counts(PRESENT, 2, 1)) for other in others)
    np.testing.assert_array_equal(one.shifts(4, 7.0, 1), one.shifts(4, 7.0, 1))
    assert not np.array_equal(one.shifts(4, 7.0, 1)[1:], one.shifts(4, 7.0, 2)[1:])
    assert (one.shifts(4, 7.0)[0] == 0).all()
    assert one.shifts(4, 7.0).shape == (51, 4)


@pytest.mark.parametrize(("statistic", "plain"), [(means, np.nanmean), (medians, np.nanmedian)])
@pytest.mark.parametrize("replicates", [12, 13])
def test_statistics_of_draws_are_those_of_the_replicates_drawn(statistic, plain, replicates):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((replicates, 3, 2))
    values[1, 1:] = np.nan  # diverged
    values[2] = np.nan  # unfinished
    counts = Bootstrap(200).counts(np.isfinite(values).any((1, 2)))
    expected = np.stack([plain(drawn, axis=0) for drawn in resampled(counts, values)])
    np.testing.assert_allclose(statistic(counts, values), expected, rtol=1e-12)


@pytest.mark.parametrize("statistic", [means, medians])
def test_a_draw_without_a_value_stands_at_the_estimate(statistic):
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
    counts = np.array([[1.0, 1.0], [2.0, 0.0]])
    np.testing.assert_array_equal(statistic(counts, values), [[2.0, 5.0, np.nan], [1.0, 5.0, np.nan]])


def test_variances_are_without_bias_over_the_replicates_that_there_are():
    rng = np.random.default_rng(2)
    values = rng.standard_normal((12, 3)) + 5.0
    values[1, 1:] = np.nan
    values[:-1, 2] = np.nan
    counts = Bootstrap(4000).counts(np.ones(12, dtype=bool))
    found = variances(counts, values)
    expected = [values[:, 0].var(ddof=1), np.nanvar(values[:, 1], ddof=1), np.nan]
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
    assert np.isnan(found[:, 2]).all()
    # A draw of replicates that repeat some has the variance of all of them on average.
    missed = (found[1:, :2].mean(0) - expected[:2]) / (found[1:, :2].std(0) / 4000**0.5)
    assert (abs(missed[:1]) < 4).all()
    plain = np.stack([drawn.var(0) for drawn in resampled(counts[1:50], values[:, 0])])
    np.testing.assert_allclose(found[1:50, 0], plain * (12 / 11) ** 2, rtol=1e-12)


def test_medians_are_the_same_in_pieces(monkeypatch):
    values = np.random.default_rng(1).standard_normal((9, 40))
    counts = Bootstrap(30).counts(np.ones(9, dtype=bool))
    whole = medians(counts, values)
    monkeypatch.setattr("analysis.statistics.bootstrap.AT_ONCE", 1000)
    np.testing.assert_array_equal(medians(counts, values), whole)
