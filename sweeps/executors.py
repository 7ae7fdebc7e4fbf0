"""Where tasks run: in this process, on Ray actors, or in jobs of Slurm; the driver sees one small interface."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import Any

from sedyn.errors import InvalidInput
from sweeps.attempts import Attempt, Executor, Lost
from sweeps.compute import Compute
from sweeps.location import local_path
from sweeps.placement import place, resources_of
from sweeps.sessions import Session
from sweeps.sharing import Sharing
from sweeps.slurm.executor import SlurmExecutor
from sweeps.worker import Outcome, Worker, WorkerSetup

__all__ = ["InlineExecutor", "RayExecutor", "make_executor"]

CALLS_IN_FLIGHT = 2  # per actor: one runs, one waits, so that no actor idles while the driver answers
REFUSALS = 3  # of an actor in a row; then it is given up
POLL_RESTART_SECONDS = 0.1
_REFUSAL = f"{InvalidInput.__name__}: "  # in a line that ends a trace
NOTICE_SECONDS = 10.0  # without a worker; then it is said what is missing
LOOK_SECONDS = 2.0  # between looks at the other sweeps of a cluster


def make_executor(compute: Compute, setup: WorkerSetup, memory: int, session: Session | None = None) -> Executor:
    """Start the executor that `compute` asks for.

    Parameters
    ----------
    compute : Compute
        What was asked for.
    setup : WorkerSetup
        What the workers are told; a cluster may change the device, which only it knows.
    memory : int
        Bytes of the device's memory that the largest task needs.
    session : Session, optional
        Of Ray, where one has been begun; the executor ends it.
    """
    if compute.executor == "slurm":
        return SlurmExecutor(compute, setup)
    return InlineExecutor(setup) if compute.executor == "inline" else RayExecutor(compute, setup, memory, session)


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

    def hindrance(self) -> str:
        """Nothing ever."""
        return ""

    def workers(self) -> int:
        """One, this process."""
        return 1

    def end(self) -> None:
        """Nothing was started."""

    close = end


class RayExecutor:
    """A pool of Ray actors, on this machine or on a running cluster.

    Actors join as they start, so that a cluster may grow while it works. One that is lost gives its calls back, and the
    driver decides; another one takes its place. Ray itself restarts nothing: it would for ever, and say nothing. Where
    other sweeps are on the cluster, actors beyond this one's part go when their calls have come back, and come again
    when there is room for them.

    Parameters
    ----------
    compute : Compute
        What was asked for.
    setup : WorkerSetup
        What the workers are told.
    memory : int
        Bytes of the device's memory that the largest task needs.
    session : Session, optional
        That has been begun; one of its own unless given.

    Raises
    ------
    InvalidInput
        If the cluster cannot be reached or has not the resources asked for.
    SessionLost
        If Ray does not start.
    """

    def __init__(self, compute: Compute, setup: WorkerSetup, memory: int, session: Session | None = None) -> None:
        self._session = Session(compute) if session is None else session
        self._actors: list[Any] = []
        try:
            ray = self._ray = self._session.ray
            device, count, share = place(resources_of(ray, compute), compute, setup.device, memory)
        except BaseException:
            self.close()
            raise
        self._resources = {"num_cpus": 1, "num_gpus": share}
        # Workers have a working directory of their own.
        path = local_path(setup.location)
        location = setup.location if path is None else str(path.absolute())
        self._setup = setup._replace(location=location, device=device, gpu_share=share)
        self._count = count
        self._load: dict[int, int] = {}  # calls in flight of each actor that is there
        self._invited: dict[Any, int] = {}  # actors that are not there yet
        self._vacant: set[int] = set()  # actors that are gone, and not invited again yet
        self._leaving: set[int] = set()  # actors that get no more calls, since other sweeps need their places
        self._resting: set[int] = set()  # actors that have left
        self._sharing, self._looked = Sharing(ray, share), time.monotonic()
        self._refusals = [0] * count
        self._given_up: dict[int, str] = {}  # actors that do not start, and why
        self._begun = time.monotonic()
        self._flying: dict[Any, tuple[Attempt, int]] = {}

    def has_room(self) -> bool:
        """Whether an actor that is there has fewer calls in flight than it may."""
        if not self._actors:
            # Not before there is work: the store they open may not exist when the cluster is asked what it has.
            self._actors, self._begun = [None] * self._count, time.monotonic()
            for actor in range(self._count):
                self._invite(actor)
        return min((self._load[actor] for actor in self._staying()), default=CALLS_IN_FLIGHT) < CALLS_IN_FLIGHT

    def submit(self, attempt: Attempt) -> None:
        """Send an attempt to the actor with the least to do."""
        actor = min(self._staying(), key=self._load.__getitem__)
        call = self._actors[actor].run.remote(attempt.task, attempt.number)
        self._load[actor] += 1
        self._flying[call] = attempt, actor

    def workers(self) -> int:
        """Count the actors that are there."""
        return len(self._load)

    def hindrance(self) -> str:
        """Say which workers cannot start or are left to other sweeps, or what a cluster lacks; empty otherwise."""
        if self._given_up:
            return f"{len(self._given_up)} of {self._count} workers cannot start: {next(iter(self._given_up.values()))}"
        if self._resting and self._sharing.others:
            kept, sweeps = self._count - len(self._resting), self._sharing.others + 1
            return f"{kept} of {self._count} workers, for {sweeps} sweeps share the cluster"
        if self._load or not self._invited or time.monotonic() - self._begun < NOTICE_SECONDS:
            return ""
        gpus = self._resources["num_gpus"]
        kind, needed = ("GPU", gpus * self._count) if gpus else ("CPU", self._count)
        free, there = (each().get(kind, 0.0) for each in (self._ray.available_resources, self._ray.cluster_resources))
        if free >= needed:
            return f"waiting for {self._count} workers to start"
        what = "GPUs" if gpus else "cores"
        return f"waiting for {needed:g} {what}: {free:g} of the {there:g} that Ray has are free"

    def collect(self, timeout: float) -> list[tuple[Attempt, Outcome | Lost]]:
        """Wait for the first outcomes and take every one that is ready; let actors join.

        Raises
        ------
        InvalidInput
            If no actor can start.
        SessionLost
            If Ray has ended.
        OSError
            If a worker cannot reach the store.
        """
        self._session.check()
        if self._vacant and self._session.answers():
            for actor in self._vacant:
                self._invite(actor)
            self._vacant.clear()
        self._keep_to_part()
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
            try:
                outcomes.append((attempt, self._ray.get(call)))
            except lost as error:
                outcomes.append((attempt, Lost(_reason(error))))
                if self._load.pop(actor, None) is not None:
                    self._ray.kill(self._actors[actor])  # if it only seemed lost, it must not go on
            except self._ray.exceptions.RayTaskError as error:
                raise OSError(_reason(error)) from None  # a task that fails says so in its outcome
            if actor in self._load:
                self._load[actor] -= 1
            elif all(other != actor for _, other in self._flying.values()):
                (self._resting if actor in self._leaving else self._vacant).add(actor)
                self._leaving.discard(actor)
        return outcomes

    def _staying(self) -> list[int]:
        """Actors that are there and get calls."""
        return [actor for actor in self._load if actor not in self._leaving]

    def _keep_to_part(self) -> None:
        """Let go the actors beyond this sweep's part of the cluster, or ask for those that are missing."""
        for actor in [actor for actor in self._leaving if self._load.get(actor) == 0]:
            self._rest(actor)
            del self._load[actor]
            self._leaving.discard(actor)
        if not self._load or time.monotonic() - self._looked < LOOK_SECONDS or not self._session.answers():
            return
        self._looked = time.monotonic()
        staying = self._staying()
        busy = [actor for actor in staying if self._load[actor]]
        wanted = self._count - len(self._given_up)
        # Whoever is without work when all that there is has been sent out is not needed.
        part = self._sharing.part(wanted, needed=len(busy) if len(busy) < len(staying) else wanted)
        missing = part - len(staying) - len(self._invited) - len(self._vacant)
        if len(staying) > part:
            self._leaving.update(sorted(staying, key=self._load.__getitem__)[: len(staying) - part])
            for actor in self._invited.values():  # they would take the places that are given up
                self._rest(actor)
            self._invited.clear()
        while missing > 0 and (self._leaving or self._resting):
            if self._leaving:
                self._leaving.pop()
            else:
                self._invite(self._resting.pop())
            missing -= 1

    def _rest(self, actor: int) -> None:
        self._ray.kill(self._actors[actor])
        self._resting.add(actor)

    def _invite(self, actor: int) -> None:
        """Start an actor; nothing is sent to it before it is ready."""
        remote = self._ray.remote(**self._resources, max_restarts=0, max_task_retries=0)(Worker)
        self._actors[actor] = remote.options(**self._sharing.options()).remote(self._setup)
        self._invited[self._actors[actor].__ray_ready__.remote()] = actor

    def _welcome(self, call: Any, lost: tuple[type[Exception], ...]) -> None:
        actor = self._invited.pop(call)
        try:
            self._ray.get(call)
        except lost as error:
            self._refusals[actor] += 1
            if self._refusals[actor] < REFUSALS and _REFUSAL not in str(error):  # which it would be again
                time.sleep(POLL_RESTART_SECONDS)
                self._vacant.add(actor)
                return
            self._given_up[actor] = reason = _reason(error)
            if not (self._load or self._invited or self._vacant):
                first = f"; each first imports {', '.join(self._setup.imports)}" if self._setup.imports else ""
                raise InvalidInput("compute", "ray", f"no worker can start: {reason}{first}") from None
        else:
            self._load[actor] = 0
            self._refusals[actor] = 0

    def end(self) -> None:
        """Begin to end the actors, and the session if it is its own."""
        for actor in filter(None, self._actors):
            with contextlib.suppress(Exception):  # of a session that is lost
                self._ray.kill(actor)
        self._actors = []
        self._session.end()

    def close(self) -> None:
        """End the actors, and the session if it is its own."""
        self.end()
        self._session.close()


def _reason(error: Exception) -> str:
    """Say in one line why a worker or a call was lost, without the trace before it."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    for line in lines:
        if "exit detail:" in line:
            return f"its process ended ({line.partition('exit detail:')[2].strip().partition('. ')[0].rstrip('.')})"
    last = lines[-1] if lines else type(error).__name__
    return last.rpartition(_REFUSAL)[2]
