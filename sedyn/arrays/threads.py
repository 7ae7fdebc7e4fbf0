"""Threads for the loops that numpy does not run in parallel: as many as the process's BLAS may use, never more.

One limit governs both, so that ``OMP_NUM_THREADS=1`` or `threadpoolctl.threadpool_limits` keeps several processes on
one machine out of each other's way. Results never depend on it: work is cut into parts by its size alone.

Threads of the BLAS wait for one another several times in each product, and where other processes want the processors
too, each wait takes as long as a scheduler lets one of them run. So loops of small products keep the BLAS to one thread
(`one_blas_thread`), and those of our own, which wait once a call, share out what is large.

After a pass over a large matrix the caches hold nothing of the interpreter, and each line of it costs a look in memory:
handing work to other threads is kept short, shorter than `concurrent.futures` does it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TypeVar

import numpy as np  # its BLAS must be loaded before threadpoolctl looks
from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread", "run_each", "run_together", "thread_count"]

Item = TypeVar("Item")

# Products of so many multiplications take some milliseconds of one thread.
LARGE_PRODUCT = 2**27

# Threads of our own that may run, where the BLAS is kept to one; None where it is not.
_ours: ContextVar[int | None] = ContextVar("threads of our own", default=None)


class _Job:
    """A call that a helper makes, unless the one who asked for it is done before any helper has begun."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.error: BaseException | None = None
        # A copy of the context carries numpy's error state, which is each thread's own.
        self.context = copy_context()
        self.taken, self.finished = Lock(), Lock()
        self.finished.acquire()

    def run(self) -> None:
        if not self.taken.acquire(blocking=False):
            return
        try:
            self.context.run(self.work)
        except BaseException as error:
            self.error = error
        finally:
            self.finished.release()

    def settle(self) -> BaseException | None:
        """Take it back or wait for its end, and return what it raised."""
        if not self.taken.acquire(blocking=False):
            self.finished.acquire()
        return self.error


class _Helpers:
    """Threads of one process that wait for jobs."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.count, self.growing = 0, Lock()

    def ask(self, jobs: list[_Job]) -> None:
        if self.count < len(jobs):
            with self.growing:
                while self.count < len(jobs):
                    Thread(target=self._work, name=f"sedyn-{self.count}", daemon=True).start()
                    self.count += 1
        for job in jobs:
            self.jobs.put(job)

    def _work(self) -> None:
        while True:
            self.jobs.get().run()


@cache
def _helpers(_process: int) -> _Helpers:
    return _Helpers()


@cache
def _blas() -> ThreadpoolController:
    # Finding the libraries takes milliseconds, asking them for their threads does not.
    np.ones((1, 1)) @ np.ones((1, 1))
    return ThreadpoolController().select(user_api="blas")


def thread_count() -> int:
    """Threads this process may use now: the least limit of its BLAS libraries, and no more than its processors."""
    ours = _ours.get()
    if ours is not None:
        return ours
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([processors, *(library.num_threads for library in _blas().lib_controllers)])


@contextmanager
def one_blas_thread(largest: float = 0) -> Iterator[None]:
    """Keep the BLAS to the calling thread, as long as its products are small; threads of our own stay as many.

    Its sums do not depend then on how many threads it may use.

    Parameters
    ----------
    largest : float, optional
        Multiplications of the largest product within; beyond `LARGE_PRODUCT` nothing is changed.
    """
    if largest > LARGE_PRODUCT:
        yield
        return
    with _threads_of_our_own(thread_count()):
        yield


@contextmanager
def _threads_of_our_own(threads: int) -> Iterator[None]:
    """Keep the BLAS to the calling thread, and those of our own to a number."""
    there = _ours.get()
    token = _ours.set(threads)
    try:
        if there is None:
            with _blas().limit(limits=1):
                yield
        else:
            yield
    finally:
        _ours.reset(token)


def run_together(work: Callable[[], object], threads: int) -> None:
    """Make the same call on several threads, the calling one among them, and wait for all.

    Parameters
    ----------
    work : callable
        Must release the interpreter lock in its heavy part, share the work out among its calls, and not use the BLAS,
        which would start threads of its own in each.
    threads : int
        At most `thread_count`.

    Raises
    ------
    Exception
        The first that a call raised.
    """
    jobs = [_Job(work) for _ in range(threads - 1)]
    _helpers(os.getpid()).ask(jobs)  # a forked process has none of its parent's threads
    try:
        work()
    finally:
        errors = [error for error in [job.settle() for job in jobs] if error is not None]
    if errors:
        raise errors[0]


def run_each(task: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Call a task on every item, on `thread_count` threads, the calling one among them.

    Each calls the BLAS single-threaded, also where there is one item, so that sums are the same with more threads.

    Parameters
    ----------
    task : callable
        Must release the interpreter lock in its heavy part, and write where no other item's task does.
    items : iterable
        Taken in order, each by the next free thread.

    Raises
    ------
    Exception
        The first that a task raised, when all threads have stopped.
    """
    queue, threads = deque(items), thread_count()
    if threads == 1:
        for item in queue:
            task(item)
        return

    def work() -> None:
        while queue:
            try:
                item = queue.popleft()
            except IndexError:  # another thread took the last one
                return
            try:
                task(item)
            except BaseException:
                queue.clear()
                raise

    with _threads_of_our_own(1):
        run_together(work, min(threads, len(queue)))
