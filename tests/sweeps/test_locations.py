from __future__ import annotations

import json
import time
from pathlib import Path

import fsspec
import pytest
import xarray as xr

from sedyn.errors import InvalidInput
from sweeps import lock, status, validate
from sweeps.location import local_path
from sweeps.lock import is_driven, only_driver


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


def test_an_object_keeps_a_second_driver_out(tmp_path):
    url = f"memory://{tmp_path}/a.zarr"
    with only_driver(url):
        assert is_driven(url)
        with pytest.raises(InvalidInput, match="another sweep is writing"), only_driver(url):
            pass
    assert not is_driven(url)


def test_the_object_of_a_dead_driver_is_taken_over(tmp_path):
    url = f"memory://{tmp_path}/a.zarr"
    last_seen = time.time() - 2 * lock.STALE_SECONDS
    fsspec.filesystem("memory").pipe_file(f"{tmp_path}/a.zarr.lock", json.dumps({"seen": last_seen}).encode())
    with only_driver(url):
        assert is_driven(url)
    assert not is_driven(url)


def test_the_object_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.01)
    url = f"memory://{tmp_path}/a.zarr"
    files = fsspec.filesystem("memory")
    with only_driver(url):
        first = json.loads(files.cat_file(f"{tmp_path}/a.zarr.lock"))["seen"]
        time.sleep(0.1)
        assert json.loads(files.cat_file(f"{tmp_path}/a.zarr.lock"))["seen"] > first
