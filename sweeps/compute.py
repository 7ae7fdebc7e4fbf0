"""Where a sweep should compute: what the configuration says, checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sedyn.arrays.backend import gpu_count, resolve_device
from sedyn.arrays.machine import available_cores
from sedyn.checks import DEVICE, number, one_of, optional, text, whole
from sedyn.errors import InvalidInput, require_known
from sedyn.model.fields import check_fields, documented, field

__all__ = ["Compute", "require_gpus", "worker_count"]

MOST_WORKERS = 1024
LEAST_SHARE = 1e-4  # of a GPU, as fine as Ray counts


@documented
@dataclass(frozen=True)
class Compute:
    """Where a sweep computes; it never changes a number.

    Raises
    ------
    InvalidInput
        If a field is unknown or wrong.
    """

    executor: str = field("ray", one_of("ray", "inline"), "``ray``: Ray's actors; ``inline``: this process.")
    workers: int | None = field(
        None,
        optional(whole(1, MOST_WORKERS, condition="a whole number >= 1, or null for one per core")),
        "Actors; None is one per core (per share of a GPU on GPUs).",
    )
    device: str = field("auto", DEVICE, "What the kernels run on: ``cpu``, ``gpu`` or ``auto``.")
    gpus_per_worker: float | None = field(
        1.0,
        optional(number(f">= {LEAST_SHARE}, or null for as many as memory allows", lambda share: share >= LEAST_SHARE)),
        "Share of a GPU each actor reserves when the device is a GPU; None is as small a share as the predicted memory "
        "of the largest task allows, and a whole GPU on a cluster, whose GPUs the driver cannot ask.",
    )
    address: str | None = field(None, optional(text), "A running Ray cluster to join; None starts Ray on this machine.")

    def __post_init__(self) -> None:
        check_fields(self, "compute.")

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> Compute:
        """Build from names and values, refusing an unknown name."""
        require_known("compute", values, [known.name for known in fields(cls)])
        return cls(**values)

    @property
    def joins_cluster(self) -> bool:
        """Whether the work is done elsewhere, where only the cluster knows what there is."""
        return self.executor == "ray" and self.address is not None

    @property
    def task_device(self) -> str:
        """The device that tasks are planned for: on a cluster, which alone knows what it has, the one asked for."""
        if self.joins_cluster:
            return "gpu" if self.device == "gpu" else "cpu"
        return self.local_device()

    def local_device(self) -> str:
        """Resolve the device for work on this machine.

        Raises
        ------
        InvalidInput
            If a GPU is asked for and not there, or more of it than there is.
        """
        try:
            device = resolve_device(self.device)
        except InvalidInput as error:
            remedy = error.remedy.replace("device=", "compute.device=")
            raise InvalidInput("compute.device", error.value, remedy) from None
        if device == "gpu" and self.executor == "ray":
            require_gpus(gpu_count(), self)
        return device


def worker_count(compute: Compute) -> int:
    """Workers on this machine, the memory they need apart."""
    return 1 if compute.executor == "inline" else compute.workers or available_cores()


def require_gpus(gpus: float, compute: Compute) -> None:
    """Refuse a worker's share of GPUs that is more than there is.

    Parameters
    ----------
    gpus : float
        GPUs that there are.
    compute : Compute
        What was asked for.

    Raises
    ------
    InvalidInput
        Naming what there is.
    """
    if gpus < (compute.gpus_per_worker or 1.0):
        if gpus:
            remedy = f"there is room for {gpus:g} GPUs; use that or less"
            raise InvalidInput("compute.gpus_per_worker", compute.gpus_per_worker, remedy)
        remedy = "the cluster has 0 GPUs; use compute.device=cpu or add a GPU node"
        raise InvalidInput("compute.device", compute.device, remedy)
