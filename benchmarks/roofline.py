"""Bytes, operations and launches of each kernel, the time they allow on a GPU and on this CPU, and the time taken here.

    python benchmarks/roofline.py [--quick] [--write]

Prints the tables of results/roofline.md; ``--write`` puts them there. Bytes and launches of what goes through an array
library are counted while it runs, those of compiled kernels come from the arrays they read and write. Times here are
processor time of one thread, which other work on the machine disturbs least, against bandwidth and speed measured the
same way.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from sedyn import Problem
from sedyn.arrays.backend import Card
from sedyn.arrays.points import matched_normals, sobol_uniforms
from sedyn.descent.readout import draw_quadrature, labels_of_points, quadrature_scores, readout_words
from sedyn.designs.deferred import BLOCKS, LAUNCHES, LAUNCHES_EACH, READINGS, DeferredDesign
from sedyn.designs.dense import DenseDesign, dense_design
from sedyn.kernels.cuda import launch
from sedyn.kernels.cuda.descent import bytes_moved, cut
from sedyn.kernels.dispatch import mean_response
from sedyn.kernels.program import program_with_form
from sedyn.model import adjoint
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.features import feature_law
from sedyn.model.network import Network, differentiate
from sedyn.model.seeds import seed_sequence, single_streams

PAGE = Path(__file__).with_name("results") / "roofline.md"
DOUBLE, SINGLE = 8, 4


class Machine(NamedTuple):
    """What bounds a kernel: bytes a second, operations a second by bytes of a number, seconds a launch."""

    bandwidth: float
    speed: dict[int, float]
    launch: float

    def seconds(self, work: Work) -> float:
        """Least time of some work, its traffic and arithmetic side by side, unless launching takes longer."""
        return max(
            work.bytes / self.bandwidth, work.operations / self.speed[work.precision], work.launches * self.launch
        )


class Work(NamedTuple):
    """What a kernel moves and computes; a tanh or the like counts as `FUNCTION` operations."""

    bytes: float
    operations: float
    launches: int
    precision: int = DOUBLE


# Bandwidth: a device copy, measured elsewhere. Speed: the maker's, without tensor cores. Launch: assumed, what an
# operation of cupy takes the interpreter; the device itself needs about half.
H100 = Machine(3.0e12, {DOUBLE: 33.5e12, SINGLE: 67e12}, 5e-6)
CARD = Card(architecture=90, shared_memory=227 * 1024)
FUNCTION = 20
FUNCTIONS = {"tanh", "exp", "log1p", "logaddexp", "erf", "ndtri"}


class Counted(np.ndarray):
    """An array that counts what is done with it: one launch for each operation of the library."""

    work = Work(0, 0, 0)

    @classmethod
    def count(cls, bytes_: float, operations: float) -> None:
        """Add a launch."""
        cls.work = Work(cls.work.bytes + bytes_, cls.work.operations + operations, cls.work.launches + 1)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        plain = [np.asarray(x) for x in inputs]
        targets = {} if out is None else {"out": tuple(np.asarray(x) for x in out)}
        result = np.asarray(getattr(ufunc, method)(*plain, **targets, **kwargs))
        each = 2 * plain[0].shape[-1] if ufunc is np.matmul else FUNCTION if ufunc.__name__ in FUNCTIONS else 1
        size = plain[0].size if method == "reduce" else result.size
        self.count(sum(x.nbytes for x in plain) + result.nbytes, each * size)
        return out[0] if out is not None else result.view(Counted)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.count(2 * np.asarray(value).nbytes, 0)
        super().__setitem__(key, value)


def counted(function: Callable, *arguments: Any) -> Work:
    """Work of a function on arrays, through the library."""

    def convert(argument: Any) -> Any:
        if isinstance(argument, tuple) and not hasattr(argument, "jet"):
            parts = [convert(part) for part in argument]
            return type(argument)(*parts) if hasattr(argument, "_fields") else tuple(parts)
        return argument.view(Counted) if isinstance(argument, np.ndarray) else argument

    Counted.work = Work(0, 0, 0)
    function(*(convert(argument) for argument in arguments))
    return Counted.work


def processor_seconds(function: Callable[[], object], repeats: int) -> float:
    """Least processor time of a call."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return min(taken)


def this_cpu(repeats: int) -> Machine:
    """What one core reads from memory and multiplies."""
    rows = np.ones((4, 2**24))
    bandwidth = rows.nbytes / processor_seconds(lambda: [np.add.reduce(row) for row in rows], repeats)
    speed = {}
    for dtype, size in (("float64", DOUBLE), ("float32", SINGLE)):
        square = np.ones((1500, 1500), dtype)
        speed[size] = 2 * 1500**3 / processor_seconds(lambda square=square: square @ square, repeats)
    return Machine(bandwidth, speed, 0.0)


class Line(NamedTuple):
    """One line of the table."""

    name: str
    on_cpu: Work
    on_gpu: Work
    run: Callable[[], object]


def dense(n: int, itemsize: int) -> list[Line]:
    """One step without its update; a CPU and a GPU's own kernel read the matrix once, a GPU's library twice."""
    q, dtype = 4, f"float{8 * itemsize}"
    design = DenseDesign(np.random.default_rng(0).standard_normal((n, n), "float32").astype(dtype))
    weights = np.ones((q, n))
    problem = Problem(n=64, d=32, width=q, depth=2, activation="tanh", loss="squared")
    network = Network.of(problem, initial_deep_weights(problem), np.ones((1, n)))
    size, operations = n * n * itemsize, 4.0 * n * n * q
    program = program_with_form(network.layers, q, "gpu")
    assert program is not None
    own = cut(n, n, program, itemsize, CARD)
    assert own is not None
    of_cpu, name = Work(size, operations, 0, itemsize), f"dense step, {dtype}, n = d = {n}, q = {q}, L = 2"
    library = Work(2 * size, operations, 8, itemsize)  # two products, four for the network, a copy and a scaling
    kernel = Work(bytes_moved(n, n, program, itemsize, own), operations, 3, itemsize)  # weights joined, and two

    def run() -> object:
        return design.descend(weights, network, curvature=False)

    return [Line(f"{name}: library", of_cpu, library, run), Line(f"{name}: own kernel", of_cpu, kernel, run)]


def generation(n: int) -> Line:
    entries = n * n
    work = Work(entries * SINGLE, entries * 2 * FUNCTION, 1, SINGLE)
    law, stream = feature_law("gaussian"), single_streams("benchmark", 0).features
    return Line(
        f"generation of X, Gaussian, float32, n = d = {n}",
        work,
        work,
        lambda: dense_design(n, n, law, stream, dtype="float32"),
    )


def derivatives(q: int, depth: int, samples: int) -> list[Line]:
    """Loss, gradient and curvature: through the library, and by the kernel that keeps a sample in registers."""
    rng = np.random.default_rng(0)
    h, y = rng.standard_normal((q, samples)), rng.standard_normal((1, samples))
    problem = Problem(n=64, d=32, width=q, depth=depth, activation="tanh", loss="squared")
    deep = initial_deep_weights(problem)
    library = counted(differentiate, h, Network.of(problem, deep, y))
    threads = min(samples, launch.MOST_THREADS)
    sums = sum(matrix.size for matrix in deep) * threads
    once = (q + 1) + (1 + q + q * q)  # h, y; loss, G, D
    kernel = Work(DOUBLE * (once * samples + 2 * sums), library.operations, 4)  # weights joined, kernel, sum, scaling

    def run() -> object:
        return differentiate(h, Network.of(problem, deep, y))

    name = f"derivatives of the network, q = {q}, L = {depth}, N = {samples}"
    return [Line(f"{name}: library", library, library, run), Line(f"{name}: own kernel", library, kernel, run)]


def adjoint_pass(iterations: int, q: int, samples: int) -> list[Line]:
    """One pass of the adjoint: through the library, all samples in a chunk, and by the kernel."""
    rng = np.random.default_rng(0)
    curvatures = rng.standard_normal((iterations, q, q, samples))
    weight_response = np.tril(np.ones((iterations, iterations)), -1)[:, :, None, None] * np.eye(q) / iterations
    with mock.patch.object(adjoint, "SAMPLES_PER_CHUNK", samples):
        library = counted(adjoint.mean_response, curvatures, weight_response)
    numbers = iterations * q * q * samples
    kept = max(1, min(launch.MOST_ITERATIONS, launch.REGISTERS // q**2))
    # D is read once; each Lambda is written, read by the mean and once for each block of earlier iterations.
    readings = sum(iterations - stop for stop in range(iterations - 1, 0, -kept)) * q * q * samples
    products = 2.0 * samples * q**3 * (iterations * (iterations - 1) / 2 + iterations)
    kernel = Work(DOUBLE * (3 * numbers + readings), products, 4)

    def run() -> object:
        return mean_response(curvatures, weight_response)

    cpu = Work(DOUBLE * numbers, products, 0)
    name = f"adjoint pass, t = {iterations}, q = {q}, N = {samples}"
    return [Line(f"{name}: library", cpu, library, run), Line(f"{name}: own kernel", cpu, kernel, run)]


def deferred(n: int, known: int, q: int) -> Line:
    """A product X w when `known` directions have been asked for on each side."""
    design = DeferredDesign(n, n, single_streams("benchmark", 0).features, capacity=known + 20 * q)
    rng = np.random.default_rng(0)
    while design.weights.size < known:
        design.matmul(rng.standard_normal((q, n)))
        design.rmatmul(rng.standard_normal((q, n)))
    bytes_ = DOUBLE * n * (READINGS * known + BLOCKS * q)
    operations = 2.0 * n * q * (READINGS * known + BLOCKS * q) + n * q * 2 * FUNCTION
    work = Work(bytes_, operations, LAUNCHES + LAUNCHES_EACH * q)
    # Each product adds directions; few enough to leave the size as it is.
    return Line(
        f"deferred product, n = d = {n}, {known} directions known, q = {q}",
        work,
        work,
        lambda: design.matmul(rng.standard_normal((q, n))),
    )


def quadrature(n: int) -> Line:
    """Test error of one iteration by quadrature."""
    problem = Problem(n=n, d=n, width=3, depth=3)
    points = draw_quadrature([problem], readout_words(problem, single_streams("benchmark", 0).readout))
    deep_weights = tuple(layer[None] for layer in initial_deep_weights(problem))
    arguments = points, labels_of_points([problem], points, np.eye(1)[None]), np.eye(4)[None], deep_weights
    run = partial(quadrature_scores, problem)
    work = counted(run, *arguments)
    work = work._replace(launches=work.launches + 6)  # choices between arrays and eigenvectors, which are not counted
    _, shifts, count = points.weights.shape
    return Line(f"quadrature of a test error, {shifts} x {count} points, q = 3", work, work, partial(run, *arguments))


def moments(samples: int) -> Line:
    """Uniform to normal points with matched moments."""
    problem = Problem(n=64, d=32, width=3, depth=3, steps=20)
    dimensions = problem.signals + 1 + problem.width * (problem.steps + 1)
    uniforms = sobol_uniforms(seed_sequence("roofline", 0), dimensions, samples)
    size = uniforms.nbytes
    work = Work(8 * size, (4.0 * dimensions + FUNCTION) * uniforms.size, 8)
    return Line(
        f"normal points with matched moments, {dimensions} x {samples}", work, work, lambda: matched_normals(uniforms)
    )


def engineering(value: float) -> str:
    """A number with three digits and a letter for its power of ten."""
    for power, letter in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if value >= 0.9995 * 10**power:
            return f"{value / 10**power:.3g} {letter}"
    return f"{value:.3g} "


def duration(seconds: float) -> str:
    """Seconds with three digits, in a unit that fits."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"


def bound(machine: Machine, work: Work) -> str:
    times = {
        "bytes": work.bytes / machine.bandwidth,
        "arithmetic": work.operations / machine.speed[work.precision],
        "launches": work.launches * machine.launch,
    }
    return max(times, key=lambda name: times[name])


def table(rows: list[Line], cpu: Machine, repeats: int) -> str:
    """One line for each kernel."""
    lines = [
        "| kernel | bytes | operations | launches | H100 at best | bound by | one core expects | takes |",
        "|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    measured: dict[str, float] = {}
    for row in rows:
        kernel, _, form = row.name.partition(": ")
        cells = [
            engineering(row.on_gpu.bytes) + "B",
            engineering(row.on_gpu.operations).strip(),
            str(row.on_gpu.launches),
        ]
        cells += [duration(H100.seconds(row.on_gpu)), bound(H100, row.on_gpu)]
        if kernel in measured:
            cells += ["", ""]
        else:
            measured[kernel] = processor_seconds(row.run, repeats)
            cells += [duration(cpu.seconds(row.on_cpu)), duration(measured[kernel])]
        lines.append(f"| {kernel}{', ' + form if form else ''} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs")
    parser.add_argument("--write", action="store_true", help="put the tables into results/roofline.md")
    options = parser.parse_args()
    n, repeats, few = (512, 1, 2**10) if options.quick else (4096, 5, 2**14)
    cpu = this_cpu(repeats)
    rows = [
        *dense(n, SINGLE),
        *dense(n, DOUBLE),
        generation(n),
        *derivatives(3, 3, few),
        *derivatives(4, 3, 64 * few),
        *adjoint_pass(20, 3, few),
        *adjoint_pass(20 if options.quick else 100, 4, few),
        deferred(25 * n, 40, 4),
        moments(few),
        quadrature(few),
    ]
    text = (
        f"One core here reads {engineering(cpu.bandwidth)}B/s and multiplies large matrices at "
        f"{engineering(cpu.speed[DOUBLE])}flop/s ({engineering(cpu.speed[SINGLE])}flop/s in single precision).\n\n"
        f"{table(rows, cpu, repeats)}"
    )
    print(text)
    if options.write:
        before, _, rest = PAGE.read_text().partition("<!-- computed -->\n")
        after = rest.partition("<!-- end -->")[2]
        PAGE.write_text(f"{before}<!-- computed -->\n{text}\n<!-- end -->{after}")


if __name__ == "__main__":
    main()
