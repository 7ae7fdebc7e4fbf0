import numpy as np
import pytest

from analysis.questions.sgd import SECTION
from analysis.statistics.rates import rates
from analysis.statistics.rates_along import rates_along
from analysis.statistics.sgd import sgd
from tests.analysis.grid import groups

AXES = {"batch_fraction": [1.0, 0.5], "batching": ["without_replacement", "shuffle"]}


def test_slices_are_measured_as_if_alone():
    simulation, theory = groups(AXES, replicates=8)
    measured = rates_along(simulation, theory, list(AXES), draws=50)
    for cell in ({"batch_fraction": 0.5, "batching": "shuffle"}, {"batch_fraction": 1.0, "batching": "shuffle"}):
        alone = rates(simulation.sel(cell), theory.sel(cell), draws=50)
        np.testing.assert_array_equal(measured.overall_exponent.sel(cell), alone.overall_exponent)
        np.testing.assert_array_equal(measured.distance.sel(cell), alone.distance)
    assert measured.overall_exponent.attrs == alone.overall_exponent.attrs


@pytest.fixture(scope="module")
def measured():
    simulation, theory = groups(AXES, replicates=400, fluctuation=lambda n, batch_fraction, batching: n**-0.5)
    lost = {"batch_fraction": 0.5, "batching": "shuffle"}
    simulation["test_error"].loc[lost] += 0.3
    theory["test_error"].loc[{"batch_fraction": 0.5}] += 0.1
    simulation["test_error"].loc[{"batch_fraction": 0.5}] += 0.1
    return sgd(simulation, theory, draws=100)


def test_each_cell_has_its_verdict(measured):
    verdicts = [finding.verdict for finding in SECTION.findings(measured)]
    assert verdicts == ["holds", "holds", "holds", "fails"]


def test_effect_is_how_far_batches_move_theory(measured):
    effect = measured.effect.sel(observable="test_error", batching="without_replacement")
    distance = np.sqrt(
        (measured.distance.sel(observable="test_error", batching="without_replacement")[..., -1, :] ** 2).mean(
            "iteration"
        )
    )
    np.testing.assert_allclose(effect.sel(batch_fraction=0.5), 0.1 / distance.sel(batch_fraction=0.5), rtol=1e-6)
    np.testing.assert_array_equal(effect.sel(batch_fraction=1.0), 0)
