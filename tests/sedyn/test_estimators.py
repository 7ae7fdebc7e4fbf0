"""The scikit-learn estimators: scikit-learn's own checks, a plain reimplementation, and what users get wrong."""

import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import parametrize_with_checks

import sedyn
from sedyn import InvalidInput, NetworkClassifier, NetworkRegressor, Problem
from sedyn.model.problem import TRAINING


# Checks are of an estimator's manners, which do not depend on how long it looks on for a lower estimate.
@parametrize_with_checks([NetworkRegressor(patience=15), NetworkClassifier(patience=15)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([NetworkRegressor(), NetworkClassifier()])
def test_scikit_learns_own_checks_with_all_defaults(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "defaults"),
    [
        (NetworkRegressor, {}),
        (NetworkClassifier, {"loss": "logistic", "class_weight": None}),
    ],
)
def test_options_are_the_training_fields_of_a_problem_and_some_of_their_own(estimator, defaults):
    own = {"early_stopping": True, "spectrum": "modes", "standardize": True, "random_state": None}
    own |= {
        "max_steps": 1000,
        "patience": 150,
        "fit_intercept": True,
        "warm_start": False,
        "verbose": False,
        "estimate": True,
    }
    training = {name: getattr(Problem(), name) for name in TRAINING}
    training |= {"width": 4, "depth": 2, "skip": True, "deep_init": "zero"}
    training |= {"learning_rate": "auto", "momentum": "auto", "weight_decay": "auto"}
    training |= {"steps": None}
    assert estimator().get_params() == {**training, **defaults, **own}
    width, depth, *others = inspect.signature(estimator).parameters.values()
    assert (width.name, depth.name) == ("width", "depth")
    assert {width.kind, depth.kind} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert {other.kind for other in others} == {inspect.Parameter.KEYWORD_ONLY}
    for name in (*TRAINING, *own):
        assert f"\n{name} : " in estimator.__doc__


def data_set(n=300, d=100, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.tanh(X @ rng.standard_normal(d) / np.sqrt(d)) + noise * rng.standard_normal(n)


@pytest.fixture(scope="module")
def regression():
    return data_set()


@pytest.fixture(scope="module")
def fitted(regression):
    return NetworkRegressor(learning_rate=0.8, steps=25, random_state=0).fit(*regression)


# A network without a linear model inside it, from a random function.
PLAIN = {"skip": False, "fit_intercept": False, "deep_init": "gaussian"}

# Twice each loss, and its slope, as functions of the residual.
LOSSES = {
    "squared": (lambda r: r**2, lambda r: r),
    "huber(0.5)": (lambda r: np.where(abs(r) < 0.5, r**2, abs(r) - 0.25), lambda r: np.clip(r, -0.5, 0.5)),
    "absolute(0.2)": (lambda r: 2 * np.sqrt(0.04 + r**2) - 0.4, lambda r: r / np.sqrt(0.04 + r**2)),
}


def textbook_descent(Z, y, first, last, rate, steps, slope):
    """One hidden layer of tanh units on the mean loss, in weights that multiply unit-variance features."""
    first, last = first.copy(), last.copy()
    for _ in range(steps):
        units = np.tanh(Z @ first)
        push = slope(units @ last - y) / len(y)
        back = push[:, None] * last[None, :] * (1 - units**2)
        first, last = first - rate * Z.T @ back, last - rate * units.T @ push
    return np.tanh(Z @ first) @ last


@pytest.mark.parametrize(("d", "loss"), [(100, "squared"), (3, "squared"), (100, "huber(0.5)"), (100, "absolute(0.2)")])
def test_training_is_textbook_gradient_descent_on_standardized_data(d, loss):
    X, y = data_set(d=d)
    X = 5 + 3 * X
    y = 7 + 2 * y
    options = {"width": 4, "learning_rate": 0.7, "early_stopping": False, "random_state": 3, "loss": loss}
    options |= PLAIN
    begun = NetworkRegressor(steps=1, **options).fit(X, y)
    model = NetworkRegressor(steps=9, **options).fit(X, y)
    Z, target = (X - X.mean(0)) / X.std(0), (y - y.mean()) / y.std()
    # The estimator does not tell where it started, so the textbook goes on from its first step.
    after = textbook_descent(Z, target, begun.first_weights_.T, begun.deep_weights_[0][:, 0], 0.7, 8, LOSSES[loss][1])
    np.testing.assert_allclose(model.predict(X), y.mean() + y.std() * after, rtol=1e-9)
    expected = y.var() * np.mean(LOSSES[loss][0]((model.predict(X) - y) / y.std()))
    np.testing.assert_allclose(model.history_.train_error[-1], expected, rtol=1e-9)


def test_stops_where_the_estimate_is_least_and_keeps_these_weights(regression, fitted):
    X, y = regression
    assert 0 < fitted.best_iteration_ < 25
    assert fitted.best_iteration_ == fitted.history_.estimated_test_error.values.argmin()
    again = NetworkRegressor(learning_rate=0.8, steps=fitted.best_iteration_, early_stopping=False, random_state=0)
    again.fit(X, y)
    assert again.best_iteration_ == fitted.best_iteration_
    np.testing.assert_allclose(again.predict(X), fitted.predict(X), rtol=1e-12)
    shorter = again.history_.estimated_test_error
    np.testing.assert_allclose(shorter, fitted.history_.estimated_test_error[: shorter.size], rtol=1e-9)


def test_history_is_in_units_of_the_squared_response_and_standardization_is_recorded(regression, fitted):
    X, y = regression
    moved = NetworkRegressor(learning_rate=0.8, steps=25, random_state=0).fit(4 * X - 1, 10 * y + 3)
    for name in ("train_error", "estimated_test_error"):
        np.testing.assert_allclose(moved.history_[name], 100 * fitted.history_[name], rtol=1e-9)
    np.testing.assert_allclose(moved.predict(4 * X - 1), 10 * fitted.predict(X) + 3, rtol=1e-9)
    np.testing.assert_allclose(moved.feature_mean_, (4 * X - 1).mean(0))
    np.testing.assert_allclose(moved.feature_scale_, 4 * X.std(0))
    assert moved.response_mean_ == pytest.approx(10 * y.mean() + 3)
    assert fitted.history_.attrs["learning_rate"] == 0.8
    plain = NetworkRegressor(learning_rate=0.8, steps=5, standardize=False, random_state=0).fit(X, y)
    assert (plain.feature_scale_ == 1).all()
    assert plain.response_scale_ == 1


@pytest.mark.parametrize(
    ("model", "n", "d"),
    [
        (NetworkRegressor(learning_rate=0.8, steps=15), 1000, 600),
        (NetworkRegressor(learning_rate=0.4, momentum=0.5, batch_fraction=0.5, depth=3, width=3, steps=15), 1000, 600),
        (
            NetworkRegressor(
                momentum=0.5,
                momentum_form="nesterov",
                temperature=0.1,
                learning_rate=4.0,
                deep_learning_rate=2.0,
                epochs=1,
                batching="one_pass",
                steps=10,
            ),
            1000,
            600,
        ),
        (NetworkClassifier(learning_rate=1.5, steps=15), 1000, 600),
        (NetworkClassifier(loss="squared", learning_rate=0.5, steps=15), 800, 800),
    ],
    ids=[
        "regression",
        "momentum, mini-batches",
        "nesterov, gradient noise, one pass",
        "logistic",
        "squared, two classes",
    ],
)
def test_estimate_is_the_error_on_fresh_data(model, n, d):
    X, y = data_set(n + 20000, d, seed=1)
    if isinstance(model, NetworkClassifier):
        y = np.where(y > 0, 1, -1)
    model.set_params(random_state=0, spectrum="identity").fit(X[:n], y[:n])
    if getattr(model, "loss", "") == "logistic":
        errors = 2 * np.logaddexp(0, -y * model.decision_function(X))
    elif isinstance(model, NetworkClassifier):
        errors = (y - model.decision_function(X)) ** 2
    else:
        errors = (y - model.predict(X)) ** 2
    fresh, estimate = errors[n:], model.history_.estimated_test_error[model.best_iteration_].item()
    # The estimate is an average over n rows of errors that spread like fresh ones.
    assert abs(estimate - fresh.mean()) < 4 * fresh.std() * np.sqrt(1 / n + 1 / 20000)


def test_spectrum_is_of_the_shrunk_covariance_and_reaches_the_estimate():
    for n, d in ((120, 50), (60, 90)):
        X = data_set(n, d)[0] * np.linspace(0.5, 3, d) + 3 * np.random.default_rng(5).standard_normal((n, 1))
        model = NetworkRegressor(steps=3, spectrum="ledoit_wolf").fit(X, X[:, 0])
        Z = (X - X.mean(0)) / X.std(0)
        expected = np.linalg.eigvalsh(LedoitWolf(assume_centered=True).fit(Z).covariance_)[::-1]
        np.testing.assert_allclose(model.spectrum_, expected, atol=1e-10)
        assert model.spectrum_.mean() == pytest.approx(1)


def test_given_spectrum_of_correlated_features_makes_the_estimate_right():
    n, d = 600, 400
    rng = np.random.default_rng(0)
    eigenvalues = np.r_[np.full(d // 5, 4.0), np.full(d - d // 5, 0.25)]
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = (rng.standard_normal((n + 10000, d)) * np.sqrt(eigenvalues)) @ rotation.T
    y = np.tanh(X @ rng.standard_normal(d) / np.sqrt(d)) + 0.3 * rng.standard_normal(len(X))
    deviation = {}
    for name, spectrum in (("given", 7 * eigenvalues), ("shrunk", "ledoit_wolf"), ("flat", "identity")):
        model = NetworkRegressor(learning_rate=0.8, steps=12, early_stopping=False, random_state=0)
        model.set_params(spectrum=spectrum, **PLAIN).fit(X[:n], y[:n])
        errors = (y[n:] - model.predict(X[n:])) ** 2
        se = errors.std() * np.sqrt(1 / n + 1 / 10000)
        deviation[name] = abs(model.history_.estimated_test_error[-1].item() - errors.mean()) / se
    # Shrinkage leaves eigenvalues closer together than the true ones, so it corrects most of the error, not all.
    assert deviation["given"] < 4
    assert deviation["given"] < deviation["shrunk"] < deviation["flat"] / 2


def test_probabilities_labels_and_their_absence():
    X, y = data_set()
    model = NetworkClassifier(steps=5, random_state=0).fit(X, np.where(y > 0, "up", "down"))
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(model.classes_, ["down", "up"])
    np.testing.assert_array_equal(model.predict(X), model.classes_[probabilities.argmax(axis=1)])
    assert model.score(X, np.where(y > 0, "up", "down")) > 0.7
    assert not hasattr(NetworkClassifier(loss="squared"), "predict_proba")


def test_pipeline_grid_search_and_real_data():
    X, y = load_breast_cancer(return_X_y=True)
    search = GridSearchCV(NetworkClassifier(random_state=0), {"width": [2, 4]}, cv=2)
    search.fit(X, y)
    assert search.best_score_ > 0.94
    X, y = data_set(120, 8)
    pipeline = make_pipeline(PolynomialFeatures(2, include_bias=False), NetworkRegressor(steps=10, random_state=0))
    assert pipeline.fit(X, y).predict(X).shape == (120,)
    assert pipeline[-1].n_features_in_ == 44


def refused(fit, *words):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        fit()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def test_bad_input_is_one_clear_line(regression):
    X, y = regression
    classes = np.arange(len(y)) % 3

    def fit(model, X=X, y=y):
        return lambda: model.fit(X, y)

    refused(fit(NetworkRegressor(), X=changed(X, (4, 7), np.nan)), "X=", "NaN", "row 4", "column 7")
    refused(fit(NetworkRegressor(), X=changed(X, (4, 7), np.inf)), "X=", "inf", "row 4", "column 7")
    refused(fit(NetworkRegressor(), y=changed(y, 3, np.nan)), "y", "NaN")
    refused(fit(NetworkRegressor(), y=y[:-1]), "inconsistent numbers of samples", "300", "299")
    refused(fit(NetworkRegressor(loss="softmax")), "loss='softmax'", "NetworkClassifier")
    refused(fit(NetworkRegressor(learning_rate="fast")), "learning_rate='fast'")
    refused(fit(NetworkRegressor(max_steps=0)), "max_steps=0")
    refused(fit(NetworkRegressor(epochs=2)), "epochs=2", "set steps")
    refused(fit(NetworkRegressor(estimate="exact", spectrum="identity")), "estimate='exact'", "spectrum='modes'")
    refused(fit(NetworkRegressor(activation="relu")), "kink", "estimate='exact'")
    long = NetworkRegressor(spectrum="identity", steps=10**9, learning_rate=0.1)
    refused(fit(long), "GB", "fewer steps", "spectrum='modes'")
    refused(fit(NetworkRegressor(patience=0)), "patience=0")
    refused(lambda: NetworkRegressor().fit(X, y, sample_weight=-np.ones(len(y))), "sample_weight", "Negative")
    refused(lambda: NetworkRegressor().fit(X, y, sample_weight=np.zeros(len(y))), "sample_weight", "non-zero")
    refused(fit(NetworkClassifier(class_weight="even"), y=classes), "class_weight='even'", "balanced")
    refused(fit(NetworkClassifier(class_weight={7: 2.0}), y=classes), "class_weight")
    refused(fit(NetworkRegressor(width=10**6)), "width=1000000", "GB")
    refused(fit(NetworkClassifier(), y=np.zeros(len(y))), "one class")
    refused(fit(NetworkRegressor(spectrum=np.ones(99))), "spectrum", "(99,)", "100 features")
    refused(fit(NetworkRegressor(spectrum=-np.ones(100))), "spectrum", ">= 0")
    refused(fit(NetworkRegressor(spectrum="ledoit")), "spectrum='ledoit'", "did you mean 'ledoit_wolf'")
    refused(fit(NetworkRegressor(width=0)), "width=0")
    refused(fit(NetworkRegressor(steps=2.5)), "steps=2.5")
    refused(fit(NetworkRegressor(learning_rate=-1.0)), "learning_rate=-1.0")
    refused(fit(NetworkRegressor(activation="tanhh")), "activation='tanhh'", "did you mean 'tanh'")
    refused(fit(NetworkRegressor(loss="logistic")), "loss='logistic'", "NetworkClassifier")
    refused(fit(NetworkRegressor(early_stopping="no")), "early_stopping='no'")
    refused(fit(NetworkRegressor(), X=np.ones((300, 2))), "X", "every column is constant")
    refused(fit(NetworkRegressor(estimate=False)), "early_stopping=True", "estimate=False needs early_stopping=False")
    refused(fit(NetworkRegressor(), X=X[:, 0]), "X, y=ndarray of shape (300,)", "reshape(-1, 1)")
    refused(fit(NetworkRegressor(), X=X + 1j), "X, y=ndarray of shape (300, 100): Complex data not supported")
    refused(fit(NetworkRegressor(), y=np.array(["much"] * 300)), "y=ndarray", "no numbers", "NetworkClassifier")
    refused(fit(NetworkRegressor(), y=y * 1e200), "y=", "other units")
    refused(fit(NetworkRegressor(), X=changed(X, (4, 7), 1e200)), "X=1e+200", "row 4, column 7", "other units")


def test_messages_are_short_whatever_was_given(regression):
    X, y = regression
    given = [(X[:, 0], y), (X + 1j, y), (X, np.full(300, np.nan)), (X, np.array(["much"] * 300)), (X[:1], y[:1])]
    for features, targets in given:
        with pytest.raises(InvalidInput) as refusal:
            NetworkRegressor().fit(features, targets)
        assert len(str(refusal.value)) < 250


def test_columns_of_a_frame_that_hold_no_numbers_are_named(regression):
    X, y = regression
    frame = pd.DataFrame(X[:, :2], columns=["height", "weight"])
    frame["sort"], frame["day"] = ["x", "y", "z"] * 100, pd.date_range("2020-01-01", periods=300)
    refused(lambda: NetworkRegressor().fit(frame, y), "X=DataFrame of shape (300, 4)", "'sort', 'day'", "get_dummies")
    encoded = pd.get_dummies(frame.drop(columns="day"))
    model = NetworkRegressor(steps=2, random_state=0).fit(encoded, y)
    refused(lambda: model.predict(encoded.astype({"sort_x": str}).replace("False", "no")), "'sort_x'", "no numbers")


def test_warnings_are_of_the_line_that_fits(tmp_path):
    """In a process of its own, since checks of shapes put themselves between the caller and what is called."""
    script = tmp_path / "users.py"
    script.write_text(
        "import warnings\nimport numpy as np\nfrom sedyn import NetworkRegressor\n"
        "warnings.simplefilter('always')\n"
        "X = np.column_stack([np.random.default_rng(0).standard_normal((60, 5)), np.ones(60)])\n"
        "y = X @ np.arange(6.0)\n"
        "NetworkRegressor(steps=1, random_state=0).fit(X, y)\n"
        "NetworkRegressor(learning_rate=1e6, steps=40, random_state=0).fit(X, y)\n"
    )
    told = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stderr
    lines = [line for line in told.splitlines() if "Warning: " in line]
    for words in ("constant columns", "still falling", "diverged", "near or beyond"):
        assert any(words in line for line in lines)
    assert all(line.startswith((f"{script}:7:", f"{script}:8:")) for line in lines)


def test_nan_in_a_named_column_is_named_at_prediction_too(regression):
    X, y = regression
    frame = pd.DataFrame(X, columns=[f"gene {j}" for j in range(X.shape[1])])
    model = NetworkRegressor(steps=2).fit(frame, y)
    frame.iloc[2, 5] = np.nan
    refused(lambda: model.predict(frame), "row 2", "'gene 5'")


def test_constant_columns_are_dropped_with_a_warning_that_names_them(regression, fitted):
    X, y = regression
    padded = np.insert(X, [3, 10], 1e6 / 3, axis=1)
    model = NetworkRegressor(learning_rate=0.8, steps=25, random_state=0)
    with pytest.warns(UserWarning, match=r"constant columns are dropped: 3, 11$"):
        model.fit(padded, y)
    assert model.kept_features_.size == X.shape[1]
    np.testing.assert_allclose(model.predict(padded), fitted.predict(X), rtol=1e-9)
    frame = pd.DataFrame({"age": X[:, 0], "blank": 2.0, "weight": X[:, 1]})
    with pytest.warns(UserWarning, match="'blank'"):
        NetworkRegressor(steps=1).fit(frame, y)
    with pytest.warns(UserWarning, match="dropped"):
        refused(lambda: NetworkRegressor(spectrum=[1, 1, 1]).fit(frame, y), "2 features", "1 constant")
    with pytest.warns(UserWarning, match="and 5 more$"):
        NetworkRegressor(steps=1).fit(np.concatenate([X, np.ones((300, 15))], axis=1), y)


def test_kink_is_refused_or_trained_without_an_estimate(regression):
    refused(lambda: NetworkRegressor(activation="relu").fit(*regression), "kink", "softplus", "early_stopping=False")
    model = NetworkRegressor(activation="relu", early_stopping=False, steps=4, random_state=0).fit(*regression)
    assert np.isnan(model.history_.estimated_test_error).all()
    assert np.isfinite(model.history_.train_error).all()
    assert model.best_iteration_ == 4
    assert "kink" in model.history_.no_estimate_because


def test_divergence_stops_before_it_or_is_refused(regression):
    wild = {"activation": "softplus", "learning_rate": 50.0, "steps": 60, "random_state": 0}
    with pytest.warns(ConvergenceWarning, match="diverged at iteration") as caught:
        model = NetworkRegressor(**wild).fit(*regression)
    assert "smaller learning rate" in str(caught[0].message)
    assert np.isfinite(model.predict(regression[0])).all()
    assert np.isnan(model.history_.train_error[-1])
    refused(lambda: NetworkRegressor(early_stopping=False, **wild).fit(*regression), "learning_rate=50.0", "diverged")


def test_same_random_state_same_model_and_fewer_features_than_units():
    X, y = data_set(60, 1)
    models = [NetworkRegressor(width=6, random_state=1, batch_fraction=0.5).fit(X, y) for _ in range(2)]
    np.testing.assert_array_equal(models[0].predict(X), models[1].predict(X))
    assert models[0].first_weights_.shape == (7, 1)  # with the linear unit


def test_simulating_does_not_import_scikit_learn():
    loaded = "'sklearn' in sys.modules"
    code = f"import sedyn, sys; assert not {loaded}; sedyn.NetworkRegressor; assert {loaded}"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="NetworkTransformer"):
        sedyn.NetworkTransformer  # noqa: B018


def test_an_option_out_of_range_is_invalid_input(regression):
    with pytest.raises(InvalidInput, match="momentum"):
        NetworkRegressor(momentum=1.0).fit(*regression)
