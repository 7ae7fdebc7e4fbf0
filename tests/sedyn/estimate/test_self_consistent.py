"""The curvature that stands for all samples, against what it has to be where that is known."""

import numpy as np
import pytest
from sklearn.datasets import make_friedman1

from sedyn import NetworkClassifier, NetworkRegressor
from sedyn.estimate.self_consistent import _held, _root_of_inverse, effective_curvature
from sedyn.estimators import base
from sedyn.estimators.doubts import EstimateWarning


@pytest.mark.parametrize("sign", [1, -1])
def test_equal_curvatures_are_effective(sign):
    rng = np.random.default_rng(0)
    root, other = rng.standard_normal((2, 3, 3))
    curvature, kept = root @ np.diag([1, 1, sign]) @ root.T, 0.05 * other @ other.T
    found = effective_curvature(np.repeat(curvature[:, :, None], 7, axis=2), np.arange(7) / 3, kept, curvature)
    np.testing.assert_allclose(found, curvature, rtol=1e-9)


@pytest.mark.parametrize("aspect_ratio", [2, 5])
def test_curvatures_that_differ_answer_as_a_random_matrix_does(aspect_ratio):
    """A converged linear model with a ridge: X^T D X is as a multiple of X^T X, for the trace that makes memories."""
    rng = np.random.default_rng(0)
    d, decay = 300, 0.05
    n = aspect_ratio * d
    x = rng.standard_normal((n, d))
    curvatures = rng.exponential(size=n) ** 2
    gram, weighted = x.T @ x / n, (x * curvatures[:, None]).T @ x / n
    multiple = curvatures.mean()
    for _ in range(30):
        kept = np.trace(np.linalg.inv(multiple * gram + decay * np.eye(d)) @ gram) / n
        multiple = effective_curvature(
            curvatures[None, None], np.ones(n), np.array([[kept]]), np.array([[multiple]])
        ).item()
    # The memory of others, which is what is subtracted, from the matrix itself: x^T (.)^-1 x / n for fresh x.
    memory = np.trace(np.linalg.inv(weighted + decay * np.eye(d))) / n
    found = kept / (1 - multiple * kept)
    assert found == pytest.approx(memory, rel=0.03)
    assert abs(np.log(found / memory)) < 0.1 * abs(np.log(kept_with_mean(curvatures, gram, decay, n, d) / memory))


def kept_with_mean(curvatures, gram, decay, n, d):
    """The memory of others with the mean curvature in place of the effective one."""
    mean = curvatures.mean()
    kept = np.trace(np.linalg.inv(mean * gram + decay * np.eye(d)) @ gram) / n
    return kept / (1 - mean * kept)


def test_estimate_of_classes_is_nearer_to_leave_one_out(monkeypatch):
    """Past the best iteration, where few samples have any curvature, the error on fresh data is not underestimated."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4200, 40))
    y = X @ rng.standard_normal(40) / np.sqrt(40) + 0.5 * rng.standard_normal(4200) > 0
    train, new = slice(0, 200), slice(200, None)
    monkeypatch.setattr(base, "AFFORDABLE_SECONDS", 0.0)
    model = NetworkClassifier(depth=1, steps=150, weight_decay=0.0, early_stopping=False).fit(X[train], y[train])
    decision = model.decision_function(X[new])
    fresh = 2 * np.logaddexp(0, np.where(y[new], -decision, decision))
    assert fresh.mean() > 1.2 * model.history_.estimated_test_error.min()
    stderr = np.hypot(model.estimated_test_error_stderr_, fresh.std() / np.sqrt(fresh.size))
    assert abs(model.estimated_test_error_ - fresh.mean()) < 3 * stderr


def test_where_curvatures_have_both_signs_two_estimates_disagree(monkeypatch):
    """A deep network far past its best iteration: off by more than a quarter, warned of, and within its error."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6))
    y = rng.uniform(size=60) < 1 / (1 + np.exp(-2 * X[:, 0]))
    options = {"width": 8, "depth": 3, "steps": 250, "early_stopping": False, "weight_decay": 0.0, "random_state": 0}
    exact = NetworkClassifier(estimate="exact", **options).fit(X, y)
    monkeypatch.setattr(base, "AFFORDABLE_SECONDS", 0.0)
    with pytest.warns(EstimateWarning, match="two ways to estimate disagree"):
        model = NetworkClassifier(**options).fit(X, y)
    off = model.estimated_test_error_ / exact.estimated_test_error_
    assert abs(np.log(off)) > 0.25
    assert abs(model.estimated_test_error_ - exact.estimated_test_error_) < 2 * model.estimated_test_error_stderr_
    early = NetworkClassifier(**{**options, "steps": 20}).fit(X, y)
    exact = exact.history_.estimated_test_error[20].item()
    assert abs(np.log(early.estimated_test_error_ / exact)) < 0.06
    assert abs(np.log(early.history_.attrs["second_estimate"] / early.estimated_test_error_)) < 0.02


def test_an_estimate_of_many_steps_does_not_blow_up():
    """A fit that goes on long after its first layer has learned, beside exact leave-one-out."""
    X, y = make_friedman1(n_samples=300, n_features=5, noise=1.0, random_state=0)
    options = {"width": 8, "steps": 320, "early_stopping": False, "random_state": 0}
    exact = NetworkRegressor(estimate="exact", **options).fit(X, y).history_.estimated_test_error.values
    model = NetworkRegressor(**options).fit(X, y)
    assert model.history_.attrs["estimate"] is True
    found = model.history_.estimated_test_error.values
    assert np.abs(np.log(found / exact)).max() < 0.2
    assert found.argmin() > 250  # error falls to the end, and so does exact leave-one-out
    assert exact.argmin() > 250


def test_an_effective_curvature_is_held_above_zero_or_the_mean():
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    effective = (vectors * np.array([-3.0, -0.5, 2.0])) @ vectors.T
    for mean, least in ((np.eye(3), 0.0), (np.diag([-1.0, 1.0, 1.0]), -1.0)):
        expected = (vectors * np.array([-3.0, -0.5, 2.0]).clip(least)) @ vectors.T
        np.testing.assert_allclose(_held(effective, mean), expected, atol=1e-12)
    np.testing.assert_array_equal(_held(effective, -4 * np.eye(3)), effective)


def test_of_equal_curvatures_there_is_one_estimate(monkeypatch):
    monkeypatch.setattr(base, "AFFORDABLE_SECONDS", 0.0)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6))
    model = NetworkRegressor(depth=1, steps=20, weight_decay=0.0, early_stopping=False).fit(X, rng.standard_normal(60))
    assert model.history_.attrs["second_estimate"] == pytest.approx(model.estimated_test_error_, rel=1e-9)


def test_curvatures_of_several_steps_are_held_one_by_one():
    """Those that are not finite, of a run that diverges, move no other."""
    rng = np.random.default_rng(0)
    effective, mean = (each + np.swapaxes(each, -1, -2) for each in rng.standard_normal((2, 6, 3, 3)))
    expected = np.array([_held(*both) for both in zip(effective, mean, strict=True)])
    assert 0 < (expected != effective).any(axis=(1, 2)).sum() < 6
    np.testing.assert_allclose(_held(effective, mean), expected, atol=1e-14)
    effective[2], mean[4] = np.nan, np.inf
    found = _held(effective, mean)
    np.testing.assert_allclose(np.delete(found, [2, 4], 0), np.delete(expected, [2, 4], 0), atol=1e-14)
    np.testing.assert_array_equal(found[4], effective[4])


@pytest.mark.parametrize("weighted", [False, True])
def test_estimates_are_the_same_however_many_steps_modes_take_together(weighted, monkeypatch):
    rng = np.random.default_rng(1)
    X, weights = rng.standard_normal((150, 30)), rng.uniform(0.5, 1.5, 150) if weighted else None
    y = np.tanh(1.5 * X[:, 0]) + 0.5 * rng.standard_normal(150)
    monkeypatch.setattr("sedyn.estimators.base.AFFORDABLE_SECONDS", 0.0)
    options = {"width": 3, "random_state": 0, "weight_decay": 0.0, "patience": 6}
    found = []
    for together in (1, 8):
        monkeypatch.setattr("sedyn.estimate.self_consistent.TOGETHER", together)
        found.append(NetworkRegressor(**options).fit(X, y, sample_weight=weights))
    one, other = found
    assert len(one.history_.iteration) % 8 != 1  # training has ended on the way
    np.testing.assert_allclose(other.history_.estimated_test_error, one.history_.estimated_test_error, rtol=1e-11)
    assert one.best_iteration_ == other.best_iteration_
    assert one.estimated_test_error_stderr_ == pytest.approx(other.estimated_test_error_stderr_, rel=1e-11)
    np.testing.assert_array_equal(one.first_weights_, other.first_weights_)


def test_eigenvalues_are_held_above_a_number_where_they_are_not():
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    for values in (np.array([0.6, 1, 2, 3.0]), np.array([-1, 0.2, 1, 3.0])):
        root = _root_of_inverse((vectors * values) @ vectors.T, 0.5)
        expected = (vectors / np.maximum(values, 0.5)) @ vectors.T
        np.testing.assert_allclose(root @ root.T, expected, atol=1e-12)
