"""What varies together: zips, tables, designs and unions of grids become cells, and only these are computed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from sedyn.errors import InvalidInput
from sweeps.application import rows
from sweeps.store import Store, is_asked


def cells_of(read, name="stores/sweep.zarr", *fields):
    simulation = read(name).simulation.to_dataset()
    return list(zip(*(simulation[field].values.tolist() for field in fields), strict=True))


def test_fields_that_are_zipped_vary_together(sweep, read):
    assert sweep("zip.n=[40,60]", "zip.d=[20,10]", "grid.noise=[0.1,0.5]", "replicates=2") == 0
    assert cells_of(read, "stores/sweep.zarr", "n", "d") == [(40, 20), (60, 10)]
    tree = read()
    assert tree.simulation.train_error.dims[:3] == ("cell", "noise", "replicate")
    assert (tree.status.simulation == 1).all()
    assert np.isfinite(tree.simulation.train_error).all()


def test_d_follows_n_where_it_is_not_named(sweep, read):
    assert sweep("zip.n=[40,60]", "zip.width=[2,3]", "aspect=2", "replicates=1") == 0
    assert cells_of(read, "stores/sweep.zarr", "n", "d", "width") == [(40, 20, 2), (60, 30, 3)]


def test_several_ratios_are_several_d_at_each_n(sweep, read):
    assert sweep("grid.n=[40,80]", "aspect=[1,2]", "replicates=1") == 0
    assert cells_of(read, "stores/sweep.zarr", "n", "d") == [(40, 40), (40, 20), (80, 80), (80, 40)]


def test_a_zip_has_the_numbers_of_the_same_cells_of_a_grid(sweep, read):
    assert sweep("zip.width=[2,3]", "zip.noise=[0.1,0.5]", "store=stores/zip.zarr") == 0
    assert sweep("grid.width=[2,3]", "grid.noise=[0.1,0.5]", "store=stores/grid.zarr") == 0
    together, grid = read("stores/zip.zarr").simulation, read("stores/grid.zarr").simulation
    for k in range(2):
        for name in ("train_error", "test_error", "weight_gram"):
            np.testing.assert_array_equal(together[name].isel(cell=k), grid[name].isel(width=k, noise=k))


def test_grids_are_united_and_what_they_share_is_one(sweep, read):
    words = "grids=[{noise:[0.1,0.5]},{noise:[0.5],width:[2,3]}]"
    assert sweep(words, "problem.width=2", "replicates=1") == 0
    assert cells_of(read, "stores/sweep.zarr", "width", "noise") == [(2, 0.1), (2, 0.5), (3, 0.5)]


def test_a_table_lists_its_cells(sweep, read, tmp_path):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "cells.csv").write_text("noise, activation\n0.1,tanh\n0.5,erf\n")
    assert sweep("cells=stores/cells.csv", "replicates=1") == 0
    assert cells_of(read, "stores/sweep.zarr", "activation", "noise") == [("tanh", 0.1), ("erf", 0.5)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("noise,width\n0.1\n", "line 1 has no width"),
        ("noise\n0.1,3\n", "more entries than there are columns"),
        ("noise\n", "no line below"),
        ("nosie\n0.1\n", "did you mean 'noise'"),
    ],
)
def test_a_table_with_a_mistake_is_refused_by_its_line(tmp_path, text, message):
    (tmp_path / "stores").mkdir()
    file = tmp_path / "stores" / "cells.csv"
    file.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        rows.table(str(file))


def test_parquet_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match=r"pip install pyarrow`; or write the table as \.csv"):
        rows.table(str(tmp_path / "cells.parquet"))


def test_parquet_is_read_as_csv_is(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    (tmp_path / "stores").mkdir()
    file = tmp_path / "stores" / "cells.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"noise": [0.1], "activation": ["erf"]}), file)
    assert rows.table(str(file)) == [{"noise": 0.1, "activation": "erf"}]


@pytest.mark.parametrize("method", rows.METHODS)
def test_designs_fill_their_ranges_evenly(method):
    """In every dimension as many points in each quarter: a Sobol sequence of 64 and a Latin hypercube have that."""
    ranges = {"noise": [0.1, 0.9], "learning_rate": [0.01, 1, "log"], "width": [2, 9]}
    found = rows.design(ranges, 64, method, 0)
    assert found == rows.design(ranges, 64, method, 0) != rows.design(ranges, 64, method, 1)
    shares = {
        "noise": [(row["noise"] - 0.1) / 0.8 for row in found],
        "learning_rate": [np.log10(row["learning_rate"]) / 2 + 1 for row in found],
    }
    for share in shares.values():
        assert np.histogram(share, 4, (0, 1))[0].tolist() == [16] * 4
    assert np.bincount([row["width"] for row in found]).tolist() == [0, 0, *[8] * 8]


def test_a_longer_sobol_sequence_begins_with_the_shorter(sweep, read):
    words = ("ranges.noise=[0.1,1]", "ranges.learning_rate=[0.1,1,log]", "replicates=1")
    assert sweep(*words, "design.points=2") == 0
    before = cells_of(read, "stores/sweep.zarr", "noise", "learning_rate")
    assert sweep(*words, "design.points=4") == 0
    assert cells_of(read, "stores/sweep.zarr", "noise", "learning_rate")[:2] == before
    assert (read().status.simulation == 1).all()


def test_numbers_that_differ_by_rounding_are_one_value(sweep, read, capsys):
    third = 0.1 + 0.1 + 0.1
    assert sweep(f"grid.noise=[0.1,{third}]", "replicates=2") == 0
    before = read().simulation.train_error.values
    capsys.readouterr()
    assert sweep("grid.noise=[0.1,0.3]", "replicates=2") == 0
    assert "nothing was missing" in capsys.readouterr().out
    np.testing.assert_array_equal(read().simulation.train_error.values, before)
    assert sweep(f"grid.noise=[0.3,{third}]") == 2
    assert "a value stands twice" in capsys.readouterr().err


def test_a_grid_goes_on_in_a_store_of_rows_and_rows_in_a_store_of_a_grid(sweep, read, capsys):
    assert sweep("zip.noise=[0.1,0.5]", "zip.width=[2,3]", "replicates=1") == 0
    assert sweep("grid.noise=[0.1]", "grid.width=[2,3]", "replicates=1") == 0
    assert cells_of(read, "stores/sweep.zarr", "width", "noise") == [(2, 0.1), (3, 0.5), (3, 0.1)]
    assert sweep("grid.noise=[0.1,0.2]", "grid.width=[2]", "replicates=1", "store=stores/grid.zarr") == 0
    capsys.readouterr()
    assert sweep("zip.noise=[0.1,0.3]", "zip.width=[2,3]", "replicates=1", "store=stores/grid.zarr") == 0
    assert "2 tasks done" in capsys.readouterr().out
    status = read("stores/grid.zarr").status
    assert status.asked.values.tolist() == [[True, True, False], [False, False, True]]
    assert ((status.simulation == 1).all("replicate") == status.asked).all()


def test_cells_far_apart_on_many_axes_are_refused_in_a_store_of_a_grid(sweep, capsys):
    axes = ("noise", "learning_rate", "signal_norm", "momentum")
    assert sweep(*(f"grid.{axis}=[0.5]" for axis in axes), "replicates=1", "plan=false") == 0
    spread = [",".join(str(0.001 * k + 0.01) for k in range(90)) for _ in axes]
    assert sweep(*(f"zip.{axis}=[{values}]" for axis, values in zip(axes, spread, strict=True)), "replicates=1") == 2
    assert "name another store for these cells" in capsys.readouterr().err


def test_status_counts_what_was_asked_for_alone(sweep, capsys, tmp_path):
    from sweeps.status import summary

    assert sweep("grid.noise=[0.1,0.2]", "grid.width=[2]", "replicates=1") == 0
    assert sweep("grid.noise=[0.3]", "grid.width=[3]", "replicates=1") == 0
    store = Store.open(str(tmp_path / "stores" / "sweep.zarr"))
    lines = summary(store)
    assert lines[:2] == ["axes: width (2), noise (3)", "cells: 3 of the 6 places of these axes were asked for"]
    assert all(", 0 left," in line for line in lines[2:4])
    assert is_asked(store.settings).sum() == 3
