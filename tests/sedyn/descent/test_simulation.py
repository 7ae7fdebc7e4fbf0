"""Replicates run side by side are the replicates that run by themselves."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.descent import engines, simulation
from sedyn.kernels import dispatch
from sedyn.model.problem import INDIVIDUAL
from sedyn.model.update import updates_together

PROBLEMS = {
    "full batch": {"width": 3, "depth": 3},
    "erf, logistic": {"activation": "erf", "loss": "logistic", "labels": "binary"},
    "shuffled, momentum": {"batch_fraction": 0.25, "batching": "shuffle", "momentum": 0.5, "activation": "gelu"},
    "drawn batches, sigmoid": {"batch_fraction": 0.3, "activation": "sigmoid", "weight_decay": 0.1, "width": 5},
    "two signals, correlated": {"signals": 2, "combine": "product", "covariance": "power_law(0.3)", "depth": 2},
    "integers": {"features": "rademacher", "activation": "softplus"},
    "sparse": {"features": "sparse(0.1)", "activation": "silu", "depth": 2},
    "nesterov, gradient noise": {"momentum": 0.5, "momentum_form": "nesterov", "temperature": 0.1, "depth": 2},
    "one pass, counted": {"batching": "one_pass", "batch_size": 20, "momentum": 0.5, "depth": 2},
    "linear": {"width": 1, "depth": 1, "activation": "identity", "link": "identity", "learning_rate": 0.3},
    "relu, one layer trained": {"activation": "relu", "train": "first", "depth": 2},
    "classes, biases": {"labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "bias": "all"},
    "two outputs, skip, residual": {"outputs": 2, "skip": True, "residual": True, "bias": "output"},
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_a_replicate_is_the_same_bit_by_bit_alone_and_among_others(fields, dtype):
    problem = Problem(n=131, d=67, steps=5, **fields)
    assert engines.replicates_together(problem, "dense", dtype=dtype) > 3
    among = sedyn.simulate(problem, 4, engine="dense", dtype=dtype)
    for replicate in (0, 3):
        alone = sedyn.simulate(problem, [replicate], engine="dense", dtype=dtype)
        xr.testing.assert_equal(alone, among.sel(replicate=[replicate]))


def unlike(problem):
    """A problem that differs in everything in which replicates side by side may differ."""
    numbers = {
        name: getattr(problem, name) + 0.1
        for name in ("momentum", "weight_decay", "temperature", "noise", "signal_norm")
    }
    if problem.bias != "none":
        numbers["bias_init"] = 0.2
    other = dataclasses.replace(
        problem,
        **numbers,
        learning_rate=tuple(0.1 + 0.05 * t for t in range(problem.steps)),
        deep_learning_rate=0.3,
        init_overlap=0.4,
        initialization="random",
        init_seed=3,
        deep_init="signs",
        batching="shuffle" if problem.batching == "without_replacement" else "without_replacement",
        batch_size=None,
        epochs=None if problem.full_batch else 2.5,
        batch_fraction=1.0,
    )
    some = {
        "batch_fraction",
        "batch_size",
        "epochs",
        "bias_init",
    }  # sizes of batches one at a time, biases where they are
    assert problem.full_batch or other.batch_share != problem.batch_share
    assert all(getattr(other, name) != getattr(problem, name) for name in {*INDIVIDUAL} - some)
    return other


@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_a_replicate_is_the_same_bit_by_bit_among_those_of_other_problems(fields, monkeypatch):
    problem = Problem(n=131, d=67, steps=5, **fields)
    other = unlike(problem)
    theories = [sedyn.state_evolution(each, 256, 2, include=("samples",)) for each in (problem, other)]
    stacks = []
    run = simulation._run
    monkeypatch.setattr(simulation, "_run", lambda *arguments: stacks.append(len(arguments[0])) or run(*arguments))
    among = sedyn.simulate_together([(problem, [2, 0]), (other, [1, 2, 5])], engine="dense", theories=theories)
    assert stacks == [5]
    for each, theory, runs in zip((problem, other), theories, among, strict=True):
        for replicate in runs.replicate.values.tolist():
            alone = sedyn.simulate(each, [replicate], engine="dense", theory=theory)
            xr.testing.assert_identical(alone, runs.sel(replicate=[replicate]))


def test_datasets_of_one_shape_share_no_words():
    problem = Problem(n=40, d=30, steps=2)
    mine, other = (sedyn.simulate(problem, 2) for _ in range(2))
    mine.attrs["who"] = mine.train_error.attrs["who"] = mine.replicate.attrs["who"] = "me"
    for dataset in (other, sedyn.simulate(problem, 2)):
        assert all("who" not in attributes for attributes in (dataset.attrs, dataset.train_error.attrs))
        assert not dataset.replicate.attrs
    assert not np.shares_memory(mine.train_error, other.train_error)
    mine.train_error[:] = 0
    xr.testing.assert_equal(other, sedyn.simulate(problem, 2))


def test_problems_of_other_shapes_run_by_themselves_and_come_back_in_their_order():
    problems = [Problem(n=n, d=40, width=2, steps=3, noise=noise) for noise in (0.1, 0.2) for n in (60, 80)]
    among = sedyn.simulate_together([(problem, 2) for problem in problems], seed=5)
    for problem, runs in zip(problems, among, strict=True):
        xr.testing.assert_identical(runs, sedyn.simulate(problem, 2, seed=5))
    assert len({problem.stack_key for problem in problems}) == 2


def test_a_diverging_problem_leaves_the_others_alone():
    problem = Problem(n=30, d=30, steps=40, width=2, depth=3, activation="identity", noise=0.5)
    wild = dataclasses.replace(problem, learning_rate=30.0)
    calm, lost = sedyn.simulate_together([(problem, 3), (wild, 3)], engine="dense")
    assert np.isnan(lost.train_error[:, -1]).all()
    xr.testing.assert_identical(calm, sedyn.simulate(problem, 3, engine="dense"))


@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_stacked_designs_give_what_separate_ones_give(fields, monkeypatch):
    problem = Problem(n=131, d=67, steps=5, **fields)
    stacked = sedyn.simulate(problem, 3, engine="dense")
    monkeypatch.setattr(engines, "STACK_BYTES", 0)
    assert engines.replicates_together(problem, "dense") == 1
    xr.testing.assert_allclose(sedyn.simulate(problem, 3, engine="dense"), stacked, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_small_replicates_go_through_all_iterations_at_once(fields, monkeypatch):
    problem = Problem(n=131, d=67, steps=2, **fields)

    def refuse(*_):
        raise AssertionError("a step by itself")

    monkeypatch.setattr("sedyn.descent.dynamics.step", refuse)
    assert np.isfinite(sedyn.simulate(problem, 2, engine="dense").train_error).all()


def test_decay_of_some_units_is_not_forgotten(monkeypatch):
    """Updates of a fit may have it; compiled code that goes through all iterations at once does not."""
    problem, decay = Problem(n=131, d=67, steps=4, width=2), np.array([[0.9], [0.0]])
    plain = sedyn.simulate(problem, 2, engine="dense")

    def decaying(problems, start):
        return [update._replace(unit_decay=decay) for update in updates_together(problems, start)]

    monkeypatch.setattr("sedyn.descent.simulation.updates_together", decaying)
    found = sedyn.simulate(problem, 2, engine="dense", estimate=False)
    with dispatch.definitions_only():
        expected = sedyn.simulate(problem, 2, engine="dense", estimate=False)
    xr.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    assert (np.abs(found.weight_gram - plain.weight_gram)[:, -1, 0, 0] > 0.1).all()


def test_a_diverging_replicate_leaves_the_others_alone():
    problem = Problem(n=30, d=30, steps=60, width=2, depth=3, activation="identity", learning_rate=1.7, noise=0.5)
    runs = sedyn.simulate(problem, 12, engine="dense")
    finite = np.isfinite(runs.train_error)
    lives = finite.sum("iteration").values
    assert lives.min() < problem.steps + 1 == lives.max()
    for name in ("test_error", "estimated_test_error", "weight_gram"):
        known = np.isfinite(runs[name].transpose("replicate", "iteration", ...)).values
        np.testing.assert_array_equal(known.reshape(*finite.shape, -1).all(axis=-1), finite)
    survivor = int(lives.argmax())
    xr.testing.assert_equal(sedyn.simulate(problem, [survivor], engine="dense"), runs.sel(replicate=[survivor]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"estimate": "no"}, "estimate='no': True or False"),
        ({"replicates": True}, "replicates=True: a whole number"),
        ({"replicates": 0}, "replicates=0: a whole number"),
        ({"replicates": [1, 1]}, "different indices"),
        ({"replicates": [2**32]}, "from 0 to 4294967295"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        sedyn.simulate(Problem(n=20, d=10, steps=2), **{"replicates": 2, **arguments})
