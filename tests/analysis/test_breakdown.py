import numpy as np
import pytest

from analysis import breakdown_horizon, breakdown_rate, breakdown_width
from analysis.rates import rates
from tests.analysis.grid import groups

WIDTHS = (2, 4, 8, 16)


@pytest.mark.parametrize(("power", "verdict"), [(-0.5, "holds"), (0.5, "holds"), (1.0, "holds"), (2.0, "fails")])
def test_power_of_the_width(power, verdict):
    data = groups({"width": WIDTHS}, fluctuation=lambda n, width: (width**power / n) ** 0.5, replicates=40)
    measured = breakdown_width.breakdown_width(*data, draws=200)
    one = measured.sel(observable="train_error")
    assert one.power_low <= power <= one.power_high
    assert one.size_exponent_low <= -0.5 <= one.size_exponent_high
    assert one.power_high - one.power_low < 0.6
    assert breakdown_width.SECTION.findings(measured)[0].verdict == verdict


def test_samples_needed_solve_the_fit():
    data = groups({"width": WIDTHS}, fluctuation=lambda n, width: (width / n) ** 0.5, replicates=40)
    measured = breakdown_width.breakdown_width(*data, draws=50).sel(observable="train_error")
    size = float(np.sqrt((data[1].train_error[..., 1:] ** 2).mean()))
    known = np.array(WIDTHS) / (0.1 * size) ** 2
    np.testing.assert_allclose(measured.samples_needed, known, rtol=0.6)


def test_horizon_finds_the_window_where_the_rate_is_lost():
    simulation, theory = groups({}, steps=36, replicates=32)
    late = simulation.iteration > 24
    simulation["train_error"] = simulation.train_error + 0.1 * late
    measured = breakdown_horizon.breakdown_horizon(simulation, theory, draws=100)
    assert measured.begin.values.tolist() == [1, 13, 25]
    assert measured.end.values.tolist() == [12, 24, 36]
    found = [f for f in breakdown_horizon.SECTION.findings(measured) if f.subject.startswith("train")]
    assert [finding.verdict for finding in found] == ["holds", "holds", "fails"]


def test_horizon_needs_a_horizon():
    assert "iterations" in breakdown_horizon.SECTION.unanswerable(*groups({}, steps=5))


@pytest.fixture(scope="module")
def unstable():
    """Learning rate 2 is described, 3 has a share of runs that overflow, theory of 4 diverges."""
    simulation, theory = groups({"learning_rate": [1.0, 2.0, 3.0, 4.0]}, replicates=64)
    simulation, theory = simulation.copy(deep=True), theory.copy(deep=True)
    for name in ("train_error", "test_error", "signal_overlap"):
        simulation[name].loc[{"learning_rate": 3.0, "replicate": slice(0, 7), "iteration": slice(3, None)}] = np.nan
        simulation[name].loc[{"learning_rate": 4.0, "iteration": slice(3, None)}] *= 1e6
        theory[name].loc[{"learning_rate": 4.0, "iteration": slice(3, None)}] *= 1e9
    return breakdown_rate.breakdown_rate(simulation, theory, draws=100)


def test_diverged_runs_are_counted_and_left_out(unstable):
    np.testing.assert_allclose(unstable.diverged.sel(learning_rate=3.0), 8 / 64)
    np.testing.assert_array_equal(unstable.diverged.sel(learning_rate=[1.0, 2.0]), 0)
    np.testing.assert_array_equal(unstable.diverged.sel(learning_rate=4.0), 1)
    assert unstable.theory_diverged.values.tolist() == [False, False, False, True]
    assert (unstable.relative_distance.sel(learning_rate=3.0) < 1).all()


@pytest.mark.parametrize("wild", [1e200, -1e80, np.inf, np.nan])
def test_diverged_runs_are_missing_from_rates(wild):
    simulation, theory = groups({}, replicates=8)
    expected = rates(simulation.isel(replicate=slice(1, None)), theory, draws=20)
    for name in ("train_error", "signal_overlap"):
        simulation[name].loc[{"replicate": 0}] = wild
    measured = rates(simulation, theory, draws=20)
    for name in ("distance", "fluctuation", "distance_stderr"):
        np.testing.assert_allclose(measured[name][::2], expected[name][::2])


def test_boundary_of_the_learning_rate(unstable):
    boundary, *each = breakdown_rate.SECTION.findings(unstable)
    assert [finding.verdict for finding in each] == ["holds", "holds", "fails", "fails"]
    assert "up to learning rate 2" in boundary.sentence
    assert "lost at 3" in boundary.sentence
