"""What a GPU makes of the card it has: this project beside PyTorch, JAX and a copy, in one run of under four minutes.

For a bare machine with a GPU and ``pip install 'sedyn[gpu]' torch 'jax[cuda12]'``; who is not installed is left out.
Times are of a clock, the median of a few runs after one that compiles. ``--dry`` runs the same on a CPU with small
sizes: it shows that the script works, and what it counts, and its times say nothing about a GPU. Without a GPU and
without ``--dry`` it says so and stops.

    python benchmarks/gpu.py [--dry]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import numpy as np

import sedyn
from sedyn.arrays import backend
from sedyn.arrays.backend import Card
from sedyn.kernels.cuda.descent import bytes_moved, cut, pass_over
from sedyn.kernels.cuda.launch import packed
from sedyn.kernels.cuda.launch import rows as rows_of
from sedyn.kernels.program import form_of, program_with_form
from sedyn.model.architecture import initial_deep_weights, layers_of
from sedyn.model.network import Network

RATE, STEPS, BUDGET = 0.3, 15, 190
PASSES = 20
# Why there is no number, each once.
REASONS: dict[str, None] = {}
# Whose counts a dry run tells.
H100 = Card(architecture=90, shared_memory=227 * 1024)


class Row(NamedTuple):
    """Replicates that run side by side."""

    replicates: int
    n: int
    d: int
    width: int = 3
    depth: int = 3
    dtype: str = "float32"

    @property
    def problem(self) -> sedyn.Problem:
        """What they run."""
        shape = {"n": self.n, "d": self.d, "width": self.width, "depth": self.depth}
        return sedyn.Problem(**shape, steps=STEPS, learning_rate=RATE, noise=0.3)

    @property
    def bytes(self) -> int:
        """Of all designs."""
        return self.replicates * self.n * self.d * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.replicates} x ({self.n} x {self.d}), q {self.width}, L {self.depth}, {self.dtype}"


ROWS = [
    Row(4096, 128, 64),
    Row(4096, 128, 64, dtype="float64"),
    Row(256, 512, 256),
    Row(64, 2048, 1024),
    Row(256, 2048, 1024),
    Row(64, 2048, 1024, dtype="float64"),
    Row(64, 2048, 1024, width=8),
    Row(64, 2048, 1024, width=16),
    Row(1, 4096, 4096, width=4, depth=2),
    Row(1, 16384, 16384, width=4, depth=2),
    Row(8, 16384, 4096, width=4, depth=2),
]
DRY_ROWS = [Row(4, 64, 32), Row(2, 128, 64, dtype="float64"), Row(1, 96, 48, width=16)]


class Machine(NamedTuple):
    """Where arrays are: a GPU, or in a dry run the host."""

    device: str
    rounds: int

    @property
    def library(self) -> Any:
        """Of arrays."""
        if self.device == "cpu":
            return np
        import cupy

        return cupy

    def wait(self) -> None:
        """Until all that was launched is done."""
        if self.device == "gpu":
            self.library.cuda.Device().synchronize()

    def seconds(self, run: Callable[[], Any], wait: Callable[[Any], Any] | None = None) -> float:
        """Median time of a run, the first apart."""
        found = []
        for _ in range(1 + self.rounds):
            start = time.perf_counter()
            result = run()
            self.wait() if wait is None else wait(result)
            found.append(time.perf_counter() - start)
        return median(found[1:])

    def normals(self, *shape: int, dtype: str = "float64") -> Any:
        """Standard normals there."""
        if self.device == "cpu":
            return np.random.default_rng(0).standard_normal(shape).astype(dtype)
        return self.library.random.default_rng(0).standard_normal(shape, dtype=dtype)


def copied(machine: Machine) -> float:
    """Bytes a second that a copy moves, both ways."""
    source = machine.normals(2**29 if machine.device == "gpu" else 2**20, dtype="float32")
    target = machine.library.empty_like(source)
    return 2 * source.nbytes / machine.seconds(lambda: machine.library.copyto(target, source))


def drawn(machine: Machine, row: Row) -> tuple[Any, Any, Network]:
    """Designs, weights and networks, on the device."""
    problem, replicates = row.problem, row.replicates
    deep = tuple(
        backend.asarray(np.repeat(each[None], replicates, axis=0), machine.device)
        for each in initial_deep_weights(problem)
    )
    labels = machine.normals(replicates, 1, row.n)
    matrices = machine.normals(replicates, row.n, row.d, dtype=row.dtype)
    return matrices, machine.normals(replicates, row.width, row.d), Network.of(problem, deep, labels)


def one_pass(machine: Machine, row: Row) -> float:
    """Seconds of X w, the network and X^T g, launched as gradient descent launches them, one after another."""
    from sedyn.designs.stacked import StackedDesign

    matrices, weights, network = drawn(machine, row)
    program, own = form_of(network, row.width, "gpu"), None
    if machine.device == "gpu" and program is not None:
        own = pass_over(matrices, row.d**-0.5, program, network, curvature=False)
    if program is None or own is None:
        design = StackedDesign(matrices, row.d**-0.5)
        return machine.seconds(lambda: design.descend(weights, network, curvature=False))
    replicates, width, n, xp = row.replicates, row.width, row.n, machine.library
    y = rows_of(network.labels, network.labels.shape, replicates)
    arrays = weights, None, y, None, packed(network.deep, program, (replicates,), y)
    found = [xp.empty((replicates, *shape)) for shape in ((width, n), (n,), (width, n), (width, row.d))]
    deep = xp.empty((replicates, program.parameters))
    pass_through = own.ready(*arrays, *found[:3], None)

    def some() -> None:
        for _ in range(PASSES):
            pass_through(0, 0, 0)
            own.gather(found[3], deep)

    return machine.seconds(some) / PASSES


def counted(row: Row, card: Card) -> tuple[str, str]:
    """Launches of a pass on a GPU, and bytes that it moves over those of the designs."""
    program = program_with_form(layers_of(row.problem), row.width, "gpu")
    itemsize = np.dtype(row.dtype).itemsize
    own = None if program is None else cut(row.n, row.d, program, itemsize, card)
    if own is None:
        return "two products", "2 and more"
    moved = row.replicates * bytes_moved(row.n, row.d, program, itemsize, own)
    return "2", f"{moved / row.bytes:.3f}"


def simulated(machine: Machine, row: Row, *, estimate: bool) -> float:
    """Seconds of the whole of `sedyn.simulate`: drawing, training, test errors, results as a dataset."""
    how = {"engine": "dense", "device": machine.device, "dtype": row.dtype, "estimate": estimate}
    return machine.seconds(lambda: sedyn.simulate(row.problem, row.replicates, **how))


def descent(xp: Any, x: Any, y: Any, w: Any, deep: list[Any]) -> Any:
    """The lines of anybody: T steps of gradient descent of replicates side by side, in batched products."""
    n, d = x.shape[-2:]
    for _ in range(STEPS):
        h, signals, slopes = xp.matmul(x, w), [], []
        for layer in deep:
            f = xp.tanh(h)
            signals.append(f)
            slopes.append(1 - f * f)
            h = xp.matmul(f, layer)
        pull, gradients = h - y, []
        for layer, f, slope in zip(deep[::-1], signals[::-1], slopes[::-1], strict=True):
            gradients.append(xp.matmul(xp.swapaxes(f, -1, -2), pull) / n)
            pull = xp.matmul(pull, xp.swapaxes(layer, -1, -2)) * slope
        w = w - RATE * d / n * xp.matmul(xp.swapaxes(x, -1, -2), pull)
        deep = [layer - RATE * each for layer, each in zip(deep, gradients[::-1], strict=True)]
    return w


def shapes_of(row: Row) -> list[tuple[int, ...]]:
    """Of designs, labels, weights and deeper weights."""
    layers = [(row.width, row.width)] * (row.depth - 2) + [(row.width, 1)]
    return [(row.n, row.d), (row.n, 1), (row.d, row.width), *layers]


def by_library(machine: Machine, row: Row) -> float:
    """Seconds of the lines by numpy's or cupy's batched products."""
    x, y, w, *deep = (machine.normals(row.replicates, *shape, dtype=row.dtype) for shape in shapes_of(row))
    x /= row.d**0.5
    return machine.seconds(lambda: descent(machine.library, x, y, w, deep))


def by_torch(machine: Machine, row: Row, *, compiled: bool) -> float:
    """Seconds of the lines by PyTorch's batched products, as they are or compiled."""
    import torch

    where = {"device": "cuda" if machine.device == "gpu" else "cpu", "dtype": getattr(torch, row.dtype)}
    x, y, w, *deep = (torch.randn(row.replicates, *shape, **where) for shape in shapes_of(row))
    x /= row.d**0.5

    def lines(*arrays: Any) -> Any:
        return descent(torch, *arrays[:3], list(arrays[3:]))

    run = torch.compile(lines) if compiled else lines
    with torch.no_grad():
        return machine.seconds(
            lambda: run(x, y, w, *deep), lambda _: torch.cuda.synchronize() if machine.device == "gpu" else None
        )


def by_torch_one_by_one(machine: Machine, row: Row) -> float:
    """Seconds of the lines by PyTorch, one replicate after another: so many times one."""
    alone = by_torch(machine, row._replace(replicates=1), compiled=False)
    return alone * row.replicates


def by_jax(machine: Machine, row: Row) -> float:
    """Seconds of the lines by JAX: one replicate's, vmap and jit."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    jax.config.update("jax_enable_x64", row.dtype == "float64")
    keys = jax.random.split(jax.random.key(0), len(shapes_of(row)))
    drawn = zip(keys, shapes_of(row), strict=True)
    x, y, w, *deep = (jax.random.normal(key, (row.replicates, *shape), row.dtype) for key, shape in drawn)
    x = x / row.d**0.5
    run = jax.jit(jax.vmap(lambda *arrays: descent(jax.numpy, *arrays[:3], list(arrays[3:]))))
    return machine.seconds(lambda: run(x, y, w, *deep), jax.block_until_ready)


def attempted(run: Callable[[Row], float], row: Row, name: str) -> float:
    """What a contender takes; NaN if it is not installed or its memory does not do, which is said at the end."""
    try:
        return run(row)
    except Exception as error:  # whatever other people's libraries raise
        REASONS[f"{name}: {type(error).__name__}: {error}".splitlines()[0]] = None
        return float("nan")


def theory(machine: Machine) -> None:
    """Print what a prediction takes."""
    samples, steps = (2**14, 20) if machine.device == "gpu" else (2**8, 5)
    problem = sedyn.Problem(n=2000, d=1000, width=3, depth=3, steps=steps)
    for randomizations in (2, 8):
        how = {"samples": samples, "randomizations": randomizations, "device": machine.device}
        seconds = machine.seconds(lambda: sedyn.state_evolution(problem, **how))  # noqa: B023
        print(f"| theory, {samples} samples, T = {steps}, {randomizations} randomizations | {1e3 * seconds:.1f} ms |")


FIRST_USE = "import sedyn; sedyn.simulate(sedyn.Problem(n=256, d=128, steps=5, width=3, depth=3), 8, device={!r})"


def first_use(machine: Machine) -> None:
    """Print what a process takes on a machine that has compiled nothing yet, and another one after it."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CUPY_CACHE_DIR": folder}
        for name in ("a first process", "a second process"):
            start = time.perf_counter()
            command = [sys.executable, "-c", FIRST_USE.format(machine.device)]
            subprocess.run(command, check=True, env=environment)
            print(f"| {name}, imports included | {time.perf_counter() - start:.1f} s |")


def sweep(machine: Machine) -> None:
    """Print what the quickstart's sweep takes."""
    with tempfile.TemporaryDirectory() as folder:
        words = [f"store={folder}/a.zarr", "report=null", f"compute.device={machine.device}"]
        experiment = "quickstart" if machine.device == "gpu" else "quick/rates"
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "sweeps", f"experiment={experiment}", *words], capture_output=True, text=True
        )
        last = (done.stdout.strip().splitlines() or [""])[-1] if done.returncode == 0 else done.stderr.strip()[-200:]
        print(f"| sweep of {experiment}, the whole command | {time.perf_counter() - start:.1f} s, {last} |")


def passes(machine: Machine, rows: list[Row]) -> None:
    """Print how fast designs are read."""
    card, bandwidth = backend.gpu_card() if machine.device == "gpu" else H100, copied(machine)
    name = backend.device_description(machine.device)
    print(f"{name}: a copy moves {bandwidth / 1e12:.3g} TB/s; {STEPS} steps a run\n")
    print("| replicates side by side | launches a pass | bytes / designs | a pass, ms | TB/s | of a copy |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        seconds = attempted(lambda row: one_pass(machine, row), row, name="a pass")
        speed = row.bytes / seconds
        numbers = f"{1e3 * seconds:.3f} | {speed / 1e12:.3g} | {speed / bandwidth:.0%}"
        print(f"| {row} | {' | '.join(counted(row, card))} | {numbers} |", flush=True)
        backend.free_device_memory(machine.device)


def contest(machine: Machine, rows: list[Row], until: float) -> None:
    """Print what whole runs take, and what others take for their descent alone; who compiles longest comes last."""
    contenders: dict[str, Callable[[Row], float]] = {
        "simulate": lambda row: simulated(machine, row, estimate=False),
        "with estimate": lambda row: simulated(machine, row, estimate=True),
        "batched products": lambda row: by_library(machine, row),
        "torch": lambda row: by_torch(machine, row, compiled=False),
        "loop": lambda row: by_torch_one_by_one(machine, row),
        "jax": lambda row: by_jax(machine, row),
        "torch compiled": lambda row: by_torch(machine, row, compiled=machine.device == "gpu"),
    }
    print("\n| replicates side by side | who | milliseconds of all | runs a second |\n|---|---|---:|---:|")
    for name, contender in contenders.items():
        for row in rows:
            if time.perf_counter() > until:
                print(f"| {row} | {name} | not reached in {BUDGET} s | |")
                continue
            seconds = attempted(contender, row, name=name)
            print(f"| {row} | {name} | {1e3 * seconds:.2f} | {row.replicates / seconds:.0f} |", flush=True)
            backend.free_device_memory(machine.device)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="on the host, small")
    parser.add_argument("--no-sweep", action="store_true", help="leave the quickstart's sweep out")
    asked = parser.parse_args()
    if not asked.dry and (reason := backend.gpu_unusable_because()):
        print(f"no GPU here: {reason}; --dry shows that the script works")
        return
    until, machine = time.perf_counter() + BUDGET, Machine("cpu", 1) if asked.dry else Machine("gpu", 3)
    rows = DRY_ROWS if asked.dry else ROWS
    passes(machine, rows)
    print("\n| else | takes |\n|---|---:|")
    theory(machine)
    first_use(machine)
    if not asked.no_sweep:
        sweep(machine)
    contest(machine, rows, until)
    print("".join(f"\nno number from {reason}" for reason in REASONS))


if __name__ == "__main__":
    main()
