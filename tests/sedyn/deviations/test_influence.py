"""Derivatives in the weights of samples and features, against differences of runs and a jackknife."""

import numpy as np
import pytest

import sedyn
from sedyn.deviations import dynamics
from sedyn.deviations.influence import covariance, influences
from sedyn.deviations.inputs import draw_innovations
from sedyn.deviations.tape import Tape
from sedyn.model.seeds import randomization_seeds
from sedyn.model.update import updates_of
from tests.sedyn.deviations.test_weighted_run import plain_innovations, weighted

BASE = {"n": 300, "d": 200, "width": 2, "depth": 3, "steps": 4, "learning_rate": 1.5, "init_overlap": 0.4}
REGIMES = {
    "linear": {"width": 1, "depth": 1, "init_overlap": 0.0},
    "momentum": {"momentum": 0.5, "weight_decay": 0.1, "learning_rate": (1.0, 0.5, 0.0, 1.0)},
    "nesterov": {"momentum": 0.5, "momentum_form": "nesterov", "deep_learning_rate": 0.3},
    "batches": {"batch_fraction": 0.5},
    "signals": {"signals": 2, "covariance": "two_level(4,0.25)"},
    "layers": {
        "learning_rate": 0.4,
        "bias": "all",
        "bias_init": 0.1,
        "skip": True,
        "residual": True,
        "outputs": 2,
        "signals": 2,
    },
    "classes": {"labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3},
    "frozen": {"labels": "binary", "loss": "logistic", "train": "first"},
    "random start": {"initialization": "random", "signals": 2, "covariance": "two_level(4,0.25)", "signal_norm": 1.3},
    "one unit learns": {"activation": "identity", "link": "identity"},  # gradients of all units are parallel
}


# Averages over points without weights, which move with the lengths of random signals.
OF_POINTS = ("test_error", "estimate_minus_test_error")


def in_law(problem, inputs, weights):
    """Weights, and of samples so that their indices have the law that signals give them with these of features."""
    if problem.initialization == "exact":
        return weights
    signals = np.sqrt(inputs.eigenvalues) * inputs.of_start[: problem.signals]
    indices = inputs.samples.innovations[: problem.signals]

    def density(gram):
        quadratic = np.einsum("in,ij,jn->n", indices, np.linalg.inv(gram), indices)
        return np.exp(-quadratic / 2) / np.sqrt(np.linalg.det(gram))

    now, before = (density((signals * own["features"]) @ signals.T) for own in (weights, inputs.weights))
    return {**weights, "samples": weights["samples"] * now / before}


def last_outputs(problem, inputs, weights):
    """All that is observed at the last iteration and has weights, and the tape that leads there."""
    tape = Tape(in_law(problem, inputs, weights))
    state = dynamics.init(problem, inputs, tape)
    for update in updates_of(problem):
        state = dynamics.step(problem, inputs, tape, state, update)
    seen = dynamics.observe(problem, inputs, tape, state)
    left_out = () if problem.initialization == "exact" else OF_POINTS
    return tape, [node for name, node in seen.items() if name not in left_out]


@pytest.mark.parametrize("regime", REGIMES)
def test_derivatives_are_finite_differences(regime):
    problem = sedyn.Problem(**{**BASE, **REGIMES[regime]})
    inputs = draw_innovations(problem, 2**9, randomization_seeds(problem, 0, 1)[0])
    tape, outputs = last_outputs(problem, inputs, inputs.weights)
    derivatives = tape.pull_back(outputs)
    rng, step = np.random.default_rng(0), 1e-4
    for side, weights in inputs.weights.items():
        direction = rng.standard_normal(weights.size) * weights
        levels = inputs.levels if side == "features" else np.zeros(weights.size, dtype=int)
        for level in np.unique(levels):  # whose share stays
            direction[levels == level] -= direction[levels == level].mean()
        ends = [
            last_outputs(problem, inputs, {**inputs.weights, side: weights + sign * step * direction})[1]
            for sign in (1, -1)
        ]
        above, below = (np.concatenate([node.value.ravel() for node in nodes]) for nodes in ends)
        expected = (above - below) / (2 * step)
        np.testing.assert_allclose(derivatives[side] @ direction, expected, rtol=1e-5, atol=2e-6)


def test_a_grouped_jackknife_of_a_long_run_gives_the_same():
    problem = sedyn.Problem(**{**BASE, "n": 400, "d": 200, "depth": 2, "steps": 3, "noise": 0.5})
    inputs, groups = plain_innovations(problem, 5), 100
    whole = inputs.weights
    jackknife = np.zeros((problem.steps + 1, problem.steps + 1, 2))
    for side, weights in whole.items():
        values = []
        for group in range(groups):
            left = np.where(np.arange(weights.size) % groups == group, 0.0, 1.0)
            found = weighted(problem, inputs, {**whole, side: left / left.sum()})
            values.append([[seen[name].value.item() for name in ("train_error", "test_error")] for _, seen in found])
        spread = np.array(values) - np.mean(values, axis=0)
        jackknife += problem.n * (groups - 1) / groups * np.einsum("gsk,gtk->stk", spread, spread)
    exact = influences(problem, inputs)
    for number, name in enumerate(("train_error", "test_error")):
        variance = np.diagonal(covariance(problem, inputs, exact[name]).total[..., 0])[1:]
        ratio = np.diagonal(jackknife[..., number])[1:] / variance
        # Of two estimates from one run, one takes rows in groups: a relative error of (2/groups)^1/2 between them.
        assert abs(ratio - 1).max() < 3 * (2 / groups) ** 0.5
