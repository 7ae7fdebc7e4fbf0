import numpy as np
import pytest
import xarray as xr

from analysis.bias import bias_law
from analysis.coverage import coverage
from analysis.moments import Stack, moments, stack
from analysis.solver_error import freedom, solver_shifts
from analysis.store import open_store
from analysis.universality import universality
from tests.analysis import grid, test_bias, test_coverage
from tests.analysis.synthetic import store

LEVEL = 0.95


def off_by(deviations):
    """Standard errors by which a share at the nominal level may be off: four, of a binomial."""
    return 4 * np.sqrt(LEVEL * (1 - LEVEL) / deviations)


def solved(randomizations, count, seed=0):
    """Mean and its standard error of a few randomizations around 0, for many theories."""
    values = np.random.default_rng(seed).standard_normal((randomizations, count))
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(randomizations)


@pytest.mark.parametrize("randomizations", [2, 4, 8])
def test_interval_of_the_solver_covers_with_few_randomizations(randomizations):
    error, stated = solved(randomizations, 20_000)
    rng = np.random.default_rng(1)
    shares = []
    for degrees in (randomizations - 1, np.inf):
        reach = np.quantile(abs(solver_shifts(rng, (200_000,), degrees)), LEVEL)
        shares.append((abs(error) < reach * stated).mean())
    assert abs(shares[0] - LEVEL) < off_by(20_000)
    assert shares[1] < LEVEL - 2 * off_by(20_000)


def test_draws_of_the_distance_cover_with_few_randomizations():
    """Runs all but at distance 1 from the true theory, and theories that their solver put elsewhere."""
    randomizations, count = 4, 500
    error, stated = solved(randomizations, count)
    error, stated = 0.02 * error, 0.02 * stated
    simulated = 1 + 1e-5 * np.random.default_rng(2).standard_normal((count, 1, 8, 1, 1))
    there = (count, 1, 1, 1)
    data = Stack(
        simulated,
        np.zeros(simulated.shape),
        error.reshape(there),
        stated.reshape(there),
        {"cell": np.arange(count)},
        np.array([100]),
        np.arange(1),
    )
    shares = []
    for degrees in (randomizations - 1.0, np.inf):
        found = moments(data._replace(freedom=degrees), 400, np.random.default_rng(3))
        low, high = np.quantile(np.sqrt(found.distance_draws[:, 0, :, 0]), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
        shares.append(((low < 1) & (high > 1)).mean())
    assert abs(shares[0] - LEVEL) < off_by(count)
    assert shares[1] < LEVEL - off_by(count)


def test_a_solver_known_from_few_randomizations_is_no_bias():
    count, degrees = 100, 3.0
    usable = np.ones((1, len(test_bias.SIZES), 3), dtype=bool)
    seen = np.zeros(2)
    for seed in range(count):
        data = test_bias.runs(bias=0.0, solver=0.03, steps=3, seed=seed)
        scale = np.sqrt(np.random.default_rng([seed, 1]).chisquare(degrees, data.solver.shape[-1]) / degrees)
        for i, known in enumerate((degrees, np.inf)):
            few = data._replace(solver=data.solver * scale, freedom=known)
            found = bias_law(few, usable, draws=100, level=LEVEL, rng=np.random.default_rng(seed))
            seen[i] += found.p_value <= 1 - LEVEL
    most = 1 - LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / count)
    assert seen[0] / count < most < seen[1] / count


def test_bands_know_how_well_their_solver_is_known():
    simulation, theory = test_coverage.groups(readout=0.01)
    theory["noise_covariance_stderr"] = theory.noise_covariance_stderr + 0.1
    exact = coverage(simulation, theory, draws=200)
    few = coverage(simulation, theory.assign_attrs(randomizations=4), draws=200)
    wider = few.judged_coverage_stderr / exact.judged_coverage_stderr
    # Student's t with 3 degrees of freedom has 1.73 times the standard deviation of a normal law.
    assert (wider.sel(part="row_residual") > 1.3).all()
    np.testing.assert_array_equal(few.judged_coverage, exact.judged_coverage)


def test_the_shift_of_a_law_is_the_same_and_less_certain_with_few_randomizations():
    shift, stated = 0.2, 0.1
    simulation, theory = grid.groups(
        {"features": ["gaussian", "rademacher"]}, fluctuation=lambda n, features: 1e-4, shift=lambda n, features: shift
    )
    theory["train_error_stderr"] = xr.full_like(theory.train_error, stated)
    one, few = (
        universality(simulation, theory.assign_attrs(attrs), observables=["train_error"], draws=100)
        for attrs in ({}, {"randomizations": 4})
    )
    for measured in (one, few):
        np.testing.assert_allclose(measured.shift_size, np.sqrt(shift**2 - stated**2), rtol=1e-3)
    assert (few.share_high > 1.05 * one.share_high).all()


def test_a_store_says_how_many_randomizations_there_were(tmp_path):
    tree = store(depths=(2,), noises=(0.1,), steps=3, replicates=4, solver=0.05)
    tree.attrs["sedyn_sweep"] = {"theory": {"samples": 64, "randomizations": 4}}
    tree.to_zarr(tmp_path / "a.zarr", consolidated=False)
    simulation, theory = open_store(tmp_path / "a.zarr")
    assert freedom(theory) == 3
    assert freedom(tree["theory"].to_dataset()) == np.inf
    assert stack("train_error", simulation, theory).freedom == 3
