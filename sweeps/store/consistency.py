"""Whether what a store was made with agrees with itself, and with the documents of what is there.

The root's document ends with a checksum, so that no damage gets here: what contradicts was put together by hand, or by
another program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from sedyn.errors import InvalidInput
from sedyn.model.observables import PARTS
from sweeps.plan import PROBLEM_FIELDS, key_of
from sweeps.store.layout import arrays_of, constants_of, document, indexes_of, predicted, simulated
from sweeps.store.places import ASKED, CELL, DIMENSIONS, TIED, columns, indexed
from sweeps.store.settings import SHARDED_FORMATS, SHARDS, SOLVED_WITH, TARGET, WANTED

__all__ = ["contradicted", "require_consistent"]

_SWITCHES = ("estimate", "halves", "laws", "fluctuations")


def require_consistent(location: str, settings: Mapping[str, Any], shown: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse settings that contradict themselves, or the documents that readers go by.

    Parameters
    ----------
    location : str
        Path or URL of the store, for the message.
    settings : mapping
        What stands in the store, completed.
    shown : mapping
        Documents of arrays and groups, by path.

    Raises
    ------
    InvalidInput
        Naming what contradicts what.
    """
    for contradiction in chain(_among_settings(settings), _with_documents(settings, shown)):
        raise contradicted(location, contradiction)


def contradicted(location: str, contradiction: str) -> InvalidInput:
    """Make the refusal of a store whose settings contradict something.

    Parameters
    ----------
    location : str
    contradiction : str
        What contradicts what.
    """
    remedy = f"its settings contradict what is there: {contradiction}; bring it back from a copy, or name another path"
    return InvalidInput("store", location, remedy)


def _among_settings(settings: Mapping[str, Any]) -> Iterator[str]:
    """Say where settings contradict themselves, in an order in which later questions may rely on earlier answers."""
    axes, tied, constants = settings["axes"], settings.get(TIED, []), settings["problem"]
    yield from (f"axes has {axis!r}, which varies in no store" for axis in axes if axis not in DIMENSIONS)
    yield from (f"tied has {name!r}, which is no field of a problem" for name in tied if name not in PROBLEM_FIELDS)
    if (CELL in axes) != bool(tied):
        yield f"axes.{CELL} and tied go together, and one is missing"
    for row in axes.get(CELL, ()):
        if not isinstance(row, list) or len(row) != len(tied):
            yield f"axes.{CELL} has {row!r}, which is no value of each of {', '.join(tied)}"
    for axis, places in indexed(settings).items():
        if len(places) != len(axes[axis]):
            yield f"axes.{axis} has a value twice"
    varying = columns(settings)
    yield from (f"{name} is a constant and varies" for name in varying if name in constants)
    if settings["d"]:
        sizes = varying["n"][1] if "n" in varying else [constants.get("n")]
        yield from (f"d has no value for n={n}" for n in sizes if str(n) not in settings["d"])
    yield from _cells_named(settings, varying)
    if (settings["format"] in SHARDED_FORMATS) != (SHARDS in settings):
        yield f"format is {settings['format']}, and {SHARDS} {'are' if SHARDS in settings else 'are not'} there"
    for axis, (chunk, shard) in settings.get(SHARDS, {}).items():
        if axis not in axes or shard % chunk:
            yield f"{SHARDS}.{axis} has shards of {shard} and chunks of {chunk}, which no axis has"
    most = max((count for _, count in settings.get(WANTED, ())), default=0)
    for name, count in ((WANTED, most), (f"{TARGET}.replicates", settings.get(TARGET, {}).get("replicates", 0))):
        if count > settings["replicates"]:
            yield f"{name} has {count}, and replicates is {settings['replicates']}"


def _cells_named(settings: Mapping[str, Any], varying: Mapping[str, tuple[str, list[Any]]]) -> Iterator[str]:
    """Say which values of cells are named that no cell has."""
    places = {axis: known.keys() for axis, known in indexed(settings).items()}
    for entry in settings.get(ASKED, ()):
        for axis in places.keys() & entry["where"].keys():
            yield from (
                f"asked has {axis}={value!r}, and axes.{axis} has not"
                for value in entry["where"][axis]
                if key_of(value) not in places[axis]
            )
    known = {name: set(map(key_of, values)) for name, (_, values) in varying.items()}
    for name in (WANTED, SOLVED_WITH):
        for cell, _ in settings.get(name, ()):
            for field in known.keys() & cell.keys():
                if key_of(cell[field]) not in known[field]:
                    yield f"{name} has {field}={cell[field]!r}, which no cell has"


def _with_documents(settings: Mapping[str, Any], shown: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Say where settings contradict the documents of groups and arrays."""
    try:
        arrays, indexes = arrays_of(settings), indexes_of(settings)
    except KeyError as lacking:
        yield f"sizes has no {lacking.args[0]}, and arrays lie along it"
        return
    for path in (path for path in shown if "/" not in path):
        yield from _other_attributes(path, constants_of(settings), shown[path])
    yield from (f"{path} is needed, and not there" for path in arrays if path not in shown)
    everything = {**settings, "parts": list(PARTS), **dict.fromkeys(_SWITCHES, True)}
    for group, names in (("simulation", simulated), ("theory", predicted)):
        for name in names(everything).keys() - names(settings).keys():
            if f"{group}/{name}" in shown:
                yield f"{group}/{name} is there, and {', '.join((*_SWITCHES, 'parts'))} say that it is not"
    for path, (shape, layout) in arrays.items():
        yield from _another_array(path, document(shape, layout), shown[path], settings)
    for path, (layout, values) in indexes.items():
        if path in shown:  # an older store gets it when it grows
            yield from _another_shape(path, document(values.shape, layout), shown[path], settings)
    for path in ("status/simulation_facts", "status/theory_facts"):
        yield from _other_attributes(path, settings["environments"], shown[path])


def _other_attributes(path: str, expected: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    """Say which attributes are others; an older version gave fewer."""
    for name in expected.keys() & known["attributes"].keys():
        if known["attributes"][name] != expected[name]:
            yield f"{name} is {expected[name]!r}, and in the attributes of {path} {known['attributes'][name]!r}"


def _another_array(
    path: str, expected: Mapping[str, Any], known: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[str]:
    """Say in what an array of results is another than settings make it."""
    yield from _another_shape(path, expected, known, settings)
    if known["data_type"] != expected["data_type"]:
        yield f"{path} has numbers of type {known['data_type']}, and is to have {expected['data_type']}"
    if [codec["name"] for codec in known["codecs"]] != [codec["name"] for codec in expected["codecs"]]:
        yield f"format is {settings['format']}, whose chunks are encoded otherwise than those of {path}"
    for sides, others in zip(_chunk_shapes(expected), _chunk_shapes(known), strict=True):
        for dim, side, other in zip(expected["dimension_names"], sides, others, strict=True):
            if side != other and (dim == "replicate" or dim in settings["axes"]):  # others stay as they were made
                yield f"block is {settings['block']}, and {path} has chunks of {other} along {dim}"


def _chunk_shapes(known: Mapping[str, Any]) -> Iterator[Sequence[int]]:
    """Shapes of chunks, and of those that lie in them."""
    yield known["chunk_grid"]["configuration"]["chunk_shape"]
    for codec in known["codecs"]:
        if "chunk_shape" in codec.get("configuration", {}):
            yield codec["configuration"]["chunk_shape"]


def _another_shape(
    path: str, expected: Mapping[str, Any], known: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[str]:
    dims = expected["dimension_names"]
    if known.get("dimension_names", dims) != dims:
        yield f"axes are {', '.join(settings['axes']) or 'none'}, and {path} lies along {known['dimension_names']}"
    for dim, size, other in zip(dims, expected["shape"], known["shape"], strict=True):
        if size != other:
            name = {"replicate": "replicates", "fact": "format"}.get(dim, dim)
            said = f"axes.{dim}" if dim in settings["axes"] else f"sizes.{dim}" if dim in settings["sizes"] else name
            yield f"{said} makes {size} along {dim}, and {path} has {other}"
    if (known["data_type"] == "string") != (expected["data_type"] == "string"):
        yield f"{path} has values of type {known['data_type']}, and is to have {expected['data_type']}"
