"""A new axis for what was a constant: every array of the store gains a dimension of size one, in place.

The chunks get a second name, with a 0 for the new axis; then the metadata changes. A reader sees the old store or the
new one, never a mixture, since the root's document changes in one step; and whoever holds the old one open goes on
reading it, since the old names stay: on a disk they are links, which take no room. The intention is recorded first, and
whoever prepares the store next carries it to its end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import zarr
from zarr.abc.store import Store as ZarrStore

from sweeps.store import metadata, objects
from sweeps.store.chunks import chunk_numbers
from sweeps.store.layout import lay_out, layouts
from sweeps.store.settings import with_axes

__all__ = ["add_axes", "finish_interrupted", "is_unfinished"]

_UNFINISHED = "gains_axes"


def is_unfinished(known: Mapping[str, Any]) -> bool:
    """Whether settings are those of a migration that was interrupted."""
    return _UNFINISHED in known


def finish_interrupted(root: zarr.Group, known: Mapping[str, Any]) -> dict[str, Any]:
    """Carry a migration that was interrupted to its end.

    Parameters
    ----------
    root : zarr.Group
        The store, opened without consolidated metadata.
    known : mapping
        Its settings.

    Returns
    -------
    dict
        Its settings then.
    """
    return add_axes(root, known, known[_UNFINISHED]) if is_unfinished(known) else dict(known)


def add_axes(root: zarr.Group, known: Mapping[str, Any], axes: Sequence[str]) -> dict[str, Any]:
    """Turn constants of a store into axes of one value; may be repeated after an interruption.

    Parameters
    ----------
    root : zarr.Group
        The store, opened without consolidated metadata.
    known : mapping
        Its settings.
    axes : sequence of str
        The constants.

    Returns
    -------
    dict
        Its new settings.
    """
    store = root.store
    settings = {key: value for key, value in with_axes(known, axes).items() if key != _UNFINISHED}
    added = {position: axis for position, axis in enumerate(settings["axes"]) if axis in axes}
    metadata.mark(store, {**known, _UNFINISHED: list(axes)})
    arrays = {
        f"{group}/{name}": len(layout.dims)
        for group, members in layouts(settings).items()
        for name, layout in members.items()
    }
    for path, dimensions in arrays.items():
        names = dict.fromkeys(objects.list_names(store, path))
        for name in names:
            numbers = chunk_numbers(name, dimensions - len(added))
            if numbers is not None and (target := _renamed(numbers, added)) not in names:
                _add_name(store, f"{path}/{name}", f"{path}/{target}")
    for path, dimensions in arrays.items():
        _add_dimensions(store, path, dimensions, added)
    metadata.publish(store, lay_out(root, settings), settings)
    return settings


def _renamed(numbers: Sequence[int], added: Mapping[int, str]) -> str:
    renamed = list(numbers)
    for position in added:
        renamed.insert(position, 0)
    return ".".join(["c", *map(str, renamed)])


def _add_name(store: ZarrStore, key: str, target: str) -> None:
    if folder := objects.folder_of(store):
        with contextlib.suppress(OSError):  # of a file system without links
            os.link(f"{folder}/{key}", f"{folder}/{target}")
            return
    (data,) = objects.read(store, [key])
    assert data is not None, "only the driver that holds the lock deletes chunks"
    objects.write(store, [(target, data)], settled=True)


def _add_dimensions(store: ZarrStore, path: str, dimensions: int, added: Mapping[int, str]) -> None:
    document = metadata.read_document(store, path)
    if len(document["shape"]) == dimensions:
        return  # an interrupted migration did it
    for position, name in added.items():
        document["shape"].insert(position, 1)
        document["chunk_grid"]["configuration"]["chunk_shape"].insert(position, 1)
        for codec in document["codecs"]:
            if codec["name"] == "sharding_indexed":  # a side of one leaves the order of its chunks as it is
                codec["configuration"]["chunk_shape"].insert(position, 1)
        document.setdefault("dimension_names", []).insert(position, name)
    metadata.write_documents(store, {path: document})
