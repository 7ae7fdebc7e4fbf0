"""The search of a grid by the estimate."""

import numpy as np
import pytest

from sedyn import InvalidInput, NetworkClassifier, NetworkRegressor, NetworkSearch


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2150, 15))
    return X, np.sin(2 * X[:, 0]) + 0.2 * rng.standard_normal(2150)


def test_it_keeps_the_candidate_with_the_least_estimate_fitted_to_all_rows(data, capsys):
    X, y = data[0][:150], data[1][:150]
    grid = {"width": [1, 6], "weight_decay": [0.0, 1.0]}
    search = NetworkSearch(NetworkRegressor(random_state=0, max_steps=60), grid, verbose=True).fit(X, y)
    alone = [
        NetworkRegressor(random_state=0, max_steps=60, **result["params"]).fit(X, y).estimated_test_error_
        for result in search.results_
    ]
    assert [-result["score"] for result in search.results_] == alone
    assert search.best_score_ == -min(alone)
    assert search.best_params_ == search.results_[int(np.argmin(alone))]["params"]
    np.testing.assert_array_equal(search.predict(X), search.best_estimator_.predict(X))
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 5
    assert "4 candidates" in told[0]
    assert "cross-validation" in told[0]


def test_it_chooses_by_any_score_and_takes_classes(data):
    X, y = data[0][:150], data[1][:150] > 0
    search = NetworkSearch(NetworkClassifier(random_state=0, max_steps=40), {"depth": [1, 2]}, scoring="roc_auc").fit(
        X, y
    )
    scores = [result["score"] for result in search.results_]
    assert search.best_score_ == max(scores) == search.best_estimator_.estimated_score("roc_auc")
    assert search.predict_proba(X).shape == (150, 2)
    assert list(search.classes_) == [False, True]
    assert search.score(X, y) == search.best_estimator_.score(X, y)
    assert not hasattr(NetworkSearch(NetworkRegressor(), {}), "predict_proba")


@pytest.mark.parametrize(
    ("estimator", "grid", "words"),
    [
        (3, {"width": [1]}, "estimator=3"),
        (NetworkRegressor(), {"widht": [1]}, "no option of NetworkRegressor"),
        (NetworkRegressor(), {"width": []}, "grid"),
        (NetworkRegressor(), 5, "grid=5"),
        (
            NetworkRegressor(early_stopping=False, activation="relu", estimate=False, steps=2),
            {"width": [1]},
            "no candidate has an estimate",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(data, estimator, grid, words):
    with pytest.raises(InvalidInput, match=words) as caught:
        NetworkSearch(estimator, grid).fit(data[0][:40], data[1][:40])
    assert "\n" not in str(caught.value)
