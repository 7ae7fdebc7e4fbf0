import numpy as np
import pytest

from analysis.questions.deep_concentration import SECTION
from analysis.statistics.deep_concentration import deep_concentration
from tests.analysis.synthetic import store


def simulation_of(tree):
    return tree["simulation"].to_dataset()


def test_variance_is_the_plain_formula_and_falls_like_one_over_n():
    simulation = simulation_of(store(steps=5, replicates=32))
    measured = deep_concentration(simulation)
    plain = simulation.deep_weights.var("replicate", ddof=1).mean(["fan_in", "fan_out"])
    later = {"iteration": slice(1, None)}
    expected = plain.isel(later).transpose(*measured.variance.dims)
    np.testing.assert_allclose(measured.variance.isel(later), expected, rtol=1e-9)
    assert measured.variance.isel(iteration=0).isnull().all()
    assert abs(float(measured.overall_exponent) + 1) < 0.1
    assert all(finding.verdict != "fails" for finding in SECTION.findings(measured))


@pytest.mark.parametrize("noise_floor", [0.0, 0.1])
def test_a_variance_that_stays_fails(noise_floor):
    simulation = simulation_of(store(steps=5, replicates=32, depths=(2,), noises=(0.1,)))
    extra = noise_floor * np.random.default_rng(1).standard_normal(simulation.deep_weights.shape)
    finding = SECTION.findings(deep_concentration(simulation.assign(deep_weights=simulation.deep_weights + extra)))[0]
    assert finding.verdict == ("fails" if noise_floor else "holds")


def test_intervals_of_all_layers_hold_together_as_often_as_they_say():
    together, stores = 4, 150
    noises = tuple(np.linspace(0.1, 0.5, together * stores))
    simulation = simulation_of(store(depths=(2,), noises=noises, replicates=24, steps=4, width=2, seed=5))
    inside = []
    for first in range(0, len(noises), together):
        measured = deep_concentration(simulation.isel(noise=slice(first, first + together)), draws=200).sel(layer=2)
        inside.append(bool(((measured.exponent_low < -1) & (measured.exponent_high > -1)).all()))
    assert abs(np.mean(inside) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / stores)


def test_too_few_finished_replicates_are_refused():
    simulation = simulation_of(store(steps=2, replicates=8))
    assert SECTION.unanswerable(simulation) is None
    begun = simulation.where(simulation.replicate < 3)
    assert SECTION.unanswerable(begun) == "fewer than 3 values of n with 4 replicates"
