"""Threads for the loops that numpy does not run in parallel: as many as the process's BLAS may use, never more.

One limit governs both, so that ``OMP_NUM_THREADS=1`` or `threadpoolctl.threadpool_limits` keeps several processes on
one machine out of each other's way. Results never depend on it: work is cut into parts by its size alone.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import cache
from typing import TypeVar

import numpy as np  # its BLAS must be loaded before threadpoolctl looks
from threadpoolctl import ThreadpoolController

__all__ = ["run_each", "thread_count"]

Item = TypeVar("Item")


@cache
def _blas() -> ThreadpoolController:
    # Finding the libraries takes milliseconds, asking them for their threads does not.
    np.ones((1, 1)) @ np.ones((1, 1))
    return ThreadpoolController().select(user_api="blas")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="sedyn")


def thread_count() -> int:
    """Threads this process may use now: the least limit of its BLAS libraries, and no more than its processors."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([processors, *(library.num_threads for library in _blas().lib_controllers)])


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
    helpers = min(threads, len(queue)) - 1
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

    with _blas().limit(limits=1):
        # A copy of the context carries numpy's error state, which is each thread's own.
        futures = [_pool(helpers).submit(copy_context().run, work) for _ in range(helpers)]
        try:
            work()
        finally:
            wait(futures)
    for future in futures:
        future.result()
