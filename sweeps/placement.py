"""Where workers have room on a Ray cluster: on how many cores, or on what share of which GPUs."""

from __future__ import annotations

import math
from typing import Any

from sedyn.arrays import backend
from sedyn.arrays.machine import SHARE_OF_MEMORY, memory_limit
from sedyn.errors import InvalidInput
from sweeps.compute import Compute, require_gpus
from sweeps.cost import GPU_CONTEXT_BYTES

__all__ = ["place", "resources_of"]

RAY_RESOLUTION = 10_000  # parts of a GPU that Ray can tell apart


def resources_of(ray: Any, compute: Compute) -> dict[str, float]:
    """What the cluster has or, where workers were asked for by number, as much as they need if that is more.

    How far an autoscaler may go Ray does not say; a cluster that never has so much works with what it has.

    Parameters
    ----------
    ray : module
        Ray, of a session that has begun.
    compute : Compute
        What was asked for.

    Returns
    -------
    dict
        Amounts, by Ray's names of resources.
    """
    present = dict(ray.cluster_resources())
    if compute.joins_cluster and compute.workers:
        needed = {"CPU": float(compute.workers)}
        if compute.device == "gpu":
            needed["GPU"] = compute.workers * (compute.gpus_per_worker or 1.0)
        present |= {name: max(present.get(name, 0.0), count) for name, count in needed.items()}
    return present


def place(resources: dict[str, float], compute: Compute, device: str, memory: int) -> tuple[str, int, float]:
    """Choose the device, the number of actors and each one's share of a GPU, from what the cluster says it has.

    Parameters
    ----------
    resources : dict
        Amounts, by Ray's names.
    compute : Compute
        What was asked for.
    device : {'cpu', 'gpu'}
        That of this machine, which counts where no cluster is joined.
    memory : int
        Bytes of the device's memory that the largest task needs.

    Returns
    -------
    device : {'cpu', 'gpu'}
    count : int
    share : float
        0 on a CPU.

    Raises
    ------
    InvalidInput
        If there is no room for what was asked for.
    """
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
        share = _gpu_share(compute, memory)
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


def _gpu_share(compute: Compute, memory: int) -> float:
    """Choose the share of a GPU that a worker reserves."""
    if compute.gpus_per_worker is not None:
        return compute.gpus_per_worker
    if compute.joins_cluster:
        return 1.0
    _, total = backend.gpu_memory()
    return 1 / max(1, int(SHARE_OF_MEMORY * total / (memory + GPU_CONTEXT_BYTES)))
