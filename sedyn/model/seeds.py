"""Where every random number comes from: the problem, the user's seed, and a stream for each purpose.

A stream is known by its name here, and by its position to `numpy.random.SeedSequence.spawn`: a new one goes last, so
that what the others draw stays as it is. Apart from these, `Problem.init_seed` seeds the deeper weights' start, which
is the same for every replicate (`sedyn.model.initialization`), and all that an estimator draws
(`sedyn.estimators.training`).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from sedyn.checks import SEED
from sedyn.model.problem import Problem

__all__ = ["Streams", "randomization_seeds", "seed_sequence", "streams_of", "substream"]


class Streams(NamedTuple):
    """The random streams of one replicate.

    Attributes
    ----------
    start, features, noise, batches, readout, gradient_noise : SeedSequence
        Of first layer and signals, of the design, of label noise, of mini-batches, of the fresh data that the test
        error is an average over, and of gradient noise.
    """

    start: np.random.SeedSequence
    features: np.random.SeedSequence
    noise: np.random.SeedSequence
    batches: np.random.SeedSequence
    readout: np.random.SeedSequence
    gradient_noise: np.random.SeedSequence


def streams_of(problem: Problem, seed: int, replicate: int) -> Streams:
    """Derive the streams of a replicate; they depend on `Problem.key`, the seed and the index alone.

    Parameters
    ----------
    problem : Problem
    seed : int
        Base seed.
    replicate : int
        Index of the replicate, from 0.

    Returns
    -------
    Streams
    """
    return Streams(*seed_sequence(problem.key, seed, replicate).spawn(len(Streams._fields)))


def randomization_seeds(problem: Problem, seed: int, randomizations: int) -> list[np.random.SeedSequence]:
    """Derive a stream for each randomization of the theory; they depend on `Problem.theory_key` and the seed alone.

    Parameters
    ----------
    problem : Problem
    seed : int
        Base seed.
    randomizations : int
        How many; the first ones are the same for every number.

    Returns
    -------
    list of SeedSequence
    """
    return seed_sequence(problem.theory_key, seed).spawn(randomizations)


def seed_sequence(key: str, seed: int, *stream: int) -> np.random.SeedSequence:
    """Derive a seed from a problem's key, the user's base seed and a stream, and from nothing else.

    Parameters
    ----------
    key : str
        `Problem.key` or `Problem.theory_key`.
    seed : int
        Base seed.
    *stream : int
        For example the index of a replicate.

    Returns
    -------
    SeedSequence

    Raises
    ------
    InvalidInput
        If the base seed is no whole number, negative, or of more than 128 bits.
    """
    digest = hashlib.sha256(key.encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.SeedSequence([SEED("seed", seed), *words], spawn_key=stream)


def substream(seed: np.random.SeedSequence, *indices: int) -> np.random.SeedSequence:
    """Derive a stream below a seed, which stays as it is: the same one every time.

    Parameters
    ----------
    seed : SeedSequence
    *indices : int
        For example of a block of what is drawn. A single one gives what ``seed.spawn`` gives at this place.

    Returns
    -------
    SeedSequence
    """
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *indices))
