"""What a network that says nothing scores, and what knowing it is worth."""

import numpy as np
import pytest
from scipy import integrate, stats

import sedyn
from sedyn import Problem
from sedyn.theory.silence import silent_score

SMALL = {"n": 600, "d": 400, "width": 2, "depth": 2, "steps": 4}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"link": "hermite3"}, 1 + 0.09),
        ({"link": "hermite3", "noise_law": "laplace", "noise": 0.5}, 1.25),
        ({"link": "hermite2", "signals": 2, "combine": "product", "noise": 0.0}, 1),
        ({"link": "hermite2", "signals": 3}, 1 + 0.09),
        ({"link": "identity", "signal_norm": 2.0}, 4.09),
        ({"link": "identity", "outputs": 2, "signals": 2}, 2 * 1.09),
        ({"labels": "binary", "loss": "logistic"}, 2 * np.log(2)),
    ],
)
def test_scores_of_silence(fields, expected):
    np.testing.assert_allclose(silent_score(Problem(**{**SMALL, **fields})), expected, rtol=1e-11)


def test_of_other_losses_too():
    deviation = np.hypot(1, 0.3)

    def score(r):
        return (r * r if abs(r) < 1 else 2 * abs(r) - 1) * stats.norm.pdf(r, 0, deviation)

    huber = integrate.quad(score, -9, 9, points=[-1, 1])[0]
    np.testing.assert_allclose(silent_score(Problem(**SMALL, link="identity", loss="huber")), huber, rtol=1e-9)
    absolute = integrate.quad(lambda r: 2 * (np.hypot(1, r) - 1) * stats.norm.pdf(r, 0, deviation), -12, 12)[0]
    np.testing.assert_allclose(silent_score(Problem(**SMALL, link="identity", loss="absolute(1)")), absolute, rtol=1e-8)


def test_nothing_is_known_where_a_link_jumps_or_indices_are_many():
    sedyn.register_link("staircase", lambda z: np.floor(2 * z))
    assert silent_score(Problem(**SMALL, link="staircase")) is None
    assert silent_score(Problem(**SMALL, signals=4)) is None
    theory = sedyn.state_evolution(Problem(**SMALL, link="staircase"), samples=256)
    assert np.isfinite(theory.test_error).all()


@pytest.mark.parametrize(("link", "factor"), [("hermite3", 5), ("tanh", 1)])
def test_the_error_of_a_cubic_link_is_known_far_better(link, factor, monkeypatch):
    problem = Problem(**{**SMALL, "link": link, "learning_rate": 0.3, "init_overlap": 0.3})
    known = sedyn.state_evolution(problem, samples=2**11)
    monkeypatch.setattr("sedyn.theory.inputs.silent_score", lambda problem: None)
    unknown = sedyn.state_evolution(problem, samples=2**11)
    for name in ("train_error", "test_error"):
        stated = known[name + "_stderr"], unknown[name + "_stderr"]
        assert float(stated[0].max()) * factor < float(stated[1].max()) * (1 if factor > 1 else 1.1)
        apart = abs(known[name] - unknown[name]) / np.hypot(*stated)
        assert float(apart.max()) < 5
