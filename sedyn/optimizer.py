"""The one linear update that every weight, of the network and of its theory, obeys."""

from __future__ import annotations

from typing import NamedTuple

from sedyn.backend import Array
from sedyn.problem import Problem

__all__ = ["Update", "update_of"]


class Update(NamedTuple):
    """Gradient descent with momentum and weight decay, at one step.

    Attributes
    ----------
    learning_rate, momentum, weight_decay : float
        As in `Problem`.
    """

    learning_rate: float
    momentum: float
    weight_decay: float

    def __call__(self, current: Array, previous: Array, drive: Array) -> Array:
        """Next value of a quantity from its last two and the gradient that drives it (THEORY section 1).

        Theory and simulation call this for W, V, P, m and R_w alike, because all of them are linear in W.
        """
        kept = 1 - self.learning_rate * self.weight_decay
        return kept * current + self.momentum * (current - previous) - self.learning_rate * drive


def update_of(problem: Problem, iteration: int) -> Update:
    """Build the update that leads from `iteration` to the next."""
    return Update(problem.learning_rates[iteration], problem.momentum, problem.weight_decay)
