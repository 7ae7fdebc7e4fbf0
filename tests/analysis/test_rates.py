import numpy as np
import pytest
import xarray as xr
from scipy import stats

from analysis.rates import REASONS, compared, rates
from analysis.rates_along import rates_with_slices
from analysis.rates_section import SECTION, rates_figure, verdict
from tests.analysis.synthetic import SIZES, store


def measure(tree, **options):
    return rates(tree["simulation"].to_dataset(), tree["theory"].to_dataset(), **options)


def reasons(measured):
    return {name: REASONS[int(measured.overall_reason.sel(observable=name))] for name in measured.observable.values}


def test_fluctuations_fall_like_the_square_root():
    measured = measure(store(bias=1.0))
    for part in ("distance", "fluctuation"):
        one = measured.sel(part=part)
        error = (one.overall_exponent + 0.5) / one.overall_exponent_stderr
        assert abs(error).max() < 4
        assert (one.overall_exponent_stderr < 0.05).all()
    assert all(verdict(measured, name)[0] == "holds" for name in measured.observable.values)


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


def test_bias_that_dominates_falls_like_one_over_n():
    measured = measure(store(fluctuation=1e-3, bias=1.0))
    np.testing.assert_allclose(measured.overall_exponent.sel(part="distance"), -1, atol=0.01)
    assert abs(measured.overall_exponent.sel(part="fluctuation") + 0.5).max() < 0.1
    assert (measured.bias_share > 0.9).all()
    answer, words = verdict(measured, "train_error")
    assert answer == "holds"
    assert words.startswith("faster")
    assert "the fluctuation alone is consistent" in words


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


def test_common_error_of_the_solver_widens_and_is_flagged():
    clean, spoiled = store(), store()
    theory = spoiled["theory"].to_dataset()
    for name in compared(spoiled["simulation"], spoiled["theory"]):
        theory[f"{name}_stderr"] = theory[f"{name}_stderr"].where(theory[f"{name}_stderr"] == 0, 0.02)
    measured, without = rates(spoiled["simulation"].to_dataset(), theory), measure(clean)
    widths = [(m.overall_exponent_high - m.overall_exponent_low).sel(part="distance") for m in (measured, without)]
    assert (widths[0] > 1.3 * widths[1]).all()
    assert without.overall_solver_negligible.all()
    assert not measured.overall_solver_negligible.any()
    assert "solver's own error is not negligible" in verdict(measured, "train_error")[1]
    # What the replicates say by themselves does not depend on theory.
    np.testing.assert_allclose(*(m.overall_exponent.sel(part="fluctuation") for m in (measured, without)))


def test_unknown_error_of_the_solver_is_said():
    tree = store()
    theory = tree["theory"].to_dataset().drop_vars("train_error_stderr")
    measured = rates(tree["simulation"].to_dataset(), theory)
    assert verdict(measured, "train_error") == ("undecided", "the solver's own error is not known")
    assert verdict(measured, "test_error")[0] == "holds"


def test_wrong_theory_does_not_converge():
    measured = measure(store(offset=0.05))
    for name in measured.observable.values:
        answer, words = verdict(measured, name)
        assert answer == "fails"
        assert "do not converge" in words


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


def test_what_fresh_data_hide_is_drawn_all_the_same():
    tree = store(sizes=SIZES[:3])
    simulation = tree["simulation"].to_dataset()
    simulation["test_error_stderr"] = 0 * simulation.test_error + 0.06
    measured = rates(simulation, tree["theory"].to_dataset(), draws=20)
    word = "hidden by the error of the average over fresh data"
    assert reasons(measured)["test_error"] == word
    assert verdict(measured, "test_error") == ("undecided", f"no exponent: {word}")
    panel = rates_figure(measured).axes[1]
    assert panel.get_title() == "test error: no exponent"
    assert any(len(line.get_ydata()) == 3 and np.isfinite(line.get_ydata()).all() for line in panel.lines)


def test_small_sizes_that_are_not_yet_in_the_limit():
    # Only the smallest two sizes fluctuate too little.
    tree = store(sizes=(64, 128, 1024, 4096, 16384), replicates=64)
    simulation, theory = tree["simulation"].to_dataset(), tree["theory"].to_dataset()
    small = xr.where(simulation.n < 1000, 0.8, 1.0)
    damped = theory.train_error + small * (simulation.train_error - theory.train_error)
    simulation["train_error"] = damped.transpose(*simulation.train_error.dims)
    measured = rates(simulation, theory)
    assert measured.larger_from.values.tolist() == [1024] * 4
    whole = measured.sel(observable="train_error", part="distance")
    assert whole.overall_exponent_low > -0.5
    assert whole.larger_exponent_low < -0.5 < whole.larger_exponent_high
    words = "slower than n^-1/2 over these n, consistent with it from n = 1,024 on"
    assert verdict(measured, "train_error") == ("holds", words)


def test_slices_are_what_rates_finds_in_them():
    tree = store(steps=5)
    simulation, theory = tree["simulation"].to_dataset(), tree["theory"].to_dataset()
    measured = rates_with_slices(simulation, theory, draws=50)
    deep = rates(simulation.sel(depth=3), theory.sel(depth=3), draws=50)
    late = rates(simulation.isel(iteration=slice(2, 4)), theory.isel(iteration=slice(2, 4)), draws=50)
    for name in ("overall_exponent", "bias_exponent_low"):
        np.testing.assert_array_equal(measured[f"{name}_by_depth"].sel(depth=3), deep[name])
        np.testing.assert_array_equal(measured[f"{name}_by_window"].isel(window=2), late[name])
    assert measured.begin.values.tolist() == [0, 1, 2, 4]
    assert measured.end.values.tolist() == [0, 1, 3, 5]
    # Weights begin exactly where theory says, which may be zero.
    start = measured.overall_reason_by_window.isel(window=0).sel(observable=["signal_overlap", "deep_weights"])
    assert (start == REASONS.index("exact by construction: no finite-size error to measure")).all()
    tables = {table.title: table for table in SECTION.tables(measured)}
    assert {"Exponents by depth", "Exponents by noise", "Exponents by iteration"} < set(tables)
    values = [line[1] for line in tables["Exponents by iteration"].lines if line[0] == "train error"]
    assert values == ["0", "1", "2 to 3", "4 to 5"]


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


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"sizes": SIZES[:2]}, "fewer than 3 values of n"),
        ({"replicates": 1}, "fewer than 2 replicates"),
    ],
)
def test_too_little_data_gives_a_word_and_no_number(change, word):
    measured = measure(store(**change), draws=10)
    assert np.isnan(measured.overall_exponent).all()
    assert reasons(measured)["train_error"] == word
    assert verdict(measured, "train_error") == ("undecided", f"no exponent: {word}")


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
