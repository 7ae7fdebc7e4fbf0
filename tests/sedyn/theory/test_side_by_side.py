"""Randomizations that are solved side by side: each has the numbers that it has alone, bit by bit."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import sedyn
from sedyn import Problem
from sedyn.kernels.dispatch import definitions_only
from sedyn.model.functions import ACTIVATIONS
from sedyn.model.seeds import randomization_seeds
from sedyn.model.update import updates_of
from sedyn.theory import state_evolution as solver
from sedyn.theory.inputs import draw, draw_points, draws_of_points
from sedyn.theory.run import run
from tests.sedyn.pretend_gpu import count_launches

BASE = {"n": 600, "d": 400, "width": 3, "depth": 3, "steps": 5}
PROBLEMS = {
    **{name: {"activation": name, "learning_rate": 0.3} for name in ACTIVATIONS.built_in},
    "momentum, decay": {"momentum": 0.5, "weight_decay": 0.1},
    "nesterov, gradient noise": {"momentum": 0.5, "momentum_form": "nesterov", "temperature": 0.1},
    "drawn batches": {"batch_fraction": 0.5},
    "shuffled batches": {"batch_fraction": 0.5, "batching": "shuffle"},
    "one pass": {"batching": "one_pass", "batch_size": 50},
    "signals": {"signals": 2, "combine": "product", "init_overlap": 0.3},
    "signals and a kink": {"signals": 2, "activation": "relu", "learning_rate": 0.3},
    "classes, biases": {"labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "bias": "all"},
    "binary": {"labels": "binary", "loss": "logistic"},
    "outputs, skip, residual": {"outputs": 2, "signals": 2, "skip": True, "residual": True},
    "two levels": {"covariance": "two_level(4, 0.25)"},
    "power law": {"covariance": "power_law(0.3)"},
    "frozen": {"train": "first"},
    "linear": {"width": 1, "depth": 1, "link": "identity"},
    "wide": {"width": 18, "steps": 2},
    "steps of no length": {"learning_rate": (0.0, 0.0, 0.5, 0.0, 0.5)},
}


def solved(problem, seeds, samples=256):
    return run(problem, draws_of_points(problem, draw_points(problem, samples, seeds)), updates_of(problem))


@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_each_is_as_alone(fields):
    problem = Problem(**{**BASE, **fields})
    seeds = randomization_seeds(problem, 0, 3)
    together = solved(problem, seeds)
    for r, seed in enumerate(seeds):
        alone = run(problem, draw(problem, 256, seed), updates_of(problem))
        assert alone.keys() == together.keys()
        for name, expected in alone.items():
            np.testing.assert_array_equal(together[name][r], expected, err_msg=name)
    assert not np.array_equal(together["test_error"][0], together["test_error"][1])


@pytest.mark.parametrize("responses", [1, 2 * 10 * (6 * 3) ** 2])
def test_long_runs_are_side_by_side_as_far_as_there_is_room_and_give_the_same(responses, monkeypatch):
    problem = Problem(**BASE, covariance="power_law(0.3)")
    given = problem, 256, 5
    expected = sedyn.state_evolution(*given, include=("responses", "samples"))
    monkeypatch.setattr("sedyn.theory.run.MOST_RESPONSES", responses)
    assert sedyn.state_evolution(*given, include=("responses", "samples")).identical(expected)


def test_by_definitions_alone_each_is_as_alone_to_rounding():
    problem = Problem(**BASE)
    seeds = randomization_seeds(problem, 0, 3)
    with definitions_only():
        together = solved(problem, seeds)
        for r, seed in enumerate(seeds):
            for name, expected in solved(problem, [seed]).items():
                np.testing.assert_allclose(together[name][r], expected[0], rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("activation", ["identity", "relu"])
def test_one_that_diverges_leaves_the_others_as_they_are(activation):
    problem = Problem(**{**BASE, "activation": activation, "learning_rate": 0.3})
    seeds = randomization_seeds(problem, 0, 3)
    points = draw_points(problem, 256, seeds)
    expected = run(problem, draws_of_points(problem, points, copy=True), updates_of(problem))
    draws = draws_of_points(problem, points)
    draws.labels[1] *= 1e200  # its second step squares them
    found = run(problem, draws, updates_of(problem))
    assert np.isfinite(expected["test_error"]).all()
    assert np.isnan(found["test_error"][1, 2:]).all()
    for name, values in found.items():
        np.testing.assert_array_equal(values[[0, 2]], expected[name][[0, 2]], err_msg=name)
        assert np.isnan(values[1, 2:]).all(), name


def test_where_all_diverge_the_rest_is_nothing():
    problem = Problem(**{**BASE, "activation": "identity", "learning_rate": 60.0, "steps": 30})
    seeds = randomization_seeds(problem, 0, 3)
    together = solved(problem, seeds)
    first = np.argmin(np.isfinite(together["test_error"]), axis=1)
    assert (first > 2).all() and (first < 30).all()  # noqa: PT018 - both ends of a range
    for r, seed in enumerate(seeds):
        for name, expected in solved(problem, [seed]).items():
            np.testing.assert_array_equal(together[name][r], expected[0], err_msg=name)


def numbers(problem, **options):
    theory = sedyn.state_evolution(problem, samples=256, randomizations=5, include=("responses", "samples"), **options)
    return {name: values.values for name, values in theory.items()}


def assert_same(found, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_blocks_of_randomizations_change_no_standard_error_beyond_what_is_put_together(monkeypatch):
    """Where fewer are side by side, fewer samples are put together, and that alone changes: draws are as they were."""
    problem, before = Problem(**BASE), []
    apart = solved(problem, randomization_seeds(problem, 0, 5))
    known = solver.run_each
    monkeypatch.setattr(solver, "run_each", lambda *args, **kwargs: before.append(known(*args, **kwargs)) or before[-1])
    monkeypatch.setattr("sedyn.theory.inputs.MOST_TOGETHER", 2 * 256)
    sedyn.state_evolution(problem, samples=256, randomizations=5)
    assert [len(solution["test_error"]) for solution in before] == [2, 2, 1]
    for name, values in apart.items():
        np.testing.assert_array_equal(np.concatenate([each[name] for each in before]), values, err_msg=name)


@pytest.mark.parametrize("fields", [{}, {"activation": "relu"}], ids=["adjoint", "stein"])
def test_threads_change_no_bit(fields):
    problem = Problem(**{**BASE, **fields})
    with threadpool_limits(1):
        expected = numbers(problem)
    with threadpool_limits(2):
        assert_same(numbers(problem), expected)


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize("fields", [{}, {"activation": "relu"}], ids=["adjoint", "stein"])
def test_a_gpu_launches_as_much_for_eight_as_for_two(fields, monkeypatch):
    launches, counts = count_launches(monkeypatch), []
    for randomizations in (2, 8):
        launches.clear()
        sedyn.state_evolution(Problem(**{**BASE, "steps": 2, **fields}), 256, randomizations, device="gpu")
        counts.append(len(launches))
    assert counts[0] == counts[1] > 0
