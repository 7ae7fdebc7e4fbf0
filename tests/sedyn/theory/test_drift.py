import warnings

import numpy as np
import pytest

import sedyn
from sedyn.theory import drift
from sedyn.theory.drift import spectrum_drift
from sedyn.theory.inputs import least_samples

HARD = {"width": 3, "depth": 2, "link": "hermite2", "signal_norm": 2.0, "init_overlap": 0.5}
HARD |= {"activation": "gelu", "momentum": 0.4, "steps": 10}
EASY = HARD | {"link": "tanh", "signal_norm": 1.0, "init_overlap": 0.0}


def problem_of(covariance, rate, **settings):
    return sedyn.Problem(n=1500, d=1000, covariance=covariance, learning_rate=rate, **settings)


@pytest.mark.parametrize(
    ("rate", "least", "most"), [(0.35, 0.3, np.inf), (0.2, 0.05, 2.0), (0.1, 0.0, 0.02)], ids=["lost", "off", "right"]
)
def test_three_rates_are_told_apart(rate, least, most):
    found = spectrum_drift(problem_of("power_law(0.4)", rate, **HARD))
    assert least <= found.change <= most
    assert found.noticed == (rate > 0.1)


@pytest.mark.parametrize(
    ("covariance", "rate"), [("power_law(0.1)", 0.8), ("power_law(0.25)", 0.8), ("power_law(0.4)", 0.35)]
)
def test_a_spectrum_that_grows_but_does_not_matter_is_not_noticed(covariance, rate):
    found = spectrum_drift(problem_of(covariance, rate, **EASY))
    assert 0 < found.change < 0.02
    assert not found.noticed


def test_a_spectrum_that_stays_has_no_drift():
    assert spectrum_drift(problem_of("two_level(5, 0.25)", 0.35, **HARD)) == (0.0, 0.0)


def test_theory_warns_where_runs_are_off_and_only_there():
    far, near = (problem_of("power_law(0.4)", rate, **HARD) for rate in (0.35, 0.1))
    with pytest.warns(UserWarning, match=r"covariance='power_law\(0.4\)': as d doubles, errors that theory predicts"):
        lost = sedyn.state_evolution(far, samples=2**10, randomizations=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = sedyn.state_evolution(near, samples=2**10, randomizations=4)
        flat = sedyn.state_evolution(problem_of("identity", 0.1, **HARD), samples=2**8, randomizations=2)
    assert lost.spectrum_drift > 0.3 > 0.02 > right.spectrum_drift
    assert "spectrum_drift" not in flat.attrs
    # The runs say the same.
    for problem, theory, off in ((far, lost, True), (near, right, False)):
        runs = sedyn.simulate(problem, 4, estimate=False).train_error.median("replicate")
        fine = sedyn.state_evolution(problem, samples=2**12, randomizations=4) if not off else theory
        assert bool(abs(runs / fine.train_error - 1).max() > 0.25) == off


def test_twice_as_many_features_have_as_many_batches(monkeypatch):
    solved = []
    known = drift.run_each
    monkeypatch.setattr(drift, "run_each", lambda problem, *args: solved.append(problem) or known(problem, *args))
    settings = {"n": 64, "d": 32, "steps": 2, "covariance": "power_law(0.4)"}
    by_size = spectrum_drift(sedyn.Problem(**settings, batch_size=16))
    assert {(problem.n, problem.batch_size) for problem in solved} == {(64, 16), (128, 32)}
    assert drift.drift_solutions(sedyn.Problem(**settings)) == (len(solved), drift.RANDOMIZATIONS * drift.SAMPLES)
    assert by_size == spectrum_drift(sedyn.Problem(**settings, batch_fraction=0.25))


def test_a_sample_of_many_variables_has_enough_samples(monkeypatch):
    settings = {"width": 8, "depth": 2, "steps": 4, "learning_rate": 0.1, "activation": "relu"}
    problem = sedyn.Problem(n=64, d=32, covariance="power_law(0.1)", **settings)
    monkeypatch.setattr(drift, "SAMPLES", 32)
    assert least_samples(problem) > drift.SAMPLES
    assert np.isfinite(spectrum_drift(problem).change)
