import numpy as np
import pytest

from analysis.questions.large import SECTION
from analysis.statistics.large import large
from tests.analysis.grid import groups

SIZES = (10_000, 100_000, 1_000_000)


def test_agreement_keeps_its_level():
    exceeded = 0
    for seed in range(20):
        measured = large(*groups({}, sizes=SIZES, replicates=6, seed=seed))
        exceeded += int((measured.worst > measured.limit).isel(n=-1).sum())
    # 60 observables at 5% each; Bonferroni's bound is far from tight for iterations that move together.
    assert exceeded <= 3 + 5 * np.sqrt(3)


def test_numbers_are_those_of_the_runs():
    measured = large(*groups({}, sizes=SIZES, replicates=200, solver=1e-5))
    np.testing.assert_allclose(measured.distance / measured.n**-0.5, 1, rtol=0.3)
    np.testing.assert_allclose(measured.solver_error, 1e-5)
    np.testing.assert_allclose(measured.fluctuation, measured.distance, rtol=0.05)


@pytest.mark.parametrize(
    ("shift", "solver", "verdict"), [(0.0, 1e-6, "holds"), (0.01, 1e-6, "fails"), (0.0, 1e-3, "undecided")]
)
def test_verdicts(shift, solver, verdict):
    data = groups({}, shift=lambda n: shift, sizes=SIZES, replicates=8, solver=solver)
    assert {finding.verdict for finding in SECTION.findings(large(*data))} == {verdict}


def test_small_stores_are_not_asked():
    assert "100,000" in SECTION.unanswerable(groups({})[0])


def test_cells_of_a_grid_are_measured_as_if_alone():
    simulation, theory = groups({"depth": [2, 3]}, sizes=SIZES, replicates=6)
    measured = large(simulation, theory, observables=["train_error", "signal_overlap"])
    for depth in (2, 3):
        alone = large(
            simulation.sel(depth=depth), theory.sel(depth=depth), observables=["train_error", "signal_overlap"]
        )
        for name in ("distance", "worst", "limit", "solver_ratio"):
            np.testing.assert_array_equal(measured[name].sel(depth=depth), alone[name])
