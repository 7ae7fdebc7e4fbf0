from __future__ import annotations

import json
import time

import fsspec
import pytest

from sedyn.errors import InvalidInput
from sweeps.store import is_driven, lock, only_driver


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
