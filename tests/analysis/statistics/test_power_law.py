import numpy as np
import pytest
from scipy import stats

from analysis.answers.finding import judge
from analysis.statistics.datasets import larger_half
from analysis.statistics.loglog import line_fit
from analysis.statistics.power_law import fit_powers, lack_of_fit, power_law

DOUBLED = np.array([200, 400, 800, 1600, 3200])
FULL = np.array([64, 128, 256, 512, 1024, 4096, 16384, 65536])
REPLICATES = 4096


def columns_of(n):
    """Of the fits with one correction, and with both."""
    one, log, once, root = np.ones(len(n)), np.log(n), n[0] / n, (n[0] / n) ** 0.5
    return [np.stack(columns, 1) for columns in ([one, log, once], [one, log, root], [one, log, once, root])]


def drawn(n, statistic, error, stores, draws=200, seed=0):
    """Measured statistics of many stores, one a group, with a relative error that their draws have too."""
    rng = np.random.default_rng(seed)
    off = error * rng.standard_normal((1 + draws, stores, len(n), 1))
    off[1:] += off[0]
    return statistic[:, None] * np.exp(off)


def verdicts(n, statistic, error, stores=400):
    grouped = power_law(n, drawn(n, statistic, error, stores), REPLICATES).grouped
    start = float(n[larger_half(len(n))])
    found = [judge(type(grouped)(*one), -0.5, start)[0] for one in map(_one(grouped), range(stores))]
    return {verdict: found.count(verdict) / stores for verdict in ("holds", "undecided", "fails")}


def _one(grouped):
    return lambda store: [
        type(each)(*(end[store] for end in each)) if isinstance(each, tuple) else each[store] for each in grouped
    ]


def test_fits_are_least_squares():
    """Of one line, with weights, against the solution of the normal equations."""
    rng = np.random.default_rng(0)
    y, weight = rng.standard_normal((8, 1)), rng.uniform(1, 4, (8, 1))
    late = np.arange(8) >= larger_half(8)
    line = columns_of(FULL)[0][:, :2]
    each = ((line, late), *((columns, late | True) for columns in columns_of(FULL)))
    fits = fit_powers(FULL, y, weight)
    for fit, (columns, used) in zip(fits[1:], each, strict=True):
        root = np.sqrt(weight[used])
        found = np.linalg.lstsq(columns[used] * root, y[used] * root, rcond=None)[0]
        np.testing.assert_allclose(fit.common_slope, found[1], rtol=1e-8)
        np.testing.assert_allclose(fit.common_residual[used], (weight * (y - columns @ found))[used, 0], atol=1e-9)


def test_residuals_of_several_lines_are_of_one_slope():
    """They are orthogonal to what is fitted, in each pool; and what two pools leave is not what they leave together."""
    rng = np.random.default_rng(1)
    y, weight = rng.standard_normal((3, 8, 6)), rng.uniform(1, 4, (8, 6))
    x, bends = np.log(FULL), [FULL[0] / FULL, (FULL[0] / FULL) ** 0.5]
    fit = line_fit(x, y, weight, bends)
    apart = fit.reshape((2, 3))
    assert fit.common_residual.shape == (3, 8)
    assert apart.common_residual.shape == (3, 2, 8)
    for residual in (fit.common_residual, apart.common_residual):
        np.testing.assert_allclose(residual @ np.stack([np.ones(8), x, *bends], 1), 0, atol=1e-9)
    for pool in range(2):
        own = line_fit(x, y[..., 3 * pool : 3 * pool + 3], weight[:, 3 * pool : 3 * pool + 3], bends)
        np.testing.assert_allclose(apart.common_residual[:, pool], own.common_residual, atol=1e-9)
        np.testing.assert_allclose(apart.common_slope[:, pool], own.common_slope)


@pytest.mark.parametrize("place", [0, 2])
def test_the_probability_of_residuals_is_uniform_where_a_fit_describes_the_sizes(place):
    columns = columns_of(FULL)[place]
    rng = np.random.default_rng(2)
    errors = np.geomspace(0.01, 0.1, 8)
    noise = errors * rng.standard_normal((1 + 200, 1000, 8))
    noise[1:] += noise[0]
    y = columns @ np.array([1.0, -0.5, 0.7, 0.3])[: columns.shape[1]] + noise
    residual = y - y @ np.linalg.pinv(columns).T @ columns.T
    probability = lack_of_fit(residual, columns, REPLICATES)
    for share in (0.01, 0.1, 0.5):
        assert abs((probability < share).mean() - share) < 4 * np.sqrt(share * (1 - share) / 1000)
    bent = residual + 0.5 * (np.arange(8) == 3) @ (np.eye(8) - columns @ np.linalg.pinv(columns))
    assert (lack_of_fit(bent, columns, REPLICATES) < 1e-3).mean() > 0.95


def test_sizes_that_leave_nothing_are_described_by_every_fit():
    n = DOUBLED[:3]
    assert (power_law(n, drawn(n, n**-0.4, 0.01, 5), REPLICATES).grouped.misfit == 1).all()


@pytest.mark.parametrize("n", [DOUBLED, FULL], ids=["doubled", "full"])
@pytest.mark.parametrize("order", [0.5, 1.0])
@pytest.mark.parametrize("amplitude", [-0.6, -0.3, -0.1, 0.1, 0.3])
def test_a_power_that_is_not_reached_yet_is_not_refuted(n, order, amplitude):
    """Whatever the order of what is missing: not at the precision of the best store, and hardly ever below."""
    statistic = n**-0.5 * (1 + amplitude * (n[0] / n) ** order)
    assert verdicts(n, statistic, 0.003)["fails"] < 0.01
    assert max(verdicts(n, statistic, error)["fails"] for error in (0.006, 0.012, 0.05)) < 0.05


@pytest.mark.parametrize(("n", "error"), [(DOUBLED, 0.0045), (FULL, 0.03)], ids=["doubled", "full"])
@pytest.mark.parametrize("exponent", [-0.4, -0.45, -0.55, -0.6])
def test_another_power_is_refuted(n, error, exponent):
    assert verdicts(n, n**exponent, error)["fails"] > 0.95


def test_another_power_with_a_correction_is_refuted():
    """What is refuted does not need to be a pure power."""
    for order in (0.5, 1.0):
        assert verdicts(FULL, FULL**-0.4 * (1 - 0.3 * (FULL[0] / FULL) ** order), 0.01)["fails"] > 0.95


def test_what_sgd_showed():
    """Root n times the scatter of an average over rows in mini-batches, known to 0.3 %."""
    measured = np.array([1.13, 1.23, 1.34, 1.42, 1.48])
    found = verdicts(DOUBLED, measured / np.sqrt(DOUBLED), 0.003)
    assert found["fails"] == 0
    assert stats.linregress(np.log(DOUBLED), np.log(measured)).slope > 0.09
