"""What describes the results, and whether it is as it should be: the documents of arrays and groups, and coordinates.

Each document stands in its place and, for readers, in the root's document; the values of coordinates follow from the
settings. So all of it but the root's document can be written anew; unless a coordinate is whole and has other values
than the settings, when nobody knows which of the two is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store as ZarrStore

from sweeps.store import metadata, objects
from sweeps.store.chunks import chunk_numbers, chunks_of, content_of, form_of, is_checked
from sweeps.store.consistency import contradicted
from sweeps.store.layout import indexes_of, write_coordinate
from sweeps.store.migration import is_unfinished
from sweeps.store.places import ASKED

__all__ = ["find_broken", "restore"]

_MAY_BE_AHEAD = ("shape", "attributes")  # of those that readers see, after a growth that was interrupted


def find_broken(store: ZarrStore, settings: Mapping[str, Any]) -> list[str]:
    """Name what is missing, damaged or changed.

    Parameters
    ----------
    store : zarr store
    settings : mapping
        What it was made with.

    Returns
    -------
    list of str
        Paths of documents and coordinates. Empty while a migration is unfinished, which the next sweep ends.

    Raises
    ------
    InvalidInput
        If a coordinate is whole, and has other values than the settings.
    """
    documents, coordinates = _find(store, settings)
    return _names(documents, coordinates)


def restore(store: ZarrStore, settings: Mapping[str, Any]) -> list[str]:
    """Write anew what is missing, damaged or changed, and name it.

    Parameters
    ----------
    store : zarr store
    settings : mapping
        What it was made with.

    Returns
    -------
    list of str
        As `find_broken` does.

    Raises
    ------
    InvalidInput
        As for `find_broken`; nothing is written then.
    """
    documents, coordinates = _find(store, settings)
    for path in documents:
        objects.delete(store, f"{path}/zarr.json")  # it may be a folder, which no file takes the place of
    metadata.write_documents(store, documents)
    for path, values in coordinates.items():
        array = _arrays(store)[path]
        assert isinstance(array, zarr.Array)
        for name in objects.list_names(store, path):
            if chunk_numbers(name, array.ndim) is not None:
                objects.delete(store, f"{path}/{name}")
        write_coordinate(array, values)
    return _names(documents, coordinates)


def _find(store: ZarrStore, settings: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray]]:
    """Find documents and coordinates that are not as they should be, and how they should be, by path."""
    if is_unfinished(settings):
        return {}, {}
    return _broken_documents(store), _broken_coordinates(store, settings)


def _names(documents: Iterable[str], coordinates: Iterable[str]) -> list[str]:
    return [*(f"{path}/zarr.json" for path in documents), *coordinates]


def _broken_documents(store: ZarrStore) -> dict[str, dict[str, Any]]:
    shown = metadata.shown_documents(store)
    found = zip(shown, metadata.read_documents(store, list(shown)), strict=True)
    broken = [path for path, document in found if document is None or not _describes(document, shown[path])]
    return {path: _without(shown[path], "consolidated_metadata") for path in broken}


def _without(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


def _describes(document: Mapping[str, Any], shown: Mapping[str, Any]) -> bool:
    """Whether a document says what readers are told, or is ahead of it."""
    fixed = {*document, *shown} - {*_MAY_BE_AHEAD, "consolidated_metadata"}
    if any(document.get(name) != shown.get(name) for name in fixed):
        return False
    if not document["attributes"].items() >= shown["attributes"].items():
        return False
    sizes, known = document.get("shape", []), shown.get("shape", [])
    return len(sizes) == len(known) and all(size >= old for size, old in zip(sizes, known, strict=True))


def _broken_coordinates(store: ZarrStore, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    arrays, broken = _arrays(store), {}
    for path, (_, values) in indexes_of(settings).items():
        if path not in arrays:
            continue  # an older store gets it when it grows
        array = arrays[path]
        assert isinstance(array, zarr.Array)
        if not _holds(array, values):
            broken[path] = values
            if path != f"status/{ASKED}" and _is_whole(array):  # that one changes in place, before the settings do
                others = zip(values.tolist(), np.asarray(array[:]).tolist(), strict=False)
                mine, other = next(pair for pair in others if pair[0] != pair[1])
                words = (
                    f"they have {mine!r} where {path} has {other!r} (if they are right, delete its chunks and repair)"
                )
                raise contradicted(str(store), words)
    return broken


def _is_whole(array: zarr.Array) -> bool:
    """Whether checksums say that all of an array is as it was written."""
    keys = [f"{array.path}/{array.metadata.encode_chunk_key(numbers)}" for numbers in np.ndindex(array.cdata_shape)]
    contents = objects.read(array.store, keys)
    return is_checked(array) and all(data is not None and content_of(array, data) is not None for data in contents)


def _holds(array: zarr.Array, values: np.ndarray) -> bool:
    """Whether an array starts with these values; it may have more after a growth that was interrupted."""
    if values.dtype.kind != "U":
        expected = dict(chunks_of(form_of(array), (), values))
        if objects.read(array.store, list(expected)) == list(expected.values()):
            return True
    try:
        return np.asarray(array[:]).tolist()[: len(values)] == values.tolist()
    except OSError:
        raise
    except Exception:  # whatever a codec makes of a damaged chunk
        return False


def _arrays(store: ZarrStore) -> zarr.Group:
    return zarr.open_group(store, mode="r+", zarr_format=3, use_consolidated=True)
