import itertools

import numpy as np
import pytest

from sedyn import Problem
from sedyn.model.batching import Batches, batch_weights

BATCHES = {"drawn": {"batch_fraction": 0.3}, "shuffled": {"batch_fraction": 0.25, "batching": "shuffle"}}


@pytest.mark.parametrize("fields", BATCHES.values(), ids=BATCHES)
def test_weights_of_a_step_are_the_same_whatever_was_asked_for_before(fields):
    problem = Problem(n=40, d=20, steps=6, **fields)
    expected = list(batch_weights(problem, np.random.default_rng(1)))
    batches = Batches(lambda: batch_weights(problem, np.random.default_rng(1)))
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
