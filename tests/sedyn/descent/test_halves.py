"""Halves of a run share its innovations: what is linear in them cancels, and a bias is left."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.descent.halves import half_of
from tests.helpers import assert_within_se, mean_and_se

PLAIN = {"width": 2, "depth": 2, "steps": 4}
SHAPES = {
    "full batch": PLAIN,
    "two eigenvalues": {**PLAIN, "covariance": "two_level(4, 0.25)"},
    "two signals, batches": {**PLAIN, "signals": 2, "batch_fraction": 0.25, "batching": "shuffle"},
    "one pass, counted": {**PLAIN, "batching": "one_pass", "batch_size": 12, "momentum": 0.5},
    "classes, biases": {**PLAIN, "labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "bias": "all"},
    "binary, skip": {**PLAIN, "labels": "binary", "loss": "logistic", "skip": True, "noise_law": "student_t(5)"},
}


def difference(runs, name):
    """Mean of the halves minus the run."""
    return runs[f"{name}_halves"].mean("half") - runs[name]


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES)
def test_the_run_is_the_deferred_run(fields):
    problem = Problem(n=96, d=64, **fields)
    with_halves, plain = (sedyn.simulate(problem, 2, engine="deferred", halves=halves) for halves in (True, False))
    xr.testing.assert_equal(with_halves[list(plain)], plain)
    assert set(with_halves) - set(plain) == {f"{name}_halves" for name in plain if not name.endswith("_stderr")}
    assert all(values.notnull().any() for values in with_halves.values())


@pytest.mark.parametrize("fields", SHAPES.values(), ids=SHAPES)
def test_what_is_linear_is_the_same_in_the_halves(fields):
    """Before the first step errors are averages of functions of what is drawn for each sample alone."""
    runs = sedyn.simulate(Problem(n=96, d=64, init_overlap=0.3, **fields), 5, halves=True)
    for name in ("train_error", "test_error", "estimated_test_error"):
        start = runs.isel(iteration=0)
        np.testing.assert_allclose(start[f"{name}_halves"].mean("half"), start[name], rtol=1e-12)
        later = runs.isel(iteration=-1)
        assert float(abs(difference(later, name)).min()) > 1e-6
    halves = runs.train_error_halves.isel(iteration=0)
    assert float(abs(halves.sel(half=0) - halves.sel(half=1)).min()) > 1e-6


def test_the_rest_of_the_fluctuation_falls_like_its_square():
    ratios, replicates = {}, 300
    for n in (256, 2048):
        problem = Problem(n=n, d=n // 2, **PLAIN)
        runs = sedyn.simulate(problem, replicates, halves=True, estimate=False).isel(iteration=-1)
        for name in ("train_error", "test_error"):
            left = difference(runs, name).var("replicate", ddof=1) / runs[name].var("replicate", ddof=1)
            ratios[name, n] = np.log(float(left))
    error = np.sqrt(4 * 2 / (replicates - 1))  # of four logarithms of variances
    for name in ("train_error", "test_error"):
        fall = (ratios[name, 2048] - ratios[name, 256]) / np.log(2048 / 256)
        assert_within_se(fall, -1.0, error / np.log(2048 / 256), multiple=3.0)
        assert ratios[name, 2048] < np.log(1 / 30)


def test_halves_have_the_law_of_plain_runs():
    """Of every observable, with all that is drawn anew in a half: batches, noise, signals, a spectrum."""
    fields = {"covariance": "two_level(4, 0.25)", "batch_fraction": 0.5, "momentum": 0.3, "signals": 2}
    problem, replicates = Problem(n=48, d=32, **PLAIN, **fields), 1500
    runs = sedyn.simulate(problem, replicates, halves=True).isel(iteration=-1)
    plain = sedyn.simulate(half_of(problem), replicates, seed=1, engine="deferred").isel(iteration=-1)
    whole = sedyn.simulate(problem, replicates, seed=2, engine="deferred").isel(iteration=-1)
    for name in ("train_error", "test_error", "estimated_test_error", "weight_gram", "signal_overlap", "deep_weights"):
        for at in map(tuple, np.argwhere(plain[name].notnull().values[0])):
            values = runs[f"{name}_halves"].values[(..., *at)]
            other = plain[name].values[(slice(None), *at)]
            for half in (0, 1):
                assert stats.ks_2samp(values[:, half], other).pvalue > 1e-4, (name, at, half)
            # Both halves know nothing of each other.
            assert abs(np.corrcoef(values.T)[0, 1]) < 4 / np.sqrt(replicates), (name, at)
    # Which this test would see: they are not runs of the whole size.
    assert stats.ks_2samp(runs.train_error_halves.values[:, 0], whole.train_error.values).pvalue < 1e-6


def test_they_show_the_bias_that_theory_shows():
    problem, replicates = Problem(n=64, d=32, **PLAIN), 1500
    theory = sedyn.state_evolution(problem, samples=2**13).isel(iteration=slice(1, None))
    runs = sedyn.simulate(problem, replicates, halves=True, estimate=False).isel(iteration=slice(1, None))
    larger = sedyn.simulate(Problem(n=256, d=128, **PLAIN), replicates, halves=True, estimate=False)
    for name in ("train_error", "test_error"):
        seen, seen_error = mean_and_se(runs[name])
        # Of b/64 + 3 c/64^2 and b/256 + 3 c/256^2 so much is b/64 + c/64^2.
        first, first_error = mean_and_se(difference(runs, name))
        second, second_error = mean_and_se(difference(larger, name).isel(iteration=slice(1, None)))
        bias, bias_error = (first + 32 * second) / 9, np.hypot(first_error, 32 * second_error) / 9
        assert_within_se(seen - theory[name], bias, seen_error, bias_error, theory[f"{name}_stderr"])
        assert float(abs(bias / bias_error).max()) > 10


def test_halves_depend_on_problem_replicate_and_seed_alone():
    problem = Problem(n=96, d=64, **PLAIN)
    among = sedyn.simulate(problem, 4, halves=True)
    xr.testing.assert_equal(sedyn.simulate(problem, [2], halves=True), among.sel(replicate=[2]))
    beside = dataclasses.replace(problem, noise=0.6, learning_rate=0.3)
    together = sedyn.simulate_together([(beside, 3), (problem, [1, 2])], halves=True)
    xr.testing.assert_equal(together[1], among.sel(replicate=[1, 2]))
    assert not sedyn.simulate(problem, 4, seed=1, halves=True).equals(among)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 97}, "n=97 has no half; make it even"),
        ({"d": 65}, "d=65 has no half; make it even"),
        ({"batch_size": 5}, "batch_size=5 has no half; make it even"),
        ({"features": "rademacher"}, "only Gaussian features are drawn as innovations, not features=rademacher"),
        ({"temperature": 0.1}, "halves share no gradient noise; set temperature=0, not 0.1"),
        ({"covariance": "power_law(0.3)"}, "with covariance=power_law(0.3) theory of half the size is another"),
        ({"d": 4, "width": 2}, "with n=96 and d=4 there is no problem of half the size (d=2: "),
    ],
)
def test_a_problem_without_halves_is_refused(fields, said):
    problem = Problem(**{"n": 96, "d": 64, **PLAIN, **fields})
    with pytest.raises(InvalidInput) as refused:
        sedyn.simulate(problem, 1, halves=True)
    assert str(refused.value).startswith(f"halves=True: {said}")
    assert str(refused.value).endswith("; or set halves=false")


def test_a_dense_design_has_no_halves():
    with pytest.raises(InvalidInput, match="engine='dense': its entries are no innovations that halves share"):
        sedyn.simulate(Problem(n=96, d=64, **PLAIN), 1, engine="dense", halves=True)
