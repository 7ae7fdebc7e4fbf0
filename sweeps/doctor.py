"""Whether this machine can run sweeps, and how fast: ``sedyn doctor``, or ``python -m sweeps.doctor``."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numba
import scipy.linalg  # noqa: F401 - loads its BLAS, which is listed below
import threadpoolctl

from sedyn.arrays import backend
from sedyn.arrays.machine import available_cores, memory_limit
from sedyn.checks import COUNT
from sedyn.errors import InvalidInput
from sedyn.kernels.cpu.ready import folder_of_compiled, make_ready
from sedyn.selfcheck import check_kernels
from sweeps.application.command import parser_of
from sweeps.compute import Compute
from sweeps.driver import FixedTasks, run_tasks
from sweeps.executors import InlineExecutor
from sweeps.interruption import stoppable
from sweeps.location import local_path
from sweeps.plan import SweepSpec
from sweeps.progress import Progress
from sweeps.schedule import missing_tasks
from sweeps.sessions import Session
from sweeps.store import Store, find_damage, only_driver
from sweeps.terminal import OutputClosed, say
from sweeps.worker import WorkerSetup

__all__ = ["Line", "main"]

GIBIBYTE = 2**30
SAMPLES_OF_PROBLEMS = 3000  # n of the problems that kernels are checked on
LIBRARIES = ("sedyn", "numpy", "scipy", "numba", "xarray", "zarr", "fsspec", "ray", "hydra-core")
GPU_LIBRARIES = ("cupy-cuda12x", "cupy-cuda13x", "cupy")
NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")  # where the driver lists them, whatever else is installed
RAY_SECONDS = 120.0


class Line(NamedTuple):
    """One line of what is printed.

    Attributes
    ----------
    text : str
    works : bool
        False for what is there and does not work; what is not there is no fault.
    """

    text: str
    works: bool = True


def libraries() -> Iterator[Line]:
    """Versions of Python and of the libraries."""
    found = []
    for name in (*LIBRARIES, *GPU_LIBRARIES):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    yield Line(f"Python {platform.python_version()}, {', '.join(found)}")


def machine() -> Iterator[Line]:
    """Cores, memory and threads."""
    yield Line(f"{platform.node()}, {platform.platform()}, {platform.machine()}")
    yield Line(f"{available_cores()} cores, {memory_limit() / GIBIBYTE:.1f} GiB of memory for this process")
    for library in threadpoolctl.threadpool_info():
        name = Path(library["filepath"]).name
        yield Line(f"{library['user_api']} threads: {library['num_threads']} ({library['internal_api']}, {name})")
    yield Line(f"numba threads: {numba.get_num_threads()}")
    limits = {name: os.environ[name] for name in sorted(os.environ) if name.endswith("_NUM_THREADS")}
    given = ", ".join(f"{name}={value}" for name, value in limits.items()) or "none set"
    yield Line(f"limits of threads in the environment: {given}; a worker computes on one thread in any case")


def devices() -> Iterator[Line]:
    """What kernels can run on."""
    yield Line("cpu: usable")
    reason = backend.gpu_unusable_because()
    if reason is None:
        free, total = backend.gpu_memory()
        yield Line(
            f"{backend.device_description('gpu')}: usable, {backend.gpu_count()} in all, "
            f"{free / GIBIBYTE:.1f} of {total / GIBIBYTE:.1f} GiB free"
        )
    elif NVIDIA_GPUS.is_dir() and any(NVIDIA_GPUS.iterdir()):
        yield Line(f"gpu: there is one, but {reason}", works=False)
    else:
        yield Line(f"gpu: none found; {reason}; sweeps run on the CPU (compute.device=auto or cpu)")


def ray_starts() -> Iterator[Line]:
    """Whether Ray starts, what it has, and whether its workers find this project."""
    start = time.perf_counter()
    with closing(Session(Compute())) as session:
        ray = session.ray
        resources = ray.cluster_resources()
        shown = ", ".join(f"{name} {resources[name]:g}" for name in ("CPU", "GPU") if name in resources)
        yield Line(f"ready in {time.perf_counter() - start:.1f} s: {shown}")
        start = time.perf_counter()
        reason = ray.get(ray.remote(backend.gpu_unusable_because).remote(), timeout=RAY_SECONDS)
        here = "without a GPU" if reason else "with a GPU"
        yield Line(f"a worker answers in {time.perf_counter() - start:.1f} s, {here}")


def store_access(location: str) -> Iterator[Line]:
    """Whether stores can be written, read and renamed at a place, and a small sweep run there."""
    place = f"{location.rstrip('/')}/doctor-{uuid.uuid4().hex[:8]}"
    path = local_path(place)
    steps = _on_disk(path) if path else _behind_url(place)
    made = path is not None and not path.parent.exists()
    try:
        if path:
            path.mkdir(parents=True)
        yield Line(", ".join(f"{name} {_milliseconds(step):.2f} ms" for name, step in steps.items()))
        start = time.perf_counter()
        spec = SweepSpec({"n": 40, "d": 20, "steps": 2}, replicates=2, samples=64, randomizations=2)
        store_at = f"{place}/store.zarr"
        with only_driver(store_at):
            store = Store.prepare(store_at, spec)
            tasks = missing_tasks(store, spec)
            executor = InlineExecutor(WorkerSetup(store_at, "cpu"))
            summary = run_tasks(FixedTasks(tasks), store, executor, Progress(tasks))
        faults = [
            *(failure.error for failure in summary.failures),
            *(fault.reason for fault in find_damage(store).faults),
        ]
        seconds = time.perf_counter() - start
        text = f"a sweep of {len(tasks)} tasks in {seconds:.1f} s: {faults[0] if faults else 'whole'}"
        yield Line(text, works=not faults)
        if path:
            yield Line(f"{shutil.disk_usage(path).free / GIBIBYTE:.1f} GiB free")
    finally:
        _remove(place, path, made)


def kernels(device: str, n: int = SAMPLES_OF_PROBLEMS) -> Iterator[Line]:
    """Every kernel on a device against numpy on one thread.

    Parameters
    ----------
    device : str
        ``cpu`` or ``gpu``.
    n : int
        Samples of the problems that kernels are checked on.
    """
    for check in check_kernels(device, n):
        if check.error:
            yield Line(f"{check.kernel}: {check.error}", works=False)
        else:
            times = f"{check.seconds:.4f} s, numpy {check.reference_seconds:.4f} s"
            text = f"{check.kernel}: differs by {check.difference:.1e}; {times}"
            yield Line(text, works=check.works)


def _on_disk(folder: Path) -> dict[str, Callable[[], object]]:
    first, second = folder / "written", folder / "renamed"
    return {
        "write": lambda: first.write_bytes(b"sedyn"),
        "read": lambda: _require(first.read_bytes() == b"sedyn"),
        "rename": lambda: first.replace(second),
        "delete": second.unlink,
    }


def _behind_url(place: str) -> dict[str, Callable[[], object]]:
    import fsspec

    files, folder = fsspec.core.url_to_fs(place)
    first, second = f"{folder}/written", f"{folder}/renamed"
    return {
        "write": lambda: files.pipe_file(first, b"sedyn"),
        "read": lambda: _require(files.cat_file(first) == b"sedyn"),
        "rename": lambda: files.mv(first, second),
        "delete": lambda: files.rm(second),
    }


def _require(same: bool) -> None:
    if not same:
        raise OSError("what is read is not what was written")


def _remove(place: str, path: Path | None, made: bool) -> None:
    if path is not None:
        shutil.rmtree(path, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        return
    import fsspec

    files, folder = fsspec.core.url_to_fs(place)
    with contextlib.suppress(OSError):
        files.rm(folder, recursive=True)


def _milliseconds(step: Callable[[], object]) -> float:
    start = time.perf_counter()
    step()
    return 1e3 * (time.perf_counter() - start)


def _size(word: str) -> int:
    return COUNT("--size", int(word))


def compiling() -> str:
    """Compile what runs on a CPU need, side by side, and say so; where that cannot be, runs compile for themselves."""
    start, cores = time.perf_counter(), available_cores()
    folder = folder_of_compiled()
    if folder is None:
        return "compiled code cannot be kept on this machine: each process compiles what it calls"
    count = make_ready(cores)
    if count is None:
        return f"what runs need is compiled already, in {folder.parent}"
    return (
        f"compiled {count} functions in {time.perf_counter() - start:.0f} s on {cores} cores, kept in {folder.parent}"
    )


@stoppable("what was found stands above")
def main(arguments: Sequence[str] | None = None) -> int:
    """Print all that matters on a new machine; exit status 0 if all that is there works, 1 otherwise."""
    parser = parser_of("doctor")
    parser.add_argument("--store", default="stores", help="folder or URL that stores shall go to (stores)")
    parser.add_argument("--size", type=_size, default=SAMPLES_OF_PROBLEMS, help="samples of the problems timed (3000)")
    parser.add_argument("--compile", action="store_true", help="only compile what runs need, on all cores")
    options = parser.parse_args(arguments)
    if options.compile:
        say(compiling())
        return 0
    sections: dict[str, Callable[[], Iterator[Line]]] = {
        "libraries": libraries,
        "machine": machine,
        "devices": devices,
        "Ray": ray_starts,
        f"stores in {options.store}": lambda: store_access(options.store),
        "kernels on cpu, all threads": lambda: kernels("cpu", options.size),
    }
    if backend.gpu_unusable_because() is None:
        sections["kernels on gpu"] = lambda: kernels("gpu", options.size)
    faults = 0
    for title, section in sections.items():
        say(f"{title}:")
        try:
            for line in section():
                faults += not line.works
                say(f"  {'' if line.works else 'DOES NOT WORK: '}{line.text}")
        except OutputClosed:
            raise
        except Exception as error:  # whatever is wrong with a machine, the rest is still of interest
            faults += 1
            reason = str(error) if isinstance(error, InvalidInput) else f"{type(error).__name__}: {error}"
            say(f"  DOES NOT WORK: {(reason.splitlines() or [''])[0]}")
    say("all that is there works" if not faults else f"faults: {faults}; see above")
    return 0 if not faults else 1


if __name__ == "__main__":
    sys.exit(main())
