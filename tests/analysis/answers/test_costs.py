"""The table of what a choice costs."""

import numpy as np
import xarray as xr

from analysis.answers.costs import cost_table


def test_a_line_for_each_cell_and_size():
    on_cells = ("noise", "n")
    measured = xr.Dataset(
        {
            "saved": (on_cells, np.zeros((2, 2))),
            "mean_regret": (on_cells, np.full((2, 2), 0.1)),
            "mean_regret_stderr": (on_cells, np.full((2, 2), 0.01)),
            "mean_otherwise": (on_cells, [[0.2, 0.3], [0.4, 0.5]]),
            "oracle_test_error": ((*on_cells, "replicate"), np.ones((2, 2, 3)) * [0.5, 1.0, 1.5]),
            "chosen_iteration": ((*on_cells, "replicate"), np.ones((2, 2, 3)) * [1, 2, 4]),
        },
        {"noise": [0.1, 0.5], "n": [100, 2000]},
    )
    plain = cost_table(measured, "Costs", "going on")
    assert (plain.title, len(plain.lines)) == ("Costs", 4)
    assert plain.headings == ("noise", "n", "least", "regret", "its standard error", "regret of going on")
    assert plain.lines[1] == ("0.1", "2,000", "1.0000", "0.1000", "0.0100", "0.3000")
    further = cost_table(measured, "Costs", "going on", {"chosen_iteration": "stopped at"})
    assert further.headings == (*plain.headings, "stopped at")
    assert further.lines[1] == (*plain.lines[1], "2.3")
