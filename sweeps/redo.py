"""Cells that the next sweep computes again: ``sedyn redo PATH FIELD=VALUE``, or ``python -m sweeps.redo PATH``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.application.selection import change_cells
from sweeps.interruption import stoppable
from sweeps.store import TARGET, Store, redo

__all__ = ["main"]


@stoppable("what was marked stays marked")
def main(arguments: Sequence[str] | None = None) -> int:
    """Mark cells as not computed; exit status 0, or 2 without such cells."""
    return change_cells("redo", arguments, _change)


def _change(store: Store, where: Mapping[str, list[Any]]) -> str:
    cells, others = redo(store, where)
    shared = f"; theory also in {others} that share it" if others else ""
    target = store.settings.get(TARGET)
    later = (
        "" if target is None else f"; replicates after the first {target['replicates']} by one with {_words(target)}"
    )
    return f"{cells} cells are computed again by the next sweep{shared}{later}: {store.location}"


def _words(target: Mapping[str, Any]) -> str:
    return "target.verdict=true" if target["verdict"] else f"target.stderr={target['stderr']:g}"


if __name__ == "__main__":
    sys.exit(main())
