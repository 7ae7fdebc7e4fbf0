"""Imported by the workers of `benchmarks.tools`: every simulation also sleeps, so that it takes a second or more."""

from __future__ import annotations

import time

import sedyn

SECONDS = 1.0
_simulate = sedyn.simulate_together


def _sleeping(*arguments, **options):
    time.sleep(SECONDS)
    return _simulate(*arguments, **options)


sedyn.simulate_together = _sleeping
