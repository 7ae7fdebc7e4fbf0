"""Noise laws and losses at twenty thousand samples: runs against theory, and the estimate against the truth."""

import numpy as np
import pytest

import sedyn
from sedyn import Problem
from tests.helpers import assert_within_se, mean_and_se

BASE = {"n": 20_000, "d": 10_000, "width": 2, "depth": 2, "steps": 5, "init_overlap": 0.3}
CLASSES = {"labels": "binary", "link": "identity", "loss": "logistic", "learning_rate": 2.0}

PROBLEMS = {
    "laplace": {"noise_law": "laplace", "noise": 0.5},
    "student_t": {"noise_law": "student_t(9)", "noise": 0.5},
    "flip": {**CLASSES, "noise_law": "flip(0.15)"},
    "heavy tails, huber, mini-batches, momentum": {
        "noise_law": "student_t(2.5)", "noise": 1.0, "loss": "huber(0.5)", "batch_fraction": 0.5, "momentum": 0.4,
    },
    "laplace, absolute, three layers, decay": {
        "noise_law": "laplace", "loss": "absolute(0.2)", "depth": 3, "weight_decay": 0.05, "learning_rate": 0.4,
    },
    "huber": {"loss": "huber(0.3)"},
    "absolute": {"loss": "absolute(0.5)", "activation": "gelu", "width": 3},
    "flips, two signals, correlated features": {
        **CLASSES, "noise_law": "flip(0.3)", "signals": 2, "combine": "product", "covariance": "two_level(4, 0.25)",
        "loss": "squared", "learning_rate": 0.5,
    },
    "laplace, classes": {**CLASSES, "noise_law": "laplace", "noise": 0.8},
}  # fmt: skip


@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_simulation_agrees_with_theory_and_the_estimate_with_the_truth(fields):
    problem = Problem(**{**BASE, **fields})
    theory = sedyn.state_evolution(problem, samples=2**14)
    runs = sedyn.simulate(problem, 8, engine="deferred")
    for name in ("train_error", "test_error", "estimated_test_error", "signal_overlap", "weight_gram", "deep_weights"):
        mean, se = mean_and_se(runs[name])
        predicted = name.replace("estimated_", "")
        assert_within_se(mean, theory[predicted], se, theory[predicted + "_stderr"])
    mean, se = mean_and_se(runs.estimated_test_error - runs.test_error)
    assert_within_se(mean, np.zeros(mean.size), se, runs.test_error_stderr.mean("replicate"))


@pytest.mark.parametrize("law", ["student_t(9)", "laplace"])
def test_another_law_than_gaussian_shows(law):
    """What the tests above would not see if the law were left out of theory and runs alike."""
    problem = Problem(**{**BASE, "noise": 1.0, "loss": "huber"})
    gaussian, other = (
        sedyn.state_evolution(Problem(**{**problem.to_dict(), "noise_law": own}), samples=2**12)
        for own in ("gaussian", law)
    )
    apart = np.abs(other.test_error - gaussian.test_error)
    assert np.all(apart > 20 * np.hypot(other.test_error_stderr, gaussian.test_error_stderr))
