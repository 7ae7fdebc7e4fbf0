import numpy as np
import pytest
import xarray as xr

from analysis import early_stopping as stopping_section
from analysis import generalization_estimate as estimate_section
from analysis import tuning as tuning_section
from analysis.early_stopping import early_stopping
from analysis.generalization_estimate import generalization_estimate
from analysis.selection import CRITERIA, compare, cost, select
from analysis.tuning import tuning

TEST = xr.DataArray(
    [[3.0, 1.0, 2.0], [3.0, 2.0, 1.0]], dims=("replicate", "iteration"), coords={"iteration": [0, 1, 2]}
)


def test_select_takes_the_least_criterion_and_counts_its_cost():
    criterion = TEST.copy(data=[[0.0, 5.0, 5.0], [9.0, 8.0, 7.0]])
    chosen = select(criterion, TEST, ["iteration"])
    np.testing.assert_array_equal(chosen.chosen_iteration, [0, 2])
    np.testing.assert_array_equal(chosen.oracle_iteration, [1, 2])
    np.testing.assert_array_equal(chosen.test_error, [3, 1])
    np.testing.assert_array_equal(chosen.criterion, [0, 7])
    np.testing.assert_array_equal(chosen.regret, [2, 0])


def test_select_never_takes_what_is_missing():
    criterion = TEST.copy(data=[[np.nan, 5.0, 6.0], [np.nan] * 3])
    chosen = select(criterion, TEST, ["iteration"])
    np.testing.assert_array_equal(chosen.chosen_iteration, [1, np.nan])
    np.testing.assert_array_equal(chosen.regret, [0, np.nan])


def test_select_refuses_an_unknown_dimension():
    with pytest.raises(ValueError, match=r"over='width'.*iteration"):
        select(TEST, TEST, ["width"])


def test_perfect_estimate_has_no_regret():
    runs = xr.Dataset({"test_error": TEST, "estimated_test_error": TEST + 0.1})
    stopped = early_stopping(runs)
    np.testing.assert_array_equal(stopped.regret, 0)
    np.testing.assert_array_equal(stopped.last_regret, [1, 0])


def grid():
    """Learning rate 2 is best, in iteration 1; names and numbers as axes."""
    rates, activations = [1.0, 2.0, 4.0], ["erf", "tanh"]
    test = xr.DataArray(np.ones((4, 3, 2, 3)), dims=("replicate", "learning_rate", "activation", "iteration"))
    test = test.assign_coords(learning_rate=rates, activation=activations, iteration=[0, 1, 2])
    test.loc[{"learning_rate": 2.0, "activation": "tanh", "iteration": 1}] = 0.5
    estimate = test.copy()
    estimate.loc[{"replicate": 3, "learning_rate": 4.0}] = 0.25
    estimate.loc[{"learning_rate": 1.0}] = np.nan
    return xr.Dataset({"test_error": test, "estimated_test_error": estimate})


def test_tuning_chooses_configuration_and_iteration_together():
    chosen = tuning(grid())
    np.testing.assert_array_equal(chosen.chosen_learning_rate, [2, 2, 2, 4])
    assert chosen.chosen_activation.values[:3].tolist() == ["tanh"] * 3
    np.testing.assert_array_equal(chosen.oracle_learning_rate, 2)
    np.testing.assert_array_equal(chosen.chosen_iteration.values[:3], 1)
    np.testing.assert_array_equal(chosen.regret, [0, 0, 0, 0.5])
    # The rate without an estimate is no candidate; of the four others, one run in four is at 0.5.
    np.testing.assert_allclose(chosen.blind_regret[:3], 0.375)


def test_names_in_the_type_of_a_store_can_be_chosen():
    runs = grid()
    stored = runs.assign_coords(activation=runs.activation.astype(np.dtypes.StringDType()))
    assert tuning(stored).chosen_activation.values[:3].tolist() == ["tanh"] * 3


def test_tuning_along_some_axes_keeps_the_others():
    chosen = tuning(grid(), ["learning_rate"])
    assert chosen.regret.dims == ("replicate", "activation")


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


def test_compare_reads_bias_noise_and_regret_of_each_method():
    rng = np.random.default_rng(0)
    replicates, iterations = 2000, 5
    truth = xr.DataArray(np.abs(np.arange(iterations) - 2.0) + 1, dims="iteration", coords={"iteration": range(5)})

    def noise(size):
        return xr.DataArray(size * rng.standard_normal((replicates, iterations)), dims=("replicate", "iteration"))

    runs = xr.Dataset(
        {
            "test_error": truth + noise(0),
            "estimated_test_error": truth + noise(0.1),
            "holdout_test_error": truth + 0.3 + noise(0),
            "holdout_error": truth + 0.3 + noise(0.2),
            "cross_validation_error": truth + 0.2 + noise(0.1),
        }
    )
    measured = compare(runs)
    assert measured.rule.values.tolist() == list(CRITERIA)
    expected = {
        "estimate": 0.1,
        "holdout": 0.2,
        "holdout, refitted": np.hypot(0.2, 0.3),
        "cross-validation": np.hypot(0.1, 0.2),
    }
    for rule, rms in expected.items():
        one = measured.sel(rule=rule)
        assert (abs(one.rms - rms) < 5 * one.rms_stderr).all()
    # No rule mistakes the iteration here; the holdout's model is 0.3 worse for the rows it lacks.
    np.testing.assert_allclose(measured.regret, [0, 0.3, 0, 0], atol=1e-3)
    np.testing.assert_allclose(measured.chosen_iteration, 2, atol=1e-2)


def test_saving_has_an_interval_that_covers():
    rng = np.random.default_rng(0)
    regret = xr.DataArray(np.abs(rng.standard_normal((400, 8))), dims=("draw", "replicate"))
    otherwise = regret + 0.3 + 0.5 * xr.DataArray(rng.standard_normal((400, 8)), dims=("draw", "replicate"))
    measured = cost(regret, otherwise, 0.95)
    covered = ((measured.saved_low < 0.3) & (measured.saved_high > 0.3)).mean()
    assert abs(covered - 0.95) < 5 * np.sqrt(0.95 * 0.05 / 400)
    np.testing.assert_allclose(measured.saved, (otherwise - regret).mean("replicate"))


def test_exponents_by_the_value_of_an_axis():
    runs = [noisy(np.random.default_rng(seed), power=power) for seed, power in enumerate((-0.5, 0.0))]
    measured = generalization_estimate(xr.concat(runs, xr.Variable("depth", [2, 3])))
    for end in ("", "_low", "_high"):
        np.testing.assert_allclose(measured[f"exponent_by_depth{end}"], measured[f"exponent{end}"], atol=0.02)
    whole, failing = estimate_section.SECTION.findings(measured)
    assert whole.subject.startswith("estimated test error")
    assert (failing.subject, failing.verdict) == ("depth 3", "fails")
    by_value = estimate_section.SECTION.tables(measured)[1]
    assert [line[0] for line in by_value.lines] == ["depth 2", "depth 3"]


def test_stopping_is_not_asked_where_configurations_differ():
    assert "tuning" in stopping_section.SECTION.unanswerable(grid(), grid())


@pytest.mark.parametrize(("estimated", "verdict"), [((3.0, 1.0, 2.0), "holds"), ((1.0, 2.0, 3.0), "fails")])
def test_stopping_is_judged_by_what_it_saves(estimated, verdict):
    rng = np.random.default_rng(0)
    test = np.array([3.0, 1.0, 2.0]) + 0.05 * rng.standard_normal((1, 8, 3))
    dims = ("n", "replicate", "iteration")
    runs = xr.Dataset(
        {"test_error": (dims, test), "estimated_test_error": (dims, np.broadcast_to(estimated, test.shape))},
        coords={"n": [100], "iteration": [0, 1, 2]},
    )
    assert [finding.verdict for finding in stopping_section.SECTION.findings(early_stopping(runs))] == [verdict]


def test_tuning_is_judged_by_what_it_saves():
    runs = grid().expand_dims(n=[100])
    (finding,) = tuning_section.SECTION.findings(tuning(runs.isel(replicate=slice(3))))
    assert finding.verdict == "holds"
    assert finding.value == pytest.approx(0.375)
