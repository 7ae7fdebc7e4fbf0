"""Every kernel on a device, beside the same on one thread with numpy: is this machine fit for work, and how fast.

Inputs are drawn on the host and moved, so that what differs is the arithmetic alone; numbers that a device draws itself
are held to their mean and variance. One list serves the tests, on a pretend device, and `python -m sweeps.doctor`, on
a real one.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import threadpoolctl

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, to_host, to_numpy
from sedyn.arrays.points import matched_normals, sobol_uniforms
from sedyn.arrays.shapes import Float
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.descent.simulation import simulate
from sedyn.designs.deferred import DeferredDesign
from sedyn.designs.dense import DenseDesign, dense_design
from sedyn.designs.protocol import Design
from sedyn.estimate.by_spectrum import BySpectrum
from sedyn.kernels.dispatch import definitions_only, mean_response
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.features import feature_law
from sedyn.model.initialization import initial_weights_and_signals
from sedyn.model.labels import label_noise, labels_of
from sedyn.model.problem import Problem
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.seeds import single_streams
from sedyn.model.update import updates_of
from sedyn.theory.inputs import draw
from sedyn.theory.run import run as run_theory

__all__ = ["TOLERANCE", "Check", "check_kernels", "kernels"]

TOLERANCE = 1e-8  # of differences, relative to the largest entry; iterations enlarge rounding
SAMPLES = 2048
SIDE_BY_SIDE = 300  # training samples of replicates that run side by side
LAWS = ("gaussian", "rademacher", "uniform", "laplace", "student_t(12)", "sparse(0.3)", "exponential")

Results = Mapping[str, np.ndarray]


class Kernel(NamedTuple):
    """A kernel with its inputs.

    Attributes
    ----------
    run : callable
        From a resolved device to named results.
    reference : callable, optional
        The same by numpy alone, where the kernel has code of its own for a CPU.
    """

    run: Callable[[str], Results]
    reference: Callable[[], Results] | None = None


class Check(NamedTuple):
    """How a kernel did on a device.

    Attributes
    ----------
    kernel : str
    seconds : float
        Of a second run, the first having compiled and loaded what it needs.
    reference_seconds : float
        Of a second run with numpy, on one thread.
    difference : float
        Largest, relative to the largest entry of the same array.
    error : str
        Why it did not run; empty if it did.
    """

    kernel: str
    seconds: float
    reference_seconds: float
    difference: float
    error: str = ""

    @property
    def works(self) -> bool:
        """Whether it ran and agrees."""
        return not self.error and self.difference <= TOLERANCE


def kernels(n: int, samples: int = SAMPLES) -> dict[str, Kernel]:
    """List every kernel.

    Parameters
    ----------
    n : int
        Training samples; there are two thirds as many features.
    samples : int, optional
        Samples that averages of the theory are taken over, a power of two.

    Returns
    -------
    dict of str to Kernel
    """
    d = 2 * n // 3
    full = Problem(n=n, d=d, width=3, depth=3, steps=6)
    batches = Problem(
        n=n, d=d, width=2, depth=2, steps=6, batch_fraction=0.5, batching="shuffle", momentum=0.5, weight_decay=0.01,
        loss="logistic", labels="binary", activation="gelu",
    )  # fmt: skip
    kinked = Problem(n=n, d=d, width=2, depth=2, steps=6, signals=2, combine="product", activation="relu")
    classes = Problem(
        n=n, d=d, width=3, depth=3, steps=6, outputs=3, signals=3, labels="classes", loss="softmax", bias="all",
        skip=True, residual=True,
    )  # fmt: skip
    seed, streams = np.random.SeedSequence(0), single_streams("selfcheck", 0)
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((n, d))
    uniforms = sobol_uniforms(seed, 8, samples)
    curvatures = rng.standard_normal((2, 5, 3, 3, samples)) / 3
    curvatures = (curvatures + np.swapaxes(curvatures, -3, -2)) / 2
    weight_response = np.tril(rng.standard_normal((2, 3, 3, 5, 5)), -1)
    weight_response = np.moveaxis(weight_response, (1, 2), (3, 4)) / 3

    def sampling(device: str) -> Results:
        return {"normals": to_numpy(matched_normals(backend.asarray(uniforms, device)))}

    def response(device: str) -> Results:
        moved = backend.asarray(curvatures, device), backend.asarray(weight_response, device)
        return {"mean_response": to_numpy(mean_response(*moved))}

    def theory(problem: Problem) -> Kernel:
        def run(device: str) -> Results:
            return run_theory(problem, draw(problem, samples, seed, device=device), updates_of(problem))

        return Kernel(run)

    def small(problem: Problem) -> Problem:
        return dataclasses.replace(problem, n=SIDE_BY_SIDE, d=2 * SIDE_BY_SIDE // 3)

    def dense(problem: Problem, *, estimate: bool) -> Kernel:
        def run(device: str) -> Results:
            design = DenseDesign(backend.asarray(matrix, device), 1 / math.sqrt(d))
            return _descend(problem, design, device, estimate)

        return Kernel(run, lambda: _descend(problem, PlainDesign(matrix / math.sqrt(d)), "cpu", estimate))

    def side_by_side(problem: Problem, *, estimate: bool) -> Kernel:
        def run(device: str) -> Results:
            found = simulate(problem, 3, engine="dense", device=device, estimate=estimate)
            return {str(name): values.to_numpy() for name, values in found.items()}

        def definition() -> Results:
            with definitions_only():
                return run("cpu")

        return Kernel(run, definition)

    def deferred(device: str) -> Results:
        capacity = full.signals + full.units * (full.steps + 1)
        design = DeferredDesign(n, d, streams.features, device, capacity)
        return _descend(full, design, device, estimate=True)

    def drawing(device: str) -> Results:
        return {
            law: _standardized(dense_design(n, d, feature_law(law), streams.features, device).matrix) for law in LAWS
        }

    return {
        "sampling": Kernel(sampling),
        "normals": Kernel(lambda device: {"normals": to_numpy(streams.noise.normals(samples, device=device))}),
        "drawing features": Kernel(drawing),
        "gradient response (replicates together)": Kernel(response),
        "state evolution": theory(full),
        "state evolution, mini-batches": theory(batches),
        "state evolution, Stein's identity": theory(kinked),
        "state evolution, classes": theory(classes),
        "dense descent": dense(full, estimate=False),
        "dense descent and estimate": dense(full, estimate=True),
        "dense descent and estimate, mini-batches": dense(batches, estimate=True),
        "dense descent and estimate, classes": dense(classes, estimate=True),
        "dense descents side by side": side_by_side(small(full), estimate=False),
        "dense descents side by side and estimates": side_by_side(small(full), estimate=True),
        "dense descents side by side and estimates, mini-batches": side_by_side(small(batches), estimate=True),
        "dense descents side by side, classes": side_by_side(small(classes), estimate=False),
        "deferred descent and estimate": Kernel(deferred),
    }


def _standardized(matrix: Array) -> np.ndarray:
    """Whether mean 0 and variance 1 are within six standard errors: all that numbers drawn elsewhere have in common."""
    entries = to_numpy(matrix).astype(float).ravel()
    powers = np.stack([entries, entries**2])
    errors = np.maximum(powers.std(axis=1) / math.sqrt(entries.size), 1e-12)
    return (np.abs(powers.mean(axis=1) - [0, 1]) < 6 * errors).astype(float)


def check_kernels(device: str, n: int, samples: int = SAMPLES) -> Iterator[Check]:
    """Run every kernel on a device, and with numpy on one thread, and compare.

    Parameters
    ----------
    device : {'cpu', 'gpu'}
        ``cpu`` runs on as many threads as the process may use.
    n, samples : int
        As for `kernels`.

    Yields
    ------
    Check
        For each kernel, as it is done.
    """
    for name, kernel in kernels(n, samples).items():
        with threadpoolctl.threadpool_limits(1):
            expected, reference_seconds = _timed(kernel.reference or partial(kernel.run, "cpu"))
        try:
            with backend.use_device(device):
                found, seconds = _timed(partial(kernel.run, device))
        except Exception as error:  # whatever a device's library raises, the other kernels are still of interest
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            yield Check(name, np.nan, reference_seconds, np.nan, reason)
            continue
        difference = max(_difference(found[part], expected[part]) for part in expected)
        yield Check(name, seconds, reference_seconds, difference)


class PlainDesign(Design):
    """A design in numpy's own products.

    Parameters
    ----------
    matrix : ndarray, shape (n, d)
    """

    def __init__(self, matrix: Float[np.ndarray, "n d"]) -> None:
        self.matrix = matrix

    def matmul(self, weights: Float[Array, "q d"]) -> Float[Array, "q n"]:
        """X w, one product for each of the weights."""
        return weights @ self.matrix.T

    def rmatmul(self, gradients: Float[Array, "q n"]) -> Float[Array, "q d"]:
        """X^T g, one product for each of the gradients."""
        return gradients @ self.matrix


def _descend(problem: Problem, design: Design, device: str, estimate: bool) -> Results:
    """Gradient descent on a design, all else drawn from one seed on the host."""
    rows = problem.units + problem.signals
    streams = single_streams("descent", 1)
    start = initial_weights_and_signals(problem, streams.start.normals(rows, problem.d)[0])
    start = backend.asarray(start, device)
    noise, scales = streams.noise.normals(problem.outputs, problem.n)[0], np.ones(problem.d)
    orders = partial(streams.batches.orders, problem.n)
    drawn = batch_weights(problem, lambda step: orders(step)[0])
    batches = [None if batch is None else backend.asarray(batch, device) for batch in drawn]
    deep = tuple(backend.asarray(weights, device) for weights in initial_deep_weights(problem))
    y = labels_of(
        problem, design.matmul(start[problem.units :, :]), backend.asarray(label_noise(problem, noise), device)
    )
    measure = gauss_quadrature(scales, problem.steps + 1)
    begun = BySpectrum.begin(problem, measure, start) if estimate else None
    data = Data(design, backend.asarray(scales, device), y, start, deep, Batches(lambda: batches), begun)
    *_, last = states(dynamics, problem, data, updates_of(problem))
    return to_host(dynamics.observe(problem, data, last))


def _timed(run: Callable[[], Results]) -> tuple[Results, float]:
    run()
    start = time.perf_counter()
    found = run()  # on the host, so the device has finished
    return found, time.perf_counter() - start


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the largest entry; infinite where only one is finite."""
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape or not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        return np.inf
    there = np.isfinite(expected)
    if not there.any():
        return 0.0
    return float(np.max(np.abs(found[there] - expected[there])) / max(1.0, np.max(np.abs(expected[there]))))
