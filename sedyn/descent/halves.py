"""A problem and its halves: runs of half the size on the same innovations (docs/theory.md#halves).

A deferred run is a function of two empirical laws, of what is drawn for each sample and for each feature. Every second
sample and feature of it make a run of half the size, the others another, and the mean of the two has the fluctuation of
the whole to first order: what is left of their difference shows a bias of order 1/n.
"""

from __future__ import annotations

from dataclasses import replace

from sedyn.errors import InvalidInput
from sedyn.model.problem import Problem

__all__ = ["half_of"]


def half_of(problem: Problem) -> Problem:
    """Halve the samples, the features and a batch of so many samples.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    Problem
        With the theory of `problem`.

    Raises
    ------
    InvalidInput
        If there is none, or no innovations that both could share.
    """

    def refused(reason: str) -> InvalidInput:
        return InvalidInput("halves", True, f"{reason}; or set halves=false")

    if problem.features != "gaussian":
        raise refused(f"only Gaussian features are drawn as innovations, not features={problem.features}")
    if problem.temperature:
        raise refused(f"halves share no gradient noise; set temperature=0, not {problem.temperature:g}")
    sizes = {name: getattr(problem, name) for name in ("n", "d", "batch_size")}
    if odd := [f"{name}={size}" for name, size in sizes.items() if size is not None and size % 2]:
        raise refused(f"{odd[0]} has no half; make it even")
    try:
        half = replace(problem, **{name: size and size // 2 for name, size in sizes.items()})
    except InvalidInput as error:
        raise refused(f"with n={problem.n} and d={problem.d} there is no problem of half the size ({error})") from None
    if half.theory_key != problem.theory_key:
        raise refused(f"with covariance={problem.covariance} theory of half the size is another")
    return half
