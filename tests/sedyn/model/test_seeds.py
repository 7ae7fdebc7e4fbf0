"""Seeds depend on what they may depend on, and never change."""

import dataclasses

import pytest

from sedyn import InvalidInput, Problem
from sedyn.model.seeds import Streams, randomization_seeds, seed_sequence, streams_of, substream


def state(sequence):
    return int(sequence.generate_state(1)[0])


def test_streams_are_those_of_every_store_that_was_ever_made():
    problem = Problem(n=30, d=20)
    streams = streams_of(problem, 7, 3)
    expected = {
        "start": 2943628530,
        "features": 3536904497,
        "noise": 2549077200,
        "batches": 425084698,
        "readout": 2014761247,
        "gradient_noise": 1568163032,
    }
    assert {name: state(stream) for name, stream in streams._asdict().items()} == expected
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


def test_seeds_depend_on_problem_replicate_and_base_seed_only():
    def first(key, seed, replicate):
        return seed_sequence(key, seed, replicate).generate_state(2).tolist()

    key = Problem().key
    assert first(key, 0, 3) == first(Problem(n=3000).key, 0, 3)
    others = [first(key, 0, 4), first(key, 1, 3), first(Problem(n=3001).key, 0, 3)]
    assert all(other != first(key, 0, 3) for other in others)
    assert len(set(map(tuple, others))) == 3
    with pytest.raises(InvalidInput, match="seed=-1"):
        seed_sequence(key, -1)


def test_a_substream_is_the_same_every_time_and_what_spawning_gives():
    seed, again = (seed_sequence("a problem", 3, 1) for _ in range(2))
    spawned = [state(child) for child in again.spawn(3)]
    assert [state(substream(seed, i)) for i in (2, 0, 1, 2)] == [spawned[i] for i in (2, 0, 1, 2)]
    assert state(substream(seed, 1, 4)) == state(substream(substream(seed, 1), 4))
