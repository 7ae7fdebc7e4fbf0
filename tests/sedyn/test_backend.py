"""The kernels on a library that keeps the array API standard to the letter: what works here works on cupy.

Its second device stands for a GPU: an operation that mixes it with host arrays is an error.
"""

import importlib

import array_api_strict
import numpy as np
import pytest

from sedyn import Problem, backend, gradient_descent
from sedyn.backend import resolve_device
from sedyn.design import DenseDesign
from sedyn.errors import InvalidInput
from sedyn.generalization import estimate_test_error, init_estimator, step_estimator
from sedyn.initialization import initial_deep_weights
from sedyn.problem import seed_sequence
from sedyn.spectral import gauss_quadrature

solver = importlib.import_module("sedyn.state_evolution")
DEVICE = array_api_strict.Device("device1")

PROBLEMS = {
    "full batch": {"width": 2, "depth": 3},
    "shuffled logistic with momentum": {
        "width": 3, "depth": 2, "loss": "logistic", "labels": "binary", "batch_fraction": 0.5, "batching": "shuffle",
        "momentum": 0.5, "activation": "gelu", "link": "hermite2",
    },
    "two signals by Stein": {"width": 2, "depth": 2, "activation": "relu", "signals": 2, "combine": "product"},
    "huber, erf": {"width": 2, "depth": 2, "activation": "erf", "link": "erf", "loss": "huber", "batch_fraction": 0.5},
}  # fmt: skip


def on_device(array):
    return array_api_strict.asarray(array, device=DEVICE)


@pytest.fixture(autouse=True)
def only_explicit_transfers(monkeypatch):
    """Give device arrays the one door to the host that cupy has; every other way out of the device is an error."""
    monkeypatch.setattr(type(on_device(np.ones(1))), "get", lambda array: np.asarray(array._array), raising=False)


@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_state_evolution_on_another_device(fields):
    problem = Problem(n=400, d=200, steps=4, **fields)
    draws = solver.draw(problem, 128, seed_sequence("test", 0))
    expected = solver.solve(problem, draws)
    found = solver.solve(problem, solver.Draws(*map(on_device, draws)))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_gradient_descent_and_estimate_on_another_device(fields):
    problem = Problem(n=40, d=20, steps=4, **fields)
    rng = np.random.default_rng(0)
    matrix, first = rng.standard_normal((40, 20)) / np.sqrt(20), rng.standard_normal((problem.width, 20))
    y, batch = np.sign(rng.standard_normal(40)), rng.integers(0, 2, 40) * 2.0
    estimate = problem.activation != "relu"

    def run(convert):
        data = gradient_descent.Data(DenseDesign(convert(matrix)), convert(np.ones(20)), convert(y))
        deep = tuple(convert(weights) for weights in initial_deep_weights(problem))
        state = gradient_descent.init(problem, data, convert(first), deep, convert(batch), curvature=estimate)
        estimator = init_estimator(problem, gauss_quadrature(np.ones(20), 1), convert(first))
        for t in range(problem.steps):
            if estimate:
                estimator = step_estimator(problem, estimator, t, state.derivatives)
            state = gradient_descent.step(problem, data, state, convert(batch), curvature=estimate)
        record = gradient_descent.observe(problem, data, convert(first), state)
        if estimate:
            at = (problem.steps, state.trained, data.responses, state.deep)
            record["estimated_test_error"] = estimate_test_error(problem, estimator, *at)
        return record

    expected, found = run(np.asarray), run(on_device)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, atol=1e-11)


def test_missing_gpu_is_one_clear_line():
    if backend.gpu_unusable_because() is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(InvalidInput, match=r"device='gpu': .*; use device=cpu or device=auto"):
        resolve_device("gpu")
    assert resolve_device("auto") == "cpu"
