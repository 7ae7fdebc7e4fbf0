"""Networks of every kind of layer and output: runs against theory, estimate, and a loop that shares no code."""

import dataclasses

import numpy as np
import pytest

import sedyn
from sedyn import Problem
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.designs.dense import DenseDesign
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.labels import labels_of
from sedyn.model.update import updates_of
from tests.helpers import assert_within_se, mean_and_se

BASE = {"n": 20_000, "d": 10_000, "width": 2, "depth": 3, "steps": 6, "learning_rate": 0.6, "init_overlap": 0.3}
CLASSES = {"labels": "classes", "loss": "softmax"}

ALONE = {
    "bias of every layer": {"bias": "all", "bias_init": 0.2},
    "bias of the output": {"bias": "output"},
    "two outputs": {"outputs": 2, "signals": 2},
    "three outputs of one index": {"outputs": 3, "link": ("tanh", "sin", "hermite2")},
    "classes": {**CLASSES, "outputs": 3, "signals": 3},
    "skip": {"skip": True},
    "residual": {"residual": True, "depth": 4},
}
COMBINED = {
    "linear classes with biases": {**CLASSES, "outputs": 3, "signals": 3, "depth": 1, "width": 3, "bias": "all"},
    "linear regression on two labels": {"outputs": 2, "signals": 2, "depth": 1, "width": 2, "bias": "output"},
    "classes, skip, biases": {**CLASSES, "outputs": 3, "signals": 3, "skip": True, "bias": "all", "depth": 2},
    "classes, mini-batches, momentum": {
        **{**CLASSES, "outputs": 2, "signals": 2, "bias": "output"},
        **{"batch_fraction": 0.5, "momentum": 0.5, "weight_decay": 0.05, "learning_rate": 0.4},
    },
    "classes, correlated features": {**CLASSES, "outputs": 3, "signals": 3, "covariance": "two_level(5, 0.2)"},
    "classes, squared loss": {**CLASSES, "loss": "squared", "outputs": 3, "signals": 3, "bias": "all"},
    "ten classes": {**CLASSES, "outputs": 10, "signals": 10, "bias": "all", "steps": 4, "width": 3},
    "skip, residual, biases": {"skip": True, "residual": True, "bias": "all", "activation": "gelu"},
    "two outputs, skip, huber": {"outputs": 2, "skip": True, "loss": "huber", "link": ("tanh", "erf")},
    "skip, logistic": {"skip": True, "loss": "logistic", "labels": "binary", "bias": "all", "depth": 2},
    "relu, biases, residual": {"activation": "relu", "bias": "all", "residual": True},
    "relu, classes": {"activation": "relu", **CLASSES, "outputs": 2, "signals": 2, "bias": "all", "depth": 2},
    "classes with flips, skip": {**CLASSES, "outputs": 3, "signals": 3, "noise_law": "flip(0.2)", "skip": True},
    "two outputs, heavy noise, huber": {
        **{"outputs": 2, "signals": 2, "noise_law": "student_t(3)", "noise": 0.8},
        **{"loss": "huber(0.5)", "bias": "all"},
    },
    "frozen, biases, skip": {"train": "first", "bias": "all", "bias_init": -0.3, "skip": True},
    "product link by a joint one, two outputs": {"outputs": 2, "signals": 2, "link": "sum_and_product"},
}


@pytest.fixture(scope="module", autouse=True)
def a_joint_link_of_two_labels():
    from sedyn.model.functions import LINKS

    if "sum_and_product" not in LINKS:
        sedyn.register_link("sum_and_product", lambda z: np.stack([z[0] + z[1], z[0] * z[1]]), joint=True)


@pytest.mark.parametrize("fields", [*ALONE.values(), *COMBINED.values()], ids=[*ALONE, *COMBINED])
def test_simulation_agrees_with_theory(fields):
    problem = Problem(**{**BASE, **fields})
    # The solver's bias, about one over the samples, is not in its standard errors: it is made small beside the runs'.
    samples = 2**16 if problem.outputs == 10 else 2**14
    theory = sedyn.state_evolution(problem, samples=samples, randomizations=4)
    runs = sedyn.simulate(problem, replicates=32, seed=1, engine="deferred", estimate=False)
    compared = [name for name in theory.data_vars if name in runs and f"{name}_stderr" in theory]
    assert {"train_error", "test_error", "weight_gram", "signal_overlap", "deep_weights"} <= {*compared}
    assert ("biases" in compared) == (problem.bias != "none")
    assert ("test_error_rate" in compared) == (problem.labels == "classes")
    for name in compared:
        mean, se = mean_and_se(runs[name])
        readout = runs[f"{name}_stderr"].mean("replicate") if f"{name}_stderr" in runs else 0 * se
        assert_within_se(mean, theory[name], se, readout, theory[f"{name}_stderr"])


@pytest.mark.parametrize("fields", [*ALONE.values(), *COMBINED.values()], ids=[*ALONE, *COMBINED])
def test_the_estimate_is_right_on_average(fields):
    problem = Problem(**{**BASE, **fields, "n": 4000, "d": 2000})
    runs = sedyn.simulate(problem, replicates=24, engine="deferred")
    if problem.activation == "relu":
        assert "kink" in runs.attrs["no_estimate_because"]
        return
    for suffix in ("error", "error_rate") if problem.labels == "classes" else ("error",):
        difference = runs[f"estimated_test_{suffix}"] - runs[f"test_{suffix}"]
        mean, se = mean_and_se(difference)
        # The O(1/n) that the estimate leaves out in deeper layers is a small part of one standard error times this.
        assert_within_se(mean, 0 * mean, se)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["classes", "skip", "two outputs", "classes, skip, biases", "skip, residual, biases"])
def test_the_estimate_comes_near_the_truth_like_one_over_root_n(name):
    problem = Problem(**{**BASE, **{**ALONE, **COMBINED}[name]})
    replicates, logs, errors = 100, [], []
    for n in (500, 8000):
        runs = sedyn.simulate(dataclasses.replace(problem, n=n, d=n // 2), replicates)
        squares = ((runs.estimated_test_error - runs.test_error)[:, 1:] ** 2).mean("iteration")
        mean, se = mean_and_se(squares)
        logs.append(np.log(mean) / 2)
        errors.append(se / mean / 2)
    exponent, error = (logs[1] - logs[0]) / np.log(16), np.hypot(*errors) / np.log(16)
    assert abs(exponent + 0.5) < 4 * error


# --- a loop that shares no code -------------------------------------------------------------------------------------


def textbook_loss(problem, parameters, x, y):
    """Mean loss of a network, written out; parameters may be complex, for derivatives by a complex step."""
    first, deep = parameters[0], list(parameters[1:])
    h = x @ first.T / np.sqrt(problem.d)
    everywhere, last = problem.bias == "all", problem.bias != "none"
    signal = h[:, : problem.width]
    if problem.depth > 1:
        signal = np.tanh(signal + deep.pop(0) if everywhere else signal)
        for _ in range(problem.depth - 2):
            pre = signal @ deep.pop(0)
            pre = pre + deep.pop(0) if everywhere else pre
            signal = np.tanh(pre) + (signal if problem.residual else 0)
        signal = signal @ deep.pop(0)
    outputs = signal + (deep.pop(0) if last else 0) + (h[:, problem.width :] if problem.skip else 0)
    assert not deep
    if problem.loss == "softmax":
        return np.mean(np.log(np.exp(outputs).sum(axis=1)) - (y * outputs).sum(axis=1))
    return np.mean(((outputs - y) ** 2).sum(axis=1)) / 2


def complex_step(function, parameters, step=1e-30):
    """Derivatives of a function in every entry of its parameters, to rounding."""
    gradients = [np.empty(parameter.shape) for parameter in parameters]
    for place, parameter in enumerate(parameters):
        for index in np.ndindex(parameter.shape):
            moved = [each.astype(complex) for each in parameters]
            moved[place][index] += 1j * step
            gradients[place][index] = function(moved).imag / step
    return gradients


SMALL = {
    "plain": {},
    "classes, biases": {**CLASSES, "outputs": 3, "signals": 3, "bias": "all", "bias_init": 0.1},
    "linear classes": {**CLASSES, "outputs": 2, "signals": 2, "depth": 1, "bias": "output"},
    "two outputs, skip, residual": {"outputs": 2, "skip": True, "residual": True, "depth": 4},
    "classes, skip, residual, biases": {
        **{**CLASSES, "outputs": 2, "signals": 2},
        **{"skip": True, "residual": True, "bias": "all"},
    },
}


@pytest.mark.parametrize("fields", SMALL.values(), ids=SMALL)
def test_training_is_a_textbook_loop_with_derivatives_by_a_complex_step(fields):
    problem = Problem(**{"n": 12, "d": 7, "width": 2, "depth": 3, "steps": 3, "learning_rate": 0.3, **fields})
    rng = np.random.default_rng(2)
    x, start = rng.standard_normal((12, 7)), rng.standard_normal((problem.units, 7))
    indices = rng.standard_normal((problem.signals, 12))
    y = labels_of(problem, indices, 0.3 * rng.standard_normal((problem.outputs, 12)))
    data = Data(DenseDesign(x, 1 / np.sqrt(7)), np.ones(7), y, start, initial_deep_weights(problem))
    *_, last = states(dynamics, problem, data, updates_of(problem))

    parameters = [start, *initial_deep_weights(problem)]
    for _ in range(problem.steps):
        gradients = complex_step(lambda moved: textbook_loss(problem, moved, x, y.T), parameters)
        # The weights of the first layer are sqrt(d) times those that multiply features of unit variance.
        steps = [problem.learning_rate * problem.d, *[problem.learning_rate] * (len(parameters) - 1)]
        parameters = [p - step * g for p, step, g in zip(parameters, steps, gradients, strict=True)]
    for found, expected in zip((last.first_weights, *last.deep_weights), parameters, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
