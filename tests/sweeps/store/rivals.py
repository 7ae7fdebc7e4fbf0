"""Drivers that start together on one store."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from sedyn.errors import InvalidInput
from sweeps.store import only_driver


class Rivalry(NamedTuple):
    """How it went: most drivers at a time, those still there at the end, how many had their turn, and refusals."""

    most: int
    inside: int
    served: int
    refusals: list[str]


def drive_together(url: str, drivers: int, rounds: int, seconds: float) -> Rivalry:
    """Let so many drivers start at once, round after round, and hold the store for so many seconds."""
    inside, most, served, refusals, lock = 0, 0, 0, [], threading.Lock()
    barrier = threading.Barrier(drivers)

    def drive() -> None:
        nonlocal inside, most, served
        for _ in range(rounds):
            barrier.wait()
            try:
                with only_driver(url) as lease:
                    with lock:
                        inside += 1
                        most, served = max(most, inside), served + 1
                    time.sleep(seconds)
                    lease.require()
                    with lock:
                        inside -= 1
            except InvalidInput as error:
                refusals.append(str(error))

    threads = [threading.Thread(target=drive) for _ in range(drivers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Rivalry(most, inside, served, refusals)
