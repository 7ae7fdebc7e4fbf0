"""A schedule may end at zero, or pause: a step at rate 0 changes nothing, in theory, in runs and in the estimate."""

import numpy as np
import pytest

import sedyn

COSINE = tuple(0.4 * (1 + np.cos(np.pi * np.arange(6) / 5)))
"""From 0.8 to exactly 0."""
PAUSED = (0.8, 0.0, 0.0, 0.5, 0.0, 0.3)
SETTINGS = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "batches": {"batch_fraction": 0.5, "depth": 3},
    "correlated": {"covariance": "two_level(5, 0.2)"},
    "relu": {"activation": "relu"},
}


def problem_of(rates, **settings):
    return sedyn.Problem(**{"n": 300, "d": 200, "width": 2, "depth": 2, "steps": 6, **settings}, learning_rate=rates)


def assert_nothing_changes(found, rates, rtol):
    """Observables on iterations, before and after each step at rate 0; and something at the others."""
    assert 0.0 in rates
    for name, values in found.data_vars.items():
        if "iteration" not in values.dims or name.endswith("_stderr"):
            continue
        for step, rate in enumerate(rates):
            before, after = (values.isel(iteration=step + k).values for k in (0, 1))
            if rate == 0:
                np.testing.assert_allclose(after, before, rtol=rtol, atol=rtol, err_msg=name)
            elif name == "train_error":
                assert not np.allclose(after, before, rtol=1e-6)


@pytest.mark.parametrize("rates", [COSINE, PAUSED], ids=["cosine", "paused"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("engine", ["dense", "deferred"])
def test_runs_and_their_estimate_stay(engine, settings, rates):
    estimate = settings.get("activation") != "relu"
    runs = sedyn.simulate(problem_of(rates, **settings), 2, engine=engine, estimate=estimate)
    assert bool(runs.estimated_test_error.notnull().any()) == estimate
    assert_nothing_changes(runs, rates, 1e-9)


@pytest.mark.parametrize("rates", [COSINE, PAUSED], ids=["cosine", "paused"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_theory_stays(settings, rates):
    assert COSINE[-1] == 0.0
    theory = sedyn.state_evolution(problem_of(rates, **settings), samples=1024, randomizations=2)
    assert_nothing_changes(theory, rates, 1e-6)


def test_an_estimator_stays():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 20))
    model = sedyn.NetworkRegressor(learning_rate=PAUSED, steps=6, early_stopping=False).fit(X, np.tanh(X[:, 0]))
    assert_nothing_changes(model.history_, PAUSED, 1e-9)
