from analysis.questions.breakdown_horizon import SECTION
from analysis.statistics.breakdown_horizon import breakdown_horizon
from tests.analysis.grid import groups


def test_horizon_finds_the_window_where_the_rate_is_lost():
    simulation, theory = groups({}, steps=36, replicates=128)
    late = simulation.iteration > 24
    simulation["train_error"] = simulation.train_error + 0.1 * late
    measured = breakdown_horizon(simulation, theory, draws=100)
    assert measured.begin.values.tolist() == [1, 13, 25]
    assert measured.end.values.tolist() == [12, 24, 36]
    found = [f for f in SECTION.findings(measured) if f.subject.startswith("train")]
    assert [finding.verdict for finding in found] == ["holds", "holds", "fails"]


def test_horizon_needs_a_horizon():
    assert "iterations" in SECTION.unanswerable(groups({}, steps=5)[0])
