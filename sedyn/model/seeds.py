"""Where every random number comes from: the problem, the user's seed, and a stream for each purpose.

A replicate's streams are counted (`Stream`): what is drawn is a function of its place, so that replicates are drawn
side by side and threads share the work. Apart from these, `Problem.init_seed` seeds the deeper weights' start, which
is the same for every replicate (`sedyn.model.initialization`), and all that an estimator draws
(`sedyn.estimators.training`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float, Integer
from sedyn.checks import SEED
from sedyn.model.problem import Problem, runs_of

__all__ = [
    "MOST_INDEX",
    "Stream",
    "Streams",
    "randomization_seeds",
    "seed_sequence",
    "single_streams",
    "streams_of",
    "substream",
]


class Stream(NamedTuple):
    """Random numbers of one purpose of R replicates, each a function of its place alone (`sedyn.arrays.normals`).

    Attributes
    ----------
    keys : ndarray of uint64, shape (R,)
        Of problem and base seed.
    replicates : ndarray of uint64, shape (R,)
    purpose : int
    ways, way : int
        Of what is drawn along the last axis it has every `ways`-th number, from the one at `way` on.
    """

    keys: Integer[np.ndarray, " R"]
    replicates: Integer[np.ndarray, " R"]
    purpose: int
    ways: int = 1
    way: int = 0

    def some(self, chosen: slice) -> Stream:
        """Take those of some of the replicates.

        Parameters
        ----------
        chosen : slice
        """
        return self._replace(keys=self.keys[chosen], replicates=self.replicates[chosen])

    def repeated(self, times: int) -> Stream:
        """Take the streams of a single replicate several times.

        Parameters
        ----------
        times : int
        """
        return self._replace(keys=np.repeat(self.keys, times), replicates=np.repeat(self.replicates, times))

    def places(self, part: int = 0) -> Integer[np.ndarray, " R"]:
        """Upper halves of counters.

        Parameters
        ----------
        part : int, optional
            Parts of a stream are independent, for example the steps of a run; below `PARTS`.
        """
        if not 0 <= part < PARTS:
            raise ValueError(f"part {part} of a stream; there are {PARTS}")
        return self.replicates | np.uint64((part * len(Streams._fields) + self.purpose) << 32)

    def words(self, count: int, part: int = 0, device: str = "cpu") -> Integer[Array, "R {count}"]:
        """Draw words of 64 random bits, uint64.

        Parameters
        ----------
        count : int
        part : int, optional
            As for `places`.
        device : {'cpu', 'gpu'}, optional
        """
        from sedyn.arrays.normals import random_words  # loads a compiler, which only simulations need

        return self._own(random_words(self.keys, self.places(part), self.ways * count, device))

    def normals(
        self, *shape: int, part: int = 0, dtype: str | np.dtype = "float64", device: str = "cpu"
    ) -> Float[Array, "R ..."]:
        """Draw independent standard normals of a shape for each replicate, see `sedyn.arrays.normals`.

        Parameters
        ----------
        *shape : int
            At least one number.
        part : int, optional
            As for `places`.
        dtype : dtype, optional
        device : {'cpu', 'gpu'}, optional
        """
        from sedyn.arrays.normals import standard_normals

        found = standard_normals(self.keys, self.places(part), self.ways * math.prod(shape), dtype, device)
        whole = (self.keys.size, *shape[:-1], self.ways * shape[-1])
        return self._own(array_namespace(found).reshape(found, whole))

    def _own(self, drawn: Array) -> Array:
        """Of what is drawn along the last axis take what is this stream's."""
        return drawn if self.ways == 1 else array_namespace(drawn).asarray(drawn[..., self.way :: self.ways], copy=True)

    def orders(self, count: int, part: int = 0, device: str = "cpu") -> Integer[Array, "R {count}"]:
        """Draw random orders of so many things.

        Parameters
        ----------
        count : int
        part : int, optional
            As for `places`.
        device : {'cpu', 'gpu'}, optional
        """
        return backend.orders_of(self.words(count, part, device))

    def below(self, part: int) -> Stream:
        """Derive streams for what draws as a replicate does, from keys that are words of this one.

        Parameters
        ----------
        part : int
            As for `places`.
        """
        return self._replace(keys=self.words(1, part)[:, 0])

    def seed(self, part: int = 0) -> np.random.SeedSequence:
        """Seed what has a generator of its own, for a single replicate.

        Parameters
        ----------
        part : int, optional
            As for `places`.
        """
        return np.random.SeedSequence([int(self.keys[0]), int(self.places(part)[0])])


class Streams(NamedTuple):
    """The random streams of R replicates.

    Attributes
    ----------
    start, features, noise, batches, readout, gradient_noise : Stream
        Of first layer and signals, of the design, of label noise, of mini-batches, of the fresh data that the test
        error is an average over, and of gradient noise.
    """

    start: Stream
    features: Stream
    noise: Stream
    batches: Stream
    readout: Stream
    gradient_noise: Stream

    def of_half(self, half: int) -> Streams:
        """Take every second sample and feature, for the half of a data set that these streams draw.

        The readout stays whole, so that its error is the same for both halves and for the data set.

        Parameters
        ----------
        half : {0, 1}
        """

        def dealt(stream: Stream) -> Stream:
            return stream._replace(ways=2, way=half)

        return self._replace(
            start=dealt(self.start),
            features=dealt(self.features),
            noise=dealt(self.noise),
            batches=dealt(self.batches),
        )


MOST_INDEX = 2**32 - 1
"""The largest index of a replicate."""
# Parts of a stream: a place has 32 bits for the replicate, and as many for purpose and part.
PARTS = 2**32 // len(Streams._fields)


def streams_of(problems: Sequence[Problem], seed: int, replicates: Sequence[int]) -> Streams:
    """Derive the streams of replicates; they depend on `Problem.key`, the seed and the index alone.

    Parameters
    ----------
    problems : sequence of Problem
        Of each replicate.
    seed : int
        Base seed.
    replicates : sequence of int
        The index of each, from 0 to `MOST_INDEX`.

    Returns
    -------
    Streams

    Raises
    ------
    ValueError
        If an index is out of range: its numbers would be those of another purpose.
    """
    for index in (min(replicates), max(replicates)):
        if not 0 <= index <= MOST_INDEX:
            raise ValueError(f"replicate {index}; indices are from 0 to {MOST_INDEX}")
    keys, counts = zip(
        *((_key(own.key, SEED("seed", seed)), some.stop - some.start) for own, some in runs_of(problems)), strict=True
    )
    each = np.repeat(np.array(keys, np.uint64), counts), np.array(replicates, np.uint64)
    return Streams(*(Stream(*each, purpose) for purpose in range(len(Streams._fields))))


def single_streams(text: str, seed: int) -> Streams:
    """Derive the streams of what is no replicate of a problem, but draws as one does.

    Parameters
    ----------
    text : str
        Says what it is.
    seed : int
    """
    each = np.array([_key(text, seed)], np.uint64), np.zeros(1, np.uint64)
    return Streams(*(Stream(*each, purpose) for purpose in range(len(Streams._fields))))


@lru_cache(maxsize=4096)
def _key(text: str, seed: int) -> int:
    """The 64-bit key of all replicates of a problem."""
    return int.from_bytes(hashlib.sha256(f"{seed} {text}".encode()).digest()[:8], "little")


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


def seed_sequence(key: str, seed: int) -> np.random.SeedSequence:
    """Derive a seed from a problem's key and the user's base seed, and from nothing else.

    Parameters
    ----------
    key : str
        `Problem.key` or `Problem.theory_key`.
    seed : int
        Base seed.

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
    return np.random.SeedSequence([SEED("seed", seed), *words])


def substream(seed: np.random.SeedSequence, index: int) -> np.random.SeedSequence:
    """Derive a seed below a seed, which stays as it is: the same one every time.

    Parameters
    ----------
    seed : SeedSequence
    index : int

    Returns
    -------
    SeedSequence
    """
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, index))
