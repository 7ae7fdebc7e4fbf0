"""Probabilities from fresh-like samples: the least log loss, and that they come true."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import sedyn
from sedyn import InvalidInput
from sedyn.estimators.calibration import Calibration, calibration_of

RNG = np.random.default_rng(3)


def test_slope_and_offsets_are_where_the_log_loss_is_least():
    members = RNG.integers(2, size=400)
    outputs = RNG.standard_normal((1, 400)) + 0.4 * members
    found = calibration_of(outputs, members, np.ones(400), prior=0.0)
    known = LogisticRegression(C=1e8, tol=1e-10).fit(outputs.T, members)
    np.testing.assert_allclose(found.slope, known.coef_[0, 0], rtol=1e-3)
    np.testing.assert_allclose(found.offsets, [0, known.intercept_[0]], atol=1e-3)
    np.testing.assert_allclose(found.probabilities(outputs), known.predict_proba(outputs.T), atol=1e-3)


def test_one_output_is_two_classes():
    outputs, members, weights = RNG.standard_normal((1, 50)), RNG.integers(2, size=50), RNG.uniform(0.5, 1.5, 50)
    both = np.concatenate([np.zeros((1, 50)), outputs])
    one, two = calibration_of(outputs, members, weights, 1.0), calibration_of(both, members, weights, 1.0)
    np.testing.assert_array_equal(one.probabilities(outputs), two.probabilities(both))
    np.testing.assert_allclose(Calibration(1.0, np.zeros(2)).probabilities(outputs)[:, 1], expit(outputs[0]))


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_of_an_unsure_network_come_true(classes):
    """Outputs that are a third of what they should be, and shifted: three times them and the shift back."""
    n = 20_000
    true = 2 * RNG.standard_normal((classes, n))
    true -= true[0]
    members = (softmax(true, axis=0).cumsum(axis=0) < RNG.random(n)).sum(axis=0)
    shift = np.arange(classes) / 2
    found = calibration_of(true / 3 + shift[:, None], members, np.ones(n), 20.0)
    assert found.slope == pytest.approx(3, rel=0.05)
    np.testing.assert_allclose(found.offsets, -3 * shift, atol=0.15)


def test_without_samples_that_speak_against_them_outputs_stay():
    found = calibration_of(np.zeros((1, 4)), np.array([0, 1, 0, 1]), np.ones(4), 1.0)
    np.testing.assert_allclose([found.slope, *found.offsets], [1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("loss", ["logistic", "squared"])
def test_calibrated_probabilities_of_a_fit(loss):
    X = RNG.standard_normal((1200, 8))
    y = np.where(RNG.random(1200) < expit(4 * X[:, 0] - 3), "yes", "no")
    model = sedyn.NetworkClassifier(loss=loss, learning_rate=0.6, steps=12, random_state=0).fit(X[:300], y[:300])
    shares = model.calibrated_proba(X[300:])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    found = log_loss(y[300:], shares)
    if loss == "logistic":  # stopped long before it is as sure as it may be
        assert found < log_loss(y[300:], model.predict_proba(X[300:])) - 0.02
        return
    order = np.argsort(shares[:, 1])
    for part in np.array_split(order, 5):
        expected = shares[part, 1].mean()
        error = np.sqrt(expected * (1 - expected) / part.size)
        assert abs(np.mean(y[300:][part] == "yes") - expected) < 4 * error + 0.05


def test_without_an_estimate_there_is_none():
    X, y = RNG.standard_normal((30, 3)), np.arange(30) % 2
    model = sedyn.NetworkClassifier(estimate=False, early_stopping=False, steps=3).fit(X, y)
    with pytest.raises(InvalidInput, match="no estimate"):
        model.calibrated_proba(X)
