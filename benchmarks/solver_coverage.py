"""How often theory is as close to the truth as its standard errors say, on problems that make it hard.

For each problem and number of samples many solutions of other seeds, against one of far more samples.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from scipy import stats

import sedyn
from sedyn import Problem

RANDOMIZATIONS = 8
HALF = {"n": 2000, "d": 1000, "width": 2, "depth": 2}
PROBLEMS = {
    "default": Problem(),
    "near instability": Problem(**{**HALF, "width": 3}, learning_rate=3.0, steps=12),
    "relu": Problem(**HALF, activation="relu", steps=10, init_overlap=0.3),
    "60 steps": Problem(**HALF, steps=60),
    "hermite3": Problem(
        n=1024, d=682, width=2, depth=2, learning_rate=0.5, noise=0.3, init_overlap=0.3, steps=10, link="hermite3"
    ),
}
OBSERVABLES = ("train_error", "test_error", "signal_overlap", "weight_gram")


def deviations(problem: Problem, samples: int, seeds: int, reference) -> dict[str, np.ndarray]:
    """Errors in combined standard errors of solutions with other seeds, for each observable, after the start."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in OBSERVABLES}
    for seed in range(seeds):
        theory = sedyn.state_evolution(problem, samples, RANDOMIZATIONS, seed)
        for name, values in found.items():
            stated = np.hypot(theory[f"{name}_stderr"], reference[f"{name}_stderr"])
            values.append(((theory[name] - reference[name]) / stated).values[1:])
    return {name: np.array(values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--reference", type=int, default=2**18, help="samples of the reference, all together")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--samples", nargs="+", type=int, default=[2**9, 2**11, 2**13])
    given = parser.parse_args()
    seeds, total = given.seeds, given.reference
    reach = stats.t.ppf(0.975, RANDOMIZATIONS - 1)
    print(f"share of errors within 95% intervals (t with {RANDOMIZATIONS - 1} degrees of freedom), {seeds} seeds")
    print(f"{'problem':18} {'samples':>8} {'train':>6} {'test':>6} {'all':>6} {'largest mean':>13} {'seconds':>8}")
    for name in given.problems:
        problem = PROBLEMS[name]
        reference = sedyn.state_evolution(problem, total // RANDOMIZATIONS, RANDOMIZATIONS, seed=2**20)
        for samples in given.samples:
            start = time.perf_counter()
            found = deviations(problem, samples, seeds, reference)
            inside = {each: np.abs(values) < reach for each, values in found.items()}
            train, test = (100 * inside[each].mean() for each in ("train_error", "test_error"))
            both = np.concatenate([values.reshape(seeds, -1) for values in found.values()], axis=1)
            # Overlaps and Gram entries that every unit shares count as often as there are units.
            whole = 100 * np.mean([values.mean() for values in inside.values()])
            seconds = (time.perf_counter() - start) / seeds
            shift = np.abs(both.mean(axis=0)).max()
            print(
                f"{name:18} {samples:8d} {train:5.1f}% {test:5.1f}% {whole:5.1f}% {shift:13.2f} {seconds:8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
