"""What one task does: compute, write the data, write the status. The same code runs inline and in a Ray actor."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import scipy.linalg  # noqa: F401 - loads scipy's own BLAS, so that its threads can be limited
import threadpoolctl
import xarray as xr

import sedyn
from sedyn.arrays import backend
from sedyn.arrays.machine import available_cores
from sedyn.errors import InvalidInput
from sedyn.kernels.cpu.ready import make_ready
from sedyn.model.observables import beside_theory, parts_of
from sweeps.plan import Bundle, JoinedTask, SimulationTask, Task, TheoryTask
from sweeps.provenance import Environment, environment, peak_memory, reset_peak_memory
from sweeps.registered import code_with
from sweeps.sources import differing
from sweeps.store import DONE, FAILED, Store, read_theory, write_results, write_status
from sweeps.theories import Theories
from sweeps.user_modules import import_modules

__all__ = ["Outcome", "Worker", "WorkerSetup", "execute"]


class Outcome(NamedTuple):
    """How a task ended.

    Attributes
    ----------
    seconds : float
        Time the task took, its writing included.
    error : str
        Why it failed; empty if it did not.
    environment : Environment, optional
        Where it was computed.
    """

    seconds: float
    error: str = ""
    environment: Environment | None = None


class WorkerSetup(NamedTuple):
    """What every worker of a sweep is told.

    Attributes
    ----------
    location : str
        Path or URL of the store.
    device : str
        ``cpu`` or ``gpu``.
    imports : tuple of str
        Modules to import first, such as those that register a user's functions.
    commit : str
        Commit of the project, recorded with every result.
    code : mapping of str to str
        Digest of each source that the driver has; a worker that has another one computes nothing. Empty: nobody asks.
    registered : tuple of (str, str)
        What of that code a user registered, see `sweeps.registered`.
    search_path : tuple of str
        Folders where the driver finds modules; a worker elsewhere ignores those that it has not.
    gpu_share : float
        Of a GPU's memory, the most that the worker may take.
    owner : str, optional
        Driver of the store; where another takes it over, the worker writes nothing more.
    """

    location: str
    device: str
    imports: tuple[str, ...] = ()
    commit: str = ""
    code: Mapping[str, str] = {}
    search_path: tuple[str, ...] = ()
    gpu_share: float = 1.0
    owner: str | None = None
    registered: tuple[tuple[str, str], ...] = ()


def execute(
    task: Task,
    store: Store,
    *,
    device: str,
    attempt: int = 1,
    where: Environment | None = None,
    theories: Theories | None = None,
) -> Outcome:
    """Compute a task and write its results, status last. Repeating it writes the same again.

    Parameters
    ----------
    task : Task
        What to compute.
    store : Store
        Where to write.
    device : str
        ``cpu`` or ``gpu``.
    attempt : int
        Recorded in the status.
    where : Environment, optional
        Recorded in the status.
    theories : Theories, optional
        Those that are kept from task to task, where laws are compared.

    Returns
    -------
    Outcome
        A failure of the computation is recorded in the store and returned, not raised. A cell that fails among others
        is tried by itself, and so are they.

    Raises
    ------
    OSError
        If the store cannot be written; no other task could be either.
    """
    start = time.perf_counter()
    if isinstance(task, Bundle):
        run = partial(execute, store=store, device=device, attempt=attempt, where=where, theories=theories)
        with store.chunks.together():
            ends = [run(one) for one in task.make()]
        return Outcome(time.perf_counter() - start, next((end.error for end in ends if end.error), ""), where)
    reset_peak_memory()
    parts: Sequence[SimulationTask | TheoryTask] = task.parts
    theories, error = theories or Theories(device), ""
    with backend.watch_device_memory(device) as gpu_peak_memory:
        try:
            results = _compute(task, store, device, theories)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}".splitlines()[0]
    computed, peak, size = time.perf_counter() - start, peak_memory(), task.size
    if error and len(parts) > 1:
        alone = [execute(part, store, device=device, attempt=attempt, where=where, theories=theories) for part in parts]
        return Outcome(time.perf_counter() - start, next((end.error for end in alone if end.error), ""), where)
    with store.chunks.together():
        for number, part in enumerate(parts):
            checksum = float("nan") if error else write_results(store, part, results[number])
            write_status(
                store,
                part,
                FAILED if error else DONE,
                seconds=computed * part.size / size,
                attempt=attempt,
                error=error,
                peak_memory=peak,
                gpu_peak_memory=gpu_peak_memory(),
                environment=0 if where is None else where.code,
                checksum=checksum,
            )
    return Outcome(time.perf_counter() - start, error, where)


def _compute(
    task: SimulationTask | JoinedTask | TheoryTask, store: Store, device: str, theories: Theories
) -> list[xr.Dataset]:
    """Compute the results of each part of a task."""
    if not isinstance(task, TheoryTask):
        return _simulate([(part, part.replicates) for part in task.parts], device, theories)
    if task.solved_at is not None:
        return [read_theory(store, task.solved_at)]
    solution = sedyn.state_evolution(task.problem, **task.settings._asdict(), device=device)
    if task.fluctuations is None:
        return [solution]
    fluctuations = sedyn.fluctuations(task.problem, **task.fluctuations._asdict())
    return [solution.assign(fluctuations.rename_vars(beside_theory(parts_of(task.problem))).data_vars)]


def _simulate(
    cells: Sequence[tuple[SimulationTask, tuple[int, ...]]], device: str, theories: Theories
) -> list[xr.Dataset]:
    """Simulate some replicates of cells side by side; where memory does not suffice, one half after the other.

    Replicates do not depend on those they run with, so neither do the results.

    Raises
    ------
    MemoryError
        If memory does not suffice for a single replicate. That of cupy is one too.
    """
    first, replicates = cells[0]
    try:
        return sedyn.simulate_together(
            [(task.problem, which) for task, which in cells],
            seed=first.seed,
            engine=first.engine,
            estimate=first.estimate,
            device=device,
            dtype=first.dtype,
            halves=first.halves,
            theories=[None if task.laws is None else theories.of(task.problem, task.laws) for task, _ in cells],
        )
    except MemoryError:
        if len(cells) == len(replicates) == 1:
            raise
    # Here, where the exception and the arrays that it holds are gone.
    backend.free_device_memory(device)
    if len(cells) > 1:
        middle = len(cells) // 2
        return _simulate(cells[:middle], device, theories) + _simulate(cells[middle:], device, theories)
    middle = len(replicates) // 2
    halves = [_simulate([(first, half)], device, theories)[0] for half in (replicates[:middle], replicates[middle:])]
    return [xr.concat(halves, "replicate", combine_attrs="override")]


class Worker:
    """Runs tasks one after another on one store that it keeps open.

    Parameters
    ----------
    setup : WorkerSetup

    Raises
    ------
    InvalidInput
        If a module cannot be imported, its code is not the driver's, or there is no store.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        if setup.device == "gpu" and setup.gpu_share < 1:
            backend.limit_gpu_memory(setup.gpu_share)
        sys.path += [folder for folder in setup.search_path if folder not in sys.path and os.path.isdir(folder)]
        import_modules(setup.imports)
        code = code_with(setup.imports, setup.registered)
        if setup.code and (names := differing(setup.code, code.files)):
            remedy = (
                f"a worker on {platform.node()} has another {names[0]} than the driver; start again with one of them"
            )
            raise InvalidInput("imports", list(setup.imports), remedy)
        self._store = Store.open(setup.location, setup.owner)
        self._owner = setup.owner
        self._device = setup.device
        self._where = environment(setup.device, setup.commit, code.digest)
        self._theories = Theories(setup.device)
        self._threads = threadpoolctl.ThreadpoolController()
        if setup.device == "cpu":
            make_ready(available_cores())  # for all workers of the machine, who wait for the first one

    def run(self, task: Task, attempt: int) -> Outcome:
        """Execute one task on a single BLAS thread, so that every worker anywhere rounds alike.

        Parameters
        ----------
        task : Task
        attempt : int
            How often it was tried, this time included.
        """
        task = task.made() if isinstance(task, Bundle) else task
        if not all(self._store.has_room(part) for part in task.parts):
            self._store = Store.open(self._store.location, self._owner)  # the driver has made room since
        with self._threads.limit(limits=1):
            return execute(
                task, self._store, device=self._device, attempt=attempt, where=self._where, theories=self._theories
            )
