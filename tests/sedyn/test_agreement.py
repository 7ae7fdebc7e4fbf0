"""Simulation against theory on varied problems, in combined standard errors at every iteration."""

import dataclasses

import numpy as np
import pytest

import sedyn
from sedyn import Problem
from tests.helpers import assert_within_se, mean_and_se

# The finite-size bias is O(1/n): at these n it is a small part of the standard error of so many replicates.
BASE = {"n": 2000, "d": 1000, "width": 2, "depth": 3, "steps": 8, "noise": 0.3}

QUICK = {
    "linear": {"depth": 1, "width": 1, "link": "identity"},
    "linear model, nonlinear link": {"depth": 1, "width": 1, "link": "sin", "init_overlap": 0.5, "n": 1000, "d": 2000},
    "one hidden layer": {"depth": 2, "width": 3},
    "few samples": {"n": 1000, "d": 2000, "width": 3, "init_overlap": 0.3},
    "many samples": {"n": 3000, "d": 600, "width": 5, "activation": "erf", "link": "hermite2", "init_overlap": 0.6},
    "four layers": {"depth": 4, "width": 3, "activation": "gelu", "link": "sin", "init_overlap": 1.0},
    "one unit": {"width": 1, "depth": 4, "activation": "softplus", "link": "softplus"},
    "sigmoid": {"activation": "sigmoid", "width": 4, "link": "erf", "learning_rate": 2.0},
    "silu, cubic": {"activation": "silu", "depth": 2, "link": "hermite3", "init_overlap": 0.5, "learning_rate": 0.3},
    "identity activation": {"activation": "identity", "link": "tanh", "learning_rate": 0.3},
    "frozen deeper layers": {"train": "first", "deep_init": "signs", "depth": 2, "width": 4, "init_overlap": 0.3},
    "noiseless": {"noise": 0.0, "width": 3, "depth": 2},
    "momentum and decay": {"momentum": 0.6, "weight_decay": 0.05, "width": 3},
    "mini-batches": {"batch_fraction": 0.4},
    "rates of zero on the way and at the end": {"learning_rate": [0.8, 0.0, 0.0, 0.6, 0.4, 0.2, 0.1, 0.0]},
    "nesterov, deeper rates": {"momentum": 0.6, "momentum_form": "nesterov", "deep_learning_rate": 0.3, "width": 3},
    "gradient noise": {"temperature": 0.1},
    "one pass": {"epochs": 1, "batching": "one_pass", "learning_rate": 3.0},
    "two levels of features": {"covariance": "two_level(5, 0.2)", "init_overlap": 0.3},
}
THOROUGH = {
    "shuffled epochs": {"batch_fraction": 0.25, "batching": "shuffle", "learning_rate": 0.4},
    "mini-batches with momentum": {"batch_fraction": 0.5, "momentum": 0.5, "depth": 2, "loss": "huber"},
    "schedule": {"learning_rate": [1.0 / (1 + t) for t in range(8)]},
    "logistic loss": {"loss": "logistic", "labels": "binary", "width": 3, "noise": 0.2},
    "signs, squared loss": {"labels": "binary", "link": "identity", "depth": 2},
    "huber loss": {"loss": "huber", "noise": 1.0},
    "two signals, sum": {"signals": 2, "width": 3, "init_overlap": 0.4, "depth": 2},
    "two signals, product": {"signals": 2, "combine": "product", "link": "identity", "init_overlap": 0.7, "width": 4},
    "more signals than units": {"signals": 3, "width": 2, "init_overlap": 0.5},
    "correlated features": {"covariance": "power_law(0.25)"},
    "correlated features, everything": {
        "covariance": "power_law(0.25)", "momentum": 0.4, "weight_decay": 0.02, "batch_fraction": 0.5,
        "loss": "logistic", "labels": "binary",
    },
    "two levels of features, everything": {
        "covariance": "two_level(0.1, 0.3)", "momentum": 0.4, "weight_decay": 0.02, "batch_fraction": 0.5,
        "loss": "logistic", "labels": "binary",
    },
    "relu": {"activation": "relu", "depth": 2},
    "relu, three layers": {"activation": "relu", "depth": 3, "n": 3000, "d": 3000, "learning_rate": 0.3},
    "two epochs": {"epochs": 2, "batching": "shuffle", "learning_rate": 2.0},
    "two epochs, drawn": {"epochs": 2, "learning_rate": 2.0, "depth": 2},
    "counted batches": {"batch_size": 500, "momentum": 0.4},
    "one pass, everything": {
        "batch_size": 250, "batching": "one_pass", "momentum": 0.5, "weight_decay": 0.1, "temperature": 0.1,
        "learning_rate": 0.4, "deep_learning_rate": 0.2, "loss": "logistic", "labels": "binary",
    },
    "gradient noise, everything": {
        "temperature": 0.2, "momentum": 0.5, "momentum_form": "nesterov", "weight_decay": 0.1, "batch_fraction": 0.5,
        "covariance": "two_level(5, 0.2)", "learning_rate": [0.3, 0.5, 0.6, 0.0, 0.3, 0.3, 0.4, 0.2],
        "deep_learning_rate": [0.1, 0.0, 0.3, 0.1, 0.5, 0.0, 0.0, 1.0],
    },
    "gradient noise, relu, shuffled": {
        "temperature": 0.1, "activation": "relu", "depth": 2, "batch_fraction": 0.5, "batching": "shuffle",
        "momentum": 0.3,
    },
    "strong signal": {"signal_norm": 2.0, "init_overlap": 0.2, "learning_rate": 0.4},
}  # fmt: skip


def check(fields, scale=1, replicates=32, samples=2**12):
    problem = Problem.from_mapping({**BASE, **fields})
    problem = dataclasses.replace(problem, n=scale * problem.n, d=scale * problem.d)
    theory = sedyn.state_evolution(problem, samples=samples)
    runs = sedyn.simulate(problem, replicates=replicates)
    for name in ("train_error", "test_error", "signal_overlap", "weight_gram", "deep_weights"):
        mean, se = mean_and_se(runs[name])
        assert_within_se(mean, theory[name], se, theory[name + "_stderr"])


@pytest.mark.parametrize("fields", QUICK.values(), ids=QUICK)
def test_simulation_agrees_with_theory(fields):
    check(fields)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [*QUICK.values(), *THOROUGH.values()], ids=[*QUICK, *THOROUGH])
def test_simulation_agrees_with_theory_in_every_regime(fields):
    check(fields, scale=3, samples=2**14)


OPTIMIZERS = {
    "deeper rates": {"deep_learning_rate": [0.5, 0.0, 0.5, 0.1, 0.3, 0.3, 0.0, 0.2]},
    "nesterov": {"momentum": 0.6, "momentum_form": "nesterov", "learning_rate": 0.6},
    "gradient noise": {"temperature": 0.2},
    "counted batches": {"batch_size": 2000, "learning_rate": 0.5},
    "one pass": {"epochs": 1, "batching": "one_pass", "learning_rate": 4.0},
    "nesterov, decay, noise, drawn batches": {
        "momentum": 0.5, "momentum_form": "nesterov", "weight_decay": 0.1, "temperature": 0.1, "batch_fraction": 0.5,
        "learning_rate": 0.5, "deep_learning_rate": 0.2,
    },
    "momentum, decay, noise, one pass": {
        "momentum": 0.5, "weight_decay": 0.1, "temperature": 0.1, "batch_size": 2500, "batching": "one_pass",
        "learning_rate": 0.4, "deep_learning_rate": 0.1,
    },
    "classes, biases, nesterov, noise, one pass": {
        "labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "bias": "all", "momentum": 0.3,
        "momentum_form": "nesterov", "temperature": 0.1, "epochs": 1, "batching": "one_pass", "learning_rate": 3.0,
        "deep_learning_rate": 2.0,
    },
    "nesterov, noise, shuffled, correlated": {
        "momentum": 0.3, "momentum_form": "nesterov", "temperature": 0.1, "epochs": 2, "batching": "shuffle",
        "covariance": "two_level(5, 0.2)", "learning_rate": 1.5,
    },
}  # fmt: skip


def marked(name):
    """Alone they are among the quick ones above."""
    return pytest.param(OPTIMIZERS[name], id=name, marks=() if "," in name else pytest.mark.slow)


@pytest.mark.parametrize("fields", [*map(marked, OPTIMIZERS)])
def test_optimizers_agree_with_theory_at_twenty_thousand_samples(fields):
    """And what is estimated from training data agrees with it."""
    problem = Problem(n=20_000, d=10_000, width=2, depth=2, steps=8, init_overlap=0.2, **fields)
    theory = sedyn.state_evolution(problem, samples=2**14)
    runs = sedyn.simulate(problem, replicates=16, engine="deferred")  # fewer know their own spread badly
    names = ("train_error", "test_error", "estimated_test_error", "initial_overlap", "signal_overlap", "weight_gram")
    for name in (*names, "row_average", "deep_weights"):
        mean, se = mean_and_se(runs[name])
        predicted = name.replace("estimated_", "")
        assert_within_se(mean, theory[predicted], se, theory[predicted + "_stderr"])


def test_initial_overlaps_are_exact_at_any_size():
    for d in (60, 400):
        runs = sedyn.simulate(Problem(n=50, d=d, init_overlap=0.4, signals=2, steps=1), replicates=2)
        np.testing.assert_allclose(runs.signal_overlap[:, 0], [[[0.4, 0], [0, 0.4], [0.4, 0]]] * 2, atol=1e-12)


def test_random_initialization_has_the_same_limit():
    check({"initialization": "random", "init_overlap": 0.3, "steps": 6})


@pytest.mark.slow
def test_bias_falls_faster_than_fluctuation():
    """At small n, averaged over many replicates, mean minus theory must fall like 1/n, not like n^-1/2."""
    sizes = [40, 80, 160]
    base = {"width": 2, "depth": 2, "steps": 5, "noise": 0.3, "learning_rate": 1.0}
    early = slice(1, 4)  # later on the next order, 1/n^2, is as large at these sizes
    scaled, tolerance = [], []
    for n in sizes:
        problem = Problem(n=n, d=n // 2, **base)
        theory = sedyn.state_evolution(problem, samples=2**15)
        mean, se = mean_and_se(sedyn.simulate(problem, replicates=1500, estimate=False).test_error)
        scaled.append(n * (mean - theory.test_error)[early])
        tolerance.append(n * np.hypot(se, theory.test_error_stderr)[early])
    for larger in (1, 2):
        assert_within_se(scaled[larger], scaled[larger - 1], tolerance[larger], tolerance[larger - 1])
    assert np.all(np.abs(scaled[0]) > 10 * tolerance[0])


@pytest.mark.slow
def test_agreement_at_a_hundred_thousand_samples():
    """Where fluctuations are an order of magnitude smaller, the theory must be right to another digit."""
    problem = Problem(n=120_000, d=60_000, width=3, depth=3, steps=10, init_overlap=0.2)
    theory = sedyn.state_evolution(problem, samples=2**15)
    runs = sedyn.simulate(problem, replicates=8, engine="deferred")
    assert float(runs.test_error.std("replicate").max()) < 0.005
    for name in ("train_error", "test_error", "estimated_test_error", "signal_overlap", "weight_gram", "deep_weights"):
        mean, se = mean_and_se(runs[name])
        predicted = name.replace("estimated_", "")
        assert_within_se(mean, theory[predicted], se, theory[predicted + "_stderr"])
