import numpy as np
import pytest
from scipy import stats
from threadpoolctl import threadpool_limits

from sedyn.arrays.normals import BATCH, NORMALS_PER_PART, random_words, standard_normals
from tests.helpers import assert_within_se

SIZE = 2**20


def row(*numbers):
    return np.array(numbers, np.uint64)


@pytest.fixture(scope="module")
def normals():
    return standard_normals(row(3), row(5), SIZE)[0]


@pytest.mark.parametrize(
    ("key", "place", "expected"),
    [
        (0, 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (2**64 - 1, 2**64 - 1, None),
    ],
)
def test_words_are_those_of_philox(key, place, expected):
    words = random_words(row(key), row(place), 9)[0].view("<u4").reshape(-1, 2).ravel()
    plain = np.concatenate([philox(key, place, counter) for counter in range(5)])
    np.testing.assert_array_equal(words, plain[:18])
    if expected:  # as its authors give them
        np.testing.assert_array_equal(words[:4], expected)


def philox(key, place, counter):
    """Four words of 32 bits in Python's own integers."""
    low = 2**32 - 1
    x = [counter & low, counter >> 32, place & low, place >> 32]
    keys = [key & low, key >> 32]
    for _ in range(10):
        p, q = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [(q >> 32) ^ x[1] ^ keys[0], q & low, (p >> 32) ^ x[3] ^ keys[1], p & low]
        keys = [(keys[0] + 0x9E3779B9) & low, (keys[1] + 0xBB67AE85) & low]
    return np.array(x, np.uint32)


def test_normals_are_those_of_box_and_muller():
    count = 4 * BATCH - 3
    words = random_words(row(7, 8), row(1, 2), count + 1)
    uniforms = (words >> np.uint64(11)).astype(float).reshape(2, -1, 2) * 2.0**-53
    radii, angles = np.sqrt(-2 * np.log(1 - uniforms[..., 0])), 2 * np.pi * (uniforms[..., 1] - 0.5)
    expected = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=-1).reshape(2, -1)
    np.testing.assert_allclose(standard_normals(row(7, 8), row(1, 2), count), expected[:, :count], rtol=0, atol=1e-14)


def test_any_number_is_the_beginning_of_more_and_rounded_to_single_precision(normals):
    for count in (1, 2, 777, 2 * BATCH, NORMALS_PER_PART + 5):
        np.testing.assert_array_equal(standard_normals(row(3), row(5), count)[0], normals[:count])
    np.testing.assert_array_equal(standard_normals(row(3), row(5), SIZE, "float32")[0], normals.astype(np.float32))


@pytest.mark.parametrize("count", [50, NORMALS_PER_PART // 3, NORMALS_PER_PART + 50])
def test_a_row_is_the_same_whatever_is_drawn_beside_it(count):
    keys, places = row(*range(7)), row(*range(10, 17))
    together = standard_normals(keys, places, count)
    with threadpool_limits(1):
        np.testing.assert_array_equal(standard_normals(keys, places, count), together)
    for r in (0, 3, 6):
        np.testing.assert_array_equal(standard_normals(keys[r : r + 1], places[r : r + 1], count)[0], together[r])


def test_law(normals):
    assert stats.kstest(normals, "norm").pvalue > 1e-3
    for power in range(1, 9):
        exact, square = (stats.norm.moment(k) for k in (power, 2 * power))
        assert_within_se(np.mean(normals**power), exact, np.sqrt((square - exact**2) / SIZE))
    for threshold in (2.0, 3.0, 4.0):
        p = 2 * stats.norm.sf(threshold)
        assert_within_se(np.mean(np.abs(normals) > threshold), p, np.sqrt(p / SIZE))


def test_neither_neighbours_nor_rows_are_dependent(normals):
    for lag in (1, 2, BATCH, 2 * BATCH):
        for one, two in ((normals[lag:], normals[:-lag]), (normals[lag:] ** 2 - 1, normals[:-lag] ** 2 - 1)):
            product = one * two
            assert_within_se(product.mean(), 0, product.std() / np.sqrt(product.size))
    for key, place in ((3, 6), (4, 5), (3, 5 + 2**32)):
        other = standard_normals(row(key), row(place), SIZE)[0]
        for power in (1, 2):
            assert abs(np.corrcoef(normals**power, other**power)[0, 1]) < 5 / np.sqrt(SIZE)
