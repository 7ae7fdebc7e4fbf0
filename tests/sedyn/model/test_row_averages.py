"""What first-layer rows keep of their start, and averages of test functions over them."""

import numpy as np
import pytest

import sedyn
from sedyn import Problem
from sedyn.kernels.dispatch import definitions_only, row_moments
from sedyn.model.row_averages import ROW_FUNCTIONS, normal_averages
from tests.helpers import assert_within_se, mean_and_se

SMALL = {"n": 2000, "d": 1000, "width": 2, "depth": 2, "steps": 6, "init_overlap": 0.4}
MOMENTUM = {**SMALL, "momentum": 0.5, "weight_decay": 0.05}


def test_averages_are_those_of_the_rows(monkeypatch):
    """Of W^t, W^0 and mu as gradient descent has them, where columns are cut into blocks too."""
    monkeypatch.setattr("sedyn.arrays.blocks.COLUMNS", 64)
    problem = Problem(n=300, d=150, width=2, signals=2, steps=2, init_overlap=0.4)
    seen = []
    states, drawn = sedyn.descent.run.states, sedyn.descent.inputs.initial_weights_and_signals

    def recording(*arguments):
        for state in states(*arguments):
            seen.append(np.array(state.first_weights))
            yield state

    monkeypatch.setattr("sedyn.descent.run.states", recording)
    monkeypatch.setattr(
        "sedyn.descent.inputs.initial_weights_and_signals", lambda *a: seen.append(drawn(*a)[0]) or seen[0][None]
    )
    runs = sedyn.simulate(problem, 1)
    (initial, signals), (last,) = (seen[0][:2], seen[0][2:]), seen[-1]  # of the one replicate
    expected = {
        "abs": np.abs(last),
        "bump": np.exp(-(last**2) / 2),
        "distance_to_signal": np.abs(last - signals[0]),
        "distance_to_initialization": np.abs(last - initial),
    }
    averages = runs.row_average[0, -1]
    assert averages.function.values.tolist() == list(ROW_FUNCTIONS)
    for name, values in expected.items():
        np.testing.assert_allclose(averages.sel(function=name), values.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(runs.initial_overlap[0, -1], last @ initial.T / 150, rtol=1e-12)
    np.testing.assert_allclose(runs.signal_overlap[0, -1], last @ signals.T / 150, rtol=1e-12)
    np.testing.assert_allclose(runs.weight_gram[0, -1], last @ last.T / 150, rtol=1e-12)


def test_normal_averages_are_those_of_drawn_rows():
    rng = np.random.default_rng(0)
    coefficients, root = rng.standard_normal((2, 3)), rng.standard_normal((3, 3))
    noise_root = rng.standard_normal((2, 2))
    averages = normal_averages(coefficients, root @ root.T, noise_root @ noise_root.T)
    start = root @ rng.standard_normal((3, 2**18))
    weights = coefficients @ start + noise_root @ rng.standard_normal((2, 2**18))
    for found, function in zip(averages, ROW_FUNCTIONS.values(), strict=True):
        reference = function.reference(2)
        values = function.apply(np, weights - (0 if reference is None else start[reference]))
        assert_within_se(found, values.mean(axis=1), values.std(axis=1) / 2**9)


@pytest.mark.parametrize(
    "fields",
    [
        SMALL,
        {**MOMENTUM, "depth": 3, "batch_fraction": 0.5, "signals": 2},
        {**MOMENTUM, "covariance": "power_law(0.25)"},
        {**MOMENTUM, "covariance": "two_level(5, 0.25)"},
    ],
    ids=["plain", "momentum, decay, mini-batches, two signals", "correlated features", "two levels"],
)
def test_simulation_agrees_with_theory(fields):
    problem = Problem(**fields)
    theory = sedyn.state_evolution(problem, samples=2**12)
    runs = sedyn.simulate(problem, replicates=32, estimate=False)
    for name in ("initial_overlap",) if problem.spectrum_law.changes_with_d else ("initial_overlap", "row_average"):
        mean, se = mean_and_se(runs[name])
        assert_within_se(mean, theory[name], se, theory[name + "_stderr"])
    assert np.isfinite(runs.row_average).all()
    assert np.isnan(theory.row_average).all() == problem.spectrum_law.changes_with_d


def test_overlaps_with_the_start_determine_what_rows_carry():
    """[P, m] times the Gram matrix of [W0, mu] are the overlaps, so a run shows its own P and m."""
    problem = Problem(**SMALL)
    theory = sedyn.state_evolution(problem, samples=2**12)
    runs = sedyn.simulate(problem, replicates=32, estimate=False)
    gram = sedyn.model.initialization.initial_overlaps(problem)
    overlaps = np.concatenate([runs.initial_overlap, runs.signal_overlap], axis=-1)
    carried = np.linalg.solve(gram, overlaps.swapaxes(-1, -2)).swapaxes(-1, -2)[:, 1:]
    expected = np.concatenate([theory.init_coefficient, theory.signal_coefficient], axis=-1)[1:]
    solver = np.concatenate([theory.init_coefficient_stderr, theory.signal_coefficient_stderr], axis=-1)[1:]
    assert_within_se(carried.mean(axis=0), expected, carried.std(axis=0, ddof=1) / np.sqrt(32), solver)


def test_the_distance_to_the_initialization_begins_at_zero():
    theory = sedyn.state_evolution(Problem(**MOMENTUM), samples=2**8)
    distance = theory.row_average.sel(function="distance_to_initialization")
    assert (distance[0] == 0).all()
    assert (distance[1:] > 0).all()


@pytest.mark.parametrize(("leading", "of_start"), [((3, 5), (3, 1)), ((3,), (3,)), ((), ())])
@pytest.mark.parametrize(("q", "k", "d"), [(1, 1, 7), (3, 2, 64), (9, 1, 40)])
def test_compiled_moments_are_those_of_array_operations(leading, of_start, q, k, d):
    rng = np.random.default_rng(0)
    weights, start, scales = (rng.standard_normal(shape) for shape in ((*leading, q, d), (*of_start, q + k, d), (d,)))
    found = row_moments(weights, start, scales)
    with definitions_only():
        expected = row_moments(weights, start, scales)
    assert found.shape == (*leading, q, 2 * q + k + len(ROW_FUNCTIONS))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
