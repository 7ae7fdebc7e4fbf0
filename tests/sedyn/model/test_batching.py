import dataclasses
import itertools

import numpy as np
import pytest

from sedyn import Problem
from sedyn.model.batching import Batches, batch_weights, limit_dimensions, limit_weights
from tests.helpers import orders_of

BATCHES = {
    "drawn": {"batch_fraction": 0.3},
    "shuffled": {"batch_fraction": 0.25, "batching": "shuffle"},
    "drawn, counted": {"batch_size": 7},
    "one pass": {"batch_fraction": 0.11, "batching": "one_pass"},
    "one epoch": {"epochs": 1, "batching": "one_pass"},
    "two epochs": {"epochs": 2, "batching": "shuffle"},
}


@pytest.mark.parametrize("fields", BATCHES.values(), ids=BATCHES)
def test_weights_of_a_step_are_the_same_whatever_was_asked_for_before(fields):
    problem = Problem(n=40, d=20, steps=6, **fields)
    expected = list(batch_weights(problem, orders_of(problem.n, 1)))
    batches = Batches(lambda: batch_weights(problem, orders_of(problem.n, 1)))
    for step in (0, 1, 1, 4, 2, 5, 0, 3):
        np.testing.assert_array_equal(batches[step], expected[step])


def test_going_on_draws_nothing_anew_and_nothing_ahead():
    begun, drawn = [], []

    def begin():
        begun.append(1)
        return (drawn.append(step) or np.full(4, float(step)) for step in itertools.count())

    batches = Batches(begin)
    assert [list(batches[step]) for step in (0, 1, 2, 2, 3)] == [[step] * 4 for step in (0, 1, 2, 2, 3)]
    assert (len(begun), drawn) == (1, [0, 1, 2, 3])


@pytest.mark.parametrize("fields", BATCHES.values(), ids=BATCHES)
def test_weights_have_mean_one_in_a_data_set_and_in_the_limit(fields):
    problem = Problem(n=40, d=20, steps=6, **fields)
    uniforms = np.random.default_rng(0).random((limit_dimensions(problem), 10**5))
    for step, weights in enumerate(batch_weights(problem, orders_of(problem.n, 1))):
        np.testing.assert_allclose(weights.mean(), 1)
        in_limit = limit_weights(problem, step, uniforms)
        share = problem.batch_share
        assert set(np.unique(in_limit)) == {0, 1 / share}
        assert abs(in_limit.mean() - 1) < 5 * np.sqrt((1 / share - 1) / 10**5)
        assert abs((weights > 0).sum() - share * 40) < 1


@pytest.mark.parametrize("size", [1, 7, 10])
def test_batches_of_a_size_have_it(size):
    problem = Problem(n=41, d=20, steps=4, batch_size=size)
    for batching in ("without_replacement", "one_pass"):
        each = batch_weights(dataclasses.replace(problem, batching=batching), orders_of(problem.n, 1))
        assert [np.count_nonzero(weights) for weights in each] == [size] * 4


@pytest.mark.parametrize(("n", "share", "steps"), [(40, 0.25, 4), (41, 0.3, 3), (100, 1 / 7, 7), (64, 1 / 64, 64)])
def test_one_pass_takes_samples_in_any_order_and_none_twice(n, share, steps):
    problem = Problem(n=n, d=20, steps=steps, batch_fraction=share, batching="one_pass")
    batches = [np.flatnonzero(weights) for weights in batch_weights(problem, orders_of(problem.n, 0))]
    taken = np.concatenate(batches)
    assert len(taken) == len({*taken}) == round(steps * share * n)
    assert not np.array_equal(taken, np.sort(taken))
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    uniforms = np.linspace(0, 1, 1001)[None, :-1]
    used = sum(limit_weights(problem, step, uniforms) > 0 for step in range(steps))
    np.testing.assert_array_equal(used, uniforms[0] < steps * share - 1e-12)


def test_epochs_are_a_clock():
    """A batch is the share of an epoch that a step takes, and rates are those of an epoch."""
    problem = Problem(n=60, d=20, steps=12, epochs=3, learning_rate=2.0, deep_learning_rate=[1.0] * 12)
    assert (problem.batch_share, problem.samples_per_batch, problem.batches_per_epoch) == (0.25, 15, 4)
    assert problem.learning_rates == (0.5,) * 12
    assert problem.deep_learning_rates == (0.25,) * 12
    full = dataclasses.replace(problem, steps=3, deep_learning_rate=None)
    assert full.full_batch
    assert full.learning_rates == full.deep_learning_rates == (2.0,) * 3


def test_theory_knows_of_a_batch_its_share():
    counted, share = Problem(n=60, d=40, batch_size=15), Problem(n=120, d=80, batch_fraction=0.25)
    assert counted.theory_key == dataclasses.replace(counted, n=120, d=80, batch_size=30).theory_key == share.theory_key
    assert counted.theory_key != dataclasses.replace(counted, n=120, d=80).theory_key
    assert Problem(n=60, d=40, batch_size=60).theory_key == Problem(n=60, d=40).theory_key
    assert (
        len({each.key for each in (counted, dataclasses.replace(counted, batch_size=None, batch_fraction=0.25))}) == 2
    )
