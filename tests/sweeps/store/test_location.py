from __future__ import annotations

from pathlib import Path

import xarray as xr

from sweeps import status, validate
from sweeps.store import local_path


def test_a_url_holds_the_same_store(sweep, tmp_path, capsys):
    url = f"memory://{tmp_path}/stores/url.zarr"
    assert sweep("grid.noise=[0.1,0.5]", f"store={url}") == 0
    assert sweep("grid.noise=[0.1,0.5]", "store=stores/path.zarr") == 0
    by_url, by_path = (xr.open_datatree(where, engine="zarr").load() for where in (url, "stores/path.zarr"))
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(by_url[group].ds, by_path[group].ds)
    capsys.readouterr()
    assert validate.main([url]) == 0
    assert status.main([url]) == 0
    assert "simulation: 10 of 10 replicates done" in capsys.readouterr().out
    assert validate.main([f"file://{tmp_path}/stores/path.zarr"]) == 0


def test_a_url_of_files_is_a_path():
    assert local_path("file:///stores/a.zarr") == local_path("/stores/a.zarr") == Path("/stores/a.zarr")
    assert local_path("s3://bucket/a.zarr") is None
