"""The linear update against textbooks' sequences."""

import numpy as np
import pytest

from sedyn import Problem
from sedyn.model.update import updates_of, updates_together

RATES, STEPS, MOMENTUM = (0.3, 0.1, 0.4, 0.0, 0.2), 5, 0.7
HESSIAN = np.array([[1.5, 0.4], [0.4, 0.8]])
START = np.array([1.0, -2.0])


def path(**fields):
    """The iterates of a quadratic."""
    problem = Problem(**{"steps": STEPS, "learning_rate": RATES, "momentum": MOMENTUM, **fields})
    points, previous = [START], START
    for update in updates_of(problem):
        following, previous = update(points[-1], previous, HESSIAN @ points[-1])
        points.append(following)
    return points


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_nesterov_is_the_textbook_sequence(decay):
    """x' = y - eta grad(y), y' = x' + beta (x' - x); decay is the gradient of a penalty."""
    x = y = START
    for rate, found in zip(RATES, path(momentum_form="nesterov", weight_decay=decay)[1:], strict=True):
        following = y - rate * (HESSIAN @ y + decay * y)
        x, y = following, following + MOMENTUM * (following - x)
        np.testing.assert_allclose(found, y, rtol=1e-13)


def test_nesterov_is_what_deep_learning_libraries_do_at_a_constant_rate():
    """b' = beta b + g, w' = w - eta (g + beta b')."""
    weights, buffer = START, np.zeros(2)
    for found in path(momentum_form="nesterov", learning_rate=0.3)[1:]:
        gradient = HESSIAN @ weights
        buffer = MOMENTUM * buffer + gradient
        weights = weights - 0.3 * (gradient + MOMENTUM * buffer)
        np.testing.assert_allclose(found, weights, rtol=1e-13)


def test_heavy_ball_is_the_textbook_sequence():
    previous = weights = START
    for rate, found in zip(RATES, path()[1:], strict=True):
        previous, weights = weights, weights - rate * HESSIAN @ weights + MOMENTUM * (weights - previous)
        np.testing.assert_allclose(found, weights, rtol=1e-13)


def test_forms_differ_from_the_first_step_on_and_not_without_momentum():
    assert np.abs(path()[1] - path(momentum_form="nesterov")[1]).max() > 0.1
    for one, two in zip(path(momentum=0.0), path(momentum=0.0, momentum_form="nesterov"), strict=True):
        np.testing.assert_array_equal(one, two)


def test_deeper_layers_learn_at_the_first_ones_rate_or_at_their_own():
    same, own = (updates_of(Problem(steps=2, learning_rate=(0.3, 0.1), deep_learning_rate=r)) for r in (None, (0, 0.2)))
    assert [update.of_deep_weights.learning_rate for update in same] == [0.3, 0.1]
    assert [update.of_deep_weights.learning_rate for update in own] == [0, 0.2]
    assert [update.learning_rate for update in own] == [0.3, 0.1]
    assert own[0]._replace(learning_rate=0) == own[0].of_deep_weights  # nothing else changes


@pytest.mark.parametrize("form", ["heavy_ball", "nesterov"])
def test_replicates_with_other_numbers_are_updated_as_if_alone(form):
    rng = np.random.default_rng(0)
    problems = [
        Problem(steps=1, momentum=beta, weight_decay=decay, temperature=temperature, momentum_form=form)
        for beta, decay, temperature in ((0.0, 0.1, 0.0), (0.5, 0.0, 0.3))
    ]
    arrays = rng.standard_normal((4, 2, 3, 5))
    together = updates_together(problems, arrays)[0](*arrays)
    for r, problem in enumerate(problems):
        for found, expected in zip(together, updates_of(problem)[0](*arrays[:, r]), strict=True):
            np.testing.assert_array_equal(found[r], expected)
