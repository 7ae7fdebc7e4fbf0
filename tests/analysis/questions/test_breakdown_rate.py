import numpy as np
import pytest

from analysis.questions.breakdown_rate import SECTION
from analysis.statistics.breakdown_rate import breakdown_rate
from tests.analysis.grid import groups


@pytest.fixture(scope="module")
def unstable():
    """Learning rate 2 is described, 3 has a share of runs that overflow, theory of 4 diverges."""
    simulation, theory = groups({"learning_rate": [1.0, 2.0, 3.0, 4.0]}, replicates=192)
    simulation, theory = simulation.copy(deep=True), theory.copy(deep=True)
    for name in ("train_error", "test_error", "signal_overlap"):
        simulation[name].loc[{"learning_rate": 3.0, "replicate": slice(0, 23), "iteration": slice(3, None)}] = np.nan
        simulation[name].loc[{"learning_rate": 4.0, "iteration": slice(3, None)}] *= 1e6
        theory[name].loc[{"learning_rate": 4.0, "iteration": slice(3, None)}] *= 1e9
    return breakdown_rate(simulation, theory, draws=100)


def test_diverged_runs_are_counted_and_left_out(unstable):
    np.testing.assert_allclose(unstable.diverged.sel(learning_rate=3.0), 24 / 192)
    np.testing.assert_array_equal(unstable.diverged.sel(learning_rate=[1.0, 2.0]), 0)
    np.testing.assert_array_equal(unstable.diverged.sel(learning_rate=4.0), 1)
    assert unstable.theory_diverged.values.tolist() == [False, False, False, True]
    assert (unstable.relative_distance.sel(learning_rate=3.0) < 1).all()


def test_boundary_of_the_learning_rate(unstable):
    boundary, *each = SECTION.findings(unstable)
    assert [finding.verdict for finding in each] == ["holds", "holds", "fails", "fails"]
    assert "up to learning rate 2" in boundary.sentence
    assert "lost at 3" in boundary.sentence


def test_a_boundary_that_is_not_found_is_decided_with_the_first_learning_rate():
    """Two have few runs: the boundary needs what the one that is nearer to a verdict does."""
    measured = breakdown_rate(*groups({"learning_rate": [1.0, 2.0]}, replicates=16), draws=100)
    boundary, *each = SECTION.findings(measured)
    assert [finding.verdict for finding in (boundary, *each)] == ["undecided"] * 3
    assert boundary.lack.runs == min(finding.lack.runs for finding in each)
    assert boundary.lack.cells == min(each, key=lambda finding: finding.lack.runs).lack.cells
