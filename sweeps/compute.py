"""Where a sweep should compute: what the configuration says, checked before anything is started."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import Any

from sedyn.arrays.backend import gpu_count, resolve_device
from sedyn.arrays.machine import available_cores
from sedyn.checks import DEVICE, listed, number, one_of, optional, text, whole
from sedyn.errors import InvalidInput, require_known
from sedyn.model.fields import check_fields, documented, field

__all__ = ["Compute", "require_gpus", "worker_count"]

MOST_WORKERS = 1024
LEAST_SHARE = 1e-4  # of a GPU, as fine as Ray counts
MOST_CORES = 1024  # of one job
_WALLTIME = re.compile(r"(?:(\d+)-)?(\d{1,2}):(\d\d):(\d\d)")


def _walltime(field: str, value: Any) -> str:
    """Check the time of a job; a number would be minutes to Slurm and seconds to YAML, which reads 1:00:00 as one."""
    if not (isinstance(value, str) and _WALLTIME.fullmatch(value)) or _seconds(value) < 60:
        raise InvalidInput(
            field, value, 'at least a minute, written "HH:MM:SS" or "DAYS-HH:MM:SS", in quotes in a file'
        )
    return value


def _seconds(walltime: str) -> int:
    found = _WALLTIME.fullmatch(walltime)
    assert found is not None, "it was checked"
    days, hours, minutes, seconds = (int(word or 0) for word in found.groups())
    return ((24 * days + hours) * 60 + minutes) * 60 + seconds


@documented
@dataclass(frozen=True)
class Compute:
    """Where a sweep computes; it never changes a number.

    Raises
    ------
    InvalidInput
        If a field is unknown or wrong.
    """

    executor: str = field(
        "ray",
        one_of("ray", "inline", "slurm"),
        "``ray``: Ray's actors; ``inline``: this process; ``slurm``: jobs of Slurm.",
    )
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
    walltime: str = field("01:00:00", _walltime, "Slurm: time of a job, ``HH:MM:SS`` or ``DAYS-HH:MM:SS``.")
    cpus_per_task: int = field(1, whole(1, MOST_CORES), "Slurm: cores of a job, each of which is a worker.")
    partition: str | None = field(
        None, optional(text), "Slurm: partition of the jobs; None is the cluster's own choice."
    )
    account: str | None = field(None, optional(text), "Slurm: account that is charged; None is the user's own.")
    sbatch: tuple[str, ...] = field(
        (), listed(text, "a list of options, as in [--mem-per-cpu=4G]"), "Slurm: further options of ``sbatch``."
    )

    def __post_init__(self) -> None:
        check_fields(self, "compute.")
        if self.executor == "slurm" and self.workers is None:
            remedy = "how many cores of the cluster may work at once; Slurm does not say how many there are for you"
            raise InvalidInput("compute.workers", None, remedy)

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> Compute:
        """Build from names and values, refusing an unknown name."""
        require_known("compute", values, [known.name for known in fields(cls)])
        return cls(**values)

    @property
    def joins_cluster(self) -> bool:
        """Whether the work is done elsewhere, where only the cluster knows what there is."""
        return self.executor == "slurm" or (self.executor == "ray" and self.address is not None)

    @property
    def starts_ray(self) -> bool:
        """Whether a session of Ray is begun on this machine."""
        return self.executor == "ray" and self.address is None

    @property
    def job_seconds(self) -> int:
        """Time of a job of Slurm's."""
        return _seconds(self.walltime)

    @property
    def job_count(self) -> int:
        """Jobs of Slurm's that may run at once: as many as the workers fill."""
        return math.ceil(worker_count(self) / self.cpus_per_task)

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
