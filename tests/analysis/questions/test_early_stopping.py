import numpy as np
import pytest
import xarray as xr

from analysis.questions.early_stopping import SECTION
from analysis.statistics.selection import early_stopping
from tests.analysis.statistics.test_selection import grid


def test_stopping_is_not_asked_where_configurations_differ():
    assert "tuning" in SECTION.unanswerable(grid())


@pytest.mark.parametrize(("estimated", "verdict"), [((3.0, 1.0, 2.0), "holds"), ((1.0, 2.0, 3.0), "fails")])
def test_stopping_is_judged_by_what_it_saves(estimated, verdict):
    rng = np.random.default_rng(0)
    test = np.array([3.0, 1.0, 2.0]) + 0.05 * rng.standard_normal((1, 8, 3))
    dims = ("n", "replicate", "iteration")
    runs = xr.Dataset(
        {"test_error": (dims, test), "estimated_test_error": (dims, np.broadcast_to(estimated, test.shape))},
        coords={"n": [100], "iteration": [0, 1, 2]},
    )
    assert [finding.verdict for finding in SECTION.findings(early_stopping(runs))] == [verdict]


def test_a_cell_without_anything_to_stop_for_has_no_finding():
    """Its runs end where they are best; beside one that overfits, the table alone has it."""
    rng = np.random.default_rng(0)
    dims = ("noise", "n", "replicate", "iteration")
    test = np.array([[3.0, 1.0, 2.0], [3.0, 2.0, 1.0]])[:, None, None] + 0.001 * rng.standard_normal((2, 2, 8, 3))
    runs = xr.Dataset(
        {"test_error": (dims, test), "estimated_test_error": (dims, test)},
        coords={"noise": [0.5, 0.1], "n": [100, 200], "iteration": [0, 1, 2]},
    )
    assert [finding.subject for finding in SECTION.findings(early_stopping(runs))] == ["noise 0.5"]
    (table,) = SECTION.tables(early_stopping(runs))
    assert len(table.lines) == 4
    asked = [need for need in SECTION.needs if need.__name__ == "_overfits"]
    assert [asked[0](one) is None for one in (runs, runs.sel(noise=[0.1]))] == [True, False]
