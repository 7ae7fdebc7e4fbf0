"""How far a sweep is: ``sedyn status PATH``, or ``python -m sweeps.status PATH``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from sedyn.errors import InvalidInput
from sweeps.application.command import parser_of
from sweeps.interruption import stoppable
from sweeps.sources import differing
from sweeps.store import DONE, FAILED, Store, facts, failures, is_asked, remark_of_driver, states, waiting_bytes
from sweeps.terminal import say
from sweeps.wanted import awaited

__all__ = ["main", "summary"]

ERRORS_SHOWN = 5
FILES_SHOWN = 5


def summary(store: Store) -> list[str]:
    """Describe progress, failures and computing time, a line each."""
    asked = is_asked(store.settings)
    lines = [f"axes: {store.shape}"]
    if not asked.all():
        lines.append(f"cells: {int(asked.sum())} of the {asked.size} places of these axes were asked for")
    errors: list[str] = []
    for kind, unit in (("simulation", "replicates"), ("theory", "cells")):
        state = states(store, kind)
        state = state[awaited(store, state) if kind == "simulation" else asked]
        seconds = np.nansum(facts(store, kind, "seconds"))
        done, failed = int((state == DONE).sum()), int((state == FAILED).sum())
        peak = np.nanmax(facts(store, kind, "peak_memory"), initial=0) / 2**20
        share = f"{done / max(1, state.size):.0%}"
        lines.append(
            f"{kind}: {done} of {state.size} {unit} done ({share}), {failed} failed, "
            f"{state.size - done - failed} left, {seconds:.1f} s computed, peak memory {peak:.0f} MiB"
        )
        errors += failures(store, kind)
    for description in store.settings["environments"].values():
        where = json.loads(description)
        lines.append(f"computed on {where['host']} ({where['device']}) with commit {where['commit'] or 'unknown'}")
    lines += _codes(store)
    counts = {error: errors.count(error) for error in errors}
    lines += [f"failed {count} times: {error}" for error, count in list(counts.items())[:ERRORS_SHOWN]]
    if waiting := waiting_bytes(store.objects):
        lines.append(f"{waiting / 2**20:.1f} MiB of results are logged, and count when the sweep has merged them")
    remark = remark_of_driver(store.location)
    lines.append("no sweep is running on this machine" if remark is None else f"a sweep is running{_after(remark)}")
    return lines


def _codes(store: Store) -> list[str]:
    """Say which code made how much, where there was more than one."""
    known = {past["digest"]: past["files"] for past in store.settings.get("codes", [])}
    if len(known) < 2:
        return []
    of_environment = {int(code): json.loads(text).get("code") for code, text in store.settings["environments"].items()}
    counts = {}
    for kind in ("simulation", "theory"):
        done = facts(store, kind, "environment")[states(store, kind) == DONE]
        counts[kind] = Counter(of_environment.get(int(code)) for code in done)
    made = ", code ".join(
        f"{digest}{' made' if not number else ''} {_number(counts['simulation'][digest], 'replicate', 'replicates')} "
        f"and {_number(counts['theory'][digest], 'theory', 'theories')}"
        for number, digest in enumerate(known)
    )
    names = sorted({name for files in known.values() for name in differing(files, known[next(iter(known))])})
    shown = ", ".join(names[:FILES_SHOWN]) + (
        f" and {len(names) - FILES_SHOWN} more" if len(names) > FILES_SHOWN else ""
    )
    return [f"code {made}; they differ in {shown}"]


def _after(remark: str) -> str:
    return f": {remark}" if remark else ""


def _number(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


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
