"""Whether every chunk that a store's status promises is there, and holds what was written.

A chunk is written in one step, so a process that is killed leaves none half-written. A power cut may: the system brings
data to the disk later, in an order of its own. Disks and copies may change bits, and two drivers without a lock may
write into one result. To wait for the disk with every task costs more than all else that a task writes, so a sweep
reads what there is when it starts instead: sizes and checksums of chunks, and the sum of each result that its status
recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from sweeps.store.keeping import Numbers
from sweeps.store.layout import DONE, facts_of, layouts, needed
from sweeps.store.lifecycle import Store
from sweeps.store.survey import intact, states

__all__ = ["Damage", "Fault", "done_chunks", "find_damage", "mend", "starts_not_finite"]


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
        Group, array and number of each chunk, or shard, that cannot be read, or that lies beyond the end of its array.
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
            survey = store.chunks.survey(store.array(group, name), everywhere, sums.get(group), content=content)
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
    """Mark what is damaged as pending, so that the next run computes it again, and take out what cannot be read.

    Parameters
    ----------
    store : Store
    damage : Damage
        As `find_damage` lists it.
    """
    for kind in ("simulation", "theory"):
        array = store.array("status", kind)
        which = np.zeros(array.shape, bool)
        for lead in (fault.lead for fault in damage.faults if fault.group == kind):
            place: Any = lead
            if kind == "simulation":
                place = (*lead[:-1], slice(lead[-1] * store.block, (lead[-1] + 1) * store.block))
            which[place] = True
        if which.any():
            store.chunks.forget(array, which)
    for group, name, numbers in damage.cut:
        store.chunks.repair(store.array(group, name), numbers)


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
