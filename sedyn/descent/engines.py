"""What simulating a problem takes, in time and memory, with each design, and the choice between them.

Every prediction of what kernels take is here; what tasks of a sweep take is for `sweeps` to say from these.
"""

from __future__ import annotations

from typing import NamedTuple

from sedyn.arrays import backend, machine
from sedyn.checks import FLAG, checked, one_of
from sedyn.descent.halves import half_of
from sedyn.descent.readout import FEATURES_PER_BLOCK, fresh_samples
from sedyn.designs import deferred
from sedyn.designs.entries import ENTRIES_PER_DEVICE_DRAW
from sedyn.errors import InvalidInput, require_one_of
from sedyn.kernels.cuda.descent import most_parts
from sedyn.kernels.cuda.launch import adjoint_memory
from sedyn.kernels.program import no_form_because
from sedyn.model.features import feature_law
from sedyn.model.network import numbers_of_further_outputs
from sedyn.model.observables import COMPARED, numbers_in, of_halves, parts_of, simulated
from sedyn.model.problem import A_PROBLEM, Problem

__all__ = [
    "DTYPES",
    "ENGINES",
    "ENOUGH",
    "Choice",
    "choose_engine",
    "memory_needed",
    "replicates_that_fit",
    "replicates_together",
    "require_results_memory",
    "stacks",
]

ENGINES = ("dense", "deferred")
DTYPES = ("float64", "float32")  # that a dense design is stored in
# Nanoseconds on one core (2 GHz, AVX-512, double precision), as benchmarks/gradient_descent.py measures them: to draw
# an entry of a dense design; for one pass over it forward and backward, for each tile of four units (in single
# precision half of that); and with the deferred design, for each of n + d rows and each tile, for each direction known
# and for each step.
DRAWN, PASSED, KNOWN, FRESH = 5.5, 0.4, 3.0, 8.0
# Seconds of a step that do not depend on its size, a replicate's among others. The last number and the one before were
# chosen so that the faster engine is, on a processor with AVX2 too (benchmarks/results/replicates.md).
STEP = {"dense": 0.012e-3, "deferred": 0.075e-3}
# A GPU's bytes a second, about what passes move on an H200 (benchmarks/results/gpu.md); and launches, assumed.
GPU_BYTES, GPU_LAUNCHES = 3e12, 2e5
# What half a step launches with a dense design, and how often a step reads it: by a kernel of its own, and by products.
BY_KERNEL, BY_PRODUCTS = (1, 1), (4, 2)
TILE = 4
DOUBLE = 8
# Of a device's free memory: allocation in blocks, and libraries that take workspace of their own.
MARGIN = 0.1
# What replicates that run side by side on a CPU take together: it should stay in cache. Measured.
STACK_BYTES = 2**26
# Replicates on a GPU: kernels count them by CUDA's grid.y, which ends there.
MOST_ON_A_GPU = 2**16 - 1
# Replicates on a CPU whose calls are shared enough: among more each takes about as long. Measured.
ENOUGH = 16


class Choice(NamedTuple):
    """An engine and why it was chosen.

    Attributes
    ----------
    engine : str
    reason : str
        It also says so where kernels leave the network to array operations, and why.
    """

    engine: str
    reason: str


@checked(
    problem=A_PROBLEM,
    engine=one_of("auto", *ENGINES),
    dtype=one_of(*DTYPES),
    estimate=FLAG,
    device=one_of("cpu", "gpu"),
)
def memory_needed(
    problem: Problem, engine: str = "auto", *, dtype: str = "float64", estimate: bool = True, device: str = "cpu"
) -> int:
    """Bytes that simulating one replicate takes at its peak, on a GPU of its memory.

    Parameters
    ----------
    problem : Problem
    engine : {'auto', 'dense', 'deferred'}, optional
    dtype, estimate : optional
        As for `sedyn.simulate`.
    device : {'cpu', 'gpu'}, optional

    Returns
    -------
    int

    Raises
    ------
    InvalidInput
        If an argument is out of range, and as for `choose_engine`.
    """
    if len(candidates := _candidates(problem, engine)) > 1:
        candidates = (choose_engine(problem, engine, dtype=dtype, estimate=estimate, device=device).engine,)
    return _bytes(problem, candidates[0], dtype, estimate, device)


def require_results_memory(
    problem: Problem, replicates: int, field: str = "replicates", *, halves: bool = False
) -> None:
    """Refuse more replicates at a time than a process has memory for their results.

    Parameters
    ----------
    problem : Problem
    replicates : int
    field : str, optional
        What the message calls their number.
    halves : bool, optional
        As for `sedyn.simulate`.

    Raises
    ------
    InvalidInput
        Naming how many there is room for.
    """
    found = simulated(parts_of(problem))
    found = found | COMPARED | (of_halves(found) if halves else {})
    each, there = 2 * DOUBLE * numbers_in(problem, found), machine.room("cpu")
    if replicates * each > there:
        needs = f"their results take {replicates * each / 1e9:.3g} GB of {there / 1e9:.3g} GB"
        raise InvalidInput(field, replicates, f"{needs}; take {int(there // each)} or fewer at a time")


def replicates_that_fit(free: int, needed: int) -> int:
    """Replicates that fit side by side in the free memory of a device, at least one; a tenth is left as a margin.

    Parameters
    ----------
    free : int
        Bytes, see `sedyn.arrays.backend.gpu_memory`.
    needed : int
        Bytes that one replicate takes, see `memory_needed`.

    Returns
    -------
    int
    """
    return max(1, int((1 - MARGIN) * free) // needed)


def predicted_seconds(
    problem: Problem, engine: str, *, device: str = "cpu", dtype: str = "float64", replicates: int = 1
) -> float:
    """Time of the design's part in replicates on one core, or side by side on a GPU; a guide, not a promise.

    Parameters
    ----------
    problem : Problem
    engine : {'dense', 'deferred'}
    device : {'cpu', 'gpu'}, optional
    dtype : {'float64', 'float32'}, optional
    replicates : int, optional
        On a GPU they share their launches.

    Returns
    -------
    float
        Seconds.
    """
    n, d, steps = problem.n, problem.d, problem.steps
    if device == "gpu":
        launches, readings = BY_KERNEL if no_form_because(problem, device) is None else BY_PRODUCTS
        if engine == "dense":  # written once
            moved = n * d * problem.feature_law.bytes_per_entry(dtype, device) * (1 + readings * (steps + 1))
        else:
            known = problem.units * steps * (steps + 1) / 2
            moved = DOUBLE * (n + d) * (deferred.READINGS * known + deferred.BLOCKS * problem.units * (steps + 1))
            launches = deferred.LAUNCHES + deferred.LAUNCHES_EACH * problem.units
        return max(replicates * moved / GPU_BYTES, 2 * (steps + 1) * launches / GPU_LAUNCHES)
    return replicates * _seconds_on_a_core(problem, engine, dtype)


def _seconds_on_a_core(problem: Problem, engine: str, dtype: str) -> float:
    n, d, steps = problem.n, problem.d, problem.steps
    tiles = -(-problem.units // TILE)
    overhead = (steps + 1) * STEP[engine]
    passed = PASSED * feature_law("gaussian").bytes_per_entry(dtype) / DOUBLE
    if engine == "dense":
        if problem.features != "gaussian":  # fresh samples, which meet the weights of all steps at once, forward only
            unit_tiles = -(-problem.units * (steps + 1) // TILE)
            overhead += 1e-9 * fresh_samples(problem) * d * (DRAWN + passed / 2 * unit_tiles)
        return overhead + 1e-9 * n * d * (DRAWN + passed * tiles * (steps + 1))
    directions = problem.units * steps * (steps + 1) / 2
    return overhead + 1e-9 * (n + d) * (FRESH * (steps + 1) * tiles + KNOWN * directions * tiles)


def stacks(problem: Problem, device: str = "cpu", dtype: str = "float64") -> bool:
    """Whether the dense designs of several replicates are multiplied side by side.

    On a CPU those that are small enough: each then goes through all steps on one thread, while a large one is read once
    a step by all threads. It depends on nothing that changes from one block of replicates to another, nor on whether
    there is an estimate, so that a replicate's numbers do not either.

    Parameters
    ----------
    problem : Problem
    device : {'cpu', 'gpu'}, optional
    dtype : {'float64', 'float32'}, optional

    Returns
    -------
    bool
    """
    return device != "cpu" or 2 * _stacked_bytes(problem, "dense", dtype, estimate=False) <= STACK_BYTES


def replicates_together(
    problem: Problem, engine: str, device: str = "cpu", dtype: str = "float64", *, estimate: bool = True
) -> int:
    """How many replicates are run side by side, so that each call of the array library has enough to do.

    Parameters
    ----------
    problem : Problem
    engine : {'dense', 'deferred'}
    device : {'cpu', 'gpu'}, optional
    dtype : {'float64', 'float32'}, optional
    estimate : bool, optional
        Whether the test error is estimated, which takes most of their memory.

    Returns
    -------
    int
    """
    if device == "gpu":
        needed = memory_needed(problem, engine, dtype=dtype, estimate=estimate, device=device)
        return min(MOST_ON_A_GPU, replicates_that_fit(backend.gpu_memory()[0], needed))
    if engine == "dense" and not stacks(problem, device, dtype):
        return 1
    return max(1, STACK_BYTES // _stacked_bytes(problem, engine, dtype, estimate))


def _candidates(problem: Problem, engine: str) -> tuple[str, ...]:
    """Engines that a request leaves to choose from: the one asked for, or all that apply to the feature law."""
    require_one_of("engine", engine, ("auto", *ENGINES))
    applicable = ENGINES if problem.features == "gaussian" else ("dense",)
    if engine == "auto":
        return applicable
    if engine not in applicable:
        raise InvalidInput("engine", engine, f"needs Gaussian features; with features={problem.features} use dense")
    return (engine,)


def choose_engine(
    problem: Problem,
    engine: str = "auto",
    *,
    dtype: str = "float64",
    estimate: bool = True,
    device: str = "cpu",
    halves: bool = False,
) -> Choice:
    """Choose the engine: the one asked for, or the fastest that applies and fits in memory.

    The choice depends on the problem and the total memory of the machine, or of the GPU, not on what else is running,
    so that a sweep gives the same numbers whatever runs beside it.

    Parameters
    ----------
    problem : Problem
    engine : {'auto', 'dense', 'deferred'}, optional
    dtype, estimate : optional
        As for `sedyn.simulate`.
    device : {'cpu', 'gpu'}, optional
    halves : bool, optional
        Whether the problem is also run by halves, which takes the deferred engine.

    Returns
    -------
    Choice

    Raises
    ------
    InvalidInput
        If the engine is unknown, does not apply to the feature law, or needs more memory than there is; or if the
        problem has no halves.
    """
    if halves:
        half_of(problem)
        if engine == "dense":
            raise InvalidInput(
                "engine", engine, "its entries are no innovations that halves share; use deferred, or auto"
            )
    candidates = ("deferred",) if halves else _candidates(problem, engine)
    room = machine.room(device)
    needed = {name: _bytes(problem, name, dtype, estimate, device) for name in candidates}
    fitting = [name for name in candidates if needed[name] <= room]
    if not fitting:
        needs = " and ".join(f"{size / 1e9:.1f} GB ({name})" for name, size in needed.items())
        raise InvalidInput(
            "n", problem.n, f"with d={problem.d} this needs {needs} of {room / 1e9:.1f} GB; shrink n or d"
        )
    seconds = {name: predicted_seconds(problem, name, device=device, dtype=dtype) for name in ENGINES}
    best = min(fitting, key=seconds.__getitem__)
    if engine != "auto":
        reason = "asked for"
    elif len(candidates) == 1:
        reason = "the only one for halves" if halves else f"the only one for {problem.features} features"
    elif len(fitting) == 1:
        reason = "the only one that fits in memory"
    else:
        times = ", ".join(f"{name} {seconds[name]:.3g} s" for name in ENGINES)
        reason = f"predicted faster ({times}{' by bytes and launches alone' if device == 'gpu' else ''})"
    left = no_form_because(problem, device)
    return Choice(best, reason if left is None else f"{reason}; the network by array operations: {left}")


def _bytes(problem: Problem, engine: str, dtype: str, estimate: bool, device: str) -> int:
    n, d, q, steps = problem.n, problem.d, problem.units, problem.steps
    doubles, design = _working_doubles(problem, estimate), 0.0
    if engine == "dense":
        design = n * d * problem.feature_law.bytes_per_entry(dtype)
        if device == "cpu" and stacks(problem, device, dtype):
            design = n * d * feature_law("gaussian").bytes_per_entry(dtype)  # floats whatever the law
            doubles += _path_doubles(problem, estimate)
            if estimate:  # curvatures of one replicate once more, in the order in which they are read
                doubles += n * steps * q**2
    else:
        doubles += _revealed_doubles(problem)
    fresh = _fresh_samples(problem)
    if fresh:  # weights of every step wait for them, and what a block of them gives
        doubles += 2 * q * (steps + 1) * (d + fresh)
        design += 2 * fresh * d * problem.feature_law.bytes_per_entry()
    more = _more_bytes_on_gpu(problem, engine, dtype, estimate) if device == "gpu" else 0
    return round(design + DOUBLE * doubles) + more


def _working_doubles(problem: Problem, estimate: bool) -> float:
    """Numbers that a descent works with, its design apart."""
    n, d, q, steps = problem.n, problem.d, problem.units, problem.steps
    doubles = 20.0 * q * (n + d)  # weights, pre-activations, gradients and what is made on the way
    doubles += n * numbers_of_further_outputs(problem)
    if estimate:  # gradients and curvatures of every step, and what a curvature is made of
        doubles += n * steps * q * (1 + q) + 6 * n * q * q
    return doubles


def _revealed_doubles(problem: Problem) -> int:
    """Numbers that a deferred design knows at its end: a basis and its images on each side."""
    return (problem.n + problem.d) * (2 * problem.units * (problem.steps + 1) + problem.signals)


def _path_doubles(problem: Problem, estimate: bool) -> int:
    """Numbers of all iterations at once: weights, pre-activations, losses and what the estimate makes of them."""
    n, kinds = problem.n, 2 if estimate else 1
    return (problem.steps + 1) * (problem.units * (kinds * n + problem.d) + n)


def _stacked_bytes(problem: Problem, engine: str, dtype: str, estimate: bool) -> int:
    """What each replicate adds to those it runs beside, features as floats whatever their law."""
    doubles = _working_doubles(problem, estimate)
    if engine == "deferred":
        return round(DOUBLE * (doubles + _revealed_doubles(problem)))
    doubles += _path_doubles(problem, estimate)
    return round(problem.n * problem.d * feature_law("gaussian").bytes_per_entry(dtype) + DOUBLE * doubles)


def _fresh_samples(problem: Problem) -> int:
    """Samples that a test error is measured on, as many as are held at a time; none with Gaussian features."""
    if problem.features == "gaussian":
        return 0
    return min(fresh_samples(problem), max(1, FEATURES_PER_BLOCK // problem.d))


def _more_bytes_on_gpu(problem: Problem, engine: str, dtype: str, estimate: bool) -> int:
    n, d = problem.n, problem.d
    more = 0.0
    if estimate:
        more += adjoint_memory(problem, n)
    if engine == "dense":  # every law as floats, and draws in double precision with what a law computes them from
        more += DOUBLE * _path_doubles(problem, estimate)
        for count, kind in ((n, dtype), (2 * _fresh_samples(problem), "float64")):
            law, floats = (problem.feature_law.bytes_per_entry(kind, device) for device in ("cpu", "gpu"))
            more += count * d * (floats - law)
        more += 3 * DOUBLE * min(n * d, ENTRIES_PER_DEVICE_DRAW)
        more += DOUBLE * d * problem.units * most_parts(n, d, DOUBLE)  # sums of each part of the samples
    return round(more)
