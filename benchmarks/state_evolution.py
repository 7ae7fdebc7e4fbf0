"""Cost of state evolution: to a given error against plain Monte Carlo with forward Jacobians, and how it grows.

The contender solves the same recursion with the same code but for the two things that published solvers do otherwise:
independent normal draws, and Jacobians carried forward, O(T^2) of them a sample. ``--quick`` gives a glimpse.
"""

from __future__ import annotations

import argparse
import resource
import time
from unittest import mock

import numpy as np

from sedyn import Problem, state_evolution
from sedyn.arrays.threads import thread_count
from sedyn.kernels.dispatch import mean_response
from sedyn.model.seeds import seed_sequence
from sedyn.model.update import updates_of
from sedyn.theory.inputs import draw, draws_of
from sedyn.theory.run import run

REPEATS = 12
RANDOMIZATIONS = 8


class ForwardJacobians:
    """Mean responses from dg^t/dz^s of every sample, all carried along: what the adjoint replaces.

    One matrix product an iteration, so that the comparison is of algorithms and not of loops.
    """

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations
        self.jacobians: np.ndarray | None = None

    def __call__(self, curvatures: np.ndarray, weight_response: np.ndarray) -> np.ndarray:
        """Stand in for `sedyn.kernels.dispatch.mean_response`, called for t = 0, 1, ... in turn."""
        t, (_, q, _, samples) = curvatures.shape[0] - 1, curvatures.shape
        if self.jacobians is None:
            self.jacobians = np.empty((self.iterations, q, self.iterations, q, samples))
        past = np.ascontiguousarray(self.jacobians[:t, :, : t + 1]).reshape(t * q, (t + 1) * q * samples)
        row = np.swapaxes(weight_response[t, :t], 0, 1).reshape(q, t * q)
        push = (row @ past).reshape(q, t + 1, q, samples)
        push[:, t] += np.eye(q)[:, :, None]
        self.jacobians[t, :, : t + 1] = np.einsum("abN,bscN->ascN", curvatures[t], push)
        self.jacobians[t, :, t + 1 :] = 0
        return np.swapaxes(self.jacobians[t, :, : t + 1].mean(axis=-1), 0, 1)


def ours(problem: Problem, samples: int, seed: int) -> np.ndarray:
    return run(problem, draw(problem, samples, seed_sequence("benchmark", seed)), updates_of(problem))["test_error"]


def plain(problem: Problem, samples: int, seed: int) -> np.ndarray:
    dimensions = problem.signals + 1 + problem.width * (problem.steps + 1)
    normals = np.random.default_rng(seed).standard_normal((dimensions, samples))
    with mock.patch("sedyn.theory.response.mean_response", ForwardJacobians(problem.steps)):
        return run(problem, draws_of(problem, normals, np.empty((0, samples))), updates_of(problem))["test_error"]


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def error_against_samples(problem: Problem, exponents: range) -> None:
    """Root-mean-square error of one randomization, over iterations and seeds, and the least time of one."""
    reference = np.mean([ours(problem, 2 ** (exponents[-1] + 2), 100 + seed) for seed in range(8)], axis=0)
    print(f"\nerror of test_error at T={problem.steps}, width {problem.width}, depth {problem.depth}")
    print(f"{'samples':>8} {'ours: error':>12} {'seconds':>8} {'plain: error':>13} {'seconds':>8}")
    table = []
    for exponent in exponents:
        row = []
        for contender in (ours, plain):
            runs = [timed(contender, problem, 2**exponent, seed) for seed in range(REPEATS)]
            error = np.sqrt(np.mean([(result - reference)[1:] ** 2 for _, result in runs]))
            row += [float(error), min(seconds for seconds, _ in runs)]
        table.append(row)
        print(f"{2**exponent:8d} {row[0]:12.2e} {row[1]:8.3f} {row[2]:13.2e} {row[3]:8.3f}")
    rows = np.array(table)
    # Plain Monte Carlo errs like samples^-1/2 and takes time in proportion: both constants from all its rows.
    counts = 2.0 ** np.array(exponents)
    target, seconds = rows[-2, 0], rows[-2, 1]
    samples_needed = float(np.mean(rows[:, 2] ** 2 * counts)) / target**2
    seconds_needed = samples_needed * float(rows[-1, 3] / counts[-1])
    print(
        f"to reach {target:.1e}: ours {counts[-2]:.0f} samples, {seconds:.2f} s; plain {samples_needed:.1e} samples, "
        f"{seconds_needed:.0f} s; ratio of samples {samples_needed / counts[-2]:.0f}, of seconds "
        f"{seconds_needed / seconds:.0f}"
    )


def operations(problem: Problem, samples: int) -> float:
    """Multiply-adds of the adjoint passes, times two: sum over t of (t^2 / 2 + t) q^3 for each sample."""
    t = np.arange(problem.steps)
    return 2.0 * samples * problem.width**3 * float(np.sum(t * (t + 1) / 2 + t))


def growth(base: dict, samples: int, variants: dict[str, dict]) -> None:
    print(f"\ngrowth from {base}, {samples} samples (seconds of one randomization, least of 3)")
    print(f"{'':22} {'seconds':>8} {'ratio':>6} {'ratio of adjoint operations':>28}")
    reference = None
    for name, fields in variants.items():
        fields = dict(fields)
        count = fields.pop("samples", samples)
        problem = Problem(**{**base, **fields})
        seconds = min(timed(ours, problem, count, seed)[0] for seed in range(3))
        reference = reference or (seconds, operations(problem, count))
        ratio = operations(problem, count) / reference[1]
        print(f"{name:22} {seconds:8.2f} {seconds / reference[0]:6.1f} {ratio:28.1f}")


def share_of_peak(iterations: int, width: int, samples: int) -> None:
    """Speed of one adjoint pass against a large matrix product on the same threads."""
    rng = np.random.default_rng(0)
    square = rng.standard_normal((2000, 2000))
    peak = max(2 * 2000**3 / timed(np.matmul, square, square)[0] for _ in range(5))
    curvatures = rng.standard_normal((iterations, width, width, samples)) / width
    curvatures += np.swapaxes(curvatures, 1, 2)
    weight_response = np.tril(np.ones((iterations, iterations)), -1)[:, :, None, None] * np.eye(width) / iterations
    work = 2 * samples * width**3 * (iterations * (iterations - 1) / 2 + iterations)
    speed = max(work / timed(mean_response, curvatures, weight_response)[0] for _ in range(5))
    print(
        f"adjoint pass at T={iterations}, width {width}: {speed / 1e9:.1f} Gflop/s, "
        f"{100 * speed / peak:.0f}% of a large matrix product ({peak / 1e9:.0f} Gflop/s, {thread_count()} threads)"
    )


def side_by_side(samples: tuple[int, ...]) -> None:
    """What randomizations cost that are solved side by side, and then all together, against one alone."""
    print(f"\n{RANDOMIZATIONS} randomizations, side by side and together (processor seconds, least of 3)")
    print(f"{'steps':>6} {'samples':>8} {'one':>8} {'all':>8} {'ratio':>6}")
    for steps in (12, 20):
        problem = Problem(n=3000, d=2000, width=3, depth=3, steps=steps)
        for count in samples:
            one = min(processor_seconds(ours, problem, count, seed) for seed in range(3))
            every = min(processor_seconds(state_evolution, problem, count, RANDOMIZATIONS, seed) for seed in range(3))
            print(f"{steps:6d} {count:8d} {one:8.3f} {every:8.3f} {every / one:6.1f}")


def processor_seconds(function, *arguments) -> float:
    """Processor time of a call."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, for a glimpse")
    quick = parser.parse_args().quick

    base = {"n": 3000, "d": 2000, "width": 3, "depth": 3, "steps": 12}
    error_against_samples(Problem(**base), range(8, 12) if quick else range(9, 15))

    side_by_side((512, 2048) if quick else (512, 1024, 4096, 16384))

    share_of_peak(20, 3, 2**14)
    share_of_peak(100, 4, 2**12 if quick else 2**14)

    variants = {
        "as it is": {},
        "twice the steps": {"steps": 24},
        "four times the steps": {"steps": 48},
        "twice the width": {"width": 6},
        "depth 6": {"depth": 6},
        "four times the samples": {"samples": 2**12 * 4},
    }
    growth(base, 2**12, variants)

    long = Problem(n=3000, d=2000, width=4, depth=3, steps=40 if quick else 100, learning_rate=0.4)
    samples = 2**11 if quick else 2**14
    seconds, _ = timed(ours, long, samples, 0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"\nT={long.steps}, width 4, depth 3, {samples} samples: {seconds:.1f} s;"
        f" peak memory of this process so far {memory:.2f} GiB"
    )


if __name__ == "__main__":
    main()
