import numpy as np
import pytest

from sedyn.arrays.roots import causal_root, psd_root


def random_covariance(size, rank, seed=0):
    root = np.random.default_rng(seed).standard_normal((size, rank))
    return root @ root.T


@pytest.mark.parametrize("rank", [5, 2])
def test_a_causal_root_is_a_root_of_singular_covariances_too(rank):
    covariance = random_covariance(5, rank) * np.outer(*(10.0 ** np.arange(-4, 6, 2),) * 2)
    root = causal_root(np.stack([covariance, 0 * covariance]))
    deviations = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose(
        root[0] @ root[0].T, covariance, rtol=0, atol=3e-12 * np.outer(deviations, deviations).max()
    )
    np.testing.assert_array_equal(root[0], np.tril(root[0]))
    np.testing.assert_array_equal(root[1], 0)
    np.testing.assert_allclose(root[0, :2, :2], causal_root(covariance[:2, :2]), rtol=1e-9)


def test_psd_root_leaves_negligible_directions_out():
    covariance = np.diag([1.0, 1e-14, -1e-16])
    root, inverse = psd_root(covariance)
    np.testing.assert_allclose(root @ root.T, np.diag([1.0, 0, 0]), atol=1e-15)
    np.testing.assert_allclose(inverse @ root, np.diag([1.0, 0, 0]), atol=1e-12)


def test_psd_root_does_not_turn_where_eigenvalues_meet():
    rng = np.random.default_rng(0)
    square = np.eye(4) + 1e-9 * rng.standard_normal((4, 4))
    np.testing.assert_allclose(psd_root(square @ square.T)[0], np.eye(4), atol=1e-8)


def test_a_causal_root_of_what_is_not_finite_raises_nothing_and_leaves_others_alone():
    covariances = np.stack([np.eye(3), np.full((3, 3), np.inf), np.diag([1, np.nan, 1]), 4 * np.eye(3)])
    found = causal_root(covariances)
    np.testing.assert_array_equal(found[[0, 3]], causal_root(covariances[[0, 3]]))
