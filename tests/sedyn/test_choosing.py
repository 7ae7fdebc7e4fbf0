"""What choosing gains by chance, and what a stated error knows of it and of what samples teach each other."""

import numpy as np
import pytest

from sedyn import NetworkClassifier, NetworkRegressor, NetworkSearch
from sedyn.estimators.choosing import MOST_GROUPS, RESAMPLED, Resamples
from sedyn.estimators.linear import choose, modes_of
from sedyn.estimators.scores import stderr_of_mean, stderr_of_what_is_learned
from sedyn.model.functions import loss_named
from sedyn.model.network import losses


def test_resamples_are_means_over_the_samples_drawn_and_not_drawn():
    rng = np.random.default_rng(0)
    weights, each = rng.uniform(0.5, 2, 12), rng.standard_normal((3, 12))
    each[1] -= 1
    resamples = Resamples.of(weights)
    sums = np.array([resamples.sums(one) for one in each])
    np.testing.assert_allclose(sums.sum(axis=1), np.average(each, axis=1, weights=weights))
    drawn, clearly = resamples.drawn(sums), resamples.clearly_lower(sums, 1.5)
    own = rng.integers(0, 3, RESAMPLED)
    left_out = resamples.left_out(sums[own])
    for r, counts in enumerate(resamples.counts):
        rows, others = np.repeat(np.arange(12), counts), np.flatnonzero(counts == 0)
        np.testing.assert_allclose(drawn[r], np.average(each[:, rows], axis=1, weights=weights[rows]))
        by_hand = np.average(each[own[r], others], weights=weights[others]) if others.size else 0
        np.testing.assert_allclose(left_out[r], by_hand)
        gained = each[0, rows] - each[:, rows]
        mean = np.average(gained, axis=1, weights=weights[rows])
        # Of the resample's twelve samples, as of any twelve.
        errors = np.array([stderr_of_mean(one, weights[rows]) for one in gained])
        np.testing.assert_array_equal(clearly[r], mean > 1.5 * errors)
    assert 0 < clearly[:, 1].mean() < 1


def test_many_samples_are_drawn_in_groups():
    n = 5 * MOST_GROUPS + 3
    each, weights = np.random.default_rng(0).standard_normal(n), np.ones(n)
    resamples = Resamples.of(weights)
    assert resamples.counts.shape == (RESAMPLED, MOST_GROUPS)
    sums = resamples.sums(each)
    assert sums.sum() == pytest.approx(each.mean())
    spread = resamples.drawn(sums[None])[:, 0].std(ddof=1)
    assert spread * np.sqrt(n) == pytest.approx(1, abs=4 / np.sqrt(2 * RESAMPLED))


@pytest.mark.parametrize(("candidates", "alike"), [(2, 0.0), (10, 0.0), (10, 0.9), (50, 0.0)])
def test_the_least_of_equal_candidates_is_too_low_by_what_is_found(candidates, alike):
    rng, n = np.random.default_rng(0), 60
    resamples, least, found = Resamples.of(np.ones(n)), [], []
    for _ in range(200):
        own = np.sqrt(1 - alike) * rng.standard_normal((candidates, n)) + np.sqrt(alike) * rng.standard_normal(n)
        sums = np.array([resamples.sums(one) for one in own])
        best, theirs = sums.sum(axis=1).argmin(), resamples.drawn(sums).argmin(axis=1)
        least.append(sums[best].sum())
        found.append(resamples.left_out(sums[theirs] - sums[best]).mean())
    error = np.std(np.add(least, found)) / np.sqrt(len(least))
    assert np.mean(least) < -4 * error
    assert abs(np.mean(np.add(least, found))) < 3 * error


@pytest.mark.parametrize("d", [5, 20])
def test_the_spread_of_losses_alone_knows_too_little_of_the_error_of_leave_one_out(d):
    rng, loss, n, runs = np.random.default_rng(1), loss_named("squared"), 80, 600
    off, spread, learned = np.empty((3, runs))
    for run in range(runs):
        X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
        basis, root = np.linalg.qr(X)
        fitted = basis @ (basis.T @ y)
        left_out = y - (y - fitted) / (1 - (basis**2).sum(axis=1))
        each, own = (y - left_out) ** 2, np.linalg.solve(root, basis.T @ y)
        off[run] = each.mean() - (1 + own @ own)
        spread[run] = stderr_of_mean(each, np.ones(n))
        outputs = fitted[None], left_out[None], y[None]
        learned[run] = 2 * stderr_of_what_is_learned(loss, *outputs, np.ones(n), 0.0)
    variance, error = np.mean(off**2), np.std(off**2) / np.sqrt(runs)
    stated = np.mean(spread**2 + learned**2)
    assert abs(stated - variance) < 3 * error
    if d == 20:
        assert np.mean(spread**2) < variance - 5 * error


def test_a_sure_model_of_what_is_known_teaches_nothing():
    labels = np.ones((1, 6))
    fresh = outputs = np.array([[2.0, 1.0, 0.5, 3.0, -1.0, 0.1]])
    assert stderr_of_what_is_learned(loss_named("logistic"), outputs, fresh, labels, np.ones(6), 0.0) == 0
    assert stderr_of_what_is_learned(loss_named("logistic"), outputs, fresh, labels, np.ones(6), 0.1) > 0


def _table(n=150, d=30, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X[:, 0] + rng.standard_normal(n)


def test_what_is_reported_is_the_least_estimate_and_what_choosing_has_gained():
    X, y = _table(60, 12)
    model = NetworkRegressor(random_state=0, max_steps=60).fit(X, y)
    assert model.selection_bias_ > 0
    kept = model.history_.estimated_test_error[model.best_iteration_].item()
    assert model.estimated_test_error_ == pytest.approx(kept + model.selection_bias_)
    assert model.estimated_test_error_stderr_ > model.selection_bias_
    several = NetworkRegressor(random_state=0, weight_decay=0.0, spectrum="ledoit_wolf", max_steps=30).fit(X, y)
    assert several.selection_bias_ > 0
    fixed = NetworkRegressor(random_state=0, weight_decay=0.1, steps=5, early_stopping=False).fit(X, y)
    assert fixed.selection_bias_ == 0
    assert fixed.estimated_test_error_ == pytest.approx(fixed.history_.estimated_test_error[-1].item())
    classes = NetworkClassifier(random_state=0, max_steps=60).fit(X, y > 0)
    assert classes.selection_bias_ > 0


@pytest.mark.slow
def test_a_chosen_penalty_has_the_error_that_is_reported():
    off, before = [], []
    for seed in range(60):
        X, y = _table(60, 30, seed)
        modes, weights = modes_of(X, np.ones(60), intercept=True), np.ones(60)
        loss, labels = loss_named("squared"), y[None]
        model = choose(modes, labels, weights, loss)
        fresh, fresh_y = _table(4000, 30, 1000 + seed)
        true = losses(loss, model.weights @ fresh.T + model.intercept[:, None], fresh_y[None]).mean()
        outputs = model.weights @ X.T + model.intercept[:, None]
        least = losses(loss, outputs - model.kept, labels).mean()
        before.append(least - true)
        off.append(least + model.gained.mean() - true)
    error = np.std(off) / np.sqrt(len(off))
    assert abs(np.mean(off)) < 3 * error
    assert np.mean(before) < np.mean(off)


def test_the_best_of_several_candidates_is_too_good():
    X, y = _table(100, 10)
    grid = {"random_state": [0, 1, 2, 3]}
    model = NetworkRegressor(width=4, weight_decay=0.0, max_steps=40)
    search = NetworkSearch(model, grid).fit(X, y)
    assert search.selection_bias_ > 0
    assert NetworkSearch(model, {"random_state": [0]}).fit(X, y).selection_bias_ == 0
    assert np.isnan(NetworkSearch(model, {"random_state": [0]}, scoring="r2").fit(X, y).selection_bias_)
