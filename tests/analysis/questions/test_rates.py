import numpy as np
import pytest
import xarray as xr

from analysis.questions.rates import SECTION, rates_figure, verdict
from analysis.statistics.rates import REASONS, compared, rates
from analysis.statistics.rates_along import rates_with_slices
from tests.analysis.statistics.test_rates import measure, reasons
from tests.analysis.synthetic import SIZES, store


def test_fluctuations_fall_like_the_square_root():
    measured = measure(store(bias=1.0))
    for part in ("distance", "fluctuation"):
        one = measured.sel(part=part)
        error = (one.overall_exponent + 0.5) / one.overall_exponent_stderr
        assert abs(error).max() < 4
        assert (one.overall_exponent_stderr < 0.05).all()
    assert all(verdict(measured, name)[0] == "holds" for name in measured.observable.values)


def test_bias_that_dominates_falls_like_one_over_n():
    measured = measure(store(fluctuation=1e-3, bias=1.0))
    np.testing.assert_allclose(measured.overall_exponent.sel(part="distance"), -1, atol=0.01)
    assert abs(measured.overall_exponent.sel(part="fluctuation") + 0.5).max() < 0.1
    assert (measured.bias_share > 0.9).all()
    answer, words = verdict(measured, "train_error")
    assert answer == "holds"
    assert words.startswith("faster")
    assert "the fluctuation alone is consistent" in words


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
        assert "do not approach theory" in words


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
    assert whole.overall_larger_exponent_low < -0.5 < whole.overall_larger_exponent_high
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


def visible(figure):
    return [ax for ax in figure.axes if ax.get_visible()]


def test_rates_figure_has_data_fit_and_guide(measured):
    figure = rates_figure(measured)
    panels = visible(figure)
    assert len(panels) == 4
    for ax, name in zip(panels, measured.observable.values, strict=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        slopes = [np.polyfit(np.log(SIZES), np.log(line.get_ydata()), 1)[0] for line in ax.lines if line.get_lw() > 0]
        fitted = float(measured.overall_exponent.sel(observable=name, part="distance"))
        assert sum(np.isclose(slopes, fitted)) == 4
        assert sum(np.isclose(slopes, -0.5)) >= 1
        assert f"{fitted:+.3f}" in ax.get_title()


def test_rates_figure_draws_what_has_no_exponent(tree):
    short = tree["simulation"].to_dataset().isel(n=slice(2)), tree["theory"].to_dataset().isel(n=slice(2))
    figure = rates_figure(rates(*short, draws=10))
    assert all("no exponent" in ax.get_title() for ax in visible(figure))
