import numpy as np
import pytest

from sedyn.arrays import blocks


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 1000, blocks.BLOCKS * blocks.MOST_ROWS + 1])
@pytest.mark.parametrize("multiple", [1, 6])
def test_rows_are_cut_into_equal_blocks(rows, multiple):
    found = blocks.row_blocks(rows, multiple)
    np.testing.assert_array_equal(np.concatenate([np.arange(rows)[block] for block in found]), np.arange(rows))
    sizes = [block.stop - block.start for block in found]
    assert len({*sizes[:-1]}) <= 1
    assert all(size % multiple == 0 for size in sizes[:-1])
    assert sizes[-1] <= sizes[0] <= blocks.MOST_ROWS + multiple


def test_sums_over_blocks_are_those_over_all_columns(monkeypatch):
    monkeypatch.setattr(blocks, "COLUMNS", 64)
    rng = np.random.default_rng(0)
    vectors, basis = (rng.standard_normal(shape) for shape in ((3, 1000), (5, 1000)))
    products = blocks.summed(lambda columns: vectors[:, columns] @ basis[:, columns].T, vectors)
    np.testing.assert_allclose(products, vectors @ basis.T, rtol=1e-12)
    doubled = vectors.copy()
    blocks.for_each_block(lambda columns: doubled[:, columns].__imul__(2), doubled)
    np.testing.assert_array_equal(doubled, 2 * vectors)


def test_sums_are_added_in_the_order_of_the_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "COLUMNS", 1)
    # In another order the small number would be lost, or the large ones would not cancel.
    values = np.array([[1e20, -1e20, 1.0]])
    assert blocks.summed(lambda columns: values[:, columns][0, 0], values) == 1.0
    assert blocks.summed(lambda columns: values[:, ::-1][:, columns][0, 0], values) == 0.0
