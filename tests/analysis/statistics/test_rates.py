import numpy as np
import pytest
from scipy import stats

from analysis.statistics.rates import REASONS, rates
from tests.analysis.synthetic import store


def measure(tree, **options):
    return rates(tree["simulation"].to_dataset(), tree["theory"].to_dataset(), **options)


def reasons(measured):
    return {name: REASONS[int(measured.overall_reason.sel(observable=name))] for name in measured.observable.values}


def test_distance_and_its_parts_are_the_plain_formulas():
    tree = store(depths=(2,), noises=(0.1,), replicates=6, solver=1e-3, bias=5.0)
    measured = measure(tree).sel(observable="train_error").isel(depth=0, noise=0)
    runs = tree["simulation"]["train_error"].isel(depth=0, noise=0)
    deviation = runs - tree["theory"]["train_error"].isel(depth=0, noise=0)
    np.testing.assert_allclose(measured.distance, np.sqrt((deviation**2).mean("replicate")).values)
    np.testing.assert_allclose(measured.fluctuation, runs.std("replicate", ddof=1).values)
    np.testing.assert_allclose(measured.solver_error, 1e-3)
    expected = (deviation.mean("replicate") ** 2 - runs.var("replicate", ddof=1) / 6).values - 1e-6
    np.testing.assert_allclose(measured.bias_squared, expected, atol=1e-15)
    squares = (deviation**2).std("replicate", ddof=1).values / np.sqrt(6)
    np.testing.assert_allclose(measured.distance_stderr, squares / (2 * measured.distance))


def test_parts_add_up_on_average():
    measured = measure(store(bias=3.0, solver=0.01, replicates=64), draws=2)
    total = measured.fluctuation**2 + measured.bias_squared + measured.solver_error**2
    inner = measured.isel(iteration=slice(1, None)).distance ** 2
    # Exactly: distance^2 = (1 - 1/R) F + (bias^2 + F/R + solver^2), whatever the data.
    np.testing.assert_allclose(inner, total.isel(iteration=slice(1, None)), rtol=1e-9, equal_nan=True)


@pytest.mark.parametrize("replicates", [16, 8])
def test_interval_covers_as_often_as_it_says(replicates):
    # 200 independent cells are 200 draws of an experiment, each with 8 correlated iterations.
    noises = tuple(np.linspace(0.1, 0.5, 200))
    tree = store(depths=(2,), noises=noises, replicates=replicates, steps=7, seed=3)
    measured = measure(tree, observables=["train_error"], draws=400).sel(part="distance")
    inside = (measured.cell_exponent_low < -0.5) & (measured.cell_exponent_high > -0.5)
    assert abs(float(inside.mean()) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 200)
    pull = (measured.cell_exponent + 0.5) / measured.cell_exponent_stderr
    assert stats.ttest_1samp(pull.values.ravel(), 0).pvalue > 1e-3


def test_overall_interval_covers():
    inside = 0
    for seed in range(40):
        tree = store(depths=(2,), noises=(0.1, 0.5), steps=5, seed=100 + seed)
        measured = measure(tree, observables=["train_error", "test_error", "signal_overlap"], draws=200)
        one = measured.sel(part="distance")
        inside += int(((one.overall_exponent_low < -0.5) & (one.overall_exponent_high > -0.5)).sum())
    assert inside / 120 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 120)


def test_replicates_are_resampled_whole():
    # Iterations that repeat the same numbers carry no new information: the error must not shrink.
    one = measure(store(depths=(2,), noises=(0.1,), steps=0, correlation=1.0), observables=["train_error"])
    many = measure(store(depths=(2,), noises=(0.1,), steps=15, correlation=1.0), observables=["train_error"])
    ratio = many.overall_exponent_stderr / one.overall_exponent_stderr
    assert (abs(ratio - 1) < 0.5).all()


def test_padding_changes_nothing():
    tree = store(depths=(2, 3))
    alone = store(depths=(2,))
    theory = tree["theory"].to_dataset()
    assert bool(theory.deep_weights.isnull().any())
    measured = measure(tree, observables=["deep_weights"])
    assert np.isfinite(measured.exponent.isel(iteration=slice(1, None))).all()
    assert np.isfinite(measure(alone).overall_exponent).all()
    entries = theory.deep_weights.sel(depth=2, n=256).isel(noise=0, iteration=3)
    deviation = tree["simulation"].to_dataset().deep_weights.sel(depth=2, n=256).isel(noise=0, iteration=3) - entries
    expected = np.sqrt(np.nanmean(deviation.values**2))
    np.testing.assert_allclose(measured.distance.sel(depth=2, n=256).isel(noise=0, iteration=3).item(), expected)


def test_exact_observables_have_no_exponent_and_say_so():
    measured = measure(store())
    start = measured.sel(observable="signal_overlap").isel(iteration=0)
    assert np.isnan(start.exponent).all()
    assert {REASONS[int(code)] for code in start.reason.values.ravel()} == {
        "exact by construction: no finite-size error to measure"
    }
    assert np.isfinite(measured.sel(observable="train_error").isel(iteration=0).exponent).all()


def test_error_of_the_fresh_data_average_is_no_finite_size_effect():
    tree = store()
    simulation, theory = tree["simulation"].to_dataset(), tree["theory"].to_dataset()
    readout = 1e-3
    noise = np.random.default_rng(0).standard_normal(simulation.test_error.isel(iteration=0).shape)
    start = theory.test_error.isel(iteration=0).expand_dims(replicate=16).transpose("n", "depth", "noise", "replicate")
    simulation["test_error"] = simulation.test_error.where(simulation.iteration > 0, start + readout * noise)
    simulation["test_error_stderr"] = 0 * simulation.test_error + readout
    one = rates(simulation, theory).sel(observable="test_error")
    assert (one.reason.isel(iteration=0) == REASONS.index("hidden by the error of the average over fresh data")).all()
    assert (one.reason.isel(iteration=slice(1, None)) == 0).all()


def test_error_of_the_fresh_data_average_can_be_taken_out():
    tree = store()
    simulation, theory = tree["simulation"].to_dataset(), tree["theory"].to_dataset()
    readout = 0.2 * simulation.n**-0.5
    simulation["test_error_stderr"] = 0 * simulation.test_error + readout
    with_it, without = (
        rates(simulation, theory, observables=["test_error"], draws=20, without_readout=taken)
        for taken in (False, True)
    )
    for part in ("distance", "fluctuation"):
        np.testing.assert_allclose(without[part] ** 2, with_it[part] ** 2 - readout**2, rtol=1e-9)
    np.testing.assert_allclose(without.bias_squared, with_it.bias_squared, rtol=1e-9)


def test_unfinished_and_diverged_runs_are_left_out():
    tree = store()
    simulation = tree["simulation"].to_dataset()
    half = simulation.where(simulation.replicate < 8)
    fewer = rates(simulation.isel(replicate=slice(8)), tree["theory"].to_dataset(), draws=10)
    measured = rates(half, tree["theory"].to_dataset(), draws=10)
    np.testing.assert_allclose(measured.distance, fewer.distance)
    np.testing.assert_allclose(measured.overall_exponent, fewer.overall_exponent)

    late = simulation.where((simulation.replicate > 0) | (simulation.iteration < 5))
    measured = rates(late.where(late.n > 300), tree["theory"].to_dataset())
    assert np.isnan(measured.distance.sel(n=256)).all()
    assert measured.replicates.sel(n=512).isel(iteration=4).max() == 16
    assert measured.replicates.sel(n=512).isel(iteration=5).max() == 15
    assert np.isfinite(measured.overall_exponent).all()


def test_one_size_without_an_axis():
    tree = store()
    simulation = tree["simulation"].to_dataset().isel(n=0, depth=0, noise=0, drop=True).assign_attrs(n=256)
    measured = rates(simulation, tree["theory"].to_dataset().isel(n=0, depth=0, noise=0, drop=True), draws=10)
    assert measured.n.values.tolist() == [256]
    assert reasons(measured)["test_error"] == "fewer than 3 values of n"


def test_nothing_finished():
    tree = store()
    simulation = tree["simulation"].to_dataset() * np.nan
    measured = rates(simulation, tree["theory"].to_dataset(), draws=10)
    assert set(reasons(measured).values()) == {"nothing finished yet, or not defined here"}


def test_no_common_observable_is_refused():
    tree = store()
    with pytest.raises(ValueError, match="weight_gram"):
        measure(tree, observables=["weight_gram"])


def test_same_seed_same_numbers():
    tree = store()
    assert measure(tree, draws=50).identical(measure(tree, draws=50))
