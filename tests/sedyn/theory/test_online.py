"""Small batches: one pass against its differential equations, several against a Volterra equation."""

import dataclasses

import numpy as np
import pytest

import sedyn
from sedyn import InvalidInput, Problem, online_limit
from sedyn.model.update import updates_of
from sedyn.theory.inputs import draw
from sedyn.theory.run import run
from tests.helpers import assert_within_se, mean_and_se
from tests.sedyn.theory.test_state_evolution import marchenko_pastur_average

BASE = Problem(
    n=4000, d=2000, width=2, depth=2, epochs=1, batching="one_pass", learning_rate=3.0, init_overlap=0.3, steps=4
)
CASES = {
    "plain": {},
    "momentum, decay, noise": {"momentum": 0.2, "weight_decay": 0.1, "temperature": 0.2, "learning_rate": 1.0},
    "nesterov, deeper rates, two levels": {
        "momentum": 0.3, "momentum_form": "nesterov", "covariance": "two_level(5, 0.2)", "temperature": 0.1,
        "deep_learning_rate": 0.5, "learning_rate": 1.0,
    },
    "classes, biases, skip": {
        "labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "bias": "all", "skip": True,
        "learning_rate": 2.0, "deep_learning_rate": 1.0,
    },
    "frozen, relu": {"train": "first", "activation": "relu", "deep_init": "signs"},
}  # fmt: skip
QUICK = ("plain", "momentum, decay, noise")
NAMES = ("test_error", "signal_overlap", "weight_gram", "deep_weights")


def marked(name):
    return pytest.param(CASES[name], id=name, marks=() if name in QUICK else pytest.mark.slow)


@pytest.mark.parametrize("fields", [*map(marked, CASES)])
def test_theory_of_small_batches_goes_to_the_online_limit(fields):
    """Extrapolated from batches of an eighth, a 16th and a 32nd, so that the cube of a batch's share is left.

    From half-way on: at the start momentum has yet to gather, which batches of any size forget like beta^t.
    """
    problem = dataclasses.replace(BASE, **fields)
    limit = online_limit(problem, samples=2**12)
    found = []
    for m in (8, 16, 32):
        theory = sedyn.state_evolution(dataclasses.replace(problem, steps=m), samples=2**12)
        found.append(theory.isel(iteration=slice(m // 2, None, m // 4)))
    limit = limit.isel(iteration=slice(2, None))
    coefficients, farthest = (1 / 3, -2, 8 / 3), []
    for name in [name for name in limit if not name.endswith("_stderr")]:
        values, errors = ([theory[name + suffix].values for theory in found] for suffix in ("", "_stderr"))
        extrapolated = sum(c * value for c, value in zip(coefficients, values, strict=True))
        spread = [c * error for c, error in zip(coefficients, errors, strict=True)]
        assert_within_se(extrapolated, limit[name], limit[name + "_stderr"], *spread)
        with np.errstate(invalid="ignore"):
            farthest.append(np.nanmax(np.abs(values[0] - limit[name].values) / errors[0], initial=0))
    assert max(farthest) > 10  # without which this would be easy


def test_one_sample_at_a_time_is_the_online_limit():
    problem = dataclasses.replace(BASE, n=64, d=32, steps=64)
    assert problem.samples_per_batch == 1
    runs = sedyn.simulate(problem, replicates=48, estimate=False).isel(iteration=slice(None, None, 16))
    limit = online_limit(dataclasses.replace(problem, steps=4), samples=2**12)
    for name in NAMES:
        mean, se = mean_and_se(runs[name])
        assert_within_se(mean, limit[name].values, se, limit[name + "_stderr"].values)


def test_the_online_limit_of_a_linear_model_is_known():
    """e' = -2 gamma e + (gamma^2 / delta) (e + noise^2), for the test error e + noise^2."""
    gamma, noise, delta = 1.7, 0.4, 2.0
    problem = dataclasses.replace(
        BASE, width=1, depth=1, link="identity", noise=noise, learning_rate=gamma, init_overlap=0.0
    )
    limit = online_limit(problem, samples=256, randomizations=2)
    decay, level = 2 * gamma - gamma**2 / delta, gamma / (2 * delta - gamma) * noise**2
    excess = level + (2 - level) * np.exp(-decay * np.arange(5) / 4)
    np.testing.assert_allclose(limit.test_error, excess + noise**2, rtol=1e-7)


@pytest.mark.parametrize("m", [4, 8])
def test_one_pass_is_the_first_epoch_of_shuffled_ones(m):
    """In the limit: which samples a batch has does not matter where none comes again."""
    once = dataclasses.replace(BASE, steps=m)
    shuffled = dataclasses.replace(once, batching="shuffle")
    draws = draw(once, 512, np.random.SeedSequence(0))
    found, expected = (run(problem, draws, updates_of(problem)) for problem in (once, shuffled))
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-10, atol=1e-12)


def volterra(gamma, noise, delta, start, epochs, count):
    """Train and test error of a linear model whose samples come at random, one at a time, at `count` + 1 times.

    Each sample that comes kicks the weights along itself by its own residual, so that the training error is the source
    of its own future: L(t) = L_flow(t) + the integral of K(t - s) L(s), with averages over the spectrum of X^T X.
    """
    times, step, a = np.linspace(0, epochs, count + 1), epochs / count, gamma / delta

    def over_spectrum(function):
        return np.array([marchenko_pastur_average(lambda x, t=t: function(x, t), delta) for t in times])

    def learned(x, t):
        return (1 - np.exp(-a * x * t)) ** 2 / x if x > 0 else 0.0

    flow = over_spectrum(lambda x, t: (start * x + noise**2) * np.exp(-2 * a * x * t)) / delta + noise**2 * (
        1 - 1 / delta
    )
    flow_test = over_spectrum(lambda x, t: start * np.exp(-2 * a * x * t) + noise**2 * learned(x, t)) + noise**2
    kernel = a**2 / delta * over_spectrum(lambda x, t: x**2 * np.exp(-2 * a * x * t))
    kernel_test = a**2 * over_spectrum(lambda x, t: x * np.exp(-2 * a * x * t))
    train, test = flow.copy(), flow_test.copy()
    for i in range(1, count + 1):
        past = step * (kernel[i] * train[0] / 2 + kernel[i - 1 : 0 : -1] @ train[1:i])
        train[i] = (flow[i] + past) / (1 - step * kernel[0] / 2)
        ends = (kernel_test[i] * train[0] + kernel_test[0] * train[i]) / 2
        test[i] = flow_test[i] + step * (ends + kernel_test[i - 1 : 0 : -1] @ train[1:i])
    return train, test


def test_theory_of_small_drawn_batches_goes_to_the_volterra_equation():
    """The Poisson limit of a linear model."""
    gamma, noise, epochs = 1.2, 0.4, 1.25
    problem = Problem(
        n=2000, d=1000, width=1, depth=1, link="identity", noise=noise, learning_rate=gamma, epochs=epochs
    )
    expected = volterra(gamma, noise, 2.0, 2.0, epochs, 160)
    found = []
    for m in (20, 40):
        theory = sedyn.state_evolution(dataclasses.replace(problem, steps=m), samples=2**14, randomizations=8)
        found.append(theory.isel(iteration=slice(None, None, m // 5)))
    for name, values in zip(("train_error", "test_error"), expected, strict=True):
        coarse, fine = (theory[name].values for theory in found)
        errors = [theory[name + "_stderr"].values for theory in found]
        assert_within_se(2 * fine - coarse, values[::32], errors[0], 2 * errors[1], 1e-4)
        assert np.nanmax(np.abs(coarse - values[::32]) / errors[0]) > 5  # without which this would be easy


@pytest.mark.parametrize(
    ("problem", "arguments", "message"),
    [
        (Problem(batch_fraction=0.1), {}, "batching='without_replacement': samples that come again"),
        (BASE, {"samples": 1000}, "samples=1000: a power of two"),
        (BASE, {"randomizations": 1}, "randomizations=1: a whole number >= 2"),
    ],
)
def test_what_has_no_such_limit_is_refused_in_one_line(problem, arguments, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        online_limit(problem, **arguments)
    assert "\n" not in str(caught.value)
