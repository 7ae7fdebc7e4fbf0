"""Whether a store holds what its status says: ``sedyn validate PATH``, or ``python -m sweeps.validate PATH``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from sedyn.errors import InvalidInput
from sweeps.application.command import parser_of
from sweeps.interruption import stoppable
from sweeps.store import (
    Fault,
    Store,
    damaged_records,
    find_broken,
    find_damage,
    mend,
    only_driver,
    orphans,
    restore,
    starts_not_finite,
)
from sweeps.terminal import say

__all__ = ["faults", "main"]

FAULTS_SHOWN = 10


def faults(store: Store, found: Sequence[Fault]) -> Iterator[Fault]:
    """Add to faults of a store those that only numbers tell: each finished task starts with finite errors.

    Parameters
    ----------
    store : Store
    found : sequence of Fault
        As `sweeps.store.find_damage` lists them.
    """
    yield from found
    known = {(fault.group, fault.lead) for fault in found}
    yield from (fault for fault in starts_not_finite(store) if (fault.group, fault.lead) not in known)


@stoppable("what was repaired stays repaired")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong; exit status 0 if nothing is (or all was repaired), 1 if something is, 2 without a store."""
    parser = parser_of("validate")
    parser.add_argument("path", help="path or URL of the store")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="mark what is wrong for computing, write anew what describes it, delete orphan files",
    )
    options = parser.parse_args(arguments)
    try:
        store = Store.open(options.path)
        with only_driver(options.path):
            torn = damaged_records(store.objects)
            broken = (restore if options.repair else find_broken)(store.objects, store.settings)
            if options.repair:
                store.merge(last=True)
            damage, litter = find_damage(store), orphans(store.objects)
            found = list(faults(store, damage.faults))
            if options.repair:
                mend(store, damage._replace(faults=found))
                for orphan in litter:
                    orphan.unlink()
    except InvalidInput as error:
        say(error, error=True)
        return 2
    except OSError as error:
        say(f"store={options.path!r} cannot be read or written: {error}", error=True)
        return 2
    wrong = [f"{path} is missing, damaged or changed" for path in broken]
    wrong += [f"{record} is damaged" for record in torn]
    wrong += [fault.reason for fault in found]
    wrong += [f"{group}/{name} has a chunk at {place} that is damaged" for group, name, place in damage.cut]
    for reason in wrong[:FAULTS_SHOWN]:
        say(reason)
    if len(wrong) > FAULTS_SHOWN:
        say(f"and {len(wrong) - FAULTS_SHOWN} more")
    say(f"{len(wrong)} faults, {len(litter)} orphan files{' repaired' if options.repair else ''}: {options.path}")
    return 0 if options.repair or not (wrong or litter) else 1


if __name__ == "__main__":
    sys.exit(main())
