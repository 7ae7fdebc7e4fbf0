"""Cells that are taken out of a store: ``sedyn drop PATH FIELD=VALUE``, or ``python -m sweeps.drop PATH``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.application.selection import change_cells
from sweeps.interruption import stoppable
from sweeps.store import Store, drop

__all__ = ["main"]


@stoppable("what was dropped stays dropped, and the same command goes on from there")
def main(arguments: Sequence[str] | None = None) -> int:
    """Delete what was computed of cells, and ask for them no more; exit status 0, or 2 without such cells."""
    return change_cells("drop", arguments, _change)


def _change(store: Store, where: Mapping[str, list[Any]]) -> str:
    return f"{drop(store, where)} cells dropped; their places on the axes stay, empty: {store.location}"


if __name__ == "__main__":
    sys.exit(main())
