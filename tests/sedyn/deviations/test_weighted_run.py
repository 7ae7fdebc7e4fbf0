"""The weighted run is gradient descent: on a matrix, on repeated rows, and in the limit."""

import numpy as np
import pytest

import sedyn
from sedyn.descent import dynamics as descent
from sedyn.descent.inputs import Data
from sedyn.designs.dense import DenseDesign
from sedyn.deviations import dynamics
from sedyn.deviations.inputs import Innovations, draw_innovations
from sedyn.deviations.tape import Tape
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.initialization import mixing_of
from sedyn.model.seeds import randomization_seeds
from sedyn.model.update import updates_of
from sedyn.theory.inputs import draws_of, normal_dimensions
from tests.helpers import assert_within_se

PROBLEM = sedyn.Problem(n=90, d=60, width=2, depth=2, steps=4, learning_rate=1.5, momentum=0.3, init_overlap=0.4)


def weighted(problem, inputs, weights=None):
    """States of a weighted run and what each shows."""
    tape = Tape(inputs.weights if weights is None else weights)
    state = dynamics.init(problem, inputs, tape)
    found = [(state, dynamics.observe(problem, inputs, tape, state))]
    for update in updates_of(problem):
        state = dynamics.step(problem, inputs, tape, state, update)
        found.append((state, dynamics.observe(problem, inputs, tape, state)))
    return found


def plain_innovations(problem, seed):
    """n independent samples and d independent features."""
    rng, q, k = np.random.default_rng(seed), problem.units, problem.signals
    draws = draws_of(problem, rng.standard_normal((normal_dimensions(problem), problem.n)), np.empty((0, problem.n)))
    start = rng.standard_normal((k + q, problem.d))
    gradients = rng.standard_normal((problem.steps, q, problem.d))
    none = gradients[:0]
    return Innovations(draws, start, gradients, none, np.ones(problem.d), np.zeros(problem.d, dtype=int), np.ones(1))


@pytest.mark.parametrize("initialization", ["exact", "random"])
def test_with_equal_weights_it_is_gradient_descent_on_a_matrix(initialization):
    problem = sedyn.Problem(**{**PROBLEM.to_dict(), "initialization": initialization})
    inputs = plain_innovations(problem, 0)
    found = weighted(problem, inputs)
    last, q = found[-1][0], problem.units
    # What is known of X, with directions of length one, and the rest drawn anew.
    q_w, b = (part.value / np.sqrt(problem.d) for part in last.weights)
    q_g, c = (part.value / np.sqrt(problem.n) for part in last.gradients)
    rest = np.random.default_rng(1).standard_normal((problem.n, problem.d)) / np.sqrt(problem.d)
    rest -= q_g.T @ (q_g @ rest)
    rest -= (rest @ q_w.T) @ q_w
    matrix = b.T @ q_w + q_g.T @ (c - (c @ q_w.T) @ q_w) + rest
    mixing, directions = mixing_of(problem).T, last.start.rows.value
    start = mixing[:, :q] @ directions[problem.signals :] + mixing[:, q:] @ directions[: problem.signals]
    ones = np.ones(problem.d)
    data = Data(DenseDesign(matrix), ones, inputs.samples.labels, start, initial_deep_weights(problem))
    for (state, seen), run in zip(found, states(descent, problem, data, updates_of(problem)), strict=True):
        expected = descent.observe(problem, data, run)
        np.testing.assert_allclose(state.first_weights.value, run.first_weights, atol=1e-10)
        for name in ("train_error", "initial_overlap", "signal_overlap", "weight_gram", "row_average"):
            np.testing.assert_allclose(seen[name].value.squeeze(), expected[name].squeeze(), atol=1e-10)
        for node, deep in zip(state.deep_weights, run.deep_weights, strict=True):
            np.testing.assert_allclose(node.value, deep, atol=1e-10)


@pytest.mark.parametrize("initialization", ["exact", "random"])
def test_a_run_with_two_kinds_of_weights_is_the_run_of_repeated_rows(initialization):
    problem = sedyn.Problem(**{**PROBLEM.to_dict(), "initialization": initialization})
    inputs, rng = plain_innovations(PROBLEM, 2), np.random.default_rng(3)
    times = {"samples": rng.integers(1, 4, PROBLEM.n), "features": rng.integers(1, 4, PROBLEM.d)}
    weights = {side: count / count.sum() for side, count in times.items()}
    rows, columns = (np.repeat(np.arange(count.size), count) for count in times.values())
    samples = inputs.samples._replace(
        **{name: getattr(inputs.samples, name)[:, rows] for name in ("innovations", "labels", "batches")}
    )  # and labels of points, which have no weights
    repeated = Innovations(
        samples,
        inputs.of_start[:, columns],
        inputs.of_gradients[:, :, columns],
        inputs.of_kicks[:, :, columns],
        np.ones(columns.size),
        np.zeros(columns.size, dtype=int),
        np.ones(1),
    )
    alike = zip(weighted(problem, inputs, weights), weighted(problem, repeated), strict=True)
    for (_, seen), (_, expected) in alike:
        for name, node in seen.items():
            if name not in {"test_error", "estimate_minus_test_error"}:  # averages over points without weights
                np.testing.assert_allclose(node.value, expected[name].value, atol=1e-10)


@pytest.mark.parametrize(
    "changes",
    [{}, {"covariance": "two_level(4,0.25)", "batch_fraction": 0.5, "signals": 2}, {"initialization": "random"}],
)
def test_at_the_limits_law_it_is_state_evolution(changes):
    problem = sedyn.Problem(**{**PROBLEM.to_dict(), **changes})
    names = ["train_error", "test_error", "initial_overlap", "signal_overlap", "weight_gram"]
    runs = []
    for stream in randomization_seeds(problem, 1, 8):
        found = weighted(problem, draw_innovations(problem, 2**11, stream))
        runs.append([np.stack([seen[name].value for _, seen in found]) for name in names])
    theory = sedyn.state_evolution(problem, samples=2**12, randomizations=8)
    for name, values in zip(names, zip(*runs, strict=True), strict=True):
        stacked = np.stack(values).reshape(8, *theory[name].shape)
        error = stacked.std(axis=0, ddof=1) / 8**0.5
        # Both have a bias of the order of one over their points, beside what their spread shows.
        assert_within_se(stacked.mean(axis=0), theory[name], error, theory[name + "_stderr"], 2e-4)
