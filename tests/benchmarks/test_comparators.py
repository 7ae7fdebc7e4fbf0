"""Each comparator of the estimators' benchmark against an identity that its paper's formula has."""

import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.optimize import approx_fprime
from sklearn.linear_model import LinearRegression, Ridge

import sedyn
from benchmarks.estimators import memory_perturbation as mpe
from benchmarks.estimators.descent import Descent, Weights, labels_of, standardized
from benchmarks.estimators.held_out import folds, held_out, holdout
from benchmarks.estimators.iterative_approximate import iterative_approximate
from benchmarks.estimators.multilayer_perceptron import early_stopped
from benchmarks.estimators.ridge import PENALTIES, generalized_cross_validation, ridge_paths
from benchmarks.estimators.tan_bellec import r_hat, r_tilde
from sedyn.model.update import Update

RNG = np.random.default_rng(19)
KINDS = ["regression", "two classes", "three classes"]


def table(n, d, kind="regression"):
    X = RNG.standard_normal((n, d))
    score = np.tanh(X[:, 0]) + 0.3 * RNG.standard_normal(n)
    if kind == "regression":
        return X, 7 + 3 * score
    return X, np.digitize(score, [0.0] if kind == "two classes" else [-0.4, 0.4])


def model_of(kind, **options):
    made = sedyn.NetworkRegressor if kind == "regression" else sedyn.NetworkClassifier
    return made(**({"steps": 12, "random_state": 3, "weight_decay": 0.0} | options))


def plain_descent(rate, steps, decay=0.0):
    return [Update(rate, 0.0, decay, rate, 0.0)] * steps


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"depth": 1}, {"width": 2, "depth": 3}], ids=str)
def test_descent_is_that_of_the_fit(kind, options):
    X, y = table(40, 8, kind)
    fresh_X, fresh_y = table(30, 8, kind)
    descent = Descent.of(model_of(kind, **options), X, y)
    iterates = descent.iterates()
    assert len(iterates) == 13
    np.testing.assert_allclose(iterates[-1].first / np.sqrt(8), descent.model.first_weights_, atol=1e-12)
    [end] = descent.errors(iterates[-1:], fresh_X, fresh_y)
    if kind == "regression":
        assert end == pytest.approx(np.mean((descent.model.predict(fresh_X) - fresh_y) ** 2))
    else:
        shares = descent.model.predict_proba(fresh_X)[np.arange(30), fresh_y]
        assert end == pytest.approx(-2 * np.log(shares).mean())
    assert descent.errors(iterates, X, y)[-1] < descent.errors(iterates, X, y)[0]


def test_rows_held_out_judge_fits_of_the_others():
    X, y = table(40, 8)
    model = model_of("regression", width=2)
    descent = Descent.of(model, X, y)
    kept, held = np.arange(30), np.arange(30, 40)
    found = held_out(descent, X, y, [(kept, held)])
    for steps in (1, 5, 12):
        alone = model_of("regression", width=2, early_stopping=False, estimate=False, steps=steps)
        alone.fit(X[kept], y[kept])
        assert found[steps] == pytest.approx(np.mean((alone.predict(X[held]) - y[held]) ** 2))
    both = held_out(descent, X, y, [(kept, held), (held, kept)])
    np.testing.assert_allclose(both, (10 * found + 30 * held_out(descent, X, y, [(held, kept)])) / 40)
    assert holdout(descent, X, y).shape == folds(descent, X, y).shape == (13,)
    assert not np.allclose(holdout(descent, X, y), folds(descent, X, y))


@pytest.mark.parametrize("shape", [(30, 8), (20, 30)])
def test_iterative_approximate_of_a_quadratic_loss_is_leave_one_out(shape):
    X, y = table(*shape)
    model = model_of("regression", depth=1, steps=20)
    found = iterative_approximate(Descent.of(model, X, y))
    exact = model.set_params(estimate="exact").fit(X, y).history_.estimated_test_error
    np.testing.assert_allclose(found, exact, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_iterative_approximate_of_a_network_is_leave_one_out_to_second_order(kind):
    """What a sample changes is of order 1/n, so what is left out is of its square."""
    rest = {}
    for n in (30, 120):
        X, y = table(n, 6, kind)
        model = model_of(kind, width=2, steps=20)
        descent = Descent.of(model, X, y)
        exact = model.set_params(estimate="exact").fit(X, y).history_.estimated_test_error.values
        train = descent.errors(descent.iterates(), X, y)
        rest[n] = abs(iterative_approximate(descent) - exact)[-1] / abs(train - exact)[-1]
    assert rest[30] < 0.3
    assert rest[120] < 0.5 * rest[30]


def test_r_hat_of_a_descent_at_its_end_is_generalized_cross_validation():
    n, d, decay = 40, 15, 0.3
    X, y = table(n, d)
    X, y = X - X.mean(axis=0), y - y.mean()
    updates, b, residuals = plain_descent(0.3, 150, decay), np.zeros(d), [y]
    for update in updates:
        b = b - update.learning_rate * (X.T @ (X @ b - y) / n + decay * b)
        residuals.append(y - X @ b)
    residuals = np.array(residuals)
    found = r_hat(X, residuals, np.ones_like(residuals), residuals, updates, probes=n)
    np.testing.assert_allclose(b, Ridge(n * decay, fit_intercept=False).fit(X, y).coef_, atol=1e-10)
    hat = X @ np.linalg.solve(X.T @ X + n * decay * np.eye(d), X.T)
    assert found[-1] == pytest.approx(n * np.sum((y - hat @ y) ** 2) / (n - np.trace(hat)) ** 2)
    assert found[0] == pytest.approx(np.mean(y**2))


def test_estimates_of_robust_regression_have_the_papers_weights():
    """Of gradient descent with a loss that is not quadratic: products of matrices, written out."""
    n, d, steps, rate = 12, 5, 6, 0.4
    X, y = table(n, d)
    sigma = np.cov(RNG.standard_normal((d, 9)))
    b, residuals = np.zeros(d), []
    for _ in range(steps + 1):
        residuals.append(y - X @ b)
        b = b + rate / n * X.T @ np.tanh(residuals[-1])
    residuals = np.array(residuals)
    pulls, slopes = np.tanh(residuals), 1 / np.cosh(residuals) ** 2
    tilde, plain, own = np.zeros((3, steps + 1, steps + 1))
    for s in range(steps):
        answer = rate / n * np.eye(d)
        for t in range(s + 1, steps + 1):
            tilde[t, s] = np.trace(sigma @ answer)
            plain[t, s] = np.trace((slopes[t][:, None] * X) @ answer @ X.T)
            own[t, s] = np.trace((slopes[t][:, None] * X) @ answer @ (X.T * slopes[s]))
            answer = answer - rate / n * X.T @ (slopes[t][:, None] * (X @ answer))
    hat = np.linalg.solve(np.diag(slopes.sum(axis=1)) - own, plain)
    known = X, residuals, slopes, pulls, plain_descent(rate, steps)
    expected = [((residuals + weights @ pulls) ** 2).mean(axis=1) for weights in (tilde, hat)]
    np.testing.assert_allclose(r_tilde(*known, sigma, probes=d), expected[0], rtol=1e-12)
    np.testing.assert_allclose(r_hat(*known, probes=n), expected[1], rtol=1e-12)


def test_random_signs_give_the_traces_on_average():
    X, y = table(600, 100)
    updates, b, residuals = plain_descent(0.2, 10), np.zeros(100), [y]
    for _ in updates:
        b = b + 0.2 / 600 * X.T @ residuals[-1]
        residuals.append(y - X @ b)
    residuals = np.array(residuals)
    known = X, residuals, np.ones_like(residuals), residuals, updates
    np.testing.assert_allclose(r_hat(*known), r_hat(*known, probes=600), rtol=0.02)
    np.testing.assert_allclose(r_tilde(*known, np.eye(100)), r_tilde(*known, np.eye(100), probes=100), rtol=0.02)


def test_predictive_variances_of_ridge_regression_are_leverages():
    X, _ = table(30, 8)
    penalty = 4.0
    hat = X @ np.linalg.solve(X.T @ X + penalty * np.eye(8), X.T)
    variances = mpe.predictive_variances(X @ X.T / penalty, np.ones(30))
    np.testing.assert_allclose(variances, np.diag(hat), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("options", [{"depth": 1}, {"width": 2, "depth": 3, "deep_init": "gaussian"}], ids=str)
def test_kernel_is_of_the_derivatives_in_all_weights(kind, options):
    X, y = table(9, 4, kind)
    descent = Descent.of(model_of(kind, **options), X, y)
    weights = descent.iterates()[-1]
    shapes = [weights.first.shape, *(each.shape for each in weights.deep)]
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def outputs(flat, row):
        first, *deep = (part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True))
        return descent.outputs(Weights(first, tuple(deep)), descent.features[row : row + 1])[0, 0]

    at = np.concatenate([each.ravel() for each in (weights.first, *weights.deep)])
    jacobian = np.array([approx_fprime(at, outputs, 1e-7, row) for row in range(9)])
    scale = np.where(np.arange(at.size) < weights.first.size, 2 * 4, 5.0)  # W = sqrt(d) w
    np.testing.assert_allclose(mpe._kernel(descent, weights, 2.0, 5.0), (jacobian * scale) @ jacobian.T, atol=1e-5)


def test_memory_perturbation_of_a_linear_model_moves_residuals_by_their_leverages():
    X, y = table(40, 5)
    descent = Descent.of(model_of("regression", depth=1, steps=30), X, y)
    found, times = mpe.memory_perturbation(descent), mpe.learning_times(descent)[0]
    features = standardized(descent.model, X)
    hat = features @ np.linalg.solve(features.T @ features + 40 / times[-1] * np.eye(5), features.T)
    residual = y - descent.model.predict(X)
    intercept = mpe.learning_times(descent)[1][-1]
    shift = np.diag(hat) + 1 / (40 + 40 / intercept)  # features are centred: the intercept has a leverage of its own
    assert found[-1] == pytest.approx(np.mean((residual * (1 + shift)) ** 2), rel=1e-8)
    assert times[0] == 0
    assert times[1] == pytest.approx(descent.problem.learning_rates[0])


def test_generalized_cross_validation_is_its_closed_form():
    X, y = table(25, 6)
    X, y = X - X.mean(axis=0), y - y.mean()
    penalties = np.array([0.01, 1.0, 30.0])
    found = generalized_cross_validation(X, y, penalties)
    for penalty, score in zip(penalties, found, strict=True):
        hat = X @ np.linalg.solve(X.T @ X + 25 * penalty * np.eye(6), X.T) + 1 / 25
        assert score == pytest.approx(25 * np.sum((y - hat @ y) ** 2) / (25 - np.trace(hat)) ** 2)


def test_where_leverages_are_equal_it_is_leave_one_out():
    X, y = hadamard(16)[:, 1:6].astype(float), RNG.standard_normal(16)
    [found] = generalized_cross_validation(X, y - y.mean(), np.array([0.0]))
    fits = [LinearRegression().fit(np.delete(X, i, 0), np.delete(y, i)) for i in range(16)]
    assert found == pytest.approx(np.mean([(y[i] - fits[i].predict(X[i : i + 1])[0]) ** 2 for i in range(16)]))


def test_ridge_paths_are_of_ridge_regression():
    (X, y), (fresh_X, fresh_y) = table(30, 6), table(20, 6)
    X, fresh_X = np.column_stack([X, np.ones(30)]), np.column_stack([fresh_X, np.ones(20)])  # a constant column
    said, true = ridge_paths(X, y, fresh_X, fresh_y)
    mean, spread = X[:, :6].mean(axis=0), X[:, :6].std(axis=0)
    for index in (0, 17, 35):
        model = Ridge(30 * PENALTIES[index]).fit((X[:, :6] - mean) / spread, y)
        predicted = model.predict((fresh_X[:, :6] - mean) / spread)
        assert true[index] == pytest.approx(np.mean((predicted - fresh_y) ** 2))
    assert said.shape == true.shape


@pytest.mark.parametrize("kind", KINDS)
def test_scikit_learns_network_says_what_its_own_rows_say(kind):
    (X, y), (fresh_X, fresh_y) = table(3000, 4, kind), table(3000, 4, kind)
    found = early_stopped(X, y, fresh_X, fresh_y, classes=kind != "regression", seed=0)
    if kind == "regression":  # 300 rows are held back, of which the best of many looks is kept
        assert found.found == pytest.approx(found.true, rel=0.35)
        assert found.true < 0.3 * fresh_y.var()
    else:
        assert np.isnan(found.found)
        assert found.true < 2 * np.log(np.unique(y).size) * 0.8


def test_labels_are_as_the_loss_takes_them():
    X, y = table(30, 4, "two classes")
    names = np.array(["no", "yes"])[y]
    descent = Descent.of(model_of("two classes"), X, names)
    np.testing.assert_array_equal(labels_of(descent.model, names), [2.0 * y - 1])
