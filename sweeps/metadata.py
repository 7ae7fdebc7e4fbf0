"""The documents that describe a store: read, changed, and published to readers in a single step.

Readers go by the consolidated metadata in the root's document. Whatever changes below becomes visible only when
`publish` replaces that one document, shapes and settings together. These documents are few, and a store is lost without
them: on a local disk each is waited for, so that they outlive a power cut.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

import zarr
from zarr.abc.store import Store as ZarrStore
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

from sweeps.chunks import settle, write_file

__all__ = [
    "SETTINGS",
    "add_attributes",
    "delete",
    "list_names",
    "mark",
    "publish",
    "read",
    "read_document",
    "stored_settings",
    "write",
    "write_document",
    "write_new_documents",
]

SETTINGS = "sedyn_sweep"


def stored_settings(root: zarr.Group) -> dict[str, Any]:
    """Read what a store was made with; empty if it holds no sweep."""
    known = dict(cast("Mapping[str, Any]", root.attrs.get(SETTINGS, {})))
    return {"estimate": True} | known if known else {}  # older stores do not say so


def mark(store: ZarrStore, settings: Mapping[str, Any]) -> None:
    """Change the settings and leave what readers see of the arrays as it is."""
    document = read_document(store, "zarr.json")
    document["attributes"][SETTINGS] = settings
    write_document(store, "zarr.json", document)


def publish(store: ZarrStore, arrays: Iterable[str], settings: Mapping[str, Any]) -> None:
    """Show readers the present shapes of all arrays, and the settings, at once.

    Parameters
    ----------
    store : zarr store
    arrays : iterable of str
        Path of every array.
    settings : mapping
        What the store was made with.
    """
    arrays = list(arrays)
    paths = sorted({path.rpartition("/")[0] for path in arrays}) + arrays
    documents = dict(zip(paths, _read_documents(store, [f"{path}/zarr.json" for path in paths]), strict=True))
    for document in documents.values():
        if document["node_type"] == "group":
            document["consolidated_metadata"] = _consolidated({})
    if isinstance(store, LocalStore):
        for path in paths:  # zarr wrote the documents of arrays, and does not wait
            settle(f"{store.root}/{path}/zarr.json")
            settle(f"{store.root}/{path}")
    root = read_document(store, "zarr.json")
    root["attributes"][SETTINGS] = settings
    write_document(store, "zarr.json", {**root, "consolidated_metadata": _consolidated(documents)})


def add_attributes(
    store: ZarrStore, arrays: Iterable[str], attributes: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Give some arrays further attributes, and the store its settings, without a change of shape."""
    root = read_document(store, "zarr.json")
    for path in arrays:
        document = read_document(store, f"{path}/zarr.json")
        document["attributes"].update(attributes)
        write_document(store, f"{path}/zarr.json", document)
        root["consolidated_metadata"]["metadata"][path] = document
    root["attributes"][SETTINGS] = settings
    write_document(store, "zarr.json", root)


def _consolidated(documents: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "inline", "must_understand": False, "metadata": documents}


def read_document(store: ZarrStore, key: str) -> dict[str, Any]:
    """Read one metadata document."""
    return _read_documents(store, [key])[0]


def write_document(store: ZarrStore, key: str, document: Mapping[str, Any]) -> None:
    """Replace one metadata document."""
    write(store, key, json.dumps(document).encode())


def write_new_documents(store: ZarrStore, documents: Mapping[str, Mapping[str, Any]]) -> None:
    """Write documents that no reader knows of, together; `publish` waits for the disk."""
    data = {key: json.dumps(document).encode() for key, document in documents.items()}
    if isinstance(store, LocalStore):
        for key, content in data.items():
            write_file(f"{store.root}/{key}", content)
        return

    async def put() -> None:
        prototype = default_buffer_prototype()
        await asyncio.gather(*(store.set(key, prototype.buffer.from_bytes(content)) for key, content in data.items()))

    sync(put())


def read(store: ZarrStore, key: str) -> bytes | None:
    """Read one object; None if there is none."""
    buffer = sync(store.get(key, default_buffer_prototype()))
    return None if buffer is None else buffer.to_bytes()


def write(store: ZarrStore, key: str, data: bytes) -> None:
    """Write one object."""
    if isinstance(store, LocalStore):
        write_file(f"{store.root}/{key}", data, settled=True)
    else:
        sync(store.set(key, default_buffer_prototype().buffer.from_bytes(data)))


def delete(store: ZarrStore, key: str) -> None:
    """Delete one object."""
    sync(store.delete(key))


def list_names(store: ZarrStore, prefix: str) -> list[str]:
    """List the names directly below a prefix."""

    async def collect() -> list[str]:
        return [name async for name in store.list_dir(prefix)]

    return sync(collect())


def _read_documents(store: ZarrStore, keys: list[str]) -> list[dict[str, Any]]:
    async def collect() -> list[Any]:
        return await asyncio.gather(*(store.get(key, default_buffer_prototype()) for key in keys))

    return [json.loads(buffer.to_bytes()) for buffer in sync(collect())]
