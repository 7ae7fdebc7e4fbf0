"""Whether every chunk that a store's status promises is there, and holds what was written.

A chunk is written in one step, so a process that is killed leaves none half-written. A power cut may: the system brings
data to the disk later, in an order of its own. Disks and copies may change bits, and two drivers without a lock may
write into one result. To wait for the disk with every task costs more than all else that a task writes, so a sweep
reads what there is when it starts instead: sizes and checksums of chunks, and the sum of each result that its status
recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import zarr

from sweeps.store import objects
from sweeps.store.chunks import (
    CHECKSUM_BYTES,
    chunk_numbers,
    content_of,
    is_checked,
    numbers_of,
    place_of,
    sum_of,
    values_of,
)
from sweeps.store.layout import DONE, facts_of, layouts, needed
from sweeps.store.lifecycle import Store
from sweeps.store.shards import clear, damaged_chunks, revise
from sweeps.store.survey import READ_TOGETHER, intact, states

__all__ = ["Damage", "Fault", "done_chunks", "find_damage", "mend", "starts_not_finite"]

Numbers = tuple[int, ...]


class Fault(NamedTuple):
    """Results that are marked as done and are not.

    Attributes
    ----------
    group : str
        ``simulation`` or ``theory``.
    lead : tuple of int
        Position of the cell and, for simulations, number of the block of replicates.
    reason : str
        What is wrong.
    """

    group: str
    lead: tuple[int, ...]
    reason: str


class Damage(NamedTuple):
    """What is wrong with the chunks of a store.

    Attributes
    ----------
    faults : list of Fault
        Results marked as done of which a chunk is missing or damaged, or that are not those which were recorded.
    cut : list of tuple
        Group, array and number of each chunk that cannot be read, or that lies beyond the end of its array.
    """

    faults: list[Fault]
    cut: list[tuple[str, str, Numbers]]


def find_damage(store: Store, *, content: bool = True) -> Damage:
    """Compare what is there with the status.

    Parameters
    ----------
    store : Store
    content : bool, optional
        Whether to read every chunk. Else the sizes are looked at, which is quick where chunks have far to travel.
    """
    damage = Damage([], [])
    done = {kind: done_chunks(store, kind) for kind in ("simulation", "theory")}
    sums = {kind: np.zeros(states(store, kind).shape, np.int64) for kind in done}
    for group, members in layouts(store.settings).items():
        for name in sorted(members):
            kind = name.partition("_")[0] if group == "status" else group
            wanted = needed(store.settings, name)
            everywhere = np.broadcast_to(wanted if kind == "theory" else wanted[..., None], done[kind].shape)
            if store.is_sharded:
                survey = _survey_shards(store, group, name, everywhere, content=content)
            else:
                survey = _survey(store, group, name, everywhere, sums.get(group), content=content)
            damage.cut.extend((group, name, numbers) for numbers in survey.cut)
            if group == "status" and not name.endswith("_facts"):
                continue  # nothing is done where the state is missing; a finished task has no error
            for lead in map(tuple, np.argwhere(done[kind] & ~survey.there).tolist()):
                damage.faults.append(Fault(kind, lead, f"{group}/{name} has no whole chunk at {lead}"))
            done[kind] &= survey.there  # a result is named once
    if content:
        for kind in done:
            damage.faults.extend(_mixed(store, kind, done[kind], sums[kind]))
    return damage


def mend(store: Store, damage: Damage) -> None:
    """Mark what is damaged as pending, so that the next run computes it again, and delete chunks that cannot be read.

    Parameters
    ----------
    store : Store
    damage : Damage
        As `find_damage` lists it.
    """
    if store.is_sharded:
        _mend_shards(store, damage)
        return
    for fault in damage.faults:
        _discard(store, "status", fault.group, fault.lead)
    for cut in damage.cut:
        _discard(store, *cut)


def starts_not_finite(store: Store) -> list[Fault]:
    """Find faults that only numbers tell: each finished task starts with finite errors.

    Parameters
    ----------
    store : Store
    """
    found = []
    for group in ("simulation", "theory"):
        wrong = (states(store, group) == DONE) & ~np.isfinite(intact(store, group, "train_error")[..., 0])
        for lead in map(tuple, np.argwhere(_in_chunks(store, group, wrong)).tolist()):
            found.append(Fault(group, lead, f"{group}/train_error is not finite at the first iteration at {lead}"))
    return found


def done_chunks(store: Store, group: str) -> np.ndarray:
    """Find what has something that is done.

    Parameters
    ----------
    store : Store
    group : {'simulation', 'theory'}

    Returns
    -------
    ndarray of bool, shape (cell axes, blocks of replicates) or (cell axes)
        Of simulations, or of theory solutions.
    """
    return _in_chunks(store, group, states(store, group) == DONE)


def _discard(store: Store, group: str, name: str, numbers: tuple[int, ...]) -> None:
    """Delete a chunk; what it held reads as missing."""
    array = store.array(group, name)
    objects.delete(store.objects, f"{array.path}/{array.metadata.encode_chunk_key(numbers)}")


def _in_chunks(store: Store, group: str, which: np.ndarray) -> np.ndarray:
    """From replicates to blocks that have one; what is said of theory solutions stays as it is."""
    if group == "theory":
        return which
    return np.logical_or.reduceat(which, range(0, which.shape[-1], store.block), axis=-1)


def _mixed(store: Store, kind: str, whole: np.ndarray, sums: np.ndarray) -> Iterator[Fault]:
    """Find results that are there but are not those that their status recorded."""
    names = list(facts_of(store.settings))
    if "checksum" not in names:
        return
    recorded = intact(store, "status", f"{kind}_facts")[..., names.index("checksum")]
    others = (states(store, kind) == DONE) & np.isfinite(recorded) & (recorded != sums)
    for lead in map(tuple, np.argwhere(_in_chunks(store, kind, others) & whole).tolist()):
        yield Fault(kind, lead, f"{kind} at {lead} is not what its status recorded, as if two had written it")


class _Survey(NamedTuple):
    there: np.ndarray  # which cells (and blocks) have all they need of an array
    cut: list[Numbers]  # its chunks that cannot be read or lie beyond its end


def _survey(
    store: Store, group: str, name: str, wanted: np.ndarray, sums: np.ndarray | None, *, content: bool
) -> _Survey:
    """Look at the chunks of one array, wanted of some cells (and blocks); where they are read, add results up."""
    array, leading, shape = store.array(group, name), wanted.ndim, wanted.shape
    found = _Survey(np.asarray(~wanted), [])  # else a scalar, where a store has no axis
    if 0 in array.shape:
        found.there[...] = True
        return found
    chunks: list[Numbers] = []
    for key, size in objects.list_sizes(store.objects, array.path):
        if (numbers := chunk_numbers(key, array.ndim)) is not None:
            within = numbers_of(array, key) is not None and _has_size(array, size)
            (chunks if within else found.cut).append(numbers)
    contents = _contents(store, array, sorted(chunks)) if content else ((numbers, True) for numbers in sorted(chunks))
    first = (0,) * (array.ndim - leading)
    for lead, together in groupby(contents, key=lambda chunk: chunk[0][:leading]):
        parts = dict(together)
        damaged = [numbers for numbers, values in parts.items() if values is None]
        found.cut.extend(damaged)
        # Chunks further along inner dimensions come from growth; cells that were there before have none.
        found.there[lead] = (not wanted[lead] or (*lead, *first) in parts) and not damaged
        if content and sums is not None and not damaged:
            _add_up(sums, array, lead, parts)
    for numbers in found.cut:
        if all(k < size for k, size in zip(numbers, shape, strict=False)):
            found.there[numbers[:leading]] = False
    return found


def _survey_shards(store: Store, group: str, name: str, wanted: np.ndarray, *, content: bool) -> _Survey:
    """Look at the shards of one array, wanted of some cells (and blocks).

    A shard is written whole, by one writer, and its index has a checksum: what it does not have was never there.
    """
    array, leading = store.array(group, name), wanted.ndim
    assert array.shards is not None
    there, found = np.zeros(wanted.shape, bool), _Survey(np.asarray(~wanted), [])
    if 0 in array.shape:
        found.there[...] = True
        return found
    sides = tuple(1 if k == len(store.axes) else size for k, size in enumerate(array.shards[:leading]))
    damaged: list[Any] = []
    for key in objects.list_names(store.objects, array.path):
        if (shard := chunk_numbers(key, array.ndim)) is None:
            continue
        (data,) = objects.read(store.objects, [f"{array.path}/{key}"]) if content else (None,)
        read = damaged_chunks(array, data) if data is not None else ([], [])
        if numbers_of(array, key) is None or read is None:
            found.cut.append(shard)
            damaged.append(place_of(shard[:leading], sides))
            continue
        if not any(shard[leading:]):  # further ones come from growth; cells that were there before have none
            there[place_of(shard[:leading], sides)] = True
        if read[1]:
            found.cut.append(shard)
        for chunk in read[1]:
            starts = [k * size for k, size in zip(shard[:leading], sides, strict=True)]
            steps = [1 if k == len(store.axes) else size for k, size in enumerate(array.chunks[:leading])]
            local = zip(starts, chunk, steps, strict=False)
            damaged.append(tuple(slice(start + k * step, start + (k + 1) * step) for start, k, step in local))
    for place in damaged:
        there[place] = False
    found.there[...] |= there
    for place in damaged:  # also where it is not needed, since nobody knows what it was
        found.there[place] = False
    return found


def _mend_shards(store: Store, damage: Damage) -> None:
    """Do as `mend` does where chunks lie in shards: each shard is written once."""
    for kind in ("simulation", "theory"):
        array = store.array("status", kind)
        which = np.zeros(array.shape, bool)
        for lead in (fault.lead for fault in damage.faults if fault.group == kind):
            place: Any = lead
            if kind == "simulation":
                place = (*lead[:-1], slice(lead[-1] * store.block, (lead[-1] + 1) * store.block))
            which[place] = True
        if which.any():
            clear(store.objects, array, which, store.require_ours)
    for group, name, shard in damage.cut:
        array = store.array(group, name)
        key = array.metadata.encode_chunk_key(shard)
        if numbers_of(array, key) is None:
            _discard(store, group, name, shard)
        else:
            revise(store.objects, array, shard, store.require_ours, lambda _: None)  # without what cannot be read


def _has_size(array: zarr.Array, size: int) -> bool:
    if array.dtype.kind == "T":  # of variable length
        return size > 0
    return size == np.prod(array.chunks) * array.dtype.itemsize + CHECKSUM_BYTES * is_checked(array)


def _contents(store: Store, array: zarr.Array, chunks: Sequence[Numbers]) -> Iterator[tuple[Numbers, Any]]:
    """Read chunks; None in the place of what cannot be read."""
    read = content_of if array.dtype.kind == "T" else values_of
    for start in range(0, len(chunks), READ_TOGETHER):
        some = chunks[start : start + READ_TOGETHER]
        keys = [f"{array.path}/{array.metadata.encode_chunk_key(numbers)}" for numbers in some]
        for numbers, data in zip(some, objects.read(store.objects, keys), strict=True):
            yield numbers, None if data is None else read(array, data)


def _add_up(sums: np.ndarray, array: zarr.Array, lead: Numbers, parts: Mapping[Numbers, np.ndarray]) -> None:
    """Add to the sum of each replicate of a block, or of a cell, what it has in one array."""
    leading, sizes = len(lead), array.chunks
    reach = [1 + max(numbers[k] for numbers in parts) for k in range(leading, array.ndim)]
    extent = (*sizes[:leading], *(count * size for count, size in zip(reach, sizes[leading:], strict=True)))
    whole = np.full(extent, np.nan)
    for numbers, values in parts.items():
        whole[place_of((0,) * leading + numbers[leading:], sizes)] = values
    rows = whole.reshape(int(np.prod(sizes[:leading])), -1)
    place: Any = place_of(lead, sizes[:leading])
    mine = sums[(*place, ...)]
    for row, where in zip(rows, np.ndindex(mine.shape), strict=False):  # the last block may be shorter
        mine[where] = sum_of(row, int(mine[where]))
