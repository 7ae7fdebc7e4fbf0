import itertools

import numpy as np
import pytest

import sedyn
from sedyn import Problem
from sedyn.descent import readout
from sedyn.descent.readout import draw_quadrature, fit_control, labels_of_points, readout_words
from sedyn.model.architecture import initial_deep_weights
from tests.helpers import assert_within_se, mean_and_se, stream

D = 6


@pytest.mark.parametrize(
    "fields",
    [{}, {"signals": 2, "activation": "gelu"}, {"loss": "logistic", "labels": "binary"}, {"loss": "absolute(0.2)"}],
)
@pytest.mark.parametrize("dependent", [False, True])
def test_the_mean_of_a_control_is_zero_whatever_the_law(fields, dependent):
    problem = Problem(n=50, d=D, width=3, features="rademacher", noise=0.5, **fields)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((problem.signals + 3, D))
    if dependent:
        directions[-1] = directions[0] - directions[1]
    points = draw_quadrature([problem], readout_words(problem, stream(0)))
    signals = directions[: problem.signals]
    labels = labels_of_points([problem], points, (signals @ signals.T / D)[None])
    control = fit_control(problem, points, labels, directions, initial_deep_weights(problem))
    # Every row there is, with noise from a rule that is exact for quadratic functions.
    rows = np.array(list(itertools.product((-1, 1), repeat=D)))
    drawn = points.noise.shape[1]
    projections = np.repeat(directions @ rows.T / np.sqrt(D), 2, axis=1)
    noise = np.tile([-1.0, 1.0], len(rows))[None][:drawn]
    values = control(projections[: problem.signals], projections[problem.signals :], noise)
    assert values.std() > 0.05
    np.testing.assert_allclose(values.mean(axis=-1), 0, atol=1e-13)


@pytest.mark.parametrize(
    ("law", "noise_law"), [("rademacher", "gaussian"), ("student_t(5)", "gaussian"), ("rademacher", "laplace")]
)
def test_controls_and_laws_of_labels_save_most_rows(law, noise_law, monkeypatch):
    problem = Problem(n=500, d=300, steps=8, width=4, depth=3, noise=0.3, features=law, noise_law=noise_law)
    with_controls = sedyn.simulate(problem, 2, estimate=False)
    for module in ("sedyn.descent.readout", "sedyn.model.label_laws"):
        monkeypatch.setattr(f"{module}.noise_variables", lambda problem: problem.outputs)
    monkeypatch.setattr(readout, "fit_control", lambda *arguments: lambda *rows: 0.0)
    without = sedyn.simulate(problem, 2, estimate=False)
    assert np.all(without.test_error_stderr**2 > 3.5 * with_controls.test_error_stderr**2)
    apart = (with_controls.test_error - without.test_error) / without.test_error_stderr
    assert np.all(np.abs(apart) < 4)


def test_the_readout_of_a_cubic_link():
    """Squares of such labels are what most of an average over points gets wrong."""
    problem = Problem(
        n=1024, d=682, width=2, depth=2, learning_rate=0.5, noise=0.3, init_overlap=0.3, steps=10, link="hermite3"
    )
    runs = sedyn.simulate(problem, 8, estimate=False)
    assert np.sqrt((runs.test_error_stderr**2).mean("replicate")).max() < 2e-3
    # At the start every replicate has the same error.
    assert runs.test_error[:, 0].std("replicate") < 2e-3


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"width": 6, "depth": 2},
        {"link": "hermite2", "activation": "gelu", "learning_rate": 0.3},
        {"signals": 2, "link": "erf"},
        {"loss": "huber(0.5)", "noise_law": "laplace"},
        {"labels": "binary", "loss": "logistic"},
        {"labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "link": "identity"},
    ],
)
def test_the_readout_is_precise_beside_the_scatter_of_runs(fields):
    """And its standard error is what shifts of the points change."""
    problem = Problem(**{"n": 128, "d": 64, "width": 3, "depth": 3, "steps": 15, **fields})
    runs = sedyn.simulate(problem, 64, estimate=False)
    stated = np.sqrt((runs.test_error_stderr**2).mean("replicate"))[1:]
    scatter = runs.test_error.std("replicate", ddof=1)[1:]
    assert float((stated / scatter).median()) < 0.2


@pytest.mark.parametrize(
    "fields",
    [
        {"width": 8},
        {"n": 32, "d": 16, "width": 16},
        {"width": 1, "depth": 2, "activation": "relu"},
        {"width": 6, "link": "hermite2", "activation": "gelu", "learning_rate": 0.3},
        {"width": 6, "labels": "binary", "loss": "logistic"},
        {"n": 32, "d": 16, "labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "link": "identity"},
        {"features": "rademacher", "width": 16},
    ],
)
def test_other_numbers_of_points_are_other_errors_of_the_same_mean(fields, monkeypatch):
    """The rule up to format 7 of stores, on the same runs: differences average to zero."""

    def earlier(problem):
        growth = np.sqrt(problem.outputs * max(problem.n, 128) / 128)
        return 1 << (int(np.ceil(40 * readout.readout_dimensions(problem) * growth)) - 1).bit_length()

    shared = {"n": 128, "d": 64, "width": 3, "depth": 3, "steps": 6, "initialization": "random"}
    problem = Problem(**{**shared, **fields})
    now = sedyn.simulate(problem, 64, estimate=False)
    monkeypatch.setattr(readout, "readout_points", earlier)
    monkeypatch.setattr(readout, "control_points", earlier)
    before = sedyn.simulate(problem, 64, estimate=False)
    apart = now.test_error - before.test_error
    assert_within_se(apart.mean("replicate"), 0, mean_and_se(apart)[1], multiple=4)
    moved = (apart.std("replicate") / now.test_error.std("replicate"))[1:].median()
    assert 0 < float(moved) < 0.2 * np.sqrt(2)  # two readouts, each as precise as above
    np.testing.assert_array_equal(now.train_error, before.train_error)


def test_points_follow_dimensions_and_samples():
    """Few where few serve, more than dimensions always, and more of them with n."""
    counts = [
        [readout.readout_points(Problem(n=n, d=64, width=width)) for n in (2, 32, 128, 512, 2048, 2**20)]
        for width in (1, 3, 8, 16)
    ]
    assert counts == [
        [256, 256, 256, 256, 512, 2**14],
        [256, 256, 256, 256, 1024, 2**14],
        [256, 256, 256, 1024, 2048, 2**14],
        [256, 256, 512, 1024, 4096, 2**14],
    ]
    kinked = [readout.readout_points(Problem(n=n, d=64, width=8, activation="relu")) for n in (32, 128, 512)]
    assert kinked == [256, 512, 2048]
    wide = Problem(n=2, d=64, width=32)
    assert readout.readout_points(wide) > readout.readout_dimensions(wide)


def test_a_control_has_points_for_each_of_its_coefficients():
    """With the few points of a quadrature it would add more noise than it takes away."""
    for width in (1, 3, 8, 16, 32):
        problem = Problem(n=32, d=64, width=width, features="rademacher")
        size = readout.readout_dimensions(problem)
        assert 2 * readout.control_points(problem) >= 12 * (size * (size + 1) // 2)


def test_stated_errors_are_those_of_the_shifts(monkeypatch):
    problem = Problem(n=128, d=64, width=3, depth=2, steps=3)
    runs = sedyn.simulate(problem, [0] * 1, estimate=False)
    words = readout.readout_words
    found = []
    for seed in range(64):
        monkeypatch.setattr(
            readout,
            "readout_words",
            lambda problem, own, device, s=seed: words(problem, stream(s), device),
        )
        found.append(sedyn.simulate(problem, [0], estimate=False))
    errors = np.concatenate([one.test_error for one in found])
    stated = np.concatenate([one.test_error_stderr for one in found])
    ratio = errors.std(axis=0, ddof=1) / np.sqrt((stated**2).mean(axis=0))
    assert np.all(np.abs(np.log(ratio)) < 0.5)  # each is known from 64 draws to a tenth; four of them, heavy tails
    assert np.all(np.abs(errors.mean(axis=0) - runs.test_error[0]) < 5 * stated.max(axis=0))
