import numpy as np
import xarray as xr

from analysis.answers.needs import at_least, estimate, laws, no_axis_but
from analysis.answers.section import Section
from tests.analysis.grid import groups

SIMULATION, THEORY = groups({"learning_rate": [0.5, 1.0]}, replicates=3, steps=5)


def test_what_is_lacking_is_counted_in_words():
    assert at_least(3, "n")(SIMULATION) is None
    assert at_least(4, "n")(SIMULATION) == "fewer than 4 values of n"
    assert at_least(4, "replicate")(SIMULATION) == "fewer than 4 replicates"
    assert at_least(3, "learning_rate")(SIMULATION) == "fewer than 3 learning rates"
    assert at_least(2, "width")(SIMULATION) == "fewer than 2 widths"
    assert at_least(5, "iteration")(SIMULATION) is None  # besides the start
    assert at_least(6, "iteration")(SIMULATION) == "fewer than 6 iterations"


def test_values_count_at_equal_values_of_what_varies_with_them():
    one_rate_for_each_n = np.eye(SIMULATION.sizes["n"], 2, dtype=bool)
    tied = SIMULATION.assign_coords(asked=(("n", "learning_rate"), one_rate_for_each_n))
    assert at_least(1, "n")(tied) is None
    assert at_least(2, "n")(tied) == "fewer than 2 values of n with all else equal"
    assert at_least(3, "replicate")(tied) is None
    column = one_rate_for_each_n.copy()
    column[:, 0] = True
    assert at_least(3, "n")(tied.assign_coords(asked=(("n", "learning_rate"), column))) is None


def test_further_axes_are_named():
    assert no_axis_but("learning_rate")(SIMULATION) is None
    assert no_axis_but("width")(SIMULATION) == "further axes: learning_rate"


def test_what_only_some_sweeps_store():
    assert estimate(SIMULATION) is None
    assert "estimate=true" in estimate(SIMULATION.drop_vars("estimated_test_error"))
    assert estimate(SIMULATION.where(SIMULATION.n < 0)) == "the runs have no estimated test error"
    assert "laws=true" in laws("train_error", "row_kolmogorov")(SIMULATION)
    assert laws("train_error")(SIMULATION) is None
    assert laws("train_error")(SIMULATION.where(SIMULATION.n < 0)) == "no comparison of laws finished"


def test_a_section_says_the_first_thing_that_is_lacking():
    rest = [lambda *groups: xr.Dataset()] * 4
    section = Section("mine", "Is it?", (at_least(3, "n"), at_least(4, "replicate"), at_least(9, "n")), *rest)
    assert section.unanswerable(SIMULATION) == "fewer than 4 replicates"
    assert section._replace(needs=()).unanswerable(SIMULATION) is None
