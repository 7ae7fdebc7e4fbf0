import numpy as np
import pytest

from sedyn.kernels.cpu import modes
from sedyn.kernels.dispatch import mean_answer, move_modes
from sedyn.kernels.program import MOST_UNITS
from sedyn.model.update import Update

UPDATES = {
    "plain": Update(0.3, 0.0, 0.0, 0.1, 0.0),
    "momentum and decay": Update(0.3, 0.7, 0.2, 0.1, 0.0),
    "nesterov, a decay for each unit": Update(0.3, 0.7, 0.0, 0.1, 0.0, True, 1.0),
}
WIDEST = MOST_UNITS["cpu"]


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
@pytest.mark.parametrize(
    ("leading", "units", "samples"), [((), 1, 1), ((), 9, 7), ((2,), 4, 300), ((2, 1), 3, 40)], ids=str
)
def test_modes_move_as_they_are_defined_to(update, leading, units, samples, monkeypatch):
    monkeypatch.setattr(modes, "SAMPLES", 64)
    rng = np.random.default_rng(0)
    count = 5
    nodes, weights = rng.exponential(size=(2, count, samples))
    carried, previous = rng.standard_normal((2, *leading, units, count, samples))
    kept, gradient = rng.standard_normal((2, *leading, units, samples))
    curvature = rng.standard_normal((*leading, units, units))
    if update.unit_decay is not None:
        update = update._replace(unit_decay=rng.exponential(size=(units, 1)))
    given = nodes, weights, count - 1, carried, previous, kept, gradient, curvature, update
    before = [each.copy() for each in given[3:8]]
    found = move_modes(*given)
    assert move_modes.chosen(*given) is not move_modes.definition
    for own, expected in zip(found, move_modes.definition(*given), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-14 * np.abs(expected).max(), rtol=0)
    for own, expected in zip(given[3:8], before, strict=True):
        np.testing.assert_array_equal(own, expected)


def curvatures_of(units, samples, rng):
    """Of a network's kind: one large direction, and numbers of both signs on the diagonal."""
    slopes, bends = rng.standard_normal((2, units, samples))
    return slopes[:, None] * slopes + np.eye(units)[:, :, None] * bends


@pytest.mark.parametrize(("units", "samples"), [(1, 1), (2, 40), (9, 33), (17, 5)])
def test_samples_answer_as_they_are_defined_to(units, samples):
    rng = np.random.default_rng(0)
    curvatures, shares = curvatures_of(units, samples, rng), rng.exponential(size=samples)
    root = 0.3 * rng.standard_normal((units, units))
    given = curvatures, shares, root @ root.T
    assert mean_answer.chosen(*given) is not mean_answer.definition
    for own, expected in zip(mean_answer(*given), mean_answer.definition(*given), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-13 * np.abs(curvatures).max(), rtol=0)


@pytest.mark.parametrize("answer", [mean_answer, mean_answer.definition], ids=["chosen", "definition"])
def test_how_samples_answer_that_share_their_vectors_is_known(answer):
    """Of curvatures d_i in one direction and kept k, p_i / (1 + k p_i) with p_i = max(d_i, 0); also of equal ones."""
    rng = np.random.default_rng(1)
    vectors = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    values, kept = rng.standard_normal((4, 50)), np.array([0.0, 0.2, 3.0, 0.7])
    values[1] = values[2]  # eigenvalues that are there twice, and
    values[:, 0] = 0  # none at all
    curvatures = np.einsum("ab,bi,cb->aci", vectors, values, vectors)
    positive = values.clip(0)
    expected = (positive / (1 + kept[:, None] * positive)).mean(axis=1), values.clip(None, 0).mean(axis=1)
    found = answer(curvatures, np.ones(50), (vectors * kept) @ vectors.T)
    for own, each in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, (vectors * each) @ vectors.T, atol=1e-14)


def test_a_run_that_has_diverged_has_no_answer():
    curvatures = np.full((3, 3, 5), np.nan)
    assert np.isnan(mean_answer(curvatures, np.ones(5), np.eye(3))[0]).all()


def test_replicates_with_a_rate_each_are_left_to_array_operations():
    rng = np.random.default_rng(0)
    carried, kept = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 5))
    given = *np.ones((2, 4, 5)), 4, carried, carried, kept, kept, np.ones((2, 3, 3))
    each = move_modes(*given, Update(np.array([0.1, 0.3]), np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2)))[0]
    for r, rate in enumerate((0.1, 0.3)):
        own = move_modes(*given, Update(rate, 0.0, 0.0, 0.0, 0.0))[0]
        np.testing.assert_allclose(each[r], own[r], atol=1e-14)


def test_wide_networks_are_left_to_array_operations():
    for units in (WIDEST, WIDEST + 1):
        carried = np.zeros((units, 1, 1))
        square, row = np.zeros((units, units)), np.zeros((units, 1))
        given = np.ones((1, 1)), np.ones((1, 1)), 1, carried, carried, row, row, square, UPDATES["plain"]
        assert (move_modes.chosen(*given) is move_modes.definition) == (units > WIDEST)
        given = square[:, :, None], np.ones(1), square
        assert (mean_answer.chosen(*given) is mean_answer.definition) == (units > WIDEST)
