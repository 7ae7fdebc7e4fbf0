"""Means over runs with less noise: what runs' own influences take out of them, what halves do, and what each costs.

``python -m benchmarks.control_variates [replicates]``: a run's first-order deviation from its theory
(docs/theory.md#influence) is a control variate of mean 0. It takes the run's innovations and derivatives of theory
towards each of them. Halves (docs/theory.md#halves) take out the same without.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

import sedyn
from sedyn.deviations import dynamics
from sedyn.deviations.inputs import Innovations, draw_innovations
from sedyn.deviations.network import test_error
from sedyn.deviations.tape import Node, Tape
from sedyn.model.seeds import randomization_seeds
from sedyn.model.update import updates_of
from sedyn.theory.inputs import Draws, draws_of, normal_dimensions

FIELDS = {"width": 2, "depth": 2, "steps": 8, "learning_rate": 1.0, "noise": 0.5, "init_overlap": 0.4}
NAMES = ("train_error", "test_error")
POINTS = 2**13
SIZES = (256, 1024, 4096)


def rows(problem: sedyn.Problem, rng: np.random.Generator) -> Innovations:
    """What one run of Gaussian features is made of: n samples and d features."""
    samples = draws_of(problem, rng.standard_normal((normal_dimensions(problem), problem.n)), np.empty((0, problem.n)))
    start = rng.standard_normal((problem.signals + problem.units, problem.d))
    gradients = rng.standard_normal((problem.steps, problem.units, problem.d))
    ones, none = np.ones(problem.d), np.zeros(problem.d, dtype=int)
    return Innovations(samples, start, gradients, gradients[:0], ones, none, np.ones(1))


def points_of(problem: sedyn.Problem, points: int = POINTS) -> Innovations:
    """Representative samples and features."""
    return draw_innovations(problem, points, randomization_seeds(problem, 0, 1)[0])


def last_errors(
    problem: sedyn.Problem, inputs: Innovations, weights: dict[str, np.ndarray], fresh: Draws
) -> tuple[Tape, list[Node]]:
    """Run to the last iteration, and read `NAMES` there."""
    tape = Tape(weights)
    state = dynamics.init(problem, inputs, tape)
    for update in updates_of(problem):
        state = dynamics.step(problem, inputs, tape, state, update)
    return tape, [
        state.trained.error,
        test_error(problem, tape, state.coefficients, state.deep_weights, fresh, state.start.signals),
    ]


def deviations(problem: sedyn.Problem, points: Innovations, runs: Sequence[Innovations]) -> np.ndarray:
    """Deviations of runs from theory to first order, (runs, 2): theory's derivatives towards rows of weight zero."""
    samples = points.samples._replace(
        **{
            name: np.concatenate([getattr(one.samples, name) for one in (points, *runs)], -1)
            for name in ("innovations", "labels", "batches")
        }
    )
    features = (
        np.concatenate([getattr(one, name) for one in (points, *runs)], -1) for name in Innovations._fields[1:6]
    )
    whole = Innovations(samples, *features, points.shares)
    known = points.weights
    weights = {
        side: np.concatenate([own, *(np.zeros(run.weights[side].size) for run in runs)]) for side, own in known.items()
    }
    tape, errors = last_errors(problem, whole, weights, points.samples)
    found = np.zeros((len(runs), len(NAMES)))
    for side, derivatives in tape.pull_back(errors).items():
        size = known[side].size
        centred = derivatives - (derivatives[:, :size] @ known[side])[:, None]
        found += centred[:, size:].reshape(len(NAMES), len(runs), -1).mean(2).T
    return found


def main(replicates: int) -> None:
    """Print a line for each size."""
    print("n x variance at the last iteration, train and test error; processor seconds of a run")
    sedyn.simulate(sedyn.Problem(n=40, d=20, **FIELDS), 2, estimate=False, halves=True)  # compiles
    for n in SIZES:
        problem, rng = sedyn.Problem(n=n, d=n // 2, **FIELDS), np.random.default_rng(n)
        points, begun = points_of(problem), time.process_time()
        runs = [rows(problem, rng) for _ in range(replicates)]
        control = np.concatenate([deviations(problem, points, runs[k : k + 25]) for k in range(0, replicates, 25)])
        taken = (time.process_time() - begun) / replicates
        errors = [last_errors(problem, run, run.weights, points.samples)[1] for run in runs]
        values = np.array([[node.value.item() for node in each] for each in errors])
        variances = [values.var(0, ddof=1), (values - control).var(0, ddof=1)]
        begun = time.process_time()
        sedyn.simulate(problem, 8 * replicates, estimate=False)
        plain = (time.process_time() - begun) / (8 * replicates)
        begun = time.process_time()
        halves = sedyn.simulate(problem, 8 * replicates, estimate=False, halves=True).isel(iteration=-1)
        both = (time.process_time() - begun) / (8 * replicates)
        left = [halves[f"{name}_halves"].mean("half") - halves[name] for name in NAMES]
        variances.append(np.array([float(one.var("replicate", ddof=1)) for one in left]))
        words = (f"{n * a:.4f}, {n * b:.4f}" for a, b in variances)
        costs = zip(("runs", "controlled", "halves"), words, (plain, plain + taken, both), strict=True)
        print(
            f"n = {n}: " + "; ".join(f"{kind} {word} in {1e3 * cost:.2g} ms" for kind, word, cost in costs), flush=True
        )


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["100"])[0]))
