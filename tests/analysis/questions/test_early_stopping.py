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
