"""Whether a store holds what its status says: ``python -m sweeps.validate PATH [--repair]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sedyn.errors import InvalidInput
from sedyn.observables import PREDICTED, SIMULATED
from sweeps.lock import only_driver
from sweeps.store import DONE, Store

__all__ = ["Fault", "faults", "main"]

FAULTS_SHOWN = 10
Place = tuple[int | slice, ...]


class Fault(NamedTuple):
    """Results that are marked as done and are not.

    Attributes
    ----------
    group : str
        ``simulation`` or ``theory``.
    place : tuple
        Where they are in the status.
    reason : str
        What is wrong.
    """

    group: str
    place: Place
    reason: str


def faults(store: Store) -> Iterator[Fault]:
    """Compare status and data: each chunk of a finished task is there and whole, and starts with finite errors."""
    for group, names in (("simulation", SIMULATED), ("theory", PREDICTED)):
        done = store.states(group) == DONE
        for position in np.ndindex(*done.shape[: len(store.axes)]):
            parts: list[tuple[Place, tuple[int, ...]]] = [(position, position)]
            if group == "simulation":
                starts = range(0, done.shape[-1], store.block)
                parts = [((*position, slice(k, k + store.block)), (*position, k // store.block)) for k in starts]
            for place, chunk in parts:
                if not done[place].any():
                    continue
                reason = next(filter(None, (store.chunk_fault(group, name, chunk) for name in names)), None)
                if reason is None:
                    start_errors = np.asarray(store.array(group, "train_error")[(*place, 0)])[done[place]]
                    if not np.isfinite(start_errors).all():
                        reason = f"{group}/train_error is not finite at the first iteration"
                if reason:
                    yield Fault(group, place, reason)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong; exit status 0 if nothing is (or all was repaired), 1 if something is, 2 without a store."""
    parser = argparse.ArgumentParser(prog="python -m sweeps.validate", description="Compare a store with its status.")
    parser.add_argument("path", help="path or URL of the store")
    parser.add_argument("--repair", action="store_true", help="mark what is wrong for computing, delete orphan files")
    options = parser.parse_args(arguments)
    try:
        store = Store.open(options.path)
        with only_driver(options.path):
            found, orphans = list(faults(store)), store.orphans()
            if options.repair:
                for fault in found:
                    store.forget(fault.group, fault.place)
                for orphan in orphans:
                    orphan.unlink()
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    for fault in found[:FAULTS_SHOWN]:
        print(fault.reason)
    if len(found) > FAULTS_SHOWN:
        print(f"and {len(found) - FAULTS_SHOWN} more")
    print(f"{len(found)} faults, {len(orphans)} orphan files{' repaired' if options.repair else ''}: {options.path}")
    return 0 if options.repair or not (found or orphans) else 1


if __name__ == "__main__":
    sys.exit(main())
