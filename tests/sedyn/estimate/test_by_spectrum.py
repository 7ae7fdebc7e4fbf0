"""The estimated test error against retraining without a sample, and against the test error itself."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

import sedyn
from sedyn import Problem
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.designs.dense import DenseDesign
from sedyn.estimate.by_spectrum import BySpectrum
from sedyn.estimate.rows import row_scales
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.evaluation import mean_scores, sample_scores
from sedyn.model.label_laws import DrawnLabels
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.update import updates_of
from tests.helpers import ROUNDING, assert_within_se, mean_and_se

BASE = Problem(n=1000, d=500, width=2, depth=3, steps=8, noise=0.3)

QUICK = {
    "linear": {"depth": 1, "width": 1},
    "two layers, few samples": {"depth": 2, "width": 3, "d": 1000},
    "four layers": {"depth": 4, "activation": "gelu"},
    "erf": {"activation": "erf", "width": 4},
    "logistic": {"loss": "logistic", "labels": "binary", "learning_rate": 2.0},
    "momentum and decay": {"momentum": 0.6, "weight_decay": 0.05, "learning_rate": 0.4},
    "mini-batches": {"batch_fraction": 0.25},
    "shuffled": {"batch_fraction": 0.25, "batching": "shuffle"},
    "nesterov, gradient noise": {
        "momentum": 0.6,
        "momentum_form": "nesterov",
        "learning_rate": 0.3,
        "temperature": 0.2,
        "deep_learning_rate": 0.1,
        "weight_decay": 0.05,
        "batch_fraction": 0.5,
    },
    "rademacher": {"features": "rademacher"},
    "correlated": {"covariance": "power_law(0.4)"},
    "two levels, rademacher": {"covariance": "two_level(6, 0.2)", "features": "rademacher"},
}


def deviation(problem, replicates):
    runs = sedyn.simulate(problem, replicates, device="cpu")
    return runs.estimated_test_error - runs.test_error, runs


@pytest.mark.parametrize("fields", QUICK.values(), ids=QUICK)
def test_mean_deviation_from_the_test_error_is_within_standard_errors(fields):
    difference, runs = deviation(dataclasses.replace(BASE, **fields), 12)
    mean, se = mean_and_se(difference)
    # The finite-size bias is O(1/n): small beside this standard error, O((n replicates)^-1/2).
    assert_within_se(mean, np.zeros(mean.size), se, runs.test_error_stderr.mean("replicate"))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"loss": "logistic", "labels": "binary", "learning_rate": 2.0},
        {"loss": "logistic", "labels": "binary", "learning_rate": 2.0, "noise_law": "flip(0.2)"},
        {"loss": "absolute(0.3)", "noise_law": "laplace"},
        {"loss": "huber(0.5)", "noise_law": "student_t(5)"},
    ],
)
def test_deviation_falls_like_the_root_of_n(fields):
    """Sixteen times the samples, a quarter of the error."""
    replicates = 24
    log_rms = []
    for n in (128, 2048):
        difference, _ = deviation(dataclasses.replace(BASE, n=n, d=n // 2, **fields), replicates)
        log_rms.append(0.5 * np.log((difference**2).isel(iteration=-1).mean().item()))
    # The mean of R squares has relative variance near 2/R; half of it in the logarithm of the root, for each n.
    se = np.sqrt(2 * (1 / (2 * replicates)))
    assert abs(log_rms[1] - log_rms[0] + 0.5 * np.log(16)) < 4 * se


def data_set(problem, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((problem.n, problem.d)) / np.sqrt(problem.d)
    signal = rng.standard_normal(problem.d)
    y = np.tanh(x @ signal) + problem.noise * rng.standard_normal(problem.n)
    return x, y, rng.standard_normal((problem.width, problem.d))


def run(problem, x, y, first, scales=None):
    """All states, and what they were found on."""
    estimate = BySpectrum.begin(problem, gauss_quadrature(np.ones(x.shape[1]), 1), first, scales)
    data = Data(
        DenseDesign(x),
        np.ones(x.shape[1]),
        y[None, :],
        first,
        initial_deep_weights(problem),
        batches=None,
        estimate=estimate,
    )
    return list(states(dynamics, problem, data, updates_of(problem))), data


@pytest.mark.parametrize(("train", "share"), [("first", 0.1), ("all", 0.6)])
def test_retraining_without_each_sample_gives_the_same(train, share):
    """Both average over the same rows, so they agree far better than either does with the test error.

    What a sample changes in the deeper layers, O(1/n), the estimate leaves out; frozen layers leave nothing.
    """
    problem = Problem(n=120, d=80, width=2, depth=2, steps=8, noise=0.3, learning_rate=0.8, train=train)
    x, y, first = data_set(problem)
    path, data = run(problem, x, y, first)
    left_out = np.empty((problem.steps + 1, problem.n))
    fewer = dataclasses.replace(problem, n=problem.n - 1)
    for i in range(problem.n):
        kept = np.arange(problem.n) != i
        for t, state in enumerate(run(fewer, x[kept], y[kept], first)[0]):
            h = state.first_weights @ x[i][:, None]
            left_out[t, i] = sample_scores(problem, h, DrawnLabels(y[None, i : i + 1]), state.deep_weights)[0, 0]
    for t, state in enumerate(path):
        scores = dynamics.scores(problem, data, state)
        train_error, estimate = scores["train_error"], scores["estimated_test_error"]
        assert abs(estimate - left_out[t].mean()) <= share * left_out[t].std() / np.sqrt(problem.n)
    assert abs(estimate - left_out[-1].mean()) < 0.2 * abs(train_error - left_out[-1].mean())


def test_one_step_takes_out_each_samples_own_gradient():
    problem = Problem(n=50, d=20, width=2, depth=2, steps=1, learning_rate=0.7)
    x, y, first = data_set(problem)
    start, end = run(problem, x, y, first)[0]
    expected = end.trained + 0.7 * 20 / 50 * start.derivatives.gradient
    np.testing.assert_allclose(end.estimate.fresh_like(end.trained), expected, rtol=1e-12)


def test_before_the_first_step_training_samples_are_fresh():
    runs = sedyn.simulate(Problem(n=60, d=40, steps=2), 3, device="cpu").isel(iteration=0)
    np.testing.assert_allclose(runs.estimated_test_error, runs.train_error, rtol=ROUNDING)


def test_estimating_does_not_change_training():
    problem = Problem(n=80, d=60, steps=4, batch_fraction=0.5)
    with_estimate, without = (sedyn.simulate(problem, 2, estimate=e, device="cpu") for e in (True, False))
    np.testing.assert_array_equal(with_estimate.train_error, without.train_error)
    assert np.isnan(without.estimated_test_error).all()
    assert without.no_estimate_because


def test_kink_is_refused_with_the_reason_and_a_smooth_activation():
    runs = sedyn.simulate(Problem(n=60, d=40, steps=2, activation="relu"), 1, device="cpu")
    assert np.isnan(runs.estimated_test_error).all()
    assert "kink" in runs.no_estimate_because
    assert "softplus" in runs.no_estimate_because
    assert "\n" not in runs.no_estimate_because


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"depth": 2, "activation": "gelu"},
        {"depth": 3},
        {"depth": 4, "activation": "erf"},
        {"features": "laplace"},
        {"covariance": "power_law(0.25)"},
        {"covariance": "two_level(5, 0.25)"},
        {"momentum": 0.6, "learning_rate": 0.4},
        {"batch_fraction": 0.25},
    ],
    ids=str,
)
def test_exponent_in_n_is_minus_a_half(fields):
    from analysis.statistics.generalization_estimate import generalization_estimate

    sizes, base = (128, 256, 512, 1024, 2048), dataclasses.replace(BASE, **fields)
    runs = [sedyn.simulate(dataclasses.replace(base, n=n, d=n // 2), 48, device="cpu") for n in sizes]
    measured = generalization_estimate(xr.concat(runs, xr.Variable("n", list(sizes))))
    assert_within_se(measured.exponent, -0.5, measured.exponent_stderr, multiple=4)
    assert measured.exponent_stderr < 0.08


def test_rows_of_unequal_length_need_their_scales():
    """Elliptical rows, scaled by tau_i of which the lengths tell: right with row scales, and far off without."""
    # The deeper weights of init_seed=0 happen to be small, and then so is what there is to see.
    problem = Problem(n=600, d=500, width=2, depth=2, steps=16, noise=0.5, learning_rate=0.6, init_seed=1)
    differences = {True: [], False: []}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scales = rng.gamma(0.5, 2.0, 4 * problem.n)  # as unequal as squares of normals
        rows = rng.standard_normal((scales.size, problem.d)) * np.sqrt(scales[:, None] / problem.d)
        rows /= np.sqrt((rows[: problem.n] ** 2).sum(axis=1).mean())  # the spectrum of `run` is that of mean 1
        y = np.tanh(rows @ rng.standard_normal(problem.d)) + problem.noise * rng.standard_normal(scales.size)
        training, first = slice(0, problem.n), rng.standard_normal((problem.width, problem.d))
        for scaled in differences:
            known = row_scales(rows[training]) if scaled else None
            path, data = run(problem, rows[training], y[training], first, known)
            labels = DrawnLabels(y[None, problem.n :])
            fresh = [
                mean_scores(problem, s.first_weights @ rows[problem.n :].T, labels, s.deep_weights)[0] for s in path
            ]
            estimates = [dynamics.scores(problem, data, state)["estimated_test_error"] for state in path]
            differences[scaled].append(np.array(estimates) - fresh)
    of = {scaled: xr.DataArray(np.array(each), dims=("replicate", "t")) for scaled, each in differences.items()}
    mean, se = mean_and_se(of[True])
    assert_within_se(mean, np.zeros(mean.size), se)
    off, se = mean_and_se(of[False] - of[True])  # on the same rows
    assert (off[12:] > 6 * se[12:]).all()
    assert off[-1] > 0.1
