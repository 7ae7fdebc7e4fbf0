import numpy as np
import pytest
import xarray as xr

from analysis.statistics.divergence import BOUND, bounded, without_diverged
from analysis.statistics.rates import rates
from analysis.statistics.rates_along import rates_in_windows
from tests.analysis.grid import groups


def error(*runs):
    return xr.DataArray(np.array(runs, dtype=float), dims=("replicate", "iteration"))


def test_a_peak_is_no_divergence_and_nothing_returns_from_one():
    found = bounded(error([1, 100, 0.5, 0.4], [1, 2, 2 * BOUND, 0.3], [1, np.nan, 0.5, 0.4], [1, 0.8, 0.7, 0.6]))
    expected = [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    np.testing.assert_array_equal(found, np.array(expected, dtype=bool))


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_the_rule_knows_no_unit(unit):
    runs = error([1, 0.5 * BOUND], [1, 2 * BOUND], [2, 0.1])
    np.testing.assert_array_equal(bounded(unit * runs), [[True, True], [True, False], [True, True]])


def test_the_start_is_that_of_the_middle_replicate():
    np.testing.assert_array_equal(bounded(error([1, 1], [1, 1], [1e9, 1e9])).all("iteration"), [True, True, False])


def test_a_run_that_diverges_loses_all_its_observables_from_there_on():
    simulation, _ = groups({}, replicates=5)
    simulation["train_error"].loc[{"replicate": 2, "iteration": slice(3, None)}] *= 1e4
    kept = without_diverged(simulation)
    for name in ("train_error", "test_error", "signal_overlap"):
        lost = kept[name].isnull()
        assert lost.sel(replicate=2, iteration=slice(3, None)).all()
        assert lost.sum() == lost.sel(replicate=2, iteration=slice(3, None)).size
    assert simulation.signal_overlap.notnull().all()


def test_a_window_is_not_judged_by_where_it_starts():
    """An error may grow again by more than the bound from the least that training reached."""
    simulation, theory = groups({}, replicates=8, steps=9)
    for group in (simulation, theory):
        group["train_error"] = group.train_error * xr.where(group.iteration == 4, 1e-5, 1.0)
    windows = [np.arange(1, 4), np.arange(4, 10)]
    found = rates_in_windows(simulation, theory, windows, draws=10)
    alone = [rates(*(group.isel(iteration=window) for group in (simulation, theory)), draws=10) for window in windows]
    np.testing.assert_array_equal(found.overall_reason, 0)
    assert (alone[1].replicates.sel(observable="train_error").isel(iteration=-1) == 0).all()


@pytest.mark.parametrize("wild", [1e200, -1e80, np.inf, np.nan])
def test_diverged_runs_are_missing_from_rates(wild):
    simulation, theory = groups({}, replicates=8)
    expected = rates(simulation.isel(replicate=slice(1, None)), theory, draws=20)
    for name in ("train_error", "signal_overlap"):
        simulation[name].loc[{"replicate": 0}] = wild
    measured = rates(simulation, theory, draws=20)
    for name in ("distance", "fluctuation", "distance_stderr"):
        np.testing.assert_allclose(measured[name][::2], expected[name][::2])
