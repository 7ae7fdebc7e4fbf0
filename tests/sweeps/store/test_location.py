from __future__ import annotations

from pathlib import Path

import pytest
import xarray as xr

from analysis.report import main as report
from sweeps import status, validate
from sweeps.application.sweep import main
from sweeps.location import local_path


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


def test_a_store_is_made_where_a_link_leads(sweep, tmp_path, capsys):
    folder = tmp_path / "stores"
    folder.mkdir()
    (folder / "link.zarr").symlink_to("deep/er/a.zarr")
    (folder / "again.zarr").symlink_to(folder / "link.zarr")
    for name in ("again.zarr", "link.zarr", "deep/er/a.zarr"):
        assert sweep(f"store={folder / name}") == 0
        assert validate.main([str(folder / name)]) == 0
    assert capsys.readouterr().out.count("nothing was missing") == 2
    assert sorted(path.name for path in folder.iterdir()) == ["again.zarr", "deep", "link.zarr"]
    assert (folder / "deep/er/a.zarr/zarr.json").exists()
    assert not list(folder.rglob("*.lock"))


@pytest.mark.parametrize("command", [main, status.main, validate.main, report])
def test_a_scheme_that_nobody_serves_is_one_line(command, capsys):
    where = "nope://bucket/a.zarr"
    assert command([f"store={where}" if command is main else where]) == 2
    shown = capsys.readouterr().err
    assert where in shown
    assert "Protocol not known: nope" in shown
    assert shown.count("\n") == 1
