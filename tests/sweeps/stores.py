"""Small sweeps that tests run to their end, and what they leave."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from sweeps.plan import SweepSpec, Task
from sweeps.schedule import missing_tasks
from sweeps.store import Store
from sweeps.worker import Worker, WorkerSetup, execute

BASE = {"n": 40, "d": 20, "steps": 3, "depth": 2, "width": 2}


def spec_of(axes: Mapping[str, tuple] | None = None, base: Mapping[str, Any] = BASE, **changes: Any) -> SweepSpec:
    """Specify a sweep of a small problem."""
    axes = axes or {}
    settings = {"replicates": 5, "block": 2, "samples": 64, "randomizations": 2} | changes
    return SweepSpec({name: value for name, value in base.items() if name not in axes}, axes, **settings)


def finish(location: str, spec: SweepSpec) -> list[Task]:
    """Run what a store lacks in this process, and return the tasks that this took."""
    store = Store.prepare(location, spec)
    tasks = missing_tasks(store, spec)
    for task in tasks:
        assert not execute(task, store, device="cpu").error
    return tasks


def run_out_of_order(source: Any, location: str, order: int, stop_after: int | None = None) -> Any:
    """Run what a source gives out, several tasks at a time and finished in another order; return the source."""
    worker = Worker(WorkerSetup(location, "cpu"))
    executed = 0
    rng = np.random.default_rng(order)
    while batch := list(itertools.takewhile(bool, (source.take() for _ in range(order + 1)))):
        rng.shuffle(batch)
        for task in batch:
            assert not worker.run(task, 1).error
            source.finish(task, failed=False)
            executed += 1
            if executed == stop_after:
                return source
    assert executed == source.announced
    return source


def tree_of(location: str) -> xr.DataTree:
    """Load a store whole."""
    return xr.open_datatree(location, engine="zarr").load()
