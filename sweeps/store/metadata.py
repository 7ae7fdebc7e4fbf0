"""The documents that describe a store: read, changed, and published to readers in a single step.

Readers go by the consolidated metadata in the root's document. Whatever changes below becomes visible only when
`publish` replaces that one document, shapes and settings together. These documents are few, and a store is lost without
them: on a local disk each is waited for, so that they outlive a power cut.

The root's document says which driver may write (`OWNER`). Whoever writes looks there first, so that a driver that lost
the store, and workers that outlive theirs, leave it to the next; behind a URL the document is replaced if it is still
what was read (`sweeps.store.conditions`), so that no late request names a former driver again. It ends with a checksum,
since nothing else would tell a changed digit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

import google_crc32c
import zarr
from zarr.abc.store import Store as ZarrStore

from sweeps.store import objects
from sweeps.store.claims import StoreTaken
from sweeps.store.settings import CHECKED_FORMAT, NEWEST_FORMAT, completed

__all__ = [
    "OWNER",
    "SETTINGS",
    "Damaged",
    "Owned",
    "add_attributes",
    "hand_over",
    "keeps_conditions",
    "make_root",
    "mark",
    "publish",
    "read_document",
    "read_documents",
    "require_owner",
    "root_settings",
    "shown_documents",
    "stored_settings",
    "write_documents",
]

SETTINGS = "sedyn_sweep"  # attribute of a store that keeps what it was made with
OWNER = "driver"  # among these settings: the one that may write
_TAKEN = "another driver has taken the store over"
_EMPTY: Mapping[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": {}}
_CHECKSUM = "sedyn_checksum"  # attribute of a store: of its settings and of all that readers go by


class Damaged(Exception):
    """The root's document is no document, or not the one that was written."""


def root_settings(store: ZarrStore) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the root's document: what the store was made with, and the documents that readers go by.

    Parameters
    ----------
    store : zarr store

    Returns
    -------
    settings : dict
        Empty if it holds no sweep.
    shown : dict
        Documents by path; empty where none are shown.

    Raises
    ------
    FileNotFoundError
        If there is none.
    Damaged
        If it is damaged.
    """
    (data,) = objects.read(store, [_key("")])
    if data is None:
        raise FileNotFoundError(_key(""))
    root = _parsed(data)
    if root is None or root.get("node_type") != "group":
        raise Damaged
    settings = root["attributes"].get(SETTINGS, {})
    if not isinstance(settings, dict):
        raise Damaged
    form = settings.get("format")
    checked = isinstance(form, int) and CHECKED_FORMAT <= form <= NEWEST_FORMAT  # a newer one may have another
    if checked and root["attributes"].get(_CHECKSUM) != _checksum(root):
        raise Damaged
    return settings, (root.get("consolidated_metadata") or {}).get("metadata", {})


def shown_documents(store: ZarrStore) -> dict[str, dict[str, Any]]:
    """Read the documents that readers go by, those in the root's, by path.

    Parameters
    ----------
    store : zarr store
    """
    return read_document(store)["consolidated_metadata"]["metadata"]


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
    (document,) = read_documents(store, [path])
    return _required(path, document)


def read_documents(store: ZarrStore, paths: list[str]) -> list[dict[str, Any] | None]:
    """Read documents together.

    Parameters
    ----------
    store : zarr store
    paths : list of str
        Of arrays and groups.

    Returns
    -------
    list of dict
        None in the place of one that is not there, or is no document.
    """
    return [_parsed(data) for data in objects.read(store, [_key(path) for path in paths])]


def make_root(store: ZarrStore, settings: Mapping[str, Any]) -> None:
    """Claim a place for a store, in a single step.

    Parameters
    ----------
    store : zarr store
    settings : mapping
        What it is made with.
    """
    version, _ = objects.read_version(store, _key(""))
    _write_root(store, version, _EMPTY, settings)


def keeps_conditions(store: ZarrStore, settings: Mapping[str, Any]) -> bool:
    """Find out whether a storage lets nobody replace what is not there any more, at a place for a store.

    Parameters
    ----------
    store : zarr store
    settings : mapping
        With which the place is claimed by this where the storage does not.
    """
    return objects.keeps_conditions(store, _key(""), _encoded(_root_with(_EMPTY, settings)))


def hand_over(store: ZarrStore, settings: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Make a driver the one that may write, whoever was.

    Parameters
    ----------
    store : zarr store
    settings : mapping
        What the store was made with.
    owner : str
        The driver.

    Returns
    -------
    dict
        Its settings then.
    """
    settings = {**settings, OWNER: owner}
    _write_root(store, *_root(store), settings)
    return settings


def require_owner(settings: Mapping[str, Any], owner: str | None) -> None:
    """Make sure that a driver is the one that may write.

    Parameters
    ----------
    settings : mapping
        What stands in the store.
    owner : str or None
        The driver; None if none was named.

    Raises
    ------
    StoreTaken
        If it is another.
    """
    if settings.get(OWNER) != owner:
        raise StoreTaken(_TAKEN)


class Owned:
    """The question whether a store is still that of a driver.

    Parameters
    ----------
    store : zarr store
    owner : str or None
        The driver; None if none was named.
    """

    def __init__(self, store: ZarrStore, owner: str | None) -> None:
        self._store, self._owner = store, owner
        self._seen: tuple[int, int] | None = None  # of the root's document on a disk, when it was last read

    def require(self) -> None:
        """Look into the root's document; on a disk, if it has changed.

        Raises
        ------
        StoreTaken
            If it names another driver.
        """
        seen = None
        if folder := objects.folder_of(self._store):
            found = os.stat(f"{folder}/{_key('')}")
            seen = found.st_ino, found.st_mtime_ns
        if seen is None or seen != self._seen:
            root = read_document(self._store)
            require_owner(root["attributes"].get(SETTINGS, {}), self._owner)
            self._seen = seen


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
    encoded = ((_key(path), _encoded(document)) for path, document in documents.items())
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
    version, root = _own_root(store, settings)
    if shown:
        root["consolidated_metadata"]["metadata"] |= shown
    _write_root(store, version, root, settings)


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
    (version, root), arrays = _own_root(store, settings), list(arrays)
    paths = sorted({path.rpartition("/")[0] for path in arrays}) + arrays
    found = dict(zip(paths, read_documents(store, paths), strict=True))
    documents = {path: document for path, document in found.items() if document is not None}
    assert documents.keys() == found.keys(), "every array was just laid out"
    for document in documents.values():
        if document["node_type"] == "group":
            document["consolidated_metadata"] = _consolidated({})
    if folder := objects.folder_of(store):
        for path in paths:  # zarr wrote the documents of arrays, and does not wait
            objects.settle(f"{folder}/{_key(path)}")
            objects.settle(f"{folder}/{path}")
    _write_root(store, version, {**root, "consolidated_metadata": _consolidated(documents)}, settings)


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


def _root(store: ZarrStore) -> tuple[Any, dict[str, Any]]:
    """Read the root's document, and its version, to replace it."""
    version, data = objects.read_version(store, _key(""))
    return version, _required("", _parsed(data))


def _required(path: str, document: dict[str, Any] | None) -> dict[str, Any]:
    if document is None:
        raise OSError(f"{_key(path)} is gone or damaged")
    return document


def _own_root(store: ZarrStore, settings: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Do as `_root` does for a driver that is to have the store."""
    version, root = _root(store)
    require_owner(root["attributes"].get(SETTINGS, {}), settings.get(OWNER))
    return version, root


def _write_root(store: ZarrStore, version: Any, root: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Replace the root's document, which only who holds the store does."""
    if not objects.replace(store, _key(""), _encoded(_root_with(root, settings)), version):
        raise StoreTaken(_TAKEN)


def _root_with(root: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    root = {**root, "attributes": {**root["attributes"], SETTINGS: settings}}
    if settings["format"] >= CHECKED_FORMAT:
        root["attributes"][_CHECKSUM] = _checksum(root)
    return root


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _checksum(root: Mapping[str, Any]) -> int:
    said = json.loads(json.dumps([root["attributes"].get(SETTINGS), root.get("consolidated_metadata")]))
    return google_crc32c.value(json.dumps(said, sort_keys=True).encode())


def _parsed(data: bytes | None) -> dict[str, Any] | None:
    try:
        document = json.loads(data or b"")
    except ValueError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("attributes"), dict) else None
