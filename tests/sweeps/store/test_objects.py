from __future__ import annotations

import errno
import os

import pytest
import zarr

from sweeps.store import objects


@pytest.fixture(params=["disk", "url"])
def store(request, tmp_path):
    """An empty store on a disk, and one that is none."""
    where = str(tmp_path / "stores" / "a.zarr") if request.param == "disk" else f"memory://{tmp_path}/a.zarr"
    return zarr.open_group(objects.reach(where), mode="a", zarr_format=3).store


def test_objects_are_written_read_listed_and_deleted(store):
    objects.write(store, [("a/c.0", b"12"), ("a/c.1", b"345")])
    objects.write(store, [("a/c.1", b"6789")], settled=True)
    assert objects.read(store, ["a/c.1", "a/c.2", "a/c.0"]) == [b"6789", None, b"12"]
    assert sorted(objects.list_names(store, "a")) == ["c.0", "c.1"]
    assert dict(objects.list_sizes(store, "a")) == {"c.0": 2, "c.1": 4}
    objects.delete(store, "a/c.0")
    assert objects.list_names(store, "a") == ["c.1"]
    assert objects.orphans(store) == []


def test_a_file_that_goes_while_a_folder_is_listed_hides_no_other(tmp_path):
    """As one on its way to another name does; here links that lead nowhere."""
    folder = tmp_path / "stores" / "a.zarr"
    store = zarr.open_group(folder, mode="a", zarr_format=3).store
    objects.write(store, [(f"a/c.{k}", b"12") for k in range(0, 40, 2)])
    for k in range(1, 40, 2):
        (folder / "a" / f"c.{k}").symlink_to("nowhere")
    assert sorted(objects.list_sizes(store, "a")) == sorted((f"c.{k}", 2) for k in range(0, 40, 2))


def test_a_write_that_fails_leaves_the_old_content_and_no_file(tmp_path, monkeypatch):
    store = zarr.open_group(tmp_path / "stores" / "a.zarr", mode="a", zarr_format=3).store
    objects.write(store, [("a/c.0", b"old")])

    def full(path, data):
        with open(path, "wb") as file:
            file.write(data[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(objects, "_write_bytes", full)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            objects.write(store, [("a/c.0", b"new")])
    assert objects.read(store, ["a/c.0"]) == [b"old"]
    assert objects.list_names(store, "a") == ["c.0"]
