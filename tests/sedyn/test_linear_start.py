"""Training that begins with the linear model inside: its solution, its penalty, and what the estimate knows of it."""

import numpy as np
import pytest
from scipy.linalg import cho_factor
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV

from sedyn import NetworkClassifier, NetworkRegressor
from sedyn.descent.leave_one_out import seconds_for
from sedyn.estimators import base, linear
from sedyn.estimators.choosing import Resamples
from sedyn.estimators.doubts import EstimateWarning
from sedyn.estimators.linear import choose, modes_of, solve
from sedyn.estimators.newton import Objectives, minimum
from sedyn.estimators.price import fit_memory, seconds_of_starts
from sedyn.estimators.rates import curvature_bound
from sedyn.estimators.samples import distinct
from sedyn.model.functions import loss_named
from sedyn.model.network import losses


def table(n, d, classes=0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) @ np.diag(0.7 ** np.arange(d))
    signals = X @ rng.standard_normal((d, max(1, classes))) + rng.standard_normal((n, max(1, classes)))
    if not classes:
        return X, signals.T
    if classes == 2:
        return X, np.sign(signals[:, :1] + 0.5).T
    return X, 1.0 * (signals.argmax(axis=1) == np.arange(classes)[:, None])


CASES = {"squared": 0, "logistic": 2, "softmax": 3, "huber": 0}


@pytest.mark.parametrize(("n", "d"), [(60, 8), (20, 30)])
@pytest.mark.parametrize("name", CASES)
def test_it_is_the_minimum_of_the_penalized_loss(name, n, d):
    X, labels = table(n, d, CASES[name])
    weights, loss = np.linspace(0.5, 1.5, n), loss_named(name)
    model = choose(modes_of(X, weights, intercept=True), labels, weights, loss)
    outputs = model.weights @ X.T + model.intercept[:, None]
    slopes = loss.jet(outputs, labels, 1)[1] * weights / n
    scale = np.abs(loss.jet(0 * outputs, labels, 1)[1] @ X / n).max()
    np.testing.assert_allclose(slopes @ X + model.penalty * model.weights, 0, atol=1e-4 * scale)
    np.testing.assert_allclose(slopes.sum(axis=1), 0, atol=1e-4)


def test_it_is_the_ridge_and_the_logistic_regression_of_others():
    X, labels = table(60, 8)
    ones = np.ones(60)
    model = choose(modes_of(X, ones, intercept=True), labels, ones, loss_named("squared"))
    ridge = Ridge(alpha=60 * model.penalty).fit(X, labels[0])
    np.testing.assert_allclose(model.weights[0], ridge.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.intercept, ridge.intercept_, rtol=1e-6)
    X, labels = table(60, 8, 2)
    model = choose(modes_of(X, ones, intercept=True), labels, ones, loss_named("logistic"))
    logistic = LogisticRegression(C=1 / (60 * model.penalty), tol=1e-10, max_iter=10_000).fit(X, labels[0])
    np.testing.assert_allclose(model.weights, logistic.coef_, rtol=1e-3)


@pytest.mark.parametrize(("name", "tolerance"), [("squared", 1e-6), ("logistic", 0.05), ("softmax", 0.05)])
def test_what_samples_keep_is_what_retraining_without_them_takes_away(name, tolerance):
    """Exactly for a parabola, and for samples of large errors; of the others by one step of Newton's."""
    X, labels = table(100, 8, CASES[name])
    ones, loss = np.ones(100), loss_named(name)
    modes = modes_of(X, ones, intercept=True)
    model = choose(modes, labels, ones, loss)
    weights, intercepts = solve(modes, labels, 1.0 - np.eye(100), loss, model)
    expected = np.einsum("icd,id->ci", weights, X) + intercepts.T
    outputs = model.weights @ X.T + model.intercept[:, None]
    taken = outputs - expected
    assert np.abs(taken).max() > 0.1 * np.abs(outputs).mean()
    assert np.linalg.norm(model.kept - taken) < tolerance * np.linalg.norm(taken)
    error, other = (losses(loss, one, labels).mean() for one in (outputs - model.kept, expected))
    assert abs(np.log(error / other)) < 0.1 * tolerance


@pytest.mark.parametrize("name", ["squared", "huber"])
@pytest.mark.parametrize("share", [1e-3, 1e-7, 1e-10])
def test_a_model_that_fits_every_sample_is_not_told_to_have_no_error(name, share):
    """With more features than samples a gradient and what is left of a curvature are both as small as the penalty."""
    X, labels = table(20, 30)
    weights, loss = np.linspace(0.5, 1.5, 20), loss_named(name)
    X = X - np.average(X, axis=0, weights=weights)
    modes = modes_of(X, weights, intercept=True)
    family = linear._Family(modes, labels, weights, loss)
    penalty = np.array([share * modes.eigenvalues[-1]])
    found = (
        family.left_out_of_parabola(penalty)
        if name == "squared"
        else family.left_out(penalty, family.minima(penalty, family.at_zero(), linear.EXACTLY))
    )[0, 0]
    expected = []
    for i in range(20):
        others = np.arange(20) != i
        own, roots = weights[others], np.sqrt(weights[others])
        mean, middle = np.average(X[others], axis=0, weights=own), np.average(labels[0, others], weights=own)
        rows, targets = (X[others] - mean) * roots[:, None], (labels[0, others] - middle) * roots
        answer = rows.T @ np.linalg.solve(rows @ rows.T + 20 * penalty[0] * np.eye(19), targets)
        expected.append((X[i] - mean) @ answer + middle)
    assert np.abs(labels[0] - expected).min() > 1e-3
    if name == "squared":
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    else:  # beyond its threshold not a parabola, and known to first order: as large an error, not next to none
        assert np.mean((found - labels[0]) ** 2) > 0.5 * np.mean((np.array(expected) - labels[0]) ** 2)


@pytest.mark.parametrize("name", CASES)
def test_models_side_by_side_are_each_what_it_is_alone(name):
    X, labels = table(40, 6, CASES[name])
    rng, loss = np.random.default_rng(1), loss_named(name)
    weights, shifts = rng.uniform(0.2, 2, (3, 40)), 0.3 * rng.standard_normal((3, 6))
    penalties = np.array([[0.02] * 6, [0.2] * 6, [2.0] * 6])
    together = Objectives(X, labels, weights, loss, penalties, shifts)
    start = np.zeros((3, len(labels), 6))
    found = minimum(together, start, lambda slope: slope, 1e-16)
    for k in range(3):

        def value(flat, k=k):
            outputs = flat.reshape(-1, 6) @ (X + shifts[k]).T
            return losses(loss, outputs, labels) @ weights[k] / 40 + penalties[k, 0] * flat @ flat / 2

        alone = minimize(value, start[k].ravel(), tol=1e-12)
        np.testing.assert_allclose(found.parameters[k].ravel(), alone.x, atol=1e-4)
        assert found.value[k] <= alone.fun * (1 + 1e-9)
        assert value(found.parameters[k].ravel()) == pytest.approx(found.value[k], rel=1e-12)


@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_a_penalty_takes_one_matrix_and_samples_left_out_take_none(name, monkeypatch):
    matrices = []
    monkeypatch.setattr(linear, "cho_factor", lambda *a, **k: matrices.append(1) or cho_factor(*a, **k))
    X, labels = table(80, 8, CASES[name])
    ones, loss = np.ones(80), loss_named(name)
    modes = modes_of(X, ones, intercept=True)
    model = choose(modes, labels, ones, loss)
    decades = np.log10(
        linear.LARGEST_SHARE * curvature_bound(loss, len(labels)) * modes.eigenvalues[-1] / model.penalty
    )
    assert len(matrices) <= 1 + linear.IN_A_DECADE[False] * (decades + 2 + linear.DECADES_OF_PATIENCE)
    matrices.clear()
    solve(modes, labels, 1.0 - np.eye(80), loss, model)
    assert len(matrices) == 1


def test_what_the_linear_start_takes_is_counted_before(monkeypatch):
    problem = NetworkClassifier()._problem(n=400, d=300, labels="binary", outputs=1, signals=1)
    more = fit_memory(problem, estimate=True, linear=True) - fit_memory(problem, estimate=True)
    assert more > 8 * (3 * 300**2 + 3 * 400 * 300)
    X, labels = table(60, 8)
    options = {"steps": 5, "early_stopping": False, "random_state": 0}
    model = NetworkRegressor(**options).fit(X, labels[0])
    assert model.history_.attrs["estimate"] == "exact"
    descents = seconds_for(model.problem_) * base.LIKELY_STEPS / 5
    monkeypatch.setattr(base, "AFFORDABLE_SECONDS", descents + 0.9 * seconds_of_starts(model.problem_))
    assert NetworkRegressor(**options).fit(X, labels[0]).history_.attrs["estimate"] is True
    from_zero = NetworkRegressor(weight_decay=0.0, **options).fit(X, labels[0])
    assert from_zero.history_.attrs["estimate"] == "exact"


def test_the_penalty_is_about_that_of_least_leave_one_out_error():
    X, labels = table(80, 30)
    ones = np.ones(80)
    model = choose(modes_of(X, ones, intercept=True), labels, ones, loss_named("squared"))
    alphas = np.logspace(-4, 4, 200)
    chosen = RidgeCV(alphas, store_cv_results=True).fit(X, labels[0])
    errors = chosen.cv_results_.mean(axis=0)
    there = np.interp(np.log(80 * model.penalty), np.log(alphas), errors)
    assert errors.min() <= there < 1.05 * errors.min() < errors.max() / 2


def test_few_samples_choose_no_small_penalty():
    """Of squares the penalty is one that four of five samples of the samples find too large, if anything."""
    X, labels = table(60, 30)
    ones, centred = np.ones(60), X - X.mean(axis=0)
    model = choose(modes_of(X, ones, intercept=True), labels, ones, loss_named("squared"))
    eigenvalues, vectors = np.linalg.eigh(centred.T @ centred / 60)
    count = 1 + round(8 * np.log10(5 / 1e-12))
    penalties, resamples, errors = 5 * eigenvalues[-1] * 10 ** (-np.arange(count) / 8), Resamples.of(ones), []
    for penalty in penalties:
        hat = centred @ (vectors / (eigenvalues + penalty)) @ vectors.T @ centred.T / 60 + 1 / 60
        errors.append(resamples.sums(((labels[0] - hat @ labels[0]) / (1 - np.diag(hat))) ** 2))
    own = penalties[resamples.drawn(np.array(errors)).argmin(axis=1)]
    assert own.max() > 5 * own.min()
    assert model.penalty == pytest.approx(np.exp(np.quantile(np.log(own), 0.8)), rel=1e-9)


def test_where_there_are_too_many_unknowns_training_begins_at_zero(monkeypatch):
    monkeypatch.setattr(linear, "LARGEST_SYSTEM", 8)
    X, labels = table(60, 8, 2)
    ones = np.ones(60)
    assert choose(modes_of(X, ones, intercept=True), labels, ones, loss_named("logistic")) is None
    model = NetworkClassifier(random_state=0).fit(X, labels[0])
    assert model.problem_.weight_decay == 0
    assert model.history_.train_error[0] == pytest.approx(-2 * np.sum([p * np.log(p) for p in shares(labels[0])]))
    assert choose(modes_of(X, ones, intercept=True), *table(60, 8)[1:], ones, loss_named("squared")) is not None


def shares(labels):
    return [np.mean(labels == one) for one in np.unique(labels)]


@pytest.mark.parametrize("exact", [False, True])
def test_a_linear_model_stays_where_it_begins_and_so_does_its_estimate(exact, monkeypatch):
    if not exact:
        monkeypatch.setattr(base, "AFFORDABLE_SECONDS", 0.0)
    X, labels = table(60, 12)
    model = NetworkRegressor(depth=1, steps=60, early_stopping=False).fit(X, labels[0])
    assert model.history_.attrs["estimate"] == ("exact" if exact else True)
    assert model.problem_.weight_decay > 0
    Z = (X - X.mean(0)) / X.std(0)
    ridge = Ridge(alpha=60 * model.problem_.weight_decay).fit(Z, labels[0])
    np.testing.assert_allclose(model.predict(X), ridge.predict(Z), rtol=1e-6)
    cv = RidgeCV([60 * model.problem_.weight_decay], store_cv_results=True).fit(Z, labels[0])
    np.testing.assert_allclose(model.history_.estimated_test_error, cv.cv_results_.mean(), rtol=1e-6)


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_the_estimate_of_a_network_that_goes_on_from_there_is_leave_one_out(load, monkeypatch):
    X, y = load(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))[:60]
    options = {"steps": 100, "early_stopping": False, "random_state": 0}
    exact = NetworkClassifier(estimate="exact", **options).fit(X[rows], y[rows]).history_.estimated_test_error
    monkeypatch.setattr(base, "AFFORDABLE_SECONDS", 0.0)
    model = NetworkClassifier(**options).fit(X[rows], y[rows])
    assert model.history_.attrs["estimate"] is True
    away = np.abs(np.log(model.history_.estimated_test_error / exact))
    assert away[0] < 0.03
    assert away.max() < 0.06


def test_directions_in_which_features_hardly_vary_are_learned():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1100, 40)) @ np.diag(0.5 ** np.arange(40)) @ np.linalg.qr(rng.standard_normal((40, 40)))[0]
    y = X @ np.linalg.lstsq(X, rng.standard_normal(1100))[0] * 5 + 0.05 * rng.standard_normal(1100)
    train, new = slice(0, 100), slice(100, None)
    Z = (X - X[train].mean(0)) / X[train].std(0)
    ridge = RidgeCV(np.logspace(-7, 3, 60)).fit(Z[train], y[train])
    begun = NetworkRegressor(random_state=0).fit(X[train], y[train])
    from_zero = NetworkRegressor(weight_decay=0.0, random_state=0).fit(X[train], y[train])
    errors = [np.mean((model.predict(table) - y[new]) ** 2) for model, table in
              ((begun, X[new]), (from_zero, X[new]), (ridge, Z[new]))]  # fmt: skip
    assert errors[0] < 1.05 * errors[2]
    assert errors[0] < 0.8 * errors[1]


def test_biases_do_not_decay():
    """Of few positives, with features of little use and a large penalty, predictions keep their share."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 30)), rng.uniform(size=400) < 0.06
    model = NetworkClassifier(random_state=0, steps=150, early_stopping=False).fit(X, y)
    assert model.problem_.weight_decay > 0.05
    assert model.predict_proba(X)[:, 1].mean() == pytest.approx(y.mean(), rel=0.1)


def test_a_rate_of_ones_own_begins_at_zero_and_a_decay_of_ones_own_is_of_all_weights():
    X, labels = table(60, 8)
    y = labels[0]
    by_hand = NetworkRegressor(learning_rate=0.01, steps=2, random_state=0).fit(X, y)
    assert by_hand.problem_.weight_decay == 0
    assert by_hand.history_.train_error[0] == pytest.approx(y.var())
    assert NetworkRegressor(weight_decay=0.1, steps=2).fit(X, y).history_.train_error[0] == pytest.approx(y.var())
    warm = NetworkRegressor(warm_start=True, steps=3, random_state=0).fit(X, y)
    decay = warm.problem_.weight_decay
    assert warm.fit(X, y).problem_.weight_decay == decay > 0


def test_a_warm_start_takes_over_no_penalty_that_was_chosen_for_other_weights():
    X, labels = table(60, 8)
    chosen = NetworkRegressor(steps=3, random_state=0).fit(X, labels[0]).weight_decay_
    model = NetworkRegressor(warm_start=True, weight_decay=0.7, steps=3, random_state=0).fit(X, labels[0])
    assert model.weight_decay_ == 0.7
    weights = model.first_weights_
    model.set_params(weight_decay="auto", steps=1, early_stopping=False, learning_rate="auto").fit(X, labels[0])
    assert model.weight_decay_ == chosen != 0.7
    assert np.abs(model.first_weights_ - weights).max() < 0.5 * np.abs(weights).max()  # goes on from there


def test_losses_of_left_out_samples_are_the_estimate_before_the_first_step(monkeypatch):
    monkeypatch.setattr(base, "AFFORDABLE_SECONDS", 0.0)
    X, labels = table(60, 8, 2)
    model = NetworkClassifier(steps=1, early_stopping=False).fit(X, labels[0])
    ones = np.ones(60)
    X, y, *_ = distinct(X, labels[0], ones)  # in the order in which they train
    Z, labels = (X - X.mean(0)) / X.std(0), y[None]
    found = choose(modes_of(Z, ones, intercept=True), labels, ones, loss_named("logistic"))
    outputs = found.weights @ Z.T + found.intercept[:, None] - found.kept
    expected = 2 * losses(loss_named("logistic"), outputs, labels).mean()
    assert model.history_.estimated_test_error[0] == pytest.approx(expected)


def test_classes_that_are_told_apart_leave_a_doubt():
    rng = np.random.default_rng(0)
    labels = np.sign(rng.standard_normal(40))[None]
    X = rng.standard_normal((40, 3)) + 8 * labels.T
    ones, loss = np.ones(40), loss_named("logistic")
    model = choose(modes_of(X, ones, intercept=True), labels, ones, loss)
    outputs = model.weights @ X.T + model.intercept[:, None] - model.kept
    assert losses(loss, outputs, labels).max() < 0.01
    # Without doubt outputs would be about the logarithm of the smallest penalty's inverse, 25 and more.
    assert 3 < np.abs(outputs).mean() < 12


def test_an_estimate_of_classes_that_are_told_apart_says_what_one_sample_could_add():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 20)
    apart, mixed = rng.standard_normal((2, 40, 3))
    apart[:, 0] += 8 * y
    mixed[:, 0] += y
    with pytest.warns(EstimateWarning, match="one sample more could double"):
        model = NetworkClassifier(random_state=0).fit(apart, y)
    outputs = np.abs(model._fresh_outputs[0])
    assert model.estimated_test_error_stderr_ > 0.99 * 2 * outputs.mean() / 41 > model.estimated_test_error_
    model = NetworkClassifier(random_state=0).fit(mixed, y)
    assert not any("one sample more" in message for message in model.history_.attrs["warnings"])


def test_a_network_is_kept_if_it_is_clearly_better_than_the_linear_model():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 6))
    straight, bent = X[:, 0] + rng.standard_normal(150), X[:, 0] * X[:, 1] + 0.3 * rng.standard_normal(150)
    model = NetworkRegressor(random_state=0).fit(X, straight)
    assert model.best_iteration_ == 0
    estimate = model.history_.estimated_test_error
    assert estimate.min() < estimate[0]  # by chance
    assert model.estimated_test_error_ == pytest.approx(estimate[0].item() + model.selection_bias_)
    model = NetworkRegressor(random_state=0, width=8).fit(X, bent)
    assert model.best_iteration_ > 0
    estimate = model.history_.estimated_test_error
    assert model.estimated_test_error_ == pytest.approx(estimate.min().item() + model.selection_bias_)
    assert model.estimated_test_error_ < 0.7 * estimate[0]
