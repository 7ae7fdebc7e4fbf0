from __future__ import annotations

import time
from datetime import timedelta

import fsspec
import pytest

from sedyn.errors import InvalidInput
from sweeps.store import claims, is_driven, only_driver


def test_an_object_keeps_a_second_driver_out(tmp_path):
    url = f"memory://{tmp_path}/a.zarr"
    with only_driver(url):
        assert is_driven(url)
        with pytest.raises(InvalidInput, match="another sweep is writing"), only_driver(url):
            pass
    assert not is_driven(url)


def test_the_object_of_a_dead_driver_is_taken_over(tmp_path):
    url, files = f"memory://{tmp_path}/a.zarr", fsspec.filesystem("memory")
    dead = f"{tmp_path}/a.zarr.claims/dead"
    files.pipe_file(dead, b'{"held": true}')
    with pytest.raises(InvalidInput, match="another sweep is writing"), only_driver(url):
        pass
    files.store[dead].modified -= timedelta(seconds=2 * claims.STALE_SECONDS)
    with only_driver(url):
        assert is_driven(url)
    assert not is_driven(url)
    assert files.find(f"{tmp_path}") == []


def test_the_object_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.01)
    url, files = f"memory://{tmp_path}/a.zarr", fsspec.filesystem("memory")
    with only_driver(url):
        (claim,) = files.ls(f"{tmp_path}/a.zarr.claims", detail=False)
        first = files.modified(claim)
        time.sleep(0.1)
        assert files.modified(claim) > first
