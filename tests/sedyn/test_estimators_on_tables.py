"""What the estimators do with other people's tables: weights, copies, classes, several targets, scores, intervals."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import log_loss, mean_absolute_error
from sklearn.model_selection import train_test_split

from sedyn import InvalidInput, NetworkClassifier, NetworkRegressor, Problem
from sedyn.estimate.self_consistent import seconds_of
from sedyn.estimators import base, price
from sedyn.estimators.doubts import EstimateWarning, _falls
from sedyn.estimators.rates import curvature_bound, largest_eigenvalue
from sedyn.estimators.scores import error_interval, stderr_of_mean, weighted_quantiles
from sedyn.estimators.training import Patience
from sedyn.model.functions import loss_named


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return train_test_split(X, y, test_size=0.4, random_state=0)


@pytest.fixture(scope="module")
def fitted(diabetes):
    X, _, y, _ = diabetes
    return NetworkRegressor(random_state=0).fit(X, y)


def test_outputs_start_at_the_mean_and_at_the_prior_log_odds(diabetes):
    X, _, y, _ = diabetes
    options = {"steps": 1, "weight_decay": 0.0, "random_state": 0}
    history = NetworkRegressor(**options).fit(X, y).history_
    assert history.train_error[0] == pytest.approx(y.var())
    classes = y > np.quantile(y, 0.9)
    share = classes.mean()
    model = NetworkClassifier(**options).fit(X, classes)
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert model.history_.train_error[0] == pytest.approx(2 * entropy)
    labels = np.digitize(y, np.quantile(y, [0.2, 0.9]))
    shares = np.bincount(labels) / labels.size
    model = NetworkClassifier(**options).fit(X, labels)
    assert model.history_.train_error[0] == pytest.approx(-2 * shares @ np.log(shares))


def test_it_ends_once_the_estimate_has_turned_and_says_where(diabetes):
    X, _, y, _ = diabetes
    fitted = NetworkRegressor(weight_decay=0.0, random_state=0).fit(X, y)
    estimate = fitted.history_.estimated_test_error
    assert 0 < fitted.best_iteration_ < estimate.size - 1 < 1000
    assert fitted.best_iteration_ == estimate.argmin()
    assert fitted.estimated_test_error_ == pytest.approx(estimate.min().item() + fitted.selection_bias_)
    assert fitted.history_.sizes["iteration"] == fitted.problem_.steps + 1


@pytest.mark.parametrize(
    ("iteration", "best", "ends"), [(39, 0, False), (40, 0, True), (300, 200, True), (299, 200, False)]
)
def test_patience_is_so_many_steps_or_half_of_those_before(iteration, best, ends):
    assert Patience(40).ends(iteration, best) is ends
    assert not Patience(None).ends(iteration, best)


@pytest.mark.parametrize("load", [load_iris, load_wine])
@pytest.mark.parametrize("loss", ["logistic", "softmax", "squared"])
def test_three_classes_work_out_of_the_box(load, loss):
    X, y = load(return_X_y=True)
    names = np.array(["a", "b", "c"])[y]
    X, X_new, y, y_new = train_test_split(X, names, random_state=0)
    model = NetworkClassifier(loss=loss, random_state=0, max_steps=200).fit(X, y)
    assert model.score(X_new, y_new) > (
        0.7 if loss == "squared" else 0.9
    )  # lines through 0 and 1 mask the middle class
    assert model.decision_function(X_new).shape == (len(X_new), 3)
    if loss != "squared":
        np.testing.assert_allclose(model.predict_proba(X_new).sum(axis=1), 1)
    assert abs(model.estimated_score_ - model.score(X_new, y_new)) < 0.15


def test_softmax_of_two_classes_is_logistic_on_the_difference_of_outputs():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 10))
    y = X[:, 0] + 0.5 * rng.standard_normal(200) > 0.3
    options = {"depth": 1, "steps": 20, "early_stopping": False, "momentum": 0.0}
    one = NetworkClassifier(learning_rate=0.2, **options).fit(X, y)
    # Each of two outputs learns half of what their difference does.
    two = NetworkClassifier(loss="softmax", learning_rate=0.1, **options).fit(X, y)
    np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X), rtol=1e-10)
    np.testing.assert_allclose(two.estimated_test_error_, one.estimated_test_error_, rtol=1e-10)


def test_few_positives_are_as_well_told_apart_as_by_logistic_regression():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6000, 20))
    y = X @ rng.standard_normal(20) / np.sqrt(20) + 0.5 * rng.standard_normal(6000) > 1.5
    assert 0.03 < y.mean() < 0.07
    train, new = slice(0, 600), slice(600, None)
    model = NetworkClassifier(random_state=0).fit(X[train], y[train])
    other = LogisticRegression().fit(X[train], y[train])
    assert log_loss(y[new], model.predict_proba(X[new])) < 1.02 * log_loss(y[new], other.predict_proba(X[new]))
    assert model.score(X[new], y[new]) > other.score(X[new], y[new]) - 0.003
    assert model.predict_proba(X[new])[:, 1].mean() == pytest.approx(y[new].mean(), abs=0.015)


def test_several_targets_are_what_each_alone_is_for_a_linear_model():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 12))
    Y = X @ rng.standard_normal((12, 2)) * [1, 30] + rng.standard_normal((80, 2)) + [5, -3]
    options = {"depth": 1, "steps": 15, "weight_decay": 0.0, "early_stopping": False}
    both = NetworkRegressor(**options).fit(X, Y)
    assert both.predict(X).shape == (80, 2)
    alone = [NetworkRegressor(**options).fit(X, y) for y in Y.T]
    for column, one in enumerate(alone):
        np.testing.assert_allclose(both.predict(X)[:, column], one.predict(X), rtol=1e-9)
    in_variances = sum(one.estimated_test_error_ / one.response_scale_**2 for one in alone)
    assert both.estimated_test_error_ == pytest.approx(in_variances)
    assert both.predict_interval(X, 0.8).shape == (80, 2, 2)
    np.testing.assert_allclose(both.predict_interval(X, 0.8)[:, 1], alone[1].predict_interval(X, 0.8), rtol=1e-9)


def test_weights_are_numbers_of_copies_and_the_estimate_is_no_lower_for_them(diabetes):
    X, X_new, y, _ = diabetes
    X, y = X[:60], y[:60]
    plain = NetworkRegressor(random_state=0).fit(X, y)
    with pytest.warns(EstimateWarning, match="80% of the samples repeat others"):
        copied = NetworkRegressor(random_state=0).fit(np.repeat(X, 5, axis=0), np.repeat(y, 5))
    weighted = NetworkRegressor(random_state=0).fit(X, y, sample_weight=np.full(60, 5.0))
    for model in (copied, weighted):
        np.testing.assert_allclose(model.predict(X_new), plain.predict(X_new))
        assert model.estimated_test_error_ == pytest.approx(plain.estimated_test_error_)
    counts = np.arange(60) % 3
    some = NetworkRegressor(random_state=0).fit(X, y, sample_weight=counts)
    repeated = NetworkRegressor(random_state=0).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    np.testing.assert_allclose(some.predict(X_new), repeated.predict(X_new))


def test_estimate_of_a_weighted_linear_model_is_weighted_leave_one_out():
    """Of a converged linear model the fresh-like residual is the plain one over one minus the leverage."""
    rng = np.random.default_rng(0)
    X, y, weights = rng.standard_normal((40, 6)), rng.standard_normal(40), rng.uniform(0.2, 3, 40)
    X, y = X - np.average(X, axis=0, weights=weights), y - np.average(y, weights=weights)
    options = {"standardize": False, "fit_intercept": False, "early_stopping": False, "steps": 600}
    model = NetworkRegressor(depth=1, weight_decay=0.0, **options).fit(X, y, sample_weight=weights)
    root = np.sqrt(weights)[:, None] * X
    leverage = np.einsum("ij,jk,ik->i", root, np.linalg.inv(root.T @ root), root)
    residual = y - X @ np.linalg.lstsq(root, np.sqrt(weights) * y)[0]
    expected = np.average((residual / (1 - leverage)) ** 2, weights=weights)
    assert model.estimated_test_error_ == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("d", [110, 200])
def test_more_features_than_samples_are_no_reason_to_fit_every_sample(d, monkeypatch):
    """One run: the penalty is that of least leave-one-out error here too, and the estimate is near the truth."""
    monkeypatch.setattr(base, "AFFORDABLE_SECONDS", 0.0)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1100, d))
    y = X[:, :10].sum(axis=1) / np.sqrt(10) + 0.5 * rng.standard_normal(1100)
    model = NetworkRegressor(random_state=0).fit(X[:100], y[:100])
    true = np.mean((model.predict(X[100:]) - y[100:]) ** 2)
    ridge = RidgeCV(np.logspace(-3, 4, 29)).fit(X[:100], y[:100])
    assert true < 1.1 * np.mean((ridge.predict(X[100:]) - y[100:]) ** 2) < 1.25
    low, high = model.estimated_test_error_interval(0.95)
    assert low < true < high < 3 * low


def test_class_weights_are_sample_weights(diabetes):
    X, X_new, y, _ = diabetes
    classes = y > np.quantile(y, 0.8)
    balanced = NetworkClassifier(class_weight="balanced", random_state=0).fit(X, classes)
    by_hand = np.where(classes, 0.5 / classes.mean(), 0.5 / (1 - classes.mean()))
    weighted = NetworkClassifier(random_state=0).fit(X, classes, sample_weight=by_hand)
    np.testing.assert_allclose(balanced.predict_proba(X_new), weighted.predict_proba(X_new))
    assert (
        balanced.predict(X_new).mean() > 1.5 * NetworkClassifier(random_state=0).fit(X, classes).predict(X_new).mean()
    )


def test_sparse_tables_are_what_dense_ones_are():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 20)) * (rng.uniform(size=(100, 20)) < 0.2)
    y = X[:, 0] + rng.standard_normal(100)
    dense, sparse = (NetworkRegressor(random_state=0).fit(table, y) for table in (X, csr_array(X)))
    np.testing.assert_array_equal(dense.predict(X), sparse.predict(csr_array(X)))


def test_warm_start_goes_on_from_the_weights_and_doubts_the_estimate(diabetes):
    X, _, y, _ = diabetes
    options = {"learning_rate": 0.1, "early_stopping": False, "random_state": 0}
    model = NetworkRegressor(steps=10, warm_start=True, **options).fit(X, y)
    with pytest.warns(EstimateWarning, match="warm_start"):
        model.fit(X, y)
    whole = NetworkRegressor(steps=20, **options).fit(X, y)
    # The intercept goes on too: it is one of the deeper weights.
    np.testing.assert_allclose(model.predict(X), whole.predict(X))
    with pytest.raises(InvalidInput, match="warm_start"):
        model.set_params(width=3).fit(X, y)
    best_before = NetworkRegressor(warm_start=True, random_state=0).fit(X, y).fit(X, y)
    assert best_before.best_iteration_ == 0
    assert not any("nothing in the features" in words for words in best_before.history_.attrs["warnings"])


def test_verbose_tells_how_far_it_is(diabetes, capsys, monkeypatch):
    from sedyn.estimators import training

    X, _, y, _ = diabetes
    NetworkRegressor(steps=5, random_state=0).fit(X, y)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(training, "SECONDS_BETWEEN_LINES", 0.0)
    NetworkRegressor(steps=5, verbose=True, random_state=0).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"iteration {t}" for t in range(6)]


def test_scores_are_of_fresh_like_samples(diabetes, fitted):
    X, X_new, y, y_new = diabetes
    score, stderr = fitted.estimated_score("neg_mean_absolute_error", return_stderr=True)
    fresh = fitted.response_mean_ + fitted.response_scale_ * fitted._fresh_outputs[0]
    assert score == pytest.approx(-mean_absolute_error(fitted._fresh_y, fresh))
    assert 0.5 < stderr / (np.abs(fresh - fitted._fresh_y).std() / np.sqrt(len(y))) < 2
    measured = -mean_absolute_error(y_new, fitted.predict(X_new))
    assert abs(score - measured) < 4 * stderr
    kept = fitted.estimated_test_error_ - fitted.selection_bias_
    assert fitted.estimated_score_ == fitted.estimated_score() == pytest.approx(1 - kept / y.var())
    with pytest.raises(InvalidInput, match="scoring='accurate'"):
        fitted.estimated_score("accurate")
    with pytest.raises(InvalidInput, match=r"scoring='accuracy'.*this one fails"):
        fitted.estimated_score("accuracy")
    without = NetworkRegressor(activation="relu", early_stopping=False, steps=2).fit(X, y)
    with pytest.raises(InvalidInput, match="no estimate"):
        without.estimated_score()


def test_a_scorer_that_warns_does_so_once(fitted):
    def scorer(model, X, y):
        warnings.warn("of this score", UserWarning, stacklevel=1)
        return -mean_absolute_error(y, model.predict(X))

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted.estimated_score(scorer, return_stderr=True)
    assert [str(one.message) for one in told] == ["of this score"]


def test_standard_error_of_the_estimate_is_that_of_its_mean(diabetes):
    X, _, y, _ = diabetes
    fitted = NetworkRegressor(weight_decay=0.0, random_state=0).fit(X, y)
    each = (fitted._fresh_y - fitted.response_mean_ - fitted.response_scale_ * fitted._fresh_outputs[0]) ** 2
    gained = fitted.selection_bias_
    assert fitted.estimated_test_error_ == pytest.approx(each.mean() + gained)
    away = each.mean() - fitted.history_.attrs["second_estimate"]
    assert abs(away) > 1e-6 * fitted.estimated_test_error_
    spread = each.std(ddof=1) / np.sqrt(each.size) * (1 + gained / each.mean())
    # Of squared errors curvatures are 2, and the squares of gradients four times the errors.
    trained = np.mean((fitted.predict(X) - y) ** 2)
    learned = np.sqrt(4 * each.mean() * (each.mean() + gained - trained) / each.size)
    stated = np.linalg.norm([spread, away, gained, learned])
    assert fitted.estimated_test_error_stderr_ == pytest.approx(stated, rel=1e-9)
    rng = np.random.default_rng(0)
    values, weights = rng.standard_normal((2000, 30)), rng.uniform(0, 2, 30)
    means = np.average(values, axis=1, weights=weights)
    assert np.mean([stderr_of_mean(row, weights) for row in values]) == pytest.approx(means.std(), rel=0.06)


def test_an_interval_for_the_error_misses_on_both_sides(diabetes):
    """Of few squared normal errors equal halves hardly ever lie above the truth, and a factor either way does."""
    samples, runs = 20, 4000
    errors = np.random.default_rng(0).standard_normal((runs, samples)) ** 2
    means, stderrs = errors.mean(axis=1), errors.std(axis=1, ddof=1) / np.sqrt(samples)
    ends = np.array([error_interval(*both, 0.9) for both in zip(means, stderrs, strict=True)])
    below, above = np.mean(ends[:, 1] < 1), np.mean(ends[:, 0] > 1)
    halves = 1.645 * stderrs
    below_halves, above_halves = np.mean(means + halves < 1), np.mean(means - halves > 1)
    rough = 3 * np.sqrt(2 * 0.1 * 0.9 / runs)  # of a difference of two such shares
    assert above_halves + rough < above < 0.05 + rough
    assert 0.05 - rough < below < below_halves - rough

    X, _, y, _ = diabetes
    fitted = NetworkRegressor(steps=3, random_state=0).fit(X, y)
    low, high = fitted.estimated_test_error_interval(0.95)
    assert np.sqrt(low * high) == pytest.approx(fitted.estimated_test_error_)
    relative = fitted.estimated_test_error_stderr_ / fitted.estimated_test_error_
    assert np.log(high / low) == pytest.approx(2 * 1.959964 * relative, rel=1e-6)
    assert error_interval(0.0, 0.0, 0.9) == (0.0, 0.0)
    assert error_interval(0.0, 0.1, 0.9) == (0.0, np.inf)
    assert error_interval(1.0, 1e6, 0.9) == (0.0, np.inf)
    with pytest.raises(InvalidInput, match="coverage=1"):
        fitted.estimated_test_error_interval(1)
    without = NetworkRegressor(activation="relu", early_stopping=False, steps=2).fit(X, y)
    with pytest.raises(InvalidInput, match="no estimate"):
        without.estimated_test_error_interval()


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_intervals_cover_as_often_as_they_say(coverage):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5300, 100))
    y = np.tanh(X[:, 0]) + rng.laplace(size=5300)
    model = NetworkRegressor(random_state=0).fit(X[:300], y[:300])
    low, high = model.predict_interval(X[300:], coverage).T
    covered = np.mean((low < y[300:]) & (y[300:] < high))
    # Of 300 errors an end is at a quantile with this standard error.
    assert abs(covered - coverage) < 4 * np.sqrt(coverage * (1 - coverage) / 300)
    with pytest.raises(InvalidInput, match=r"coverage=1"):
        model.predict_interval(X, 1.0)


def test_quantiles_leave_room_for_one_value_more():
    values, ones = np.arange(9.0), np.ones(9)
    np.testing.assert_array_equal(weighted_quantiles(values, ones, np.array([0.1, 0.5, 0.9, 0.95])), [0, 4, 8, np.inf])


def test_rates_come_from_the_features_and_the_loss():
    rng = np.random.default_rng(0)
    features, weights = rng.standard_normal((50, 7)) * np.arange(1, 8), rng.uniform(0, 2, 50)
    weights /= weights.mean()
    largest = np.linalg.eigvalsh((features * weights[:, None]).T @ features / 50)[-1]
    assert largest_eigenvalue(features, weights) == pytest.approx(largest, rel=0.01)
    bounds = {"squared": 1, "logistic": 0.25, "huber": 1, "absolute(0.5)": 2}
    for name, bound in bounds.items():
        assert curvature_bound(loss_named(name), 1) == pytest.approx(bound, rel=1e-3)
    assert curvature_bound(loss_named("softmax"), 5) == pytest.approx(0.5, rel=1e-3)


def test_momentum_grows_with_an_automatic_rate(diabetes):
    """Against the steps written out, on a linear model."""
    X, _, y, _ = diabetes
    options = {"depth": 1, "fit_intercept": False, "weight_decay": 0.0}
    model = NetworkRegressor(steps=12, early_stopping=False, **options).fit(X, y)
    Z, target = (X - X.mean(0)) / X.std(0), (y - y.mean()) / y.std()
    rate = 0.1 / np.linalg.eigvalsh(Z.T @ Z / len(y))[-1]
    assert model.learning_rate_ == pytest.approx(rate, rel=0.01)
    weights = ahead = np.zeros(X.shape[1])
    for t in range(12):
        following = ahead - model.learning_rate_ * Z.T @ (Z @ ahead - target) / len(y)
        weights, ahead = following, following + t / (t + 3) * (following - weights)
    np.testing.assert_allclose(model.predict(X), y.mean() + y.std() * Z @ ahead, rtol=1e-9)


def test_the_default_is_a_linear_model_where_there_is_nothing_else():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4150, 50))
    y = X @ rng.standard_normal(50) + 3 * rng.standard_normal(4150)
    model = NetworkRegressor(random_state=0).fit(X[:150], y[:150])
    ridge = Ridge(alpha=9).fit(X[:150], y[:150])  # the noise's variance over that of a coefficient
    errors = [np.mean((one.predict(X[150:]) - y[150:]) ** 2) for one in (model, ridge)]
    assert errors[0] < 1.08 * errors[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 3}, "still falling at the last step, 3"),
        ({"learning_rate": 0.6, "steps": 30}, "near or beyond the largest stable"),
    ],
)
def test_what_speaks_against_the_estimate_is_warned_of_and_kept(diabetes, options, words):
    X, _, y, _ = diabetes
    with pytest.warns(EstimateWarning, match=words):
        model = NetworkRegressor(random_state=0, **options).fit(X, y)
    assert any(words in line for line in model.history_.attrs["warnings"])


@pytest.mark.parametrize(("steps", "options"), [(300, {}), (3, {"estimate": "last"})])
def test_an_estimate_that_has_turned_or_is_of_one_iteration_is_not_said_to_fall(steps, options, diabetes):
    X, _, y, _ = diabetes
    model = NetworkRegressor(steps=steps, early_stopping=False, random_state=0, **options).fit(X[:60], y[:60])
    assert not any("still falling" in line for line in model.history_.attrs["warnings"])


def test_steps_left_open_may_be_too_few(diabetes):
    X, _, y, _ = diabetes
    with pytest.warns(EstimateWarning, match="still falling at the last step, 3"):
        NetworkRegressor(max_steps=3, random_state=0).fit(X, y)


def test_a_fall_by_less_than_the_standard_error_is_not_warned_of(diabetes):
    X, _, y, _ = diabetes
    twice = NetworkRegressor(learning_rate=0.02, steps=160, early_stopping=False, random_state=0).fit(X, y)
    then = twice.history_.estimated_test_error.values
    for steps, warned in ((20, True), (80, False)):
        model = NetworkRegressor(learning_rate=0.02, steps=steps, random_state=0).fit(X, y)
        estimates = model.history_.estimated_test_error.values
        assert model.best_iteration_ == estimates.argmin() == steps
        assert (estimates[steps] - then[2 * steps] > model.estimated_test_error_stderr_) == warned
        assert any("still falling" in line for line in model.history_.attrs["warnings"]) == warned


@pytest.mark.parametrize("power", [0.1, 0.7])
def test_a_fall_like_a_power_of_the_steps_goes_on_like_it(power):
    estimates = np.arange(1, 202.0) ** -power
    estimates[1:] = estimates[:-1]  # iteration t has t^-power
    gained = 1 - estimates[200] / estimates[100]
    assert _falls(estimates[:101], 0.99 * gained)
    assert not _falls(estimates[:101], 1.01 * gained)


def test_too_few_samples_and_useless_features_are_warned_of(fitted):
    rng = np.random.default_rng(0)
    with pytest.warns(EstimateWarning, match="fewer than half of d=90"):
        NetworkRegressor(spectrum="identity", random_state=0).fit(
            rng.standard_normal((40, 90)), rng.standard_normal(40)
        )
    with pytest.warns(EstimateWarning, match="lowest before the first step"):
        NetworkRegressor(learning_rate=0.5, steps=5).fit(rng.standard_normal((60, 90)), rng.standard_normal(60))
    assert fitted.history_.attrs["warnings"] == []


@pytest.mark.parametrize("rate", [0.35, 0.2, 0.1])
def test_outlying_eigenvalues_are_warned_of_where_they_matter_to_the_estimate(rate):
    """Rates at which theory of such features is lost, off and right; the estimate has the spectrum that there is."""
    rng, n, d = np.random.default_rng(0), 1500, 1000
    scales = np.sqrt(Problem(n=n, d=d, covariance="power_law(0.4)").eigenvalues)
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0]  # in which columns vary alike
    signal = rng.standard_normal(d)
    signal *= 2 / np.linalg.norm(signal)

    def table(rows):
        rows = rng.standard_normal((rows, d)) * scales
        return rows @ basis, ((rows @ signal) ** 2 - 1) / 2**0.5 + 0.3 * rng.standard_normal(len(rows))

    (X, y), (fresh, truth) = table(n), table(8000)
    options = {"width": 3, "depth": 2, "activation": "gelu", "momentum": 0.4, "steps": 10, "early_stopping": False}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", EstimateWarning)
        model = NetworkRegressor(learning_rate=rate, spectrum="ledoit_wolf", random_state=0, **options).fit(X, y)
    edge = any("near or beyond the largest stable" in str(each.message) for each in told)
    assert edge == (rate > 0.3)
    if not edge:
        errors = (model.predict(fresh) - truth) ** 2
        stated = np.hypot(model.estimated_test_error_stderr_, errors.std() / np.sqrt(len(errors)))
        assert abs(model.estimated_test_error_ - errors.mean()) < 3 * stated


def test_few_samples_are_left_out_one_by_one(diabetes):
    """The estimate of a sample is the error of a model that was fitted without it, with the same steps and targets."""
    X, y = diabetes[0][:12, :4], diabetes[2][:12]
    y = (y - y.mean()) / y.std()
    options = {"learning_rate": 0.2, "steps": 6, "early_stopping": False, "depth": 1, "fit_intercept": False}
    model = NetworkRegressor(**options).fit(X, y)
    assert model.history_.attrs["estimate"] == "exact"
    Z = (X - X.mean(0)) / X.std(0)
    errors = []
    for i in range(12):
        others = np.arange(12) != i
        own, weights = Z - Z[others].mean(0), np.zeros(4)
        for _ in range(6):
            weights -= 0.2 * own[others].T @ (own[others] @ weights - y[others]) / 12
        errors.append((y[i] - own[i] @ weights) ** 2)
    assert model.estimated_test_error_ == pytest.approx(np.mean(errors))
    by_modes = NetworkRegressor(**options, spectrum=np.ones(4)).fit(X, y)
    assert by_modes.history_.attrs["estimate"] is True


def test_a_kink_is_left_to_exact_leave_one_out(diabetes):
    """Whose networks without a sample need no second derivative: here against one of them, trained anew."""
    X, y = diabetes[0][:20], diabetes[2][:20]
    y = (y - y.mean()) / y.std()
    options = {"activation": "relu", "steps": 20, "skip": False, "bias": "output", "fit_intercept": False}
    options |= {"early_stopping": False, "random_state": 0}
    model = NetworkRegressor(**options, learning_rate=0.3).fit(X, y)
    assert model.history_.attrs["estimate"] == "exact"
    assert model.history_.attrs["no_estimate_because"] == ""
    features = (X - model.feature_mean_) / model.feature_scale_
    others = features[1:] - features[1:].mean(0)
    # 19 samples instead of 20 in the mean: a rate that is as much smaller.
    options |= {"learning_rate": 0.3 * 19 / 20, "standardize": False, "estimate": False}
    without = NetworkRegressor(**options).fit(others, y[1:])
    fresh = without.predict(features[:1] - features[1:].mean(0))
    row = np.flatnonzero(model._fresh_y == y[0])[0]
    assert model._fresh_outputs[0, row] == pytest.approx(fresh[0], rel=1e-9)


def test_what_is_kept_is_of_the_best_iteration_if_that_is_the_first(diabetes):
    X, y = diabetes[0][:60], np.random.default_rng(0).permutation(diabetes[2][:60])
    model = NetworkRegressor(learning_rate=0.5, steps=5, random_state=0).fit(X, y)
    assert model.best_iteration_ == 0
    kept = model.estimated_test_error_ - model.selection_bias_
    assert kept == pytest.approx(model.history_.estimated_test_error[0].item())
    np.testing.assert_allclose(model.predict(X), y.mean())
    np.testing.assert_allclose(model._fresh_outputs, 0, atol=1e-12)


def test_samples_that_weigh_are_left_out_one_by_one_too(diabetes):
    X, y = diabetes[0][:30, :5], diabetes[2][:30]
    weights = np.linspace(0.3, 1.7, 30)
    model = NetworkRegressor(depth=1, steps=10, early_stopping=False).fit(X, y, sample_weight=weights)
    assert model.history_.attrs["estimate"] == "exact"
    Z, errors = (X - model.feature_mean_) / model.feature_scale_, []
    for i in range(30):
        others = np.arange(30) != i
        ridge = Ridge(alpha=30 * model.problem_.weight_decay).fit(Z[others], y[others], sample_weight=weights[others])
        errors.append((y[i] - ridge.predict(Z[i : i + 1])[0]) ** 2)
    # At the end as at the start: rows are centred anew by the others' weighted mean, and there the linear model stays.
    expected = np.average(errors, weights=weights)
    np.testing.assert_allclose(model.history_.estimated_test_error, expected, rtol=1e-6)


def test_an_estimate_of_the_last_iteration_alone_and_none(diabetes):
    X, _, y, _ = diabetes
    options = {"steps": 20, "early_stopping": False, "random_state": 0, "spectrum": "identity"}
    always, last, none = (NetworkRegressor(estimate=how, **options).fit(X, y) for how in (True, "last", False))
    assert last.estimated_test_error_ == always.estimated_test_error_
    assert np.isnan(last.history_.estimated_test_error[:-1]).all()
    assert np.isnan(none.estimated_test_error_)
    for model in (last, none):
        np.testing.assert_array_equal(model.predict(X), always.predict(X))
    with pytest.raises(InvalidInput, match="needs an estimate at every iteration; estimate='last'"):
        NetworkRegressor(estimate="last").fit(X, y)
    with pytest.raises(InvalidInput, match="estimate='exact'"):
        NetworkRegressor(estimate="exact", standardize=False).fit(X, y)


def test_a_long_estimate_is_said_before(monkeypatch):
    rng = np.random.default_rng(0)
    X, options = rng.standard_normal((40, 5)), {"width": 3, "max_steps": 10, "random_state": 0}
    monkeypatch.setattr(base, "AFFORDABLE_SECONDS", 0.0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        NetworkRegressor(**options).fit(X, X[:, 0])
    assert not any("the estimate of" in str(each.message) for each in told)
    monkeypatch.setattr(price, "LONG_SECONDS", 0.0)
    with pytest.warns(UserWarning, match="width=3: the estimate of 10 steps adds about .* s"):
        NetworkRegressor(**options).fit(X, X[:, 0])
    assert seconds_of(60, 5, 1025, 5) > 60  # a minute was over long before that fit was
    assert seconds_of(500, 100, 9, 200) < 1
