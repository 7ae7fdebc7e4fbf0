import pytest

from analysis.questions.tuning import SECTION
from analysis.statistics.selection import tuning
from tests.analysis.statistics.test_selection import grid


def test_tuning_is_judged_by_what_it_saves():
    runs = grid().expand_dims(n=[100])
    (finding,) = SECTION.findings(tuning(runs.isel(replicate=slice(3))))
    assert finding.verdict == "holds"
    assert finding.value == pytest.approx(0.375)
