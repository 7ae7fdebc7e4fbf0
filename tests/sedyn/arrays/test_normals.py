import numpy as np
import pytest
from scipy import stats

from sedyn.arrays.normals import BATCH, LANES, draw_words, fill_normals, standard_normals
from tests.helpers import assert_within_se

SIZE = 2**20


def generator(seed):
    return np.random.Generator(np.random.SFC64(seed))


def random_state(seed):
    return generator(seed).integers(2**64, size=(4, LANES), dtype=np.uint64)


@pytest.fixture(scope="module")
def normals():
    return standard_normals(generator(0), (SIZE,))


def test_each_lane_is_the_generator_of_numpy():
    state, words = random_state(0), np.empty(8 * LANES, np.uint64)
    expected = []
    for lane in range(LANES):
        numpys = np.random.SFC64()
        numpys.state = {**numpys.state, "state": {"state": state[:, lane]}, "has_uint32": 0, "uinteger": 0}
        expected.append(numpys.random_raw(8))
    draw_words(state, words)
    np.testing.assert_array_equal(words.reshape(8, LANES), np.transpose(expected))


def test_normals_are_those_of_box_and_muller():
    state = random_state(1)
    # The largest and the smallest radius, and the two ends of the angle; a word is the sum of a, b and the counter.
    ends = np.array([2**64 - 1, 0, 2**63, 2**63 - 1], np.uint64)
    state[1:, : ends.size] = 0
    state[0, : ends.size] = ends
    words, out = np.empty(4 * BATCH, np.uint64), np.empty(4 * BATCH - 3)
    draw_words(state.copy(), words)
    fill_normals(state, out)
    uniforms = (words >> np.uint64(11)).astype(float).reshape(4, 2, -1) * 2.0**-53
    radii, angles = np.sqrt(-2 * np.log(1 - uniforms[:, 0])), 2 * np.pi * (uniforms[:, 1] - 0.5)
    expected = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1).reshape(-1)
    assert radii.max() > 8.5
    assert radii.min() == 0
    np.testing.assert_allclose(out, expected[: out.size], rtol=0, atol=1e-14)


def test_a_smaller_array_is_the_beginning_of_a_larger_one(normals):
    np.testing.assert_array_equal(standard_normals(generator(0), (7, 111)).reshape(-1), normals[:777])


def test_law(normals):
    assert stats.kstest(normals, "norm").pvalue > 1e-3
    for power in range(1, 9):
        exact, square = (stats.norm.moment(k) for k in (power, 2 * power))
        assert_within_se(np.mean(normals**power), exact, np.sqrt((square - exact**2) / SIZE))
    for threshold in (2.0, 3.0, 4.0):
        p = 2 * stats.norm.sf(threshold)
        assert_within_se(np.mean(np.abs(normals) > threshold), p, np.sqrt(p / SIZE))


def test_neither_neighbours_nor_partners_nor_streams_are_dependent(normals):
    other = standard_normals(generator(1), (SIZE,))
    for lag in (1, LANES, BATCH // 2, BATCH):
        for one, two in ((normals[lag:], normals[:-lag]), (normals[lag:] ** 2 - 1, normals[:-lag] ** 2 - 1)):
            product = one * two
            assert_within_se(product.mean(), 0, product.std() / np.sqrt(product.size))
    for power in (1, 2):
        assert abs(np.corrcoef(normals**power, other**power)[0, 1]) < 5 / np.sqrt(SIZE)
