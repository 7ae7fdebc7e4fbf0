"""The comparison of commits sees one bit, and nothing that is not a number of a problem."""

import numpy as np
import zarr

from tests.same_numbers import compare


def make_store(path, error, seconds=1.0):
    root = zarr.open_group(path, mode="w")
    root.create_array("simulation/test_error", data=np.array([0.25, error, np.nan]))
    root.create_array("status/seconds", data=np.array([seconds]))


def test_one_bit_is_seen(tmp_path, capsys):
    for folder, error, seconds in (("one", 0.5, 1.0), ("same", 0.5, 2.0), ("other", np.nextafter(0.5, 1), 1.0)):
        make_store(tmp_path / folder / "a.zarr", error, seconds)
    assert compare(tmp_path / "one", tmp_path / "same") == 0
    assert compare(tmp_path / "one", tmp_path / "other") == 1
    assert "different: simulation/test_error" in capsys.readouterr().out
