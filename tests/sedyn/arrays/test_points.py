import numpy as np
import pytest
from scipy import special
from scipy.stats import qmc

from sedyn.arrays import sobol
from sedyn.arrays.compiling import compiled
from sedyn.arrays.points import (
    matched_normals,
    shifted_points,
    sobol_uniforms,
    stretched_normals,
    stretched_points,
)
from sedyn.kernels import dispatch
from sedyn.kernels.cpu.points import fill_quantiles


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


@pytest.mark.parametrize(("dimensions", "digits"), [(1, 1), (2, 2), (7, 12), (40, 5), (1200, 4)])
def test_points_are_those_of_scipy_by_either_way_to_directions(dimensions, digits, monkeypatch):
    points = qmc.Sobol(dimensions, scramble=False, bits=sobol.BITS).random_base2(digits).T
    found = []
    for table in (sobol._TABLE, "elsewhere.npz"):
        monkeypatch.setattr(sobol, "_TABLE", table)
        directions = sobol.sobol_directions.__wrapped__(dimensions, digits)
        found.append(directions)
        drawn = sobol.sobol_points(np.zeros(dimensions, np.uint64), directions)
        np.testing.assert_array_equal(drawn, (points * 2.0**sobol.BITS).astype(np.uint64))
    np.testing.assert_array_equal(*found)


def test_all_digits_of_all_coordinates_are_those_of_scipys_engine():
    engine = qmc.Sobol(sobol.MOST_DIMENSIONS, scramble=False, bits=sobol.BITS)
    np.testing.assert_array_equal(sobol.sobol_directions(sobol.MOST_DIMENSIONS, sobol.BITS), engine._sv)


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


@pytest.mark.parametrize(("dimensions", "stretched"), [(1, 1), (4, 1), (7, 3), (17, 1)])
def test_compiled_points_are_those_of_array_operations(dimensions, stretched):
    words = random_words(5, 2, dimensions)
    found = dispatch.stretched_points(words, 512, stretched, 1.5)
    expected = stretched_points(words, 512, stretched, 1.5)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * np.abs(other).max())


def test_compiled_quantiles_are_right_far_into_the_tails():
    digits = np.concatenate([2.0 ** -np.arange(1, 53), np.linspace(0.01, 0.5, 60), 0.075 + np.array([-1e-9, 0, 1e-9])])
    probabilities = np.concatenate([digits, 1 - digits])
    fill = compiled(set())(lambda least, step, out: fill_quantiles(least, step, out))
    found = np.empty((probabilities.size, 1))
    for p, out in zip(probabilities, found, strict=True):
        fill(p, 0.0, out)
    np.testing.assert_allclose(found[:, 0], special.ndtri(probabilities), rtol=4e-15, atol=1e-16)


@pytest.mark.parametrize(("least", "count"), [(1e-4, 8), (0.25 / 256, 256), (1e-13, 1024), (0.3, 2)])
def test_compiled_quantiles_of_equally_spaced_probabilities(least, count):
    fill, found = compiled(set())(lambda least, step, out: fill_quantiles(least, step, out)), np.empty(count)
    fill(least, 1 / count, found)
    expected = special.ndtri(least + np.arange(count) / count)
    np.testing.assert_allclose(found, expected, rtol=4e-15, atol=1e-16)
