"""Random numbers depend on what they may depend on, and never change."""

import dataclasses

import numpy as np
import pytest

from sedyn import InvalidInput, Problem
from sedyn.model.seeds import PARTS, Streams, randomization_seeds, single_streams, streams_of


def state(sequence):
    return int(sequence.generate_state(1)[0])


def words(problem, seed, replicate):
    return {name: int(each.words(1)[0, 0]) for name, each in streams_of([problem], seed, [replicate])._asdict().items()}


def test_streams_are_those_of_every_store_that_was_ever_made():
    problem = Problem(n=30, d=20)
    expected = {
        "start": 9861059375437747619,
        "features": 14755553790844537271,
        "noise": 12958625357086160396,
        "batches": 14977109904354575578,
        "readout": 15858820145223433215,
        "gradient_noise": 8649869065819180933,
    }
    assert words(problem, 7, 3) == expected
    assert Streams._fields == tuple(expected)
    assert [state(stream) for stream in randomization_seeds(problem, 7, 3)] == [13891627, 1454175053, 279716363]


def test_randomizations_go_on_where_fewer_ended():
    few, many = (randomization_seeds(Problem(), 0, count) for count in (2, 5))
    assert [*map(state, few)] == [*map(state, many)][:2]


def test_the_theory_draws_the_same_for_problems_that_share_it():
    problem, larger = Problem(n=60, d=40), Problem(n=120, d=80, features="rademacher")
    assert state(randomization_seeds(problem, 0, 1)[0]) == state(randomization_seeds(larger, 0, 1)[0])
    louder = dataclasses.replace(problem, noise=0.4)
    assert state(randomization_seeds(problem, 0, 1)[0]) != state(randomization_seeds(louder, 0, 1)[0])


def test_streams_depend_on_problem_replicate_and_base_seed_only():
    problem, other = Problem(), Problem(n=3001)
    assert words(problem, 0, 3) == words(Problem(n=3000), 0, 3)
    found = [words(problem, 0, 3), words(problem, 0, 4), words(problem, 1, 3), words(other, 0, 3)]
    drawn = [word for each in found for word in each.values()]
    assert len(set(drawn)) == len(drawn)
    with pytest.raises(InvalidInput, match="seed=-1"):
        streams_of([problem], -1, [0])


@pytest.mark.parametrize("index", [-1, 2**32])
def test_an_index_of_another_purpose_is_refused(index):
    problem = Problem()
    streams_of([problem], 0, [2**32 - 1])
    with pytest.raises(ValueError, match="replicate"):
        streams_of([problem], 0, [index])


def test_replicates_draw_side_by_side_what_they_draw_alone():
    problems = [Problem(n=30, d=20), Problem(n=30, d=20, noise=0.5), Problem(n=30, d=20)]
    together = streams_of(problems, 2, [0, 4, 9]).noise
    for r, (problem, number) in enumerate(zip(problems, (0, 4, 9), strict=True)):
        for alone in (streams_of([problem], 2, [number]).noise, together.some(slice(r, r + 1))):
            np.testing.assert_array_equal(alone.words(5, 1)[0], together.words(5, 1)[r])
            np.testing.assert_array_equal(alone.normals(2, 3, part=4)[0], together.normals(2, 3, part=4)[r])
            np.testing.assert_array_equal(alone.orders(9)[0], together.orders(9)[r])
            np.testing.assert_array_equal(alone.below(3).words(2)[0], together.below(3).words(2)[r])


def test_parts_and_what_is_below_them_are_apart():
    stream = single_streams("anything", 0).batches
    drawn = [stream.words(1, part)[0, 0] for part in (0, 1, PARTS - 1)]
    drawn += [stream.below(part).words(2)[0, 0] for part in (0, 1)]
    drawn += [np.random.default_rng(stream.seed(part)).integers(2**63) for part in (0, 1)]
    assert len({*map(int, drawn)}) == len(drawn)
    with pytest.raises(ValueError, match="part"):
        stream.words(1, PARTS)


def test_orders_are_orders_and_all_alike():
    orders = np.concatenate([single_streams("orders", 0).batches.orders(4, part) for part in range(4000)])
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(4), (4000, 1)))
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert ((counts - 4000 / 24) ** 2 / (4000 / 24)).sum() < 60  # chi squared, 23 degrees of freedom
