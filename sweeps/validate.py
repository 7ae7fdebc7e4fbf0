"""Whether a store holds what its status says: ``sedyn validate PATH``, or ``python -m sweeps.validate PATH``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sedyn.errors import InvalidInput
from sweeps.application.command import parser_of
from sweeps.interruption import stoppable
from sweeps.store import DONE, Fault, Store, done_chunks, find_damage, forget, mend, only_driver, orphans, states
from sweeps.terminal import say

__all__ = ["faults", "main"]

FAULTS_SHOWN = 10


def faults(store: Store) -> Iterator[Fault]:
    """Compare status and data: each chunk of a finished task is there and whole, and starts with finite errors."""
    found = find_damage(store).faults
    yield from found
    known = {(fault.group, fault.lead) for fault in found}
    for group in ("simulation", "theory"):
        done = states(store, group) == DONE
        for lead in map(tuple, np.argwhere(done_chunks(store, group)).tolist()):
            if (group, lead) in known:
                continue
            place: Any = lead
            if group == "simulation":
                place = (*lead[:-1], slice(lead[-1] * store.block, (lead[-1] + 1) * store.block))
            start_errors = np.asarray(store.array(group, "train_error")[(*place, 0)])[done[place]]
            if not np.isfinite(start_errors).all():
                yield Fault(group, lead, f"{group}/train_error is not finite at the first iteration at {lead}")


@stoppable("what was repaired stays repaired")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong; exit status 0 if nothing is (or all was repaired), 1 if something is, 2 without a store."""
    parser = parser_of("validate")
    parser.add_argument("path", help="path or URL of the store")
    parser.add_argument("--repair", action="store_true", help="mark what is wrong for computing, delete orphan files")
    options = parser.parse_args(arguments)
    try:
        store = Store.open(options.path)
        with only_driver(options.path):
            found, litter = list(faults(store)), orphans(store.objects)
            if options.repair:
                for fault in found:
                    forget(store, fault)
                mend(store)
                for orphan in litter:
                    orphan.unlink()
    except InvalidInput as error:
        say(error, error=True)
        return 2
    for fault in found[:FAULTS_SHOWN]:
        say(fault.reason)
    if len(found) > FAULTS_SHOWN:
        say(f"and {len(found) - FAULTS_SHOWN} more")
    say(f"{len(found)} faults, {len(litter)} orphan files{' repaired' if options.repair else ''}: {options.path}")
    return 0 if options.repair or not (found or litter) else 1


if __name__ == "__main__":
    sys.exit(main())
