import numpy as np
import pytest

from sedyn.kernels.dispatch import mean_answer, move_modes, quadratures
from sedyn.kernels.program import MOST_UNITS
from sedyn.model.update import Update

UPDATES = {
    "plain": Update(0.3, 0.0, 0.0, 0.1, 0.0),
    "momentum and decay": Update(0.3, 0.7, 0.2, 0.1, 0.0),
    "nesterov, a decay for each unit": Update(0.3, 0.7, 0.0, 0.1, 0.0, True, 1.0),
}
WIDEST = MOST_UNITS["cpu"]


@pytest.mark.parametrize("updates", [*([each] for each in UPDATES.values()), [*UPDATES.values()] * 2], ids=str)
@pytest.mark.parametrize(
    ("leading", "units", "samples"), [((), 1, 1), ((), 9, 7), ((2,), 4, 300), ((2, 1), 3, 40)], ids=str
)
def test_modes_move_as_they_are_defined_to(updates, leading, units, samples):
    rng = np.random.default_rng(0)
    count = 5
    nodes, weights = rng.exponential(size=(2, count, samples))
    carried, previous = rng.standard_normal((2, *leading, units, count, samples))
    kept = rng.standard_normal((*leading, units, samples))
    gradients = rng.standard_normal((len(updates), *leading, units, samples))
    curvatures = rng.standard_normal((len(updates), *leading, units, units))
    decay = rng.exponential(size=(units, 1))
    updates = [each if each.unit_decay is None else each._replace(unit_decay=decay) for each in updates]
    given = nodes, weights, count - 1, carried, previous, kept, gradients, curvatures, updates
    before = [each.copy() for each in given[3:8]]
    found = move_modes(*given)
    assert move_modes.chosen(*given) is not move_modes.definition
    for own, expected in zip(found, move_modes.definition(*given), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-14 * np.abs(expected).max(), rtol=0)
    for own, expected in zip(given[3:8], before, strict=True):
        np.testing.assert_array_equal(own, expected)


def test_steps_together_are_steps_one_by_one():
    """To the last bit: a sum does not depend on how many steps were asked for."""
    rng = np.random.default_rng(0)
    nodes, weights = rng.exponential(size=(2, 4, 90))
    carried, previous = rng.standard_normal((2, 3, 4, 90))
    kept, gradients, curvatures = (rng.standard_normal(shape) for shape in ((3, 90), (5, 3, 90), (5, 3, 3)))
    update = UPDATES["momentum and decay"]
    together = move_modes(nodes, weights, 4, carried, previous, kept, gradients, curvatures, [update] * 5)
    for t in range(5):
        given = nodes, weights, 4, carried, previous, kept, gradients[t : t + 1], curvatures[t : t + 1], [update]
        carried, previous, (kept,) = move_modes(*given)
        np.testing.assert_array_equal(together[2][t], kept)
    np.testing.assert_array_equal(together[0], carried)
    np.testing.assert_array_equal(together[1], previous)


@pytest.mark.parametrize(("samples", "many", "count"), [(1, 9, 8), (70, 30, 6), (33, 400, 8)])
def test_quadratures_are_as_they_are_defined(samples, many, count):
    """Nodes and weights of each, whose first 2 B moments are those of the measure."""
    rng = np.random.default_rng(0)
    eigenvalues, shares = np.geomspace(0.01, 2, many), rng.exponential(size=(samples, many))
    assert quadratures.chosen(eigenvalues, shares, count) is not quadratures.definition
    nodes, weights = quadratures(eigenvalues, shares, count)
    expected = quadratures.definition(eigenvalues, shares, count)
    order = nodes.argsort(axis=1)
    np.testing.assert_allclose(np.take_along_axis(nodes, order, 1), expected[0], atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(weights, order, 1), expected[1], atol=1e-11 * shares.sum())
    for k in range(2 * count):
        np.testing.assert_allclose((weights * nodes**k).sum(axis=1), shares @ eigenvalues**k, rtol=1e-10)


@pytest.mark.parametrize("found", [quadratures, quadratures.definition], ids=["chosen", "definition"])
def test_measures_of_few_nodes_or_none_have_quadratures(found):
    shares = np.array([[0, 0, 0, 0, 0.0], [0, 2, 0, 0, 0], [0.5, 0, 0, 0.25, 0]])
    nodes, weights = found(np.array([1.0, 2, 3, 4, 5]), shares, 3)
    np.testing.assert_allclose(weights.sum(axis=1), shares.sum(axis=1), atol=1e-14)
    np.testing.assert_allclose((weights * nodes**3).sum(axis=1), shares @ np.arange(1, 6) ** 3, atol=1e-12)


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


@pytest.mark.parametrize("units", [3, WIDEST + 1])
@pytest.mark.parametrize("answer", [mean_answer, mean_answer.definition], ids=["chosen", "definition"])
def test_a_run_that_has_diverged_has_no_answer(answer, units):
    curvatures = np.full((units, units, 5), np.nan)
    for found in answer(curvatures, np.ones(5), np.eye(units)):
        assert np.isnan(found).all()


def test_replicates_with_a_rate_each_are_left_to_array_operations():
    rng = np.random.default_rng(0)
    carried, kept = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 5))
    given = *np.ones((2, 4, 5)), 4, carried, carried, kept, kept[None], np.ones((1, 2, 3, 3))
    each = move_modes(*given, [Update(np.array([0.1, 0.3]), np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2))])[0]
    for r, rate in enumerate((0.1, 0.3)):
        own = move_modes(*given, [Update(rate, 0.0, 0.0, 0.0, 0.0)])[0]
        np.testing.assert_allclose(each[r], own[r], atol=1e-14)


def test_wide_networks_are_left_to_array_operations():
    for units in (WIDEST, WIDEST + 1):
        carried = np.zeros((units, 1, 1))
        square, row = np.zeros((units, units)), np.zeros((units, 1))
        given = *np.ones((2, 1, 1)), 1, carried, carried, row, row[None], square[None], [UPDATES["plain"]]
        assert (move_modes.chosen(*given) is move_modes.definition) == (units > WIDEST)
        given = square[:, :, None], np.ones(1), square
        assert (mean_answer.chosen(*given) is mean_answer.definition) == (units > WIDEST)
