"""What this process may take of its machine: memory and cores, where a container allows less than there is."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from sedyn.arrays import backend

__all__ = ["SHARE_OF_MEMORY", "available_cores", "memory_limit", "room"]

SHARE_OF_MEMORY = 0.8  # of a machine's or a GPU's, that may be planned for


@cache
def memory_limit(root: Path = Path("/")) -> int:
    """Bytes of memory this process may count on: the machine's, or less where a control group or `ulimit` says so.

    Parameters
    ----------
    root : path, optional
        Where the system's files are.

    Returns
    -------
    int
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for group in _control_groups("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):  # of version 2 and of version 1
            limits += [int(word) for word in _words(group / name) if word.isdigit()]
    limits += [
        limit for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA) if (limit := resource.getrlimit(kind)[0]) > 0
    ]
    return min(limits)


@cache
def available_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: fewer than there are where it is bound to some, or given a share of their time.

    Parameters
    ----------
    root : path, optional
        Where the system's files are.

    Returns
    -------
    int
        At least 1; a share of a core counts as one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for group in _control_groups("cpu", root):
        version_1 = [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")]
        for words in (_words(group / "cpu.max"), version_1):
            if len(words) == 2 and all(word.isdigit() for word in words):  # no "max", no -1
                cores = min(cores, max(1, math.ceil(int(words[0]) / int(words[1]))))
    return cores


def room(device: str) -> float:
    """Bytes of a device's memory that may be planned for."""
    return SHARE_OF_MEMORY * (backend.gpu_memory()[1] if device == "gpu" else memory_limit())


def _control_groups(controller: str, root: Path) -> Iterator[Path]:
    """Folders of the control groups that this process is in, each inside the next, of versions 1 and 2.

    Each limits what is inside. A container sees its own group as the outermost one, or under the path that it has on
    its host.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:  # no Linux
        return
    own: dict[str, str] = {}  # path of the group, by controller; version 2 has one for all of them
    for line in memberships:
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    for line in mounts:
        place, _, kind = line.partition(" - ")
        outermost, folder = place.split()[3:5]
        version, _, options = kind.split()[:3]
        name = {"cgroup2": "", "cgroup": controller}.get(version)
        if name is None or name not in own or (name and name not in options.split(",")):
            continue
        group = PurePosixPath(own[name])
        inside = group.relative_to(outermost) if group.is_relative_to(outermost) else PurePosixPath()
        yield from (root / folder.lstrip("/") / path for path in (inside, *inside.parents))


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
