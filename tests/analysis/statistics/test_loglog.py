import numpy as np

from analysis.statistics.loglog import half_log, line_fit, power_line, weights

N = np.array([100.0, 200.0, 800.0])


def test_a_power_law_is_fitted_and_drawn_exactly():
    level = 3 * N**-0.7
    fit = line_fit(np.log(N), half_log(level[:, None] ** 2), np.array([[1.0], [5.0], [2.0]]))
    np.testing.assert_allclose([fit.slope[0], fit.common_slope, np.exp(fit.intercept[0])], [-0.7, -0.7, 3])
    np.testing.assert_allclose(power_line(N, level, -0.7, np.array([1.0, 0.0, 4.0])), level)


def test_a_line_goes_through_the_middle_of_what_is_seen():
    level = np.array([1.0, 4.0, np.nan])
    np.testing.assert_allclose(power_line(N, level, 0.0), 2)
    np.testing.assert_allclose(power_line(N, level, 0.0, np.array([0.0, 1.0, 1.0])), 4)
    np.testing.assert_allclose(power_line(N, level, 0.0, np.zeros(3)), 2)
    assert np.isnan(power_line(N, np.full(3, np.nan), 0.0)).all()


def test_no_point_outvotes_all_others():
    found = weights(np.array([0.0, 1e-4, 0.04, 0.04]), np.array([True, True, True, False]))
    np.testing.assert_allclose(found, [1e4, 1e4, 25, 0])
