"""Whether every chunk that a store's status promises is there, and whole.

A chunk is written in one step, so a process that is killed leaves none half-written. A power cut may: the system brings
data to the disk later, in an order of its own. To wait for the disk with every task costs more than all else that a
task writes, so a sweep looks at its chunks when it starts instead: they are plain numbers, of a known size. A store
behind a URL takes whole objects only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sweeps.store import objects
from sweeps.store.chunks import chunk_numbers
from sweeps.store.layout import DONE, layouts
from sweeps.store.lifecycle import Store
from sweeps.store.survey import states

__all__ = ["Damage", "Fault", "done_chunks", "find_damage", "forget", "mend"]


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
        Results marked as done of which a chunk is missing or has a wrong size.
    cut : list of tuple
        Group, array and place of each chunk of a wrong size, which cannot be read.
    """

    faults: list[Fault]
    cut: list[tuple[str, str, tuple[int, ...]]]


def find_damage(store: Store) -> Damage:
    """Compare the chunks that are there, and their sizes, with the status."""
    damage = Damage([], [])
    done = {kind: done_chunks(store, kind) for kind in ("simulation", "theory")}
    for group, members in layouts(store.settings).items():
        for name in members:
            kind = name.partition("_")[0] if group == "status" else group
            needed = done[kind]
            there, cut = _survey(store, group, name, needed.shape)
            damage.cut.extend((group, name, numbers) for numbers in cut)
            if group == "status" and not name.endswith("_facts"):
                continue  # nothing is done where the state is missing; a finished task has no error
            for lead in map(tuple, np.argwhere(needed & ~there).tolist()):
                damage.faults.append(Fault(kind, lead, f"{group}/{name} has no whole chunk at {lead}"))
            needed &= there  # a result is named once
    return damage


def mend(store: Store) -> int:
    """Mark what lacks a chunk for computing, delete chunks that cannot be read, and say how many results lack one."""
    damage = find_damage(store)
    for fault in damage.faults:
        forget(store, fault)
    for cut in damage.cut:
        _discard(store, *cut)
    return len(damage.faults)


def forget(store: Store, fault: Fault) -> None:
    """Mark a cell, or a block of its replicates, as pending, so that the next run computes it again.

    Parameters
    ----------
    store : Store
    fault : Fault
        Says which.
    """
    _discard(store, "status", fault.group, fault.lead)


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
    done = states(store, group) == DONE
    if group == "theory":
        return done
    return np.logical_or.reduceat(done, range(0, done.shape[-1], store.block), axis=-1)


def _discard(store: Store, group: str, name: str, numbers: tuple[int, ...]) -> None:
    """Delete a chunk; what it held reads as missing."""
    array = store.array(group, name)
    objects.delete(store.objects, f"{array.path}/{array.metadata.encode_chunk_key(numbers)}")


def _survey(store: Store, group: str, name: str, shape: tuple[int, ...]) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """Find which cells (and blocks) have all they need of an array, and its chunks of a wrong size."""
    array, leading = store.array(group, name), len(shape)
    there = np.zeros(shape, bool)
    cut: list[tuple[int, ...]] = []
    if 0 in array.shape:
        return ~there, cut
    first = (0,) * (array.ndim - leading)
    expected = int(np.prod(array.chunks)) * array.dtype.itemsize
    words = array.dtype.kind == "T"  # of variable length
    for key, size in objects.list_sizes(store.objects, array.path):
        numbers = chunk_numbers(key, array.ndim)
        if numbers is None:
            continue
        # Chunks further along inner dimensions come from growth; cells that were there before have none.
        if numbers[leading:] == first:
            there[numbers[:leading]] = True
        if size == 0 if words else size != expected:
            cut.append(numbers)
    for numbers in cut:
        there[numbers[:leading]] = False
    return there, cut
