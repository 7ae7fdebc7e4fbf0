"""Cells that the next sweep computes again: ``sedyn redo PATH FIELD=VALUE``, or ``python -m sweeps.redo PATH``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.application.selection import change_cells
from sweeps.interruption import stoppable
from sweeps.store import Store, redo

__all__ = ["main"]


@stoppable("what was marked stays marked")
def main(arguments: Sequence[str] | None = None) -> int:
    """Mark cells as not computed; exit status 0, or 2 without such cells."""
    return change_cells("redo", arguments, _change)


def _change(store: Store, where: Mapping[str, list[Any]]) -> str:
    cells, others = redo(store, where)
    shared = f"; theory also in {others} that share it" if others else ""
    return f"{cells} cells are computed again by the next sweep{shared}: {store.location}"


if __name__ == "__main__":
    sys.exit(main())
