import numpy as np
import pytest
import xarray as xr

from analysis.statistics.generalization_estimate import generalization_estimate


def noisy(rng, sizes=(100, 400, 1600), replicates=60, power=-0.5, fresh=0.0):
    n = np.array(sizes)
    truth = np.linspace(1, 0.5, 6)
    error = rng.standard_normal((n.size, replicates, 6)) * n[:, None, None] ** power
    seen = truth + fresh * rng.standard_normal(error.shape)
    dims = ("n", "replicate", "iteration")
    return xr.Dataset(
        {
            "test_error": (dims, seen),
            "test_error_stderr": (dims, np.full(error.shape, fresh)),
            "estimated_test_error": (dims, truth + error),
        },
        coords={"n": n, "iteration": np.arange(6)},
    )


@pytest.mark.parametrize("power", [-0.5, -1.0, 0.0])
def test_consistency_finds_the_exponent(power):
    measured = generalization_estimate(noisy(np.random.default_rng(0), power=power))
    assert abs(measured.exponent - power) < 4 * measured.exponent_stderr
    assert measured.exponent_stderr < 0.05
    assert measured.overall_exponent == measured.exponent


def test_error_of_the_fresh_data_is_taken_out():
    runs = noisy(np.random.default_rng(1), replicates=400, fresh=0.02)
    measured = generalization_estimate(runs)
    # 0.02 is near the root mean square at the largest n, 1/40: left in, the exponent would be -0.43.
    assert abs(measured.exponent + 0.5) < 4 * measured.exponent_stderr
    assert measured.exponent_high < -0.45


def test_a_diverged_run_is_left_out_from_there_on():
    runs = noisy(np.random.default_rng(2))
    late = (runs.replicate < 3) & (runs.iteration > 3)
    astray = generalization_estimate(runs.where(~late, runs * 1e200), draws=50)
    xr.testing.assert_identical(astray, generalization_estimate(runs.where(~late), draws=50))


def test_intervals_cover():
    hits = []
    for seed in range(100):
        measured = generalization_estimate(noisy(np.random.default_rng(seed), replicates=16), draws=200)
        hits.append(bool(measured.exponent_low < -0.5 < measured.exponent_high))
    # Binomial with 100 draws at 95%: 5 standard deviations are 11.
    assert sum(hits) >= 84


def test_consistency_on_grid_axes_and_with_too_few_sizes():
    runs = [noisy(np.random.default_rng(seed)) for seed in range(2)]
    measured = generalization_estimate(xr.concat(runs, xr.Variable("depth", [2, 3])))
    assert measured.exponent.dims == ("depth",)
    assert measured.overall_exponent_stderr < measured.exponent_stderr.min()
    assert np.isnan(generalization_estimate(runs[0].isel(n=[0, 1])).exponent)
    with pytest.raises(ValueError, match="dimension n"):
        generalization_estimate(runs[0].isel(n=0))
