import pytest

from analysis.report.cautions import cautions
from tests.analysis.grid import groups
from tests.sedyn.theory.test_drift import EASY, HARD, problem_of


def simulation_of(problem, axes):
    simulation, _ = groups(axes, sizes=(400, 1000), replicates=2, steps=1)
    left_out = ("n", "d", *axes)
    attributes = {name: value for name, value in problem.to_dict().items() if name not in left_out}
    return simulation.assign_coords(d=("n", [250, 1000])).assign_attrs(attributes)


@pytest.mark.parametrize(("settings", "rate", "count"), [(HARD, 0.35, 1), (HARD, 0.1, 0), (EASY, 0.35, 0)])
def test_cells_whose_theory_drifts_are_named(settings, rate, count):
    axes = {"covariance": ["identity", "power_law(0.4)"]}
    found = cautions(simulation_of(problem_of("power_law(0.4)", rate, **settings), axes))
    assert len(found) == count
    assert all(words.startswith("covariance power_law(0.4): as d doubles") for words in found)


def test_one_problem_is_all_runs():
    (words,) = cautions(simulation_of(problem_of("power_law(0.4)", 0.35, **HARD), {}))
    assert words.startswith("all runs: ")


def test_nothing_is_said_of_runs_without_a_problem():
    assert cautions(groups({})[0]) == []
