import numpy as np
import pytest
import xarray as xr

from analysis.statistics.bias import bias_law
from analysis.statistics.bootstrap import Bootstrap
from analysis.statistics.coverage import coverage
from analysis.statistics.gaussian_fluctuations import gaussian_fluctuations
from analysis.statistics.large import large
from analysis.statistics.moments import moments
from analysis.statistics.solver_error import combined_freedom, freedom, reach, solver_shifts
from analysis.statistics.stack import Stack, stack
from analysis.statistics.universality import universality
from analysis.store import open_store
from tests.analysis import grid
from tests.analysis.questions import test_coverage, test_gaussian_fluctuations
from tests.analysis.statistics import test_bias
from tests.sweeps.stores import finish, spec_of, tree_of

LEVEL = 0.95


def off_by(deviations):
    """Standard errors by which a share at the nominal level may be off: four, of a binomial."""
    return 4 * np.sqrt(LEVEL * (1 - LEVEL) / deviations)


def solved(randomizations, count, seed=0):
    """Mean and its standard error of a few randomizations around 0, for many theories."""
    values = np.random.default_rng(seed).standard_normal((randomizations, count))
    return values.mean(0), values.std(0, ddof=1) / np.sqrt(randomizations)


def test_reach_is_the_quantile_of_the_shifts():
    for degrees in (1.0, 3.0, 7.0, np.inf):
        shifts = abs(solver_shifts(np.random.default_rng(0), (400_000,), degrees))
        assert abs((shifts < reach(degrees)).mean() - LEVEL) < off_by(400_000)


def test_freedom_of_two_errors_is_that_of_the_larger_or_more():
    one, none = np.ones(1), np.zeros(1)
    for runs, solver, degrees in ((one, none, 7), (none, one, 3.0), (one, one, 4 / (1 / 7 + 1 / 3))):
        np.testing.assert_allclose(combined_freedom(runs, np.array([8]), solver, 3.0), degrees)
    np.testing.assert_allclose(combined_freedom(one, np.array([8]), one, np.inf), 28)


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
        found = moments(data._replace(freedom=degrees), Bootstrap(400, 3))
        low, high = np.quantile(np.sqrt(found.distance_draws[1:, :, 0, 0]), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
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
            found = bias_law(few, usable, Bootstrap(100, seed), level=LEVEL)
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
    location = str(tmp_path / "a.zarr")
    finish(location, spec_of({"n": (20, 40)}, randomizations=4))
    simulation, theory = open_store(location)
    assert freedom(theory) == 3
    assert freedom(tree_of(location)["theory"].to_dataset()) == np.inf
    assert stack("train_error", simulation, theory).freedom == 3


def test_the_limit_of_a_large_store_covers_with_few_randomizations():
    """Many sizes with a theory of their own, whose solver is less certain than the mean over runs."""
    randomizations, count, solver = 4, 2000, 1e-3
    error, stated = (solver * values for values in solved(randomizations, count))
    sizes = np.arange(1, count + 1)
    dims = ("n", "iteration")
    at_start = [np.zeros(count), np.zeros(count)]
    known = {"n": sizes, "iteration": [0, 1]}
    runs = 1 + 1e-4 * np.random.default_rng(4).standard_normal((count, 32, 2))
    simulation = xr.Dataset({"train_error": (("n", "replicate", "iteration"), runs)}, known)
    theory = xr.Dataset(
        {
            "train_error": (dims, 1 + np.stack([at_start[0], error], 1)),
            "train_error_stderr": (dims, np.stack([at_start[1], stated], 1)),
        },
        known,
    )
    shares = []
    for attrs in ({"randomizations": randomizations}, {}):
        measured = large(simulation, theory.assign_attrs(attrs))
        shares.append(float((measured.worst < measured.limit).mean()))
    assert abs(shares[0] - LEVEL) < off_by(count)
    assert shares[1] < LEVEL - 2 * off_by(count)


def test_doubt_about_the_rows_is_larger_with_few_randomizations():
    simulation, theory = test_gaussian_fluctuations.groups(replicates=6)
    theory["noise_covariance_stderr"] = 0.01 * theory.noise_covariance
    exact, few = (
        gaussian_fluctuations(simulation, theory.assign_attrs(attrs), draws=20).doubt.sel(comparison=0)
        for attrs in ({}, {"randomizations": 4})
    )
    np.testing.assert_allclose(few / exact, reach(3.0) / reach(np.inf))
