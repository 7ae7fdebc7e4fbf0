import numpy as np
import pytest
from scipy import special
from scipy.stats import qmc

from sedyn.arrays.compiling import compiled
from sedyn.kernels import dispatch
from sedyn.kernels.cpu.points import quantile
from sedyn.model.quadrature import gauss_quadrature, interpolation
from sedyn.theory.sampling import (
    CausalFactor,
    causal_root,
    matched_normals,
    psd_root,
    shifted_points,
    sobol_uniforms,
    stretched_normals,
    stretched_points,
)


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


def test_matched_normals_have_exact_moments_and_are_causal():
    uniforms = sobol_uniforms(np.random.SeedSequence(1), 12, 256)
    normals = matched_normals(uniforms)
    np.testing.assert_allclose(normals.mean(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(normals @ normals.T / 256, np.eye(12), atol=1e-13)
    np.testing.assert_allclose(matched_normals(uniforms[:5]), normals[:5], atol=1e-13)


def random_words(*shape):
    return np.random.default_rng(0).integers(0, 2**64, shape, dtype=np.uint64)


def test_shifts_are_even_and_those_of_each_replicate_its_own():
    words = random_words(3, 2, 4)
    points = shifted_points(words, 256)
    assert points.shape == (3, 2, 4, 256)
    np.testing.assert_array_equal(points[1], shifted_points(words[1], 256))
    np.testing.assert_array_equal(
        np.sort((points * 256).astype(int), axis=-1), np.broadcast_to(np.arange(256), points.shape)
    )
    assert len(np.unique(points)) == points.size


def test_stretched_points_integrate_functions_of_the_index():
    """The square of the third Hermite polynomial, and a bounded function: plain points are far off."""
    normals, weights = stretched_normals(shifted_points(random_words(50, 3), 512), 1, 1.5)
    np.testing.assert_allclose(weights.sum(axis=-1), 1)
    np.testing.assert_allclose(np.einsum("rn,ran->ra", weights, normals), 0, atol=1e-14)
    second = np.einsum("rn,ran,rbn->rab", weights, normals, normals)
    np.testing.assert_allclose(second, np.broadcast_to(np.eye(3), second.shape), atol=1e-13)
    plain = matched_normals(shifted_points(random_words(50, 3), 512))
    for function, mean, most in (
        (lambda z: (z**3 - 3 * z) ** 2 / 6, 1.0, 2.5e-3),
        (lambda z: np.cos(2 * z), np.exp(-2), 1e-5),
    ):
        error = (weights * function(normals[:, 0])).sum(axis=-1) - mean
        assert np.sqrt((error**2).mean()) < most
        assert np.sqrt((error**2).mean()) < 0.1 * np.std(function(plain[:, 0]).mean(axis=-1))


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


def test_sobol_points_are_open_even_and_scrambled_independently():
    one, two = (sobol_uniforms(np.random.SeedSequence(seed), 3, 1024) for seed in (1, 2))
    assert one.min() > 0
    assert one.max() < 1
    np.testing.assert_array_equal(np.histogram(one[0], 64, (0, 1))[0], 16)
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(("dimensions", "samples"), [(1, 1), (3, 2), (40, 1024), (1200, 16)])
def test_scrambles_are_those_of_scipy(dimensions, samples):
    seed = np.random.SeedSequence(5, spawn_key=(2, 1))
    rng = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(2, 1)))
    points = qmc.Sobol(dimensions, bits=52, rng=rng).random_base2(samples.bit_length() - 1).T
    np.testing.assert_array_equal(sobol_uniforms(seed, dimensions, samples), points.clip(2.0**-53, 1 - 2.0**-53))
    assert seed.n_children_spawned == 0


def test_a_seed_gives_the_same_points_again():
    seed = np.random.SeedSequence(1)
    np.testing.assert_array_equal(sobol_uniforms(seed, 3, 64), sobol_uniforms(seed, 3, 64))


def test_scrambles_beat_independent_points():
    def errors(points):
        return [np.cos(special.ndtri(p)).mean() - np.exp(-0.5) for p in points]

    rng = np.random.default_rng(0)
    sobol = errors([sobol_uniforms(np.random.SeedSequence(s), 1, 1024)[0] for s in range(20)])
    plain = errors(rng.random((20, 1024)))
    assert np.std(sobol) < np.std(plain) / 20


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


def test_psd_root_leaves_negligible_directions_out():
    covariance = np.diag([1.0, 1e-14, -1e-16])
    root, inverse = psd_root(covariance)
    np.testing.assert_allclose(root @ root.T, np.diag([1.0, 0, 0]), atol=1e-15)
    np.testing.assert_allclose(inverse @ root, np.diag([1.0, 0, 0]), atol=1e-12)


def test_psd_root_does_not_turn_where_eigenvalues_meet():
    rng = np.random.default_rng(0)
    square = np.eye(4) + 1e-9 * rng.standard_normal((4, 4))
    np.testing.assert_allclose(psd_root(square @ square.T)[0], np.eye(4), atol=1e-8)


@pytest.mark.parametrize("count", [1, 2, 6])
def test_gauss_quadrature_averages_polynomials_exactly(count):
    eigenvalues = np.arange(1, 301) ** -0.4
    eigenvalues /= eigenvalues.mean()
    nodes, weights = gauss_quadrature(eigenvalues, count)
    assert nodes.size == count
    for degree in range(2 * count):
        np.testing.assert_allclose(weights @ nodes**degree, np.mean(eigenvalues**degree), rtol=1e-12)


def test_gauss_quadrature_of_few_values_is_these_values():
    nodes, weights = gauss_quadrature(np.array([1.0, 3.0, 3.0, 1.0]), 10)
    np.testing.assert_allclose(nodes, [1, 3])
    np.testing.assert_allclose(weights, [0.5, 0.5])
    nodes, weights = gauss_quadrature(np.ones(50), 10)
    np.testing.assert_allclose((nodes, weights), [[1], [1]])


@pytest.mark.parametrize(("exponent", "d", "count"), [(0.2, 300, 12), (0.9, 300, 40), (0.6, 20_000, 40), (0.4, 9, 40)])
def test_interpolation_from_gauss_nodes_reaches_every_eigenvalue(exponent, d, count):
    eigenvalues = np.arange(1, d + 1) ** -exponent
    eigenvalues /= eigenvalues.mean()
    nodes = gauss_quadrature(eigenvalues, count).nodes
    towards = interpolation(eigenvalues, count)
    ordered, middle = eigenvalues[::-1], eigenvalues[0] / 2
    assert towards.shape == (d, nodes.size)
    # Chebyshev polynomials, bounded all along the spectrum.
    for degree in (0, 1, count // 2, min(count, d) - 1):
        found = towards @ special.eval_chebyt(degree, nodes / middle - 1)
        np.testing.assert_allclose(found, special.eval_chebyt(degree, ordered / middle - 1), atol=1e-8)


@pytest.mark.parametrize(("dimensions", "stretched"), [(1, 1), (4, 1), (7, 3), (17, 1)])
def test_compiled_points_are_those_of_array_operations(dimensions, stretched):
    words = random_words(5, 2, dimensions)
    found = stretched_points(words, 512, stretched, 1.5)
    with dispatch.definitions_only():
        expected = stretched_points(words, 512, stretched, 1.5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * np.abs(other).max())


def test_compiled_quantiles_are_right_far_into_the_tails():
    digits = np.concatenate([2.0 ** -np.arange(1, 53), np.linspace(0.01, 0.5, 60), 0.075 + np.array([-1e-9, 0, 1e-9])])
    probabilities = np.concatenate([digits, 1 - digits])
    compiled_quantile = compiled(set())(lambda p: quantile(p))
    found = np.array([compiled_quantile(p) for p in probabilities])
    np.testing.assert_allclose(found, special.ndtri(probabilities), rtol=4e-15, atol=1e-16)
