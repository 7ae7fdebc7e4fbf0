"""Imported by the workers under test (``imports=[...]``): writes down which process starts and ends which task."""

from __future__ import annotations

import os
from pathlib import Path

from sweeps import worker

LOG = "SWEEPS_EXECUTION_LOG"
_execute = worker.execute


def _note(event: str, name: str) -> None:
    if LOG in os.environ:
        with Path(os.environ[LOG]).open("a") as log:
            log.write(f"{event}\t{os.getpid()}\t{name}\n")


def _logged(task, *arguments, **options):
    _note("start", task.name)
    outcome = _execute(task, *arguments, **options)
    _note("end", task.name)
    return outcome


worker.execute = _logged


def read_log(event: str) -> list[tuple[int, str]]:
    """List process and task of every such event so far."""
    path = Path(os.environ[LOG])
    lines = [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []
    return [(int(process), name) for what, process, name in lines if what == event]
