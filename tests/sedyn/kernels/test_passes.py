"""Compiled products against numpy's, for every way in which tiles can be left over."""

import itertools

import numpy as np
import pytest

from sedyn.kernels.cpu import passes as kernels
from sedyn.kernels.cpu.tiles import ROWS, UNITS, VECTOR

# Entries and sums.
TYPES = [("float32", "float32"), ("float64", "float64"), ("int8", "float32"), ("int8", "float64"), ("uint8", "float64")]
LANES = VECTOR // 4


def drawn(shape, dtype, rng):
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0 if np.dtype(dtype).kind == "u" else -100, 100, shape).astype(dtype)


def assert_within_rounding(found, factor, matrix, start=0.0):
    """Sums of m terms are off by at most m times rounding of the sum of their sizes."""
    expected = factor.astype(float) @ matrix.astype(float) + start
    size = np.abs(factor.astype(float)) @ np.abs(matrix.astype(float)) + np.abs(start)
    assert np.all(np.abs(found - expected) <= matrix.shape[0] * np.finfo(found.dtype).eps * size)


@pytest.mark.parametrize(("entries", "sums"), TYPES)
def test_products_of_any_number_of_rows_and_columns(entries, sums):
    rng = np.random.default_rng(0)
    chunk = kernels.CHUNK // np.dtype(sums).itemsize
    counts = [*range(1, 2 * ROWS + 2), kernels.GROUP, kernels.GROUP + 1]
    lengths = (1, LANES - 1, LANES, LANES + 3, chunk, chunk + LANES + 1)
    for (rows, d), start in itertools.product(itertools.product(counts, lengths), (0, 5)):
        matrix = drawn((rows, d + start + 1), entries, rng)
        weights = kernels.padded(drawn((UNITS + 1, d), sums, rng), np.dtype(sums))
        out = np.full((weights.shape[0], rows + 1), np.nan, sums)
        kernels.products(matrix, start, weights, out)
        part = matrix[:, start : start + d]
        assert_within_rounding(out[:, :rows], weights, part.T)
        assert np.isnan(out[:, rows]).all()

        gradients = kernels.padded(drawn((UNITS + 1, rows), sums, rng), np.dtype(sums))
        before = drawn((gradients.shape[0], d), sums, rng)
        added = before.copy()
        kernels.add_products(matrix, start, gradients, added)
        assert_within_rounding(added, gradients, part, before)


def test_sums_of_another_type_than_the_factors_are_refused():
    with pytest.raises(TypeError, match="factors of type float32 for sums of type float64"):
        kernels.add_products(np.ones((2, 3)), 0, np.ones((4, 2), np.float32), np.zeros((4, 3)))
