"""Each way to ask a storage is asked again while it does not answer."""

from __future__ import annotations

import copy
import pickle

import pytest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from sweeps.store import patience
from sweeps.store.remote import RemoteStore
from tests.sweeps.store.storages import UnsteadyFileSystem, storage  # noqa: F401

EXCHANGES = {
    "get": lambda store: store.get("a/c.0", default_buffer_prototype()),
    "set": lambda store: store.set("a/c.1", default_buffer_prototype().buffer.from_bytes(b"2")),
    "exists": lambda store: store.exists("a/c.0"),
    "delete": lambda store: store.delete("a/c.0"),
    "delete_dir": lambda store: store.delete_dir("a"),
    "list_sizes": lambda store: store.list_sizes("a"),
    "getsize": lambda store: store.getsize("a/c.0"),
}


@pytest.mark.parametrize("name", EXCHANGES)
def test_an_exchange_that_fails_twice_is_tried_a_third_time(storage, monkeypatch, name):  # noqa: F811
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    storage(skip_instance_cache=True).pipe_file("a.zarr/a/c.0", b"1")
    store, failures = RemoteStore.at("unsteady://a.zarr"), [1, 2]

    def answer(self):
        if failures:
            failures.pop()
            raise ConnectionResetError("busy")

    monkeypatch.setattr(UnsteadyFileSystem, "_answer", answer)
    sync(EXCHANGES[name](store))
    assert not failures


def test_a_store_is_copied_and_pickled(storage):  # noqa: F811
    store = RemoteStore.at("unsteady://a.zarr")
    for twin in (copy.copy(store.fs), pickle.loads(pickle.dumps(store.fs))):
        assert type(twin) is type(store.fs)
        assert twin.protocol == store.fs.protocol
