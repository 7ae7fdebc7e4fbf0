"""Lengths, modes and equality of rows against their definitions."""

import numpy as np
import pytest

from sedyn.estimate.rows import equal_rows, row_modes, row_scales


def table(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * np.geomspace(1, 0.1, d)


def powers_of_gram(features, count):
    """Diagonals of K, K^2, ..., with K = X X^T / n."""
    gram = features @ features.T / len(features)
    power, found = np.eye(len(features)), []
    for _ in range(count):
        power = power @ gram
        found.append(np.diag(power))
    return np.array(found)


@pytest.mark.parametrize(("n", "d"), [(60, 8), (60, 40), (40, 60), (50, 50)])
def test_quadratures_give_the_powers_of_the_gram_matrix(n, d):
    features, count = table(n, d), 6
    modes = row_modes(features, centred=False, count=count)
    assert modes.nodes.shape == (min(count, n, d) if d > count else d, n)
    found = np.array([(modes.weights * modes.nodes**k).sum(axis=0) for k in range(1, 2 * count)])
    np.testing.assert_allclose(found, powers_of_gram(features, 2 * count - 1), rtol=1e-9)
    assert (modes.weights >= 0).all()


def test_all_modes_are_kept_where_there_are_few():
    features = table(30, 5)
    modes = row_modes(features, centred=False)
    np.testing.assert_allclose((modes.weights * modes.nodes**9).sum(axis=0), powers_of_gram(features, 9)[-1], rtol=1e-9)


def test_a_row_in_fewer_modes_than_nodes_has_the_others_empty():
    features = np.diag(np.arange(1.0, 9.0))  # each row is a mode of its own
    modes = row_modes(features, centred=False, count=4)
    found = (modes.weights * modes.nodes**3).sum(axis=0)
    np.testing.assert_allclose(found, (np.arange(1, 9) ** 2 / 8.0) ** 3)
    np.testing.assert_allclose(modes.weights.sum(axis=0), 1)


def test_centring_is_given_back_one_mode_of_mean_eigenvalue():
    features = table(20, 40)
    features -= features.mean(axis=0)
    modes = row_modes(features, centred=True, count=30)
    eigenvalues = np.linalg.eigvalsh(features @ features.T / 20)
    np.testing.assert_allclose(modes.weights.sum(axis=0), 1)
    expected = np.diag(features @ features.T / 20) + eigenvalues.sum() / 19 / 20
    np.testing.assert_allclose((modes.weights * modes.nodes).sum(axis=0), expected)


def test_of_weighted_rows_centring_took_out_the_mode_of_the_roots_of_the_weights():
    features, weights = table(20, 40), np.linspace(0.1, 1.9, 20)
    features -= np.average(features, axis=0, weights=weights)
    rows = np.sqrt(weights)[:, None] * features
    modes = row_modes(rows, centred=True, weights=weights, count=30)
    np.testing.assert_allclose(modes.weights.sum(axis=0), 1)
    np.testing.assert_allclose(modes.weights[-1], weights / 20)


def test_row_scales_are_squared_lengths_of_mean_one():
    scales = row_scales(np.array([[3.0, 4.0], [0.0, 1.0]]))
    np.testing.assert_allclose(scales, [50 / 26, 2 / 26])


def test_equal_rows_share_a_number():
    groups = equal_rows(np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 2.0], [1.0, 2.1]]))
    assert groups[0] == groups[2]
    assert len(set(groups)) == 3
    assert set(groups) == {0, 1, 2}
