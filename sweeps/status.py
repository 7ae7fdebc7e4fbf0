"""How far a sweep is: ``sedyn status PATH``, or ``python -m sweeps.status PATH``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import numpy as np

from sedyn.errors import InvalidInput
from sweeps.application.command import parser_of
from sweeps.interruption import stoppable
from sweeps.store import DONE, FAILED, Store, facts, failures, is_driven, states
from sweeps.terminal import say

__all__ = ["main", "summary"]

ERRORS_SHOWN = 5


def summary(store: Store) -> list[str]:
    """Describe progress, failures and computing time, a line each."""
    lines = [f"axes: {', '.join(f'{axis} ({len(values)})' for axis, values in store.axes.items()) or 'none'}"]
    errors: list[str] = []
    for kind, unit in (("simulation", "replicates"), ("theory", "cells")):
        state = states(store, kind)
        seconds = np.nansum(facts(store, kind, "seconds"))
        done, failed = int((state == DONE).sum()), int((state == FAILED).sum())
        peak = np.nanmax(facts(store, kind, "peak_memory"), initial=0) / 2**20
        share = f"{done / state.size:.0%}"
        lines.append(
            f"{kind}: {done} of {state.size} {unit} done ({share}), {failed} failed, "
            f"{state.size - done - failed} left, {seconds:.1f} s computed, peak memory {peak:.0f} MiB"
        )
        errors += failures(store, kind)
    for description in store.settings["environments"].values():
        where = json.loads(description)
        lines.append(f"computed on {where['host']} ({where['device']}) with commit {where['commit'] or 'unknown'}")
    counts = {error: errors.count(error) for error in errors}
    lines += [f"failed {count} times: {error}" for error, count in list(counts.items())[:ERRORS_SHOWN]]
    lines.append("a sweep is running" if is_driven(store.location) else "no sweep is running on this machine")
    return lines


@stoppable("nothing was changed")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the state of a store; exit status 0, or 2 if there is none."""
    parser = parser_of("status")
    parser.add_argument("path", help="path or URL of the store")
    try:
        for line in summary(Store.open(parser.parse_args(arguments).path)):
            say(line)
    except InvalidInput as error:
        say(error, error=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
