import numpy as np
import pytest

from sedyn.theory.causal_factor import CausalFactor


def random_covariance(size, rank, seed=0):
    root = np.random.default_rng(seed).standard_normal((size, rank))
    return root @ root.T


def blocks_of(covariance, sizes):
    edges = np.cumsum([0, *sizes])
    for t in range(len(sizes)):
        yield covariance[..., edges[t] : edges[t + 1], : edges[t + 1]]


def assembled(factor):
    width = factor.rows[-1].shape[1]
    return np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]))) for row in factor.rows])


@pytest.mark.parametrize(("sizes", "rank"), [([2, 3, 1, 3], 9), ([1, 2, 2, 2], 4), ([2, 2], 1)])
def test_causal_factor_reproduces_covariances_of_any_rank(sizes, rank):
    covariance = random_covariance(sum(sizes), rank)
    factor = CausalFactor()
    seen = []
    for blocks in blocks_of(covariance, sizes):
        factor = factor.append(blocks)
        seen.append(factor.rows[-1])
        np.testing.assert_array_equal(seen[0], factor.rows[0])
    full = assembled(factor)
    np.testing.assert_allclose(full @ full.T, covariance, atol=1e-9 * np.abs(covariance).max())


@pytest.mark.parametrize("rank", [9, 4])
def test_causal_factor_solves_where_directions_exist(rank):
    sizes = [2, 3, 1, 3]
    covariance = random_covariance(9, rank)
    factor = CausalFactor()
    for blocks in blocks_of(covariance, sizes):
        factor = factor.append(blocks)
    full = assembled(factor)
    wanted = np.random.default_rng(1).standard_normal((2, 9))
    found = factor.solve(wanted @ full)
    np.testing.assert_allclose(found @ covariance, wanted @ covariance, atol=1e-6)
    if rank == 9:
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_causal_factors_side_by_side_know_nothing_of_each_other():
    sizes = [2, 3, 1, 3]
    covariances = np.stack([random_covariance(9, rank, seed) for seed, rank in enumerate((9, 4, 9, 9))])
    covariances[1, 5:, 5:] = np.inf  # as of a solution that has diverged
    together, wanted = CausalFactor(), np.random.default_rng(1).standard_normal((4, 2, 9))
    with np.errstate(invalid="ignore"):
        for blocks in blocks_of(covariances, sizes):
            together = together.append(blocks)
        solved = together.solve(wanted)
        assert np.isfinite(together.rows[1][1]).all()
        assert np.isnan(together.rows[-1][1]).any()
        for r in (0, 2, 3):
            alone = CausalFactor()
            for blocks in blocks_of(covariances[r], sizes):
                alone = alone.append(blocks)
            for found, expected in zip(together.rows, alone.rows, strict=True):
                np.testing.assert_array_equal(found[r], expected)
            np.testing.assert_array_equal(solved[r], alone.solve(wanted[r]))
