"""Make a store and die at an operation on files: ``python -m tests.sweeps.store.deaths FOLDER FIRST STEP``.

Each death is that of a child, which this process, still without a thread, forks; so their start costs nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps.plan import SweepSpec
from sweeps.store import Store, only_driver
from tests.sweeps.stores import spec_of

# What changes something on a disk, as this program and its libraries call it.
OPERATIONS = ("open", "write", "fsync", "replace", "rename", "link", "unlink", "mkdir", "rmdir")
SPEC = spec_of({"noise": (0.1, 0.5)})
GROWN = spec_of({"noise": (0.1, 0.5, 0.9), "momentum": (0.0, 0.5)}, replicates=7)


LOGGED = spec_of({"noise": (0.0, 0.1, 0.3), "width": (1, 2)}, block=None)


def prepare(location: str, spec: SweepSpec) -> None:
    """Make a store, make it grow, or merge its logs, as a driver does."""
    with only_driver(location) as lease:
        Store.prepare(location, spec, owner=lease.owner)


def die_at(number: int) -> Callable[[], int]:
    """End this process without any clean-up before an operation, and count those before it."""
    count = 0

    def dying(operation: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            if count == number:
                os._exit(9)
            count += 1
            return operation(*arguments, **options)

        return counted

    for name in OPERATIONS:
        setattr(os, name, dying(getattr(os, name)))
    return lambda: count


def main(folder: str, first: int, step: int) -> None:
    """Die at every so many operations, in a folder of its own for each.

    Of a growth where there is a whole store to copy, and of a merge where one has logs.
    """
    import shutil

    specs = {"whole": GROWN, "logged": LOGGED}
    found = next((name for name in specs if Path(folder, f"{name}.zarr").exists()), None)
    number = first
    while True:
        place = Path(folder, f"{number}")
        place.mkdir()
        if found is not None:
            shutil.copytree(Path(folder, f"{found}.zarr"), place / "a.zarr")
        child = os.fork()
        if not child:
            die_at(number)
            prepare(str(place / "a.zarr"), SPEC if found is None else specs[found])
            os._exit(0)
        _, ended = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(ended) != 9:
            return
        number += step


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
