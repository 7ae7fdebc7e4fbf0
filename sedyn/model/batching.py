"""Mini-batches as sample weights with mean 1, drawn for a data set and in the limit (docs/theory.md#mini-batches)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, ranks_of
from sedyn.arrays.shapes import Float, Integer
from sedyn.model.problem import Problem

__all__ = ["Batches", "batch_weights", "limit_dimensions", "limit_weights"]


def batch_weights(
    problem: Problem, order: Callable[[int], Integer[Array, "... n"]]
) -> Iterator[Float[Array, "... n"] | None]:
    """Yield the weights s^t of the n samples for each step; None for a full batch.

    Parameters
    ----------
    problem : Problem
    order : callable
        Of a step: a random order of the n samples, or one for each of several replicates.

    Yields
    ------
    array, shape (..., n), or None
        ``n / batch`` on the batch and 0 elsewhere.
    """
    n, ends, ranks, at = problem.n, [0], None, 0
    for step in range(problem.steps):
        if problem.full_batch:
            yield None
            continue
        if ranks is None or at == len(ends) - 1:  # an epoch begins
            ranks, ends, at = ranks_of(order(step)), _ends(problem), 0
        start, stop = ends[at : at + 2]
        xp, at = array_namespace(ranks), at + 1
        yield xp.astype((ranks >= start) & (ranks < stop), xp.float64) * (n / (stop - start))


def _ends(problem: Problem) -> list[int]:
    """Where the batches of an epoch end in its order, the first after a zero."""
    if problem.batching == "one_pass":
        # A user's samples may be sorted: all that are met are drawn.
        return np.rint(problem.batch_share * problem.n * np.arange(problem.steps + 1)).astype(int).tolist()
    if problem.batching == "without_replacement":
        return [0, problem.samples_per_batch]
    larger = problem.n % problem.batches_per_epoch
    sizes = problem.n // problem.batches_per_epoch + (np.arange(problem.batches_per_epoch) < larger)
    return [0, *np.cumsum(sizes).tolist()]


class Batches:
    """Sample weights by step, each made when it is asked for: the same whatever was asked for before.

    Parameters
    ----------
    begin : callable
        Gives the weights of all steps in turn, from the first; called again where one is asked for that has passed.
    """

    def __init__(self, begin: Callable[[], Iterable[Float[Array, "... n"] | None]]) -> None:
        self._begin = begin
        self._rest, self._step, self._weights = iter(begin()), -1, None

    def __getitem__(self, step: int) -> Float[Array, "... n"] | None:
        if step < self._step:
            self._rest, self._step = iter(self._begin()), -1
        while self._step < step:
            self._weights, self._step = next(self._rest), self._step + 1
        return self._weights


def limit_dimensions(problem: Problem) -> int:
    """Uniform variables per sample that `limit_weights` needs: one a draw of batches."""
    if problem.full_batch:
        return 0
    if problem.batching == "without_replacement":
        return problem.steps
    return -(-problem.steps // problem.batches_per_epoch) if problem.batching == "shuffle" else 1


def limit_weights(
    problem: Problem, t: int, uniforms: Float[Array, "*replicates draws N"]
) -> Float[Array, "*replicates N"] | None:
    """Weights s^t of independent representative samples, in the limit of many samples.

    Parameters
    ----------
    problem : Problem
    t : int
        Step.
    uniforms : array, shape (..., draws, N)
        As many draws of batches as `limit_dimensions` says.

    Returns
    -------
    array, shape (..., N), or None
        Bernoulli(b)/b for each step, or one uniformly drawn part of each epoch, or of one pass; None for a full batch.
    """
    if problem.full_batch:
        return None
    xp = array_namespace(uniforms)
    if problem.batching == "without_replacement":
        chosen = uniforms[..., t, :] < problem.batch_share
    elif problem.batching == "one_pass":
        chosen = xp.floor(uniforms[..., 0, :] / problem.batch_share) == t
    else:
        parts = problem.batches_per_epoch
        chosen = xp.floor(uniforms[..., t // parts, :] * parts) == t % parts
    return xp.astype(chosen, uniforms.dtype) / problem.batch_share
