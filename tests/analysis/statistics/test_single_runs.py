"""The test of single runs: uniform p-values under the truth, and known power where theory is wrong."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest, ncx2

import sedyn
from analysis.statistics.single_runs import single_runs

PROBLEM = sedyn.Problem(n=1000, d=500, width=1, depth=1, steps=5, learning_rate=0.6, noise=0.5)
REPLICATES = 400


@pytest.fixture(scope="module")
def predicted():
    return sedyn.fluctuations(PROBLEM, samples=2**10)


@pytest.fixture(scope="module")
def theory():
    return sedyn.state_evolution(PROBLEM, samples=2**10, randomizations=4)


@pytest.fixture(scope="module")
def runs():
    return sedyn.simulate(PROBLEM, REPLICATES, estimate=False, engine="deferred")


@pytest.mark.parametrize("observable", ["train_error", "test_error"])
def test_p_values_are_uniform_under_the_truth(runs, theory, predicted, observable):
    found = single_runs(runs, theory, predicted, observable=observable)
    assert found.degrees >= 2
    assert kstest(found.p_value, "uniform").pvalue > 0.01
    np.testing.assert_allclose(found.z.isel(iteration=-1).std(), 1, atol=4 / (2 * REPLICATES) ** 0.5)


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_a_shifted_theory_is_refused_with_the_power_that_is_known(runs, theory, predicted, share):
    deviation = np.sqrt(np.diagonal(predicted.test_error).clip(0) / PROBLEM.n)
    shift = share * deviation
    found = single_runs(runs, theory.assign(test_error=theory.test_error + shift), predicted)
    refused = float((found.p_value < 0.05).mean())
    # The shift is one of every z but that of iteration 0, which does not vary.
    correlation = predicted.test_error.values[1:, 1:] / np.outer(deviation[1:], deviation[1:]) / PROBLEM.n
    shares, axes = np.linalg.eigh(correlation)
    leading = shares > 0.01 * shares.sum()
    away = ((share * axes[:, leading].sum(axis=0)) ** 2 / shares[leading]).sum()
    degrees = int(leading.sum())
    power = ncx2.sf(chi2.isf(0.05, degrees), degrees, away)
    assert 0.06 < power < 0.999
    assert abs(refused - power) < 4 * (power * (1 - power) / REPLICATES) ** 0.5 + 0.02


def test_predictions_of_another_kind_are_refused(runs, theory):
    with pytest.raises(sedyn.InvalidInput, match="predicted"):
        single_runs(runs, theory, theory)
