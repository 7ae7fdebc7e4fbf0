"""Where tasks run: in this process, or on Ray actors. The driver sees both through one small interface."""

from __future__ import annotations

import math
import os
import time
from collections import deque
from typing import Any, NamedTuple, Protocol

from sedyn.arrays import backend
from sedyn.arrays.machine import SHARE_OF_MEMORY, memory_limit
from sedyn.errors import InvalidInput
from sweeps.compute import Compute, require_gpus, worker_count
from sweeps.cost import GPU_CONTEXT_BYTES
from sweeps.interruption import keep_answer_to_sigterm
from sweeps.plan import Task
from sweeps.store import local_path
from sweeps.worker import Outcome, Worker, WorkerSetup

__all__ = [
    "Attempt",
    "Executor",
    "InlineExecutor",
    "Lost",
    "RayExecutor",
    "make_executor",
    "start_ray",
]

CALLS_IN_FLIGHT = 2  # per actor: one runs, one waits, so that no actor idles while the driver answers
RAY_RESOLUTION = 10_000  # parts of a GPU that Ray can tell apart
REFUSALS = 5  # of an actor in a row; then it is given up
POLL_RESTART_SECONDS = 0.1
OBJECT_STORE_BYTES = 100 * 2**20  # tasks and outcomes are small; results go straight to the Zarr store


class Attempt(NamedTuple):
    """A task on its way: what to run and how often it was tried, this time included."""

    task: Task
    number: int = 1


class Lost(NamedTuple):
    """What comes back instead of an outcome when the worker died or could not be reached, and why."""

    reason: str


class Executor(Protocol):
    """Runs attempts; each comes back exactly once."""

    def has_room(self) -> bool:
        """Whether another attempt may be submitted now."""

    def submit(self, attempt: Attempt) -> None:
        """Start an attempt, or queue it behind a running one."""

    def collect(self, timeout: float) -> list[tuple[Attempt, Outcome | Lost]]:
        """Wait for outcomes, at most `timeout` seconds."""

    def close(self) -> None:
        """Stop whatever the executor started."""


def make_executor(compute: Compute, setup: WorkerSetup, memory: int) -> Executor:
    """Start the executor that `compute` asks for.

    Parameters
    ----------
    compute : Compute
        What was asked for.
    setup : WorkerSetup
        What the workers are told; a cluster may change the device, which only it knows.
    memory : int
        Bytes of the device's memory that the largest task needs.
    """
    return InlineExecutor(setup) if compute.executor == "inline" else RayExecutor(compute, setup, memory)


class InlineExecutor:
    """Runs each task in this process, one at a time: the debugging twin of Ray."""

    def __init__(self, setup: WorkerSetup) -> None:
        self._worker = Worker(setup)
        self._waiting: deque[Attempt] = deque()

    def has_room(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def submit(self, attempt: Attempt) -> None:
        """Queue one attempt."""
        self._waiting.append(attempt)

    def collect(self, timeout: float) -> list[tuple[Attempt, Outcome | Lost]]:
        """Run what is queued; takes as long as it takes."""
        if not self._waiting:
            time.sleep(timeout)
            return []
        attempt = self._waiting.popleft()
        return [(attempt, self._worker.run(attempt.task, attempt.number))]

    def close(self) -> None:
        """Nothing was started."""


class RayExecutor:
    """A pool of Ray actors, on this machine or on a running cluster.

    Actors join as they start, so that a cluster may grow while it works. A lost actor is restarted by Ray, but its
    calls are not retried by Ray (they could hang for good after a node death): the driver gets them back and decides.

    Raises
    ------
    InvalidInput
        If the cluster cannot be reached or has not the resources asked for.
    """

    def __init__(self, compute: Compute, setup: WorkerSetup, memory: int) -> None:
        # Ray reads these when it is imported; a user's own choice stands.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self._ray: Any = ray
        self._actors: list[Any] = []
        self._started = not ray.is_initialized()
        if self._started:
            start_ray(ray, compute)
        try:
            device, count, share = _placement(_resources(ray, compute), compute, setup.device, memory)
        except InvalidInput:
            self.close()
            raise
        self._resources = {"num_cpus": 1, "num_gpus": share}
        # Workers have a working directory of their own.
        path = local_path(setup.location)
        location = setup.location if path is None else str(path.absolute())
        self._setup = setup._replace(location=location, device=device, gpu_share=share)
        self._count = count
        self._load: dict[int, int] = {}  # calls in flight of each actor that is there
        self._invited: dict[Any, int] = {}  # actors that are not there yet, or not again
        self._refusals = [0] * count
        self._flying: dict[Any, tuple[Attempt, int]] = {}

    def has_room(self) -> bool:
        """Whether an actor that is there has fewer calls in flight than it may."""
        if not self._actors:
            # Not before there is work: the store they open may not exist when the cluster is asked what it has.
            remote = self._ray.remote(**self._resources, max_restarts=-1, max_task_retries=0)(Worker)
            self._actors = [remote.remote(self._setup) for _ in range(self._count)]
            for actor in range(self._count):
                self._invite(actor)
        return min(self._load.values(), default=CALLS_IN_FLIGHT) < CALLS_IN_FLIGHT

    def submit(self, attempt: Attempt) -> None:
        """Send an attempt to the actor with the least to do."""
        actor = min(self._load, key=self._load.__getitem__)
        call = self._actors[actor].run.remote(attempt.task, attempt.number)
        self._load[actor] += 1
        self._flying[call] = attempt, actor

    def collect(self, timeout: float) -> list[tuple[Attempt, Outcome | Lost]]:
        """Wait for the first outcomes and take every one that is ready; let actors join.

        Raises
        ------
        InvalidInput
            If no actor can start.
        """
        awaited = [*self._flying, *self._invited]
        if not awaited:
            time.sleep(timeout)
            return []
        ready, _ = self._ray.wait(awaited, num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(awaited, num_returns=len(awaited), timeout=0)
        outcomes: list[tuple[Attempt, Outcome | Lost]] = []
        lost = (self._ray.exceptions.ActorDiedError, self._ray.exceptions.ActorUnavailableError)
        for call in ready:
            if call in self._invited:
                self._welcome(call, lost)
                continue
            attempt, actor = self._flying.pop(call)
            if actor in self._load:
                self._load[actor] -= 1
            try:
                outcomes.append((attempt, self._ray.get(call)))
            except lost as error:
                outcomes.append((attempt, Lost(_last_line(error))))
                if self._load.pop(actor, None) is not None:
                    self._invite(actor)  # Ray restarts it, perhaps elsewhere; nothing is sent there before
        return outcomes

    def _invite(self, actor: int) -> None:
        self._invited[self._actors[actor].__ray_ready__.remote()] = actor

    def _welcome(self, call: Any, lost: tuple[type[Exception], ...]) -> None:
        actor = self._invited.pop(call)
        try:
            self._ray.get(call)
        except lost as error:
            self._refusals[actor] += 1
            if self._refusals[actor] < REFUSALS:
                time.sleep(POLL_RESTART_SECONDS)
                self._invite(actor)
            elif not self._load and not self._invited:
                raise InvalidInput("compute", "ray", f"no worker can start: {_last_line(error)}") from None
        else:
            self._load[actor] = 0
            self._refusals[actor] = 0

    def close(self) -> None:
        """End the actors, and Ray if this executor started it."""
        for actor in self._actors:
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]  # the cause, where there is a trace before it


def start_ray(ray: Any, compute: Compute) -> None:
    """Start Ray on this machine, or join the cluster asked for.

    Parameters
    ----------
    ray : module
        Imported by the caller, since that takes as long as many a request.
    compute : Compute
        What was asked for.

    Raises
    ------
    InvalidInput
        If no cluster answers.
    """
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    here = {
        "address": "local",  # else Ray would join whatever cluster it finds on this machine
        "num_cpus": worker_count(compute),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
    try:
        with keep_answer_to_sigterm():  # Ray's own prints a trace of its C++ and leaves the store's lock
            ray.init(**(here if compute.address is None else {"address": compute.address}), **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        if compute.address is None:
            raise
        reason = str(error).splitlines()[0]
        remedy = f"no Ray cluster answers ({reason}); start one, or use compute=local"
        raise InvalidInput("compute.address", compute.address, remedy) from None


def _resources(ray: Any, compute: Compute) -> dict[str, float]:
    """What the cluster has and, where workers were asked for by number, what its autoscaler may add."""
    present = dict(ray.cluster_resources())
    if not (compute.joins_cluster and compute.workers):
        return present
    from ray._private.state import state

    reachable = state.get_max_resources_from_cluster_config() or {}
    return {name: max(present.get(name, 0.0), reachable.get(name, 0.0)) for name in {*present, *reachable}}


def gpu_share(compute: Compute, memory: int) -> float:
    """Choose the share of a GPU that a worker reserves.

    Parameters
    ----------
    compute : Compute
        What was asked for.
    memory : int
        Bytes of the device's memory that the largest task needs.

    Returns
    -------
    float
    """
    if compute.gpus_per_worker is not None:
        return compute.gpus_per_worker
    if compute.joins_cluster:
        return 1.0
    _, total = backend.gpu_memory()
    return 1 / max(1, int(SHARE_OF_MEMORY * total / (memory + GPU_CONTEXT_BYTES)))


def _placement(resources: dict[str, float], compute: Compute, device: str, memory: int) -> tuple[str, int, float]:
    """Choose the device, the number of actors and each one's share of a GPU, from what the cluster says it has."""
    cores, gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
    if compute.joins_cluster:
        device = "gpu" if compute.device == "gpu" or (compute.device == "auto" and gpus > 0) else "cpu"
    if device == "gpu":
        require_gpus(gpus, compute)
    if cores < 1:
        remedy = "the cluster has no node with a core; say how many workers it should grow to, or add a node"
        raise InvalidInput("compute.workers", compute.workers, remedy)
    share, possible = 0.0, cores
    if device == "gpu":
        share = gpu_share(compute, memory)
        if compute.gpus_per_worker is None:
            share = max(share, gpus / cores)  # no smaller than the cores can fill
        share = math.floor(share * RAY_RESOLUTION) / RAY_RESOLUTION
        possible = min(cores, int(gpus / share))
    if compute.workers is not None and compute.workers > possible:
        raise InvalidInput(
            "compute.workers", compute.workers, f"the cluster has room for {possible}; use that many or null"
        )
    count = compute.workers or possible
    if compute.address is None and device == "cpu":
        count = min(count, max(1, int(SHARE_OF_MEMORY * memory_limit() / memory)))
    return device, count, share
