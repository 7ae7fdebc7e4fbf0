"""What state evolution and gradient descent have in common: a state, its start, its step, and what is seen of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from sedyn.arrays.backend import Array
from sedyn.arrays.shapes import Float
from sedyn.model.network import DeepWeights, Network
from sedyn.model.problem import Problem
from sedyn.model.update import Update

__all__ = ["Algorithm", "Descent", "Path", "State", "require_step", "states", "step_deep_weights"]


class State(Protocol):
    """What every state has; a state is a named tuple that no step changes."""

    @property
    def iteration(self) -> int:
        """The present iteration t."""
        ...

    @property
    def deep_weights(self) -> DeepWeights:
        """V^t."""
        ...

    @property
    def previous_deep_weights(self) -> DeepWeights:
        """What the momentum of V^t is the difference from, see `sedyn.model.update.Update`."""
        ...


class Descent(NamedTuple):
    """All that gradient descent on replicates side by side needs beside their designs.

    Attributes
    ----------
    scales : array, shape (d,)
        Square roots of the eigenvalues of the feature covariance.
    start : array, shape (R, q, d)
        W^0.
    network : Network
        At V^0, of all n samples, with an axis of replicates in front.
    sample_weights : array, shape (R, T, n), or None
        Of the mini-batches, in place of the network's.
    updates : sequence of Update
        One for each step.
    kicks : tuple of array and tuple of array, or None
        Gradient noise of W, shape (R, T, q, d), and of V, with axes (R, T) in front.
    all_layers : bool
        Whether the deeper weights learn.
    curvature : bool
        Whether gradients and curvatures are kept.
    """

    scales: Float[Array, " d"]
    start: Float[Array, "R q d"]
    network: Network
    sample_weights: Float[Array, "R steps n"] | None
    updates: Sequence[Update]
    kicks: tuple[Float[Array, "R steps q d"], DeepWeights] | None
    all_layers: bool
    curvature: bool


class Path(NamedTuple):
    """What gradient descent has been through on replicates side by side: all its iterations, 0 to T, at once.

    Attributes
    ----------
    trained : array, shape (R, T + 1, q, n)
        h^t.
    losses : array, shape (R, T + 1, n)
    first_weights : array, shape (R, T + 1, q, d)
    deep_weights : tuple of array
        With axes (R, T + 1) in front.
    gradients : array, shape (R, T, q, n), or None
        G^t; kept if curvatures are.
    curvatures : array, shape (R, T, q, q, n), or None
        D^t, where they are wanted.
    """

    trained: Float[Array, "R iterations q n"]
    losses: Float[Array, "R iterations n"]
    first_weights: Float[Array, "R iterations q d"]
    deep_weights: DeepWeights
    gradients: Float[Array, "R steps q n"] | None
    curvatures: Float[Array, "R steps q q n"] | None


Inputs = TypeVar("Inputs", contravariant=True)
StateType = TypeVar("StateType", bound=State)


class Algorithm(Protocol[Inputs, StateType]):
    """Four pure functions; the modules `sedyn.theory.dynamics` and `sedyn.descent.dynamics` are algorithms."""

    def init(self, problem: Problem, inputs: Inputs) -> StateType:
        """Make the state at iteration 0.

        Parameters
        ----------
        problem : Problem
        inputs : Draws or Data
            Of this algorithm.

        Returns
        -------
        State
        """
        ...

    def step(self, problem: Problem, inputs: Inputs, state: StateType, update: Update) -> StateType:
        """Advance from iteration t to t + 1.

        Parameters
        ----------
        problem : Problem
        inputs : Draws or Data
        state : State
            At t < T; it stays as it is.
        update : Update
            Of step t.

        Returns
        -------
        State
        """
        ...

    def observe(self, problem: Problem, inputs: Inputs, state: StateType) -> dict[str, Float[Array, "..."]]:
        """See what there is to see at the state's iteration.

        Parameters
        ----------
        problem : Problem
        inputs : Draws or Data
        state : State

        Returns
        -------
        dict of str to array
            Observables of `sedyn.model.observables`, without their iteration axis.
        """
        ...

    def scores(self, problem: Problem, inputs: Inputs, state: StateType) -> dict[str, Float[Array, "..."]]:
        """Tell how good the network is on training samples, and what is known of fresh ones without drawing any.

        Parameters
        ----------
        problem : Problem
        inputs : Draws or Data
        state : State

        Returns
        -------
        dict of str to array, shape (...)
            Of `sedyn.model.evaluation.score_names`, on training samples and on fresh ones: theory's own, or what a run
            estimates.
        """
        ...


def states(
    algorithm: Algorithm[Inputs, StateType], problem: Problem, inputs: Inputs, updates: Iterable[Update]
) -> Iterator[StateType]:
    """Run an algorithm; whoever iterates may stop at any time.

    Parameters
    ----------
    algorithm : Algorithm
    problem : Problem
    inputs : Draws or Data
        Of this algorithm.
    updates : iterable of Update
        One for each step.

    Yields
    ------
    State
        At iterations 0, 1, ..., up to the number of updates.
    """
    state = algorithm.init(problem, inputs)
    yield state
    for update in updates:
        state = algorithm.step(problem, inputs, state, update)
        yield state


def require_step(problem: Problem, state: State) -> None:
    """Refuse to step beyond the last iteration.

    Parameters
    ----------
    problem : Problem
    state : State

    Raises
    ------
    ValueError
        If the state is at iteration T.
    """
    if state.iteration >= problem.steps:
        raise ValueError(f"iteration {state.iteration} is the last of the problem's {problem.steps} steps")


def step_deep_weights(
    problem: Problem, state: State, gradient: DeepWeights, update: Update, kicks: DeepWeights | None = None
) -> tuple[DeepWeights, DeepWeights]:
    """Advance the deeper weights, unless they are frozen (docs/theory.md#descent, docs/theory.md#deep-weights).

    Parameters
    ----------
    problem : Problem
    state : State
        At iteration t.
    gradient : tuple of array
        Mean over samples of the derivative of the loss in V^t, of the shapes of the parameters.
    update : Update
        Of step t.
    kicks : tuple of array, optional
        Gradient noise of a data set, of the shapes of the weights; in the limit it vanishes.

    Returns
    -------
    deep_weights, previous_deep_weights : tuple of array
        Of the state at t + 1.
    """
    if problem.train == "first":
        return state.deep_weights, state.deep_weights
    if not state.deep_weights:
        return (), ()
    each = kicks or (None,) * len(gradient)
    layers = zip(state.deep_weights, state.previous_deep_weights, gradient, each, strict=True)
    following, previous = zip(*(update.of_deep_weights(*layer) for layer in layers), strict=True)
    return following, previous
