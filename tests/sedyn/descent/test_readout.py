import itertools

import numpy as np
import pytest

import sedyn
from sedyn import Problem
from sedyn.descent import readout
from sedyn.descent.readout import draw_points, fit_control
from sedyn.model.architecture import initial_deep_weights

D = 6


@pytest.mark.parametrize("fields", [{}, {"signals": 2, "activation": "gelu"}, {"loss": "logistic", "labels": "binary"}])
@pytest.mark.parametrize("dependent", [False, True])
def test_the_mean_of_a_control_is_zero_whatever_the_law(fields, dependent):
    problem = Problem(n=50, d=D, width=3, features="rademacher", noise=0.5, **fields)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((problem.signals + 3, D))
    if dependent:
        directions[-1] = directions[0] - directions[1]
    points = draw_points(problem, np.random.SeedSequence(0))
    control = fit_control(problem, points, directions, initial_deep_weights(problem))
    # Every row there is, with noise from a rule that is exact for quadratic functions.
    rows = np.array(list(itertools.product((-1, 1), repeat=D)))
    projections = np.repeat(directions @ rows.T / np.sqrt(D), 2, axis=1)
    noise = np.tile([-1.0, 1.0], len(rows))
    values = control(projections[: problem.signals], projections[problem.signals :], noise[None, :])
    assert values.std() > 0.05
    np.testing.assert_allclose(values.mean(axis=-1), 0, atol=1e-13)


@pytest.mark.parametrize(
    ("law", "noise_law"), [("rademacher", "gaussian"), ("student_t(5)", "gaussian"), ("rademacher", "laplace")]
)
def test_controls_save_most_rows(law, noise_law, monkeypatch):
    problem = Problem(n=500, d=300, steps=8, width=4, depth=3, noise=0.3, features=law, noise_law=noise_law)
    with_controls = sedyn.simulate(problem, 2, estimate=False)
    monkeypatch.setattr(readout, "fit_control", lambda *arguments: lambda *rows: 0.0)
    without = sedyn.simulate(problem, 2, estimate=False)
    assert np.all(without.test_error_stderr**2 > 3.5 * with_controls.test_error_stderr**2)
    apart = (with_controls.test_error - without.test_error) / without.test_error_stderr
    assert np.all(np.abs(apart) < 4)
