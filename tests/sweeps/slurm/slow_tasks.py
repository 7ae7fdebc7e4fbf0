"""Imported by the workers under test (``imports=[...]``): every task takes some seconds more."""

from __future__ import annotations

import os
import time

from sweeps import worker

SECONDS = "SLOW_TASKS_SECONDS"
_execute = worker.execute


def _slow(*arguments, **options):
    time.sleep(float(os.environ.get(SECONDS, "0")))
    return _execute(*arguments, **options)


worker.execute = _slow
