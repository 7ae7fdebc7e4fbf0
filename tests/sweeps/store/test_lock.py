from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import fsspec
import pytest

from sedyn.errors import InvalidInput
from sweeps.store import StoreTaken, claims, is_driven, only_driver


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


@pytest.fixture
def names(tmp_path):
    """A store by its own name, and other names of it."""
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores/a.zarr").mkdir()
    (tmp_path / "stores/link.zarr").symlink_to("a.zarr")
    (tmp_path / "stores/folder").symlink_to(".")
    (tmp_path / "stores/later.zarr").symlink_to("missing.zarr")
    return tmp_path / "stores"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{}/a.zarr", "{}/link.zarr"),
        ("{}/link.zarr", "{}/a.zarr"),
        ("{}/a.zarr", "{}/folder/folder/a.zarr"),
        ("{}/a.zarr", "{}/b/../a.zarr/"),
        ("{}/a.zarr", "local://{}/a.zarr"),
        ("local://{}/link.zarr", "file://{}/a.zarr"),
        ("{}/missing.zarr", "{}/later.zarr"),
    ],
)
def test_every_name_of_a_store_has_the_same_lock(names, first, second):
    first, second = first.format(names), second.format(names)
    with only_driver(first):
        assert is_driven(second)
        with pytest.raises(InvalidInput, match="another sweep is writing"), only_driver(second):
            pass
    with only_driver(second):
        assert is_driven(first)
    assert {path.name for path in names.iterdir()} == {"a.zarr", "link.zarr", "folder", "later.zarr"}


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to])
def test_the_lock_empties_no_file_of_another_name(names, make):
    victim = names / "victim"
    victim.write_text("mine")
    make(names / ".a.zarr.lock", victim)
    try:
        with only_driver(str(names / "a.zarr")):
            pass
    except InvalidInput as error:
        assert "its lock" in str(error)  # noqa: PT017 - only a link to a name is refused
        assert make is Path.symlink_to
    assert victim.read_text() == "mine"
    assert not is_driven(str(names / "a.zarr"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_the_place_of_the_lock_is_refused_at_once(names, make):
    make(names / ".a.zarr.lock")
    with pytest.raises(InvalidInput, match="is no file; remove that"), only_driver(str(names / "a.zarr")):
        pass
    assert not is_driven(str(names / "a.zarr"))


def test_who_looks_whether_a_store_is_driven_keeps_no_driver_out(location):
    ended = threading.Event()

    def look():
        while not ended.is_set():
            is_driven(location)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            with only_driver(location):
                pass
    finally:
        ended.set()
        for looker in lookers:
            looker.join()


def test_a_driver_whose_lock_was_taken_away_stops_and_leaves_that_of_the_next(location):
    with only_driver(location) as lease:
        lease.require()
        (lock,) = Path(location).parent.glob(".*.lock")
        lock.unlink()
        with pytest.raises(StoreTaken, match="was taken away"):
            lease.require()
        with only_driver(location) as next_lease:
            with pytest.raises(StoreTaken, match="was taken away"):
                lease.require()
            next_lease.require()
            assert next_lease.owner != lease.owner
