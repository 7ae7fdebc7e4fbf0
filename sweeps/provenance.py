"""What computed a result: machine, versions and memory, for the record."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
import zlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from sedyn.arrays.backend import device_description
from sedyn.versions import versions

__all__ = ["Environment", "environment", "git_commit", "peak_memory", "reset_peak_memory"]

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


class Environment(NamedTuple):
    """Where tasks are computed.

    Attributes
    ----------
    code : int
        Follows from the description alone, so that workers agree on it without asking each other.
    description : str
        Device, host, versions and commit, as JSON.
    """

    code: int
    description: str


def environment(device: str, commit: str, code: str = "") -> Environment:
    """Describe this process's machine and software.

    Parameters
    ----------
    device : str
        ``cpu`` or ``gpu``.
    commit : str
        Of this project, as `git_commit` names it where the sweep was started.
    code : str, optional
        Digest of all that computes, see `sweeps.sources`; the settings of a store say what it consists of.

    Returns
    -------
    Environment
    """
    facts = {
        "device": device_description(device),
        "host": platform.node(),
        "commit": commit,
        **({"code": code} if code else {}),
        "python_version": platform.python_version(),
        **versions(),
        **{f"{name}_version": version(name) for name in ("numba", "ray", "xarray", "zarr")},
    }
    description = json.dumps(facts, sort_keys=True)
    return Environment(zlib.crc32(description.encode()), description)


@cache
def git_commit() -> str:
    """Commit of this project's checkout, with ``-modified`` if tracked files differ; empty without one."""
    file = Path(__file__).resolve()
    folder = file.parent
    try:
        _git(folder, "ls-files", "--error-unmatch", file.name)  # else the checkout around an installation would answer
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("-modified" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def reset_peak_memory() -> None:
    """Begin a new measurement of the peak where the system can (Linux)."""
    try:
        _RESET.write_text(_RESET_PEAK)
    except OSError:
        return


def peak_memory() -> int:
    """Most resident memory of this process, in bytes, since the last reset or, without one, since its start."""
    try:
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
