"""Sweeps that share a Ray cluster: each counts the workers of the others and keeps no more than its part.

Workers have names that say whose they are, so that Ray's own list of living actors is all that sweeps tell each other:
no process stands between them, no clocks are compared, and a driver that dies leaves nothing behind.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

__all__ = ["Sharing", "fair_shares"]

NAMESPACE = "sedyn"


def fair_shares(demands: Mapping[str, int], capacity: int) -> dict[str, int]:
    """Give places out one by one, each to the sweep that has the fewest and wants more.

    Parameters
    ----------
    demands : mapping
        How many workers each sweep can use.
    capacity : int
        How many there is room for.

    Returns
    -------
    dict
        How many each gets, the same from the same numbers wherever they are computed. None gets more than it can use.
    """
    shares = dict.fromkeys(sorted(demands), 0)
    for _ in range(min(capacity, sum(demands.values()))):
        wanting = [sweep for sweep in shares if shares[sweep] < demands[sweep]]
        shares[min(wanting, key=shares.__getitem__)] += 1
    return shares


class Sharing:
    """The part that one sweep has in its cluster.

    A sweep's workers are listed from the moment they are asked for, so the others see those that find no place yet.

    Parameters
    ----------
    ray : module
        Ray, of a session that has begun.
    gpus : float
        Share of a GPU that each worker reserves; 0 for workers that compute on a core.

    Attributes
    ----------
    others : int
        Sweeps that had workers of this kind when last looked.
    """

    def __init__(self, ray: Any, gpus: float) -> None:
        self._ray = ray
        self._gpus = Fraction(gpus).limit_denominator(10_000)
        self._sweep = secrets.token_hex(8)
        self._named = 0
        self.others = 0

    def options(self) -> dict[str, str]:
        """Name the next worker, for Ray's ``options``."""
        self._named += 1
        return {"name": f"{self._gpus} {self._sweep} {self._named}", "namespace": NAMESPACE}

    def part(self, wanted: int, needed: int) -> int:
        """Look at the cluster and say how many workers this sweep may have.

        Parameters
        ----------
        wanted : int
            How many it has when it is alone.
        needed : int
            How many have work.

        Returns
        -------
        int
            All that it wants where no other sweep of its kind is there; else its part of what is needed, at least 1.
        """
        there: Counter[tuple[Fraction, str]] = Counter()
        for actor in self._ray.util.list_named_actors(all_namespaces=True):
            if actor["namespace"] == NAMESPACE:
                gpus, sweep, _ = actor["name"].split()
                there[Fraction(gpus), sweep] += 1
        present = self._ray.cluster_resources()
        if self._gpus:
            room = int(Fraction(present.get("GPU", 0.0)) / self._gpus)
        else:  # a worker on a GPU takes a core, too
            room = int(present.get("CPU", 0.0)) - sum(count for (gpus, _), count in there.items() if gpus)
        demands = {
            sweep: -int(-count * gpus // self._gpus) if self._gpus else count  # in workers of this sweep's size
            for (gpus, sweep), count in there.items()
            if bool(gpus) == bool(self._gpus) and sweep != self._sweep
        }
        self.others = len(demands)
        if not demands:
            return wanted
        return max(1, fair_shares({**demands, self._sweep: needed}, room)[self._sweep])
