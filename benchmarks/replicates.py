"""What a replicate costs: `sedyn.simulate` beside the lines of batched numpy, or of JAX, that do the same job.

One thread, processor time, contenders alternating, the least of several rounds. The job of all: data sets of Gaussian
features, T steps of full-batch gradient descent of all layers, the train error of every iteration, and the test error
on 512 points that see the weights by their overlaps. `simulate` also has overlaps, Gram matrices, averages over rows,
and the test error's own standard error. JAX takes part where it is installed, compiled before it is timed.

    python benchmarks/replicates.py [--quick] [--n N ...]
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import numpy as np

from sedyn import Problem, simulate

RATE, NOISE, STEPS, POINTS = 0.3, 0.3, 15, 512
SIZES, WIDTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 65536), (1, 2, 4, 8, 16)
# Of theirs, whose design beyond takes some gigabytes.
LARGEST = 8192


def by_arrays(xp, normals, width, depth):
    """The thirty lines, on any library: draws, descent and test errors of replicates side by side."""
    x, start, noise, points, *deep = normals
    n, d = x.shape[1:]
    x, mu, w = x / d**0.5, start[:, :, :1], start[:, :, 1:]
    y = xp.tanh(x @ mu)[:, :, 0] + NOISE * noise
    deep = [layer / width**0.5 for layer in deep]
    train, test = [], []

    def forward(h):
        signals, slopes = [], []
        for layer in deep:
            f = xp.tanh(h)
            signals.append(f)
            slopes.append(1 - f * f)
            h = f @ layer
        return h[:, :, 0], signals, slopes

    for step in range(STEPS + 1):
        both = xp.concatenate([mu, w], axis=2)
        overlaps = xp.swapaxes(both, 1, 2) @ both / d + 1e-9 * xp.eye(1 + width)
        z = points @ xp.swapaxes(xp.linalg.cholesky(overlaps), 1, 2)
        outputs, signals, slopes = forward(x @ w)
        train.append(xp.mean((outputs - y) ** 2, axis=1))
        test.append(xp.mean((forward(z[:, :, 1:])[0] - xp.tanh(z[:, :, 0])) ** 2, axis=1) + NOISE**2)
        if step == STEPS:
            return xp.stack(train), xp.stack(test)
        pull, gradients = (outputs - y)[:, :, None], []
        for layer, f, slope in zip(deep[::-1], signals[::-1], slopes[::-1], strict=True):
            gradients.append(xp.swapaxes(f, 1, 2) @ pull / n)
            pull = (pull @ xp.swapaxes(layer, 1, 2)) * slope
        w = w - RATE * d / n * (xp.swapaxes(x, 1, 2) @ pull)
        deep = [layer - RATE * gradient for layer, gradient in zip(deep, gradients[::-1], strict=True)]


def shapes_of(n, d, width, depth, replicates):
    """Of all that is drawn."""
    deep = [(replicates, width, width)] * (depth - 2) + [(replicates, width, 1)] * (depth > 1)
    return [(replicates, n, d), (replicates, d, 1 + width), (replicates, n), (replicates, POINTS, 1 + width), *deep]


def numpy_contender(n, d, width, depth, replicates):
    """Batched numpy, generation included."""
    shapes, rng = shapes_of(n, d, width, depth, replicates), np.random.Generator(np.random.SFC64(0))
    return lambda: by_arrays(np, [rng.standard_normal(shape) for shape in shapes], width, depth)


def jax_contender(n, d, width, depth, replicates):
    """The same lines compiled by JAX in double precision, generation included; None without JAX."""
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    shapes = shapes_of(n, d, width, depth, replicates)

    @jax.jit
    def run(key):
        keys = jax.random.split(key, len(shapes))
        normals = [jax.random.normal(own, shape) for own, shape in zip(keys, shapes, strict=True)]
        return by_arrays(jax.numpy, normals, width, depth)

    return lambda: jax.block_until_ready(run(jax.random.key(0)))


def least(contenders, rounds):
    """Least processor time of each contender, in rounds; the first one warms up."""
    seconds = {name: float("inf") for name in contenders}
    for lap in range(rounds + 1):
        for name, contender in contenders.items():
            start = time.process_time()
            contender()
            if lap:
                seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def replicates_of(n):
    """How many run side by side: fewer of large ones."""
    return max(1, min(256, 2**22 // (n * n)))


def measured(n, width):
    """Milliseconds a replicate of each contender; theirs only as long as a design of theirs fits in memory."""
    replicates = replicates_of(n)
    fields = {"learning_rate": RATE, "noise": NOISE, "initialization": "random"}  # as theirs is: no orthogonal units
    problem = Problem(n=n, d=n // 2, width=width, depth=3, steps=STEPS, **fields)
    contenders = {"ours": lambda: simulate(problem, replicates, estimate=False, device="cpu")}
    if n <= LARGEST and width <= 4:  # its time grows like the width cubed
        contenders["estimate"] = lambda: simulate(problem, replicates, device="cpu")
    if n <= LARGEST:
        contenders["numpy"] = numpy_contender(n, n // 2, width, 3, replicates)
        contenders["jax"] = jax_contender(n, n // 2, width, 3, replicates)
    contenders = {name: each for name, each in contenders.items() if each}
    found = least(contenders, 3 if n < 2048 else 1)
    return {name: 1e3 * seconds / replicates for name, seconds in found.items()}


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="n = 32, 128 and 512, width 3")
    parser.add_argument("--n", type=int, nargs="+", help="these sizes only")
    options = parser.parse_args()
    sizes = options.n or ((32, 128, 512) if options.quick else SIZES)
    print(f"milliseconds of one core a replicate, d = n/2, depth 3, {STEPS} steps; 'over ours' is theirs over ours")
    print("| n | width | replicates | ours | with the estimate | batched numpy | over ours | JAX | over ours |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for n in sizes:
        for width in (3,) if options.quick else WIDTHS:
            found = measured(n, width)
            row = [*map(str, (n, width, replicates_of(n)))]
            row += [f"{found[name]:.3f}" if name in found else "" for name in ("ours", "estimate")]
            for name in ("numpy", "jax"):
                row += [f"{found[name]:.3f}", f"{found[name] / found['ours']:.2f}"] if name in found else ["", ""]
            print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main()
