"""The documents that describe a store: read, changed, and published to readers in a single step.

Readers go by the consolidated metadata in the root's document. Whatever changes below becomes visible only when
`publish` replaces that one document, shapes and settings together. These documents are few, and a store is lost without
them: on a local disk each is waited for, so that they outlive a power cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

import zarr
from zarr.abc.store import Store as ZarrStore

from sweeps.store import objects
from sweeps.store.settings import completed

__all__ = ["SETTINGS", "add_attributes", "mark", "publish", "read_document", "stored_settings", "write_documents"]

SETTINGS = "sedyn_sweep"  # attribute of a store that keeps what it was made with


def stored_settings(root: zarr.Group) -> dict[str, Any]:
    """Read what a store was made with; empty if it holds no sweep."""
    known = dict(cast("Mapping[str, Any]", root.attrs.get(SETTINGS, {})))
    return completed(known) if known else {}


def read_document(store: ZarrStore, path: str = "") -> dict[str, Any]:
    """Read the document of one array or group.

    Parameters
    ----------
    store : zarr store
    path : str, optional
        Of the array or group; the root's by default.
    """
    return _read_documents(store, [path])[0]


def write_documents(store: ZarrStore, documents: Mapping[str, Mapping[str, Any]], *, settled: bool = True) -> None:
    """Write documents together.

    Parameters
    ----------
    store : zarr store
    documents : mapping of str to mapping
        Path of an array or group to its document.
    settled : bool, optional
        Whether to wait for the disk; `publish` does so for what no reader knows of yet.
    """
    encoded = ((_key(path), json.dumps(document).encode()) for path, document in documents.items())
    objects.write(store, encoded, settled=settled)


def mark(store: ZarrStore, settings: Mapping[str, Any], shown: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Change the settings and no shape that readers see.

    Parameters
    ----------
    store : zarr store
    settings : mapping
        What the store was made with.
    shown : mapping of str to mapping, optional
        Documents to show in the place of those of the same path.
    """
    root = read_document(store)
    root["attributes"][SETTINGS] = settings
    if shown:
        root["consolidated_metadata"]["metadata"] |= shown
    write_documents(store, {"": root})


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
    documents = dict(zip(paths, _read_documents(store, paths), strict=True))
    for document in documents.values():
        if document["node_type"] == "group":
            document["consolidated_metadata"] = _consolidated({})
    if folder := objects.folder_of(store):
        for path in paths:  # zarr wrote the documents of arrays, and does not wait
            objects.settle(f"{folder}/{_key(path)}")
            objects.settle(f"{folder}/{path}")
    root = read_document(store)
    root["attributes"][SETTINGS] = settings
    write_documents(store, {"": {**root, "consolidated_metadata": _consolidated(documents)}})


def add_attributes(
    store: ZarrStore, arrays: Iterable[str], attributes: Mapping[str, Any], settings: Mapping[str, Any]
) -> None:
    """Give some arrays further attributes, and the store its settings, without a change of shape.

    Parameters
    ----------
    store : zarr store
    arrays : iterable of str
        Their paths.
    attributes : mapping
        Added to what they have.
    settings : mapping
        What the store was made with.
    """
    documents = {path: read_document(store, path) for path in arrays}
    for document in documents.values():
        document["attributes"].update(attributes)
    write_documents(store, documents)
    mark(store, settings, documents)


def _consolidated(documents: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "inline", "must_understand": False, "metadata": documents}


def _key(path: str) -> str:
    return f"{path}/zarr.json" if path else "zarr.json"


def _read_documents(store: ZarrStore, paths: list[str]) -> list[dict[str, Any]]:
    return [json.loads(cast("bytes", data)) for data in objects.read(store, [_key(path) for path in paths])]
