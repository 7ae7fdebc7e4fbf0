import numpy as np
import pytest
import xarray as xr

from analysis.statistics.selection import CRITERIA, compare, cost, early_stopping, select, tuning

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


def test_a_choice_has_numbers_and_names_of_what_was_chosen():
    for chosen in (tuning(grid()), select(TEST, TEST, ["iteration"])):
        names = {name for name in chosen if not np.issubdtype(chosen[name].dtype, np.number)}
        assert names <= {"chosen_activation", "oracle_activation"}
    assert "last_regret" not in tuning(grid())


def test_tuning_along_some_axes_keeps_the_others():
    chosen = tuning(grid(), ["learning_rate"])
    assert chosen.regret.dims == ("replicate", "activation")


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
