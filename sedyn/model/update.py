"""The one linear update that every weight, of the network and of its theory, obeys (docs/theory.md#linear-update)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, overload

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, constant_like
from sedyn.arrays.shapes import Float
from sedyn.model.problem import Problem, runs_of

__all__ = ["Update", "UpdatesTogether", "numbers_of", "update_of", "updates_of", "updates_together"]

NUMBERS = 5
"""How many fields of an update, the first, are numbers that replicates may each have."""


class Update(NamedTuple):
    """Gradient descent with momentum, weight decay and gradient noise, at one step.

    Attributes
    ----------
    learning_rate, momentum, weight_decay, deep_learning_rate, temperature : float or array, shape (R,)
        As in `Problem`; or one for each of the replicates that are first in what is updated.
    nesterov : bool
        Whether momentum has Nesterov's form.
    unit_decay : array, shape (q, 1), or None
        Weight decay of the first layer's units, beside the other one, if they have one each; deeper weights have none.
    """

    learning_rate: float | Float[Array, " R"]
    momentum: float | Float[Array, " R"]
    weight_decay: float | Float[Array, " R"]
    deep_learning_rate: float | Float[Array, " R"]
    temperature: float | Float[Array, " R"]
    nesterov: bool = False
    unit_decay: Float[Array, "q 1"] | None = None

    @property
    def of_deep_weights(self) -> Update:
        """The update of the deeper weights, which learn at a rate of their own."""
        return self._replace(learning_rate=self.deep_learning_rate, unit_decay=None)

    def __call__(
        self,
        current: Float[Array, "*shape"],
        previous: Float[Array, "*shape"],
        drive: Float[Array, "*shape"],
        kicks: Float[Array, "*shape"] | None = None,
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """Next value of a quantity, from its value and the gradient that drives it.

        Theory and simulation call this for W, V, P, m and R_w alike, because all of them are linear in W.

        Parameters
        ----------
        current : array, shape (R, ...) or (...)
            Value at iteration t; the axis of replicates is there if the numbers are arrays.
        previous : array, of the same shape
            What momentum is the difference from: the value at t - 1, or, in Nesterov's form, the one from which the
            present value looks ahead (docs/theory.md#nesterov). At iteration 0 the value itself.
        drive : array, of the same shape
            Gradient at iteration t.
        kicks : array, of the same shape, optional
            Gradient noise before its scale, see `sedyn.model.gradient_noise`.

        Returns
        -------
        following, previous : array, of the same shape
            Value at iteration t + 1, and `previous` for the step from there.
        """
        rate, momentum = _against(current, self.learning_rate), _against(current, self.momentum)
        decay, temperature = _against(current, self.weight_decay), _against(current, self.temperature)
        change = -rate * drive
        if _matters(decay):
            change -= rate * decay * current
        if self.unit_decay is not None:
            change -= rate * self.unit_decay * current
        if kicks is not None:
            change += (2 * rate * temperature) ** 0.5 * kicks
        if self.nesterov:
            change += current
            return change + momentum * (change - previous), change
        if _matters(momentum):
            change += momentum * (current - previous)
        change += current
        return change, current


class UpdatesTogether(Sequence[Update]):
    """The update of every step of several replicates, whose numbers are in one array.

    Parameters
    ----------
    numbers : array, shape (R, T, 5)
        In the order of the fields of `Update`.
    nesterov : bool
        Whether momentum has Nesterov's form.
    """

    def __init__(self, numbers: Float[Array, "R steps 5"], nesterov: bool) -> None:
        self.numbers, self.nesterov = numbers, nesterov

    def __len__(self) -> int:
        return self.numbers.shape[1]

    @overload
    def __getitem__(self, t: int) -> Update: ...
    @overload
    def __getitem__(self, t: slice) -> UpdatesTogether: ...
    def __getitem__(self, t: int | slice) -> Update | UpdatesTogether:
        """The update of a step, or those of some."""
        if isinstance(t, slice):
            some = self.numbers[:, t, :]  # a copy, since kernels take numbers without gaps
            return UpdatesTogether(array_namespace(some).asarray(some, copy=True), self.nesterov)
        if not -len(self) <= t < len(self):
            raise IndexError(t)
        rate, momentum, decay, deep_rate, temperature = (self.numbers[:, t, k] for k in range(NUMBERS))
        return Update(rate, momentum, decay, deep_rate, temperature, self.nesterov)


def numbers_of(updates: Sequence[Update], like: Float[Array, "R ..."]) -> Float[Array, "R steps 5"] | None:
    """Bring updates to one array, as kernels of all steps take them.

    Parameters
    ----------
    updates : sequence of Update
        One for each step; a number of an update is one for all replicates, or one for each.
    like : array, shape (R, ...)
        Gives the number of replicates, library, dtype and device.

    Returns
    -------
    array, shape (R, T, 5), or None
        The numbers in the order of the fields; None where units decay each at a rate of its own, which they do not say.
    """
    if isinstance(updates, UpdatesTogether):
        return updates.numbers
    if any(own.unit_decay is not None for own in updates):
        return None
    xp, replicates = array_namespace(like), like.shape[0]

    def of_each(number: float | Array) -> Array:
        if isinstance(number, float | int):
            return xp.full((replicates,), number, dtype=like.dtype, device=like.device)
        return number

    if not updates:
        return xp.empty((replicates, 0, NUMBERS), dtype=like.dtype, device=like.device)
    numbers = xp.concat([of_each(each) for own in updates for each in own[:NUMBERS]])  # all at once, without stacking
    of_replicates = xp.matrix_transpose(xp.reshape(numbers, (-1, replicates)))
    return xp.reshape(xp.reshape(of_replicates, (-1,)), (replicates, len(updates), NUMBERS))


def _matters(number: float | Array) -> bool:
    """Whether a term with this factor is anything but zero; for several replicates it may be."""
    return not isinstance(number, float) or number != 0


def _against(values: Array, number: float | Array) -> float | Array:
    """Shape one number for each replicate so that it multiplies values with these first."""
    if isinstance(number, float):
        return number
    return array_namespace(values).reshape(number, (-1, *[1] * (values.ndim - 1)))


def update_of(problem: Problem, iteration: int) -> Update:
    """Build the update that leads from an iteration to the next.

    Parameters
    ----------
    problem : Problem
    iteration : int
        t < T.

    Returns
    -------
    Update
    """
    return Update(
        problem.learning_rates[iteration],
        problem.momentum,
        problem.weight_decay,
        problem.deep_learning_rates[iteration],
        problem.temperature,
        problem.momentum_form == "nesterov",
    )


def updates_of(problem: Problem) -> list[Update]:
    """Build the update of every step."""
    return [update_of(problem, t) for t in range(problem.steps)]


def updates_together(problems: Sequence[Problem], like: Float[Array, "..."]) -> UpdatesTogether:
    """Build the update of every step for replicates of several problems, which may differ in its numbers.

    Parameters
    ----------
    problems : sequence of Problem
        Of each replicate, with the same number of steps and one form of momentum.
    like : array
        Gives library, dtype and device.

    Returns
    -------
    UpdatesTogether
        With one number for each replicate, shape (R,).
    """
    each, counts = zip(*((updates_of(own), some.stop - some.start) for own, some in runs_of(problems)), strict=True)
    numbers = np.repeat(np.array([[update[:NUMBERS] for update in own] for own in each]), counts, axis=0)
    return UpdatesTogether(constant_like(numbers, like), problems[0].momentum_form == "nesterov")
