"""What finding the bias of order 1/n takes: halves on the same innovations, and plain replicates against theory.

The bias constant b of E f(n) = limit + b/n + ..., of train and test error at the last iteration: by halves, n times the
mean of two runs of half the size less the run on the same innovations; by plain replicates, n times their mean less
theory. Both from the same runs; seconds are of one core, and of plain replicates those that they take alone.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import sedyn

PROBLEM = {"width": 2, "depth": 2, "steps": 10}


def seconds_and(problem: sedyn.Problem, replicates: range, halves: bool):
    """Runs by the deferred engine, and the processor time that they take."""
    start = time.process_time()
    runs = sedyn.simulate(problem, replicates, engine="deferred", estimate=False, halves=halves)
    return time.process_time() - start, runs.isel(iteration=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 1024, 4096])
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=2**18, help="of theory, in each of 8 randomizations")
    given = parser.parse_args()
    theory = sedyn.state_evolution(sedyn.Problem(n=256, d=128, **PROBLEM), given.samples).isel(iteration=-1)
    count = given.replicates
    print(f"{count} runs; seconds a run, and runs and seconds that plain replicates need for the error of the halves")
    print(f"{'n':>6} {'error':12} {'halves':>18} {'plain':>16} {'s':>8} {'plain s':>8} {'runs':>8} {'seconds':>8}")
    for n in given.sizes:
        problem = sedyn.Problem(n=n, d=n // 2, **PROBLEM)
        for halves in (True, False):  # compile
            seconds_and(problem, range(2), halves)
        plain_seconds, _ = seconds_and(problem, range(count // 10), halves=False)
        seconds, runs = seconds_and(problem, range(count), halves=True)
        each, plain_each = seconds / count, 10 * plain_seconds / count
        for name in ("train_error", "test_error"):
            whole = n * (runs[name] - theory[name])
            left = n * (runs[f"{name}_halves"].mean("half") - runs[name])
            of_theory = n * float(theory[f"{name}_stderr"])
            error, plain = (float(values.std(ddof=1)) / np.sqrt(count) for values in (left, whole))
            needed = count * (plain / error) ** 2
            print(
                f"{n:6d} {name:12} {float(left.mean()):9.3f} +- {error:.3f}"
                f" {float(whole.mean()):8.2f} +- {np.hypot(plain, of_theory):.2f}"
                f" {each:8.5f} {plain_each:8.5f} {needed:8.0f} {needed * plain_each:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
