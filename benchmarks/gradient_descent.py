"""Gradient descent: one read of the features per step against what else one would write, and deferred against dense.

Everything in one run, contenders alternating, medians; ratios of medians are what counts on a shared machine. The
threads are those of ``OMP_NUM_THREADS`` (2 if unset). PyTorch and JAX take part where they are installed. Also: what
the choice of an engine rests on, its constants and its model of memory, and from which width on the BLAS is faster.

    python benchmarks/gradient_descent.py [--quick]
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import time

THREADS = int(os.environ.setdefault("OMP_NUM_THREADS", "2"))
# JAX has no setting of its own: it takes the processors it may run on.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])

import numpy as np  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from sedyn import Problem, simulate  # noqa: E402
from sedyn.arrays.threads import run_each  # noqa: E402
from sedyn.descent import dynamics, engines  # noqa: E402
from sedyn.descent.inputs import Data  # noqa: E402
from sedyn.designs.deferred import DeferredDesign  # noqa: E402
from sedyn.designs.dense import dense_design  # noqa: E402
from sedyn.kernels.cpu.passes import products  # noqa: E402
from sedyn.kernels.program import MOST_UNITS  # noqa: E402
from sedyn.model.algorithm import states  # noqa: E402
from sedyn.model.architecture import initial_deep_weights  # noqa: E402
from sedyn.model.features import feature_law  # noqa: E402
from sedyn.model.initialization import initial_weights_and_signals  # noqa: E402
from sedyn.model.network import Network  # noqa: E402
from sedyn.model.seeds import single_streams  # noqa: E402
from sedyn.model.update import updates_of  # noqa: E402

ETA = 0.3
# Peak memory of a process in bytes; what the operating system says of its resources counts its parent's too.
PEAK = "peak = lambda: 1024 * int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"


def alternate(contenders, rounds):
    """Seconds of each contender, in rounds so that a disturbance meets all of them; the first round warms up."""
    seconds = {name: [] for name in contenders}
    for lap in range(rounds + 1):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            if lap:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def row(name, seconds, *more):
    print(f"  {name:<44}{1e3 * np.median(seconds):11.2f} ms  (least {1e3 * min(seconds):.2f})", *more)


def problem_of(n, d, steps=20, **fields):
    return Problem(n=n, d=d, width=4, depth=2, steps=steps, learning_rate=ETA, **fields)


def data_of(problem, design):
    start = initial_weights_and_signals(
        problem, np.random.default_rng(0).standard_normal((problem.units + problem.signals, problem.d))
    )
    y = np.random.default_rng(1).standard_normal(problem.n)
    return Data(design, np.ones(problem.d), y[None, :], start, initial_deep_weights(problem))


def descend(problem, data):
    *_, last = states(dynamics, problem, data, updates_of(problem))
    return last.first_weights


def numpy_loop(x, w, v, y, steps):
    delta, n = x.shape[0] / x.shape[1], x.shape[0]
    for _ in range(steps):
        units = np.tanh(x @ w)
        residual = units @ v - y
        gradient = residual[:, None] * v * (1 - units * units)
        w, v = w - ETA / delta * (x.T @ gradient), v - ETA * (units.T @ residual) / n
    return w


def torch_loop(x, w, v, y, steps):
    import torch

    torch.set_num_threads(THREADS)
    x, w, v, y = (torch.from_numpy(part) for part in (x, w, v, y))
    delta, n = x.shape[0] / x.shape[1], x.shape[0]

    def work():
        first, last = w.clone().requires_grad_(), v.clone().requires_grad_()
        for _ in range(steps):
            loss = ((torch.tanh(x @ first) @ last - y) ** 2).sum() / 2
            drive, deep = torch.autograd.grad(loss, (first, last))
            with torch.no_grad():
                first -= ETA / delta * drive
                last -= ETA / n * deep
        return first.detach().numpy()

    return work


def jax_loop(x, w, v, y, steps):
    import jax
    import jax.numpy as jnp

    arrays = [jnp.asarray(part) for part in (x, w, v, y)]
    delta, n = x.shape[0] / x.shape[1], x.shape[0]

    @jax.jit
    def loop(x, w, v, y):
        def step(carry, _):
            w, v = carry
            units = jnp.tanh(x @ w)
            residual = units @ v - y
            gradient = residual[:, None] * v * (1 - units * units)
            return (w - ETA / delta * (x.T @ gradient), v - ETA * (units.T @ residual) / n), None

        return jax.lax.scan(step, (w, v), None, length=steps)[0][0]

    return lambda: np.asarray(loop(*arrays).block_until_ready())


def against_others(n, steps, rounds):
    """Dense single precision at n = d against other libraries, and against the memory."""
    print(f"\ndense, float32, n = d = {n}, width 4, {steps} steps, {THREADS} threads")
    problem, law, stream = problem_of(n, n, steps), feature_law("gaussian"), single_streams("benchmark", 0).features
    design = dense_design(n, n, law, stream, dtype="float32")
    data = data_of(problem, design)
    first = data.start[: problem.width]
    x = design.matrix * np.float32(design.scale)
    w, y = np.ascontiguousarray(first.T, np.float32), data.labels.astype(np.float32)
    v = initial_deep_weights(problem)[0][:, 0].astype(np.float32)

    # The fastest reads of the matrix there are here, as many in a row as a descent makes: the last iteration is looked
    # at too.
    weights, pieces = np.ones((4, n), np.float32), design.samples.blocks
    out, passes = np.empty((4, n), np.float32), steps + 1
    parts = {piece.start: np.ascontiguousarray(out[:, piece]) for piece in pieces}

    def read():
        for _ in range(passes):
            run_each(lambda piece: products(design.matrix[piece], 0, weights, parts[piece.start]), pieces)

    def sum_all():
        for _ in range(passes):
            run_each(lambda piece: np.add.reduce(design.matrix[piece], axis=None), pieces)

    contenders = {"sedyn": lambda: descend(problem, data), "numpy": lambda: numpy_loop(x, w, v, y, steps)}
    for name, make in (("PyTorch", torch_loop), ("JAX", jax_loop)):
        try:
            contenders[name] = make(x, w, v, y, steps)
        except ImportError:
            print(f"  {name} is not installed: left out")
    reference = descend(problem, data).T
    for name, work in contenders.items():
        if name != "sedyn":
            np.testing.assert_allclose(work(), reference, atol=1e-3, err_msg=name)
    contenders |= {
        "generation of X": lambda: dense_design(n, n, law, stream, dtype="float32"),
        f"{passes} reads of X, four products": read,
        f"{passes} reads of X, plain sum": sum_all,
    }
    seconds = alternate(contenders, rounds)
    own = np.median(seconds["sedyn"])
    goals = {"PyTorch": 5, "JAX": 2, "numpy": 1.5, "generation of X": 1}
    for name, taken in seconds.items():
        ratio = np.median(taken) / own
        if name == "generation of X":
            row(name, taken, f"  {ratio:.2f} of the descent (goal at most 1)")
        elif name in goals:
            row(name, taken, f"  sedyn is {ratio:.2f} times as fast (goal {goals[name]})")
        else:
            row(name, taken)
    fastest = min(np.median(seconds[name]) for name in seconds if "reads of X" in name)
    speeds = [passes * x.nbytes / taken / 1e9 for taken in (fastest, own)]
    print(f"  memory read at {speeds[0]:.1f} GB/s; one read per step at {speeds[1]:.1f} GB/s:", end=" ")
    print(f"{100 * fastest / own:.0f} % (goal 70 %)")


def deferred_against_dense(n, rounds):
    """Both engines, drawing included."""
    print(f"\ndeferred against dense, generation included, n = d = {n}, width 4, 20 steps, float64")
    problem, law, stream = problem_of(n, n), feature_law("gaussian"), single_streams("benchmark", 0).features

    def run(make):
        return descend(problem, data_of(problem, make()))

    seconds = alternate(
        {
            "dense": lambda: run(lambda: dense_design(n, n, law, stream)),
            "deferred": lambda: run(lambda: DeferredDesign(n, n, stream, capacity=85)),
        },
        rounds,
    )
    for name, taken in seconds.items():
        row(name, taken)
    ratio = np.median(seconds["dense"]) / np.median(seconds["deferred"])
    print(f"  deferred is {ratio:.1f} times as fast (goal 5)")


def large(n, estimate):
    """One simulation in a process of its own, for its peak memory."""
    code = (
        "import time, sedyn\n"
        f"{PEAK}"
        f"problem = sedyn.Problem(n={n}, d={n}, width=4, depth=2, steps=20, learning_rate={ETA})\n"
        "start, cpu = time.perf_counter(), time.process_time()\n"
        f"runs = sedyn.simulate(problem, replicates=1, engine='deferred', estimate={estimate})\n"
        "print(f'{time.perf_counter() - start:.1f} s ({time.process_time() - cpu:.1f} s of processor),'\n"
        "      f' peak {peak() / 1e9:.2f} GB')"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    print(f"  n = d = {n:.0e}, estimate={estimate}: {told} (goal, without the estimate: 60 s and 4 GB)")


def growth(rounds):
    """Exponents: doubling one size at a time."""
    print("\ngrowth: time when one size doubles (dense: float64, without generation; deferred: all of it)")
    stream, law = single_streams("benchmark", 0).features, feature_law("gaussian")
    base = {"dense": (2048, 2048, 20), "deferred": (50_000, 50_000, 20)}
    for engine, sizes in base.items():
        contenders = {}
        for name, factors in (("base", (1, 1, 1)), ("n", (2, 1, 1)), ("d", (1, 2, 1)), ("steps", (1, 1, 2))):
            n, d, steps = (size * factor for size, factor in zip(sizes, factors, strict=True))
            problem = problem_of(n, d, steps)
            if engine == "dense":
                data = data_of(problem, dense_design(n, d, law, stream))
                contenders[name] = lambda p=problem, a=data: descend(p, a)
            else:
                contenders[name] = lambda p=problem: descend(
                    p, data_of(p, DeferredDesign(p.n, p.d, stream, capacity=4 * (p.steps + 1)))
                )
        seconds = {name: np.median(taken) for name, taken in alternate(contenders, rounds).items()}
        ratios = ", ".join(f"{name} x{seconds[name] / seconds['base']:.2f}" for name in ("n", "d", "steps"))
        print(f"  {engine} from n, d, steps = {sizes}: {1e3 * seconds['base']:.0f} ms; {ratios}")


def least_cpu(work, rounds):
    """Least processor time, which other processes disturb least, after a round to warm up."""
    taken = []
    for _ in range(rounds + 1):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken[1:])


def constants(size, rounds):
    """What `sedyn.descent.engines` predicts times from, measured again."""
    print("\nconstants of sedyn.descent.engines, one thread, processor time: measured (in the code)")
    law, stream = feature_law("gaussian"), single_streams("benchmark", 0).features
    with threadpool_limits(1, user_api="blas"):
        problem, small = problem_of(size, size), problem_of(64, 64, 100)
        data = data_of(problem, dense_design(size, size, law, stream))
        small_data = data_of(small, dense_design(64, 64, law, stream))
        entries, passes = size**2, problem.steps + 1
        drawn = least_cpu(lambda: dense_design(size, size, law, stream), rounds) / entries
        step = least_cpu(lambda: descend(small, small_data), rounds) / (small.steps + 1)
        passed = (least_cpu(lambda: descend(problem, data), rounds) / passes - step) / entries

        n, counts, fixed = 8 * size, (5, 20), []
        for steps in counts:
            long = problem_of(n, n, steps)

            def run(problem=long):
                descend(problem, data_of(problem, DeferredDesign(n, n, stream, capacity=4 * (problem.steps + 1))))

            fixed.append((least_cpu(run, rounds) - (steps + 1) * engines.STEP["deferred"]) / (2 * n))
        terms = [[4 * steps * (steps + 1) / 2, steps + 1] for steps in counts]
        known, fresh = np.linalg.solve(terms, fixed)
    for name, value in (("DRAWN", drawn), ("PASSED", passed), ("KNOWN", known), ("FRESH", fresh)):
        print(f"  {name:<8}{1e9 * value:8.2f} ns  ({getattr(engines, name)})")
    print(f"  STEP    {1e3 * step:8.2f} ms  ({1e3 * engines.STEP['dense']}, dense)")


def choices(scale, rounds):
    """How much slower the engine that `auto` chooses is than the other one, drawing included, one thread."""
    print("\nchoice of an engine: processor time in ms, predicted in brackets")
    law, stream = feature_law("gaussian"), single_streams("benchmark", 0).features
    for n, d, width, steps in (
        (1, 1, 4, 20),
        (2, 2, 4, 20),
        (4, 4, 4, 20),
        (8, 1, 4, 20),
        (2, 2, 4, 60),
        (4, 4, 8, 40),
    ):
        problem = Problem(n=n * scale, d=d * scale, width=width, depth=2, steps=steps, learning_rate=ETA)

        def dense(p=problem, dtype="float64"):
            descend(p, data_of(p, dense_design(p.n, p.d, law, stream, dtype=dtype)))

        def deferred(p=problem):
            descend(p, data_of(p, DeferredDesign(p.n, p.d, stream, capacity=p.width * (p.steps + 1))))

        with threadpool_limits(1, user_api="blas"):
            known = least_cpu(deferred, rounds)
            for dtype in ("float64", "float32"):
                taken = {"dense": least_cpu(functools.partial(dense, dtype=dtype), rounds), "deferred": known}
                told = {name: engines.predicted_seconds(problem, name, dtype=dtype) for name in taken}
                chosen = min(told, key=told.get)
                print(
                    f"  {dtype}, n={problem.n}, d={problem.d}, width {width}, {steps} steps: ",
                    ", ".join(f"{name} {1e3 * taken[name]:.0f} ({1e3 * told[name]:.0f})" for name in taken),
                    f"; {chosen} chosen: {taken[chosen] / min(taken.values()):.2f} times the least",
                    sep="",
                )


def memory():
    """Peak of one simulation, in a process of its own, against `memory_needed`."""
    print("\nmemory of one simulation: measured, predicted")
    code = (
        "import json, sys\n"
        "from sedyn import Problem, memory_needed, simulate\n"
        "from sedyn.descent import engines\n"
        f"{PEAK}"
        "fields, engine, dtype, estimate = json.loads(sys.argv[1])\n"
        "how = {'engine': engine, 'dtype': dtype, 'estimate': estimate}\n"
        "engines.STACK_BYTES = 0\n"  # small designs, too, compile what large ones call
        "simulate(Problem(**{**fields, 'n': 64, 'd': 48, 'steps': 2}), 1, **how)\n"
        "before, problem = peak(), Problem(**fields, width=4, depth=2)\n"
        "simulate(problem, 1, **how)\n"
        "print((peak() - before) / 1e6, memory_needed(problem, **how) / 1e6)"
    )
    for n, d, steps, law, *how in (
        (4000, 4000, 20, "gaussian", "dense", "float64", False),
        (4000, 4000, 20, "gaussian", "dense", "float32", False),
        (8000, 8000, 5, "rademacher", "dense", "float64", False),
        (8000, 8000, 5, "sparse(0.01)", "dense", "float64", False),
        (200, 40_000, 20, "uniform", "dense", "float64", False),
        (40_000, 200, 20, "gaussian", "dense", "float64", True),
        (50_000, 50_000, 20, "gaussian", "deferred", "float64", False),
        (50_000, 50_000, 20, "gaussian", "deferred", "float64", True),
    ):
        case = json.dumps([{"n": n, "d": d, "steps": steps, "features": law, "learning_rate": ETA}, *how])
        told = subprocess.run([sys.executable, "-c", code, case], capture_output=True, text=True, check=True).stdout
        measured, predicted = map(float, told.split())
        name = f"{how[0]}, {law}, {how[1]}, n={n}, d={d}, {steps} steps{', estimate' if how[2] else ''}"
        print(f"  {name:<72}{measured:7.0f} MB {predicted:7.0f} MB  ({predicted / measured:.2f})")


def widths(size, rounds):
    """One pass by our kernels and by two products of the BLAS, one thread, processor time."""
    print(f"\none pass, n = d = {size}: kernels, BLAS (in use beyond width {MOST_UNITS['cpu']})")
    rng, limit = np.random.default_rng(0), MOST_UNITS["cpu"]
    for dtype in ("float32", "float64"):
        design = dense_design(size, size, feature_law("gaussian"), single_streams("benchmark", 0).features, dtype=dtype)
        for width in (4, 8, 12, 16, 24, 32, 64):
            weights, y = rng.standard_normal((width, size)), rng.standard_normal(size)
            network = Network.of(Problem(), (np.full((width, 1), 1 / width),), y)
            one_pass = functools.partial(design.descend, weights, network, curvature=False)
            taken = []
            for MOST_UNITS["cpu"] in (width, 0):
                with threadpool_limits(1, user_api="blas"):
                    taken.append(least_cpu(one_pass, rounds))
            MOST_UNITS["cpu"] = limit
            print(f"  {dtype}, width {width:<4}{1e3 * taken[0]:9.2f} ms {1e3 * taken[1]:9.2f} ms")


def side_by_side(sizes, replicates, rounds):
    """Small replicates run together against one after another, estimate and test error included, on one thread."""
    print(f"\n{replicates} replicates side by side against one after another, width 3, depth 3, 15 steps, one thread")
    with threadpool_limits(1):
        for n in sizes:
            problem = Problem(n=n, d=n // 2, width=3, depth=3, steps=15)

            def run(stack_bytes, problem=problem):
                usual, engines.STACK_BYTES = engines.STACK_BYTES, stack_bytes
                try:
                    simulate(problem, replicates, engine="dense")
                finally:
                    engines.STACK_BYTES = usual

            ways = {"together": engines.STACK_BYTES, "apart": 0}
            seconds = alternate({way: functools.partial(run, size) for way, size in ways.items()}, rounds)
            together, apart = (1e3 * np.median(seconds[way]) / replicates for way in ways)
            gain = f"{apart / together:.1f} times as fast"
            print(f"  n = {n:<6}{together:8.2f} ms a replicate, apart {apart:8.2f} ms: {gain}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that everything runs")
    quick = parser.parse_args().quick
    print(f"numpy {np.__version__}, {THREADS} threads")
    against_others(1024 if quick else 4096, 20, 3 if quick else 7)
    deferred_against_dense(1024 if quick else 16384, 1 if quick else 2)
    growth(1 if quick else 3)
    constants(512 if quick else 4096, 1 if quick else 3)
    choices(64 if quick else 1000, 1 if quick else 2)
    widths(512 if quick else 2048, 1 if quick else 5)
    memory()
    side_by_side([64] if quick else [64, 128, 256, 512, 1024], 4 if quick else 32, 1 if quick else 3)
    print("\nmatrix-free at large sizes")
    large(10_000 if quick else 1_000_000, False)
    if quick:
        large(10_000, True)


if __name__ == "__main__":
    main()
