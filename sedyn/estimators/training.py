"""One training run on a user's features."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.descent.leave_one_out import fresh_outputs
from sedyn.designs.dense import DenseDesign
from sedyn.estimate.protocol import Estimate
from sedyn.estimate.self_consistent import SelfConsistent
from sedyn.estimators.choosing import Resamples
from sedyn.estimators.linear import LinearModel, Modes, solve
from sedyn.estimators.rates import hidden_units
from sedyn.estimators.scores import losses_with_doubt, stderr_of_mean
from sedyn.kernels.dispatch import forward
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights, layers_of
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.functions import loss_named
from sedyn.model.gradient_noise import GradientNoise
from sedyn.model.layers import Stack
from sedyn.model.network import DeepWeights, losses
from sedyn.model.problem import Problem
from sedyn.model.seeds import Stream, single_streams
from sedyn.model.update import Update

__all__ = ["Begun", "Fit", "Patience", "Table", "fit_network"]

# A lower estimate counts for patience if it is lower by this share.
LOWER = 0.005
# Standard errors of the difference by which a network's estimate has to be lower than that of the linear model that
# training began with: a whole path has many chances to be lower by chance.
CLEARLY = 1.5
SECONDS_BETWEEN_LINES = 1.0


class Table(NamedTuple):
    """What is trained on.

    Attributes
    ----------
    features : ndarray, shape (n, d)
        Standardized.
    labels : ndarray, shape (C, n)
    weights : ndarray, shape (n,)
        Of the samples, with mean 1.
    """

    features: Float[np.ndarray, "n d"]
    labels: Float[np.ndarray, "C n"]
    weights: Float[np.ndarray, " n"]


class Begun(NamedTuple):
    """A linear model that training begins with.

    Attributes
    ----------
    model : LinearModel
    modes : Modes
        Of the features.
    """

    model: LinearModel
    modes: Modes

    def put(
        self, problem: Problem, first: Float[np.ndarray, "q d"], deep: DeepWeights
    ) -> tuple[Float[np.ndarray, "q d"], DeepWeights]:
        """Put it in the place of the linear units and of the outputs' biases.

        Parameters
        ----------
        problem : Problem
        first : ndarray, shape (q, d)
        deep : tuple of ndarray

        Returns
        -------
        first, deep
            Of the same shapes.
        """
        return _with_linear(problem, first, deep, self.model.weights, self.model.intercept)

    def without(
        self, problem: Problem, table: Table, first: Float[np.ndarray, "q d"], deep: DeepWeights
    ) -> tuple[Float[np.ndarray, "n q d"], DeepWeights]:
        """Solve it without each sample, of rows from which the mean of the others is subtracted.

        Parameters
        ----------
        problem : Problem
        table : Table
        first : ndarray, shape (q, d)
        deep : tuple of ndarray

        Returns
        -------
        first : ndarray, shape (n, q, d)
        deep : tuple of ndarray
            With an axis of n in front.
        """
        n, weights = len(table.features), table.weights
        others = weights * ~np.eye(n, dtype=bool)
        shifts = table.features @ self.modes.directions.T * (weights / (n - weights))[:, None]
        own = solve(self.modes, table.labels, others, loss_named(problem.loss), self.model, shifts)
        found = [_with_linear(problem, first, deep, *each) for each in zip(*own, strict=True)]
        firsts, deeps = zip(*found, strict=True)
        return np.array(firsts), tuple(map(np.array, zip(*deeps, strict=True)))


class Patience(NamedTuple):
    """When training ends before its last step.

    Attributes
    ----------
    steps : int or None
        Without a lower estimate, and half of those up to the lowest if that is more; None: never.
    """

    steps: int | None

    def ends(self, iteration: int, best: int) -> bool:
        """Tell whether nothing lower is to be waited for.

        Parameters
        ----------
        iteration : int
            The present one.
        best : int
            The last one with a lower estimate than before.
        """
        return self.steps is not None and iteration - best >= max(self.steps, best // 2)


class Fit(NamedTuple):
    """Errors by iteration, and the weights that training ends with or stops at.

    Attributes
    ----------
    train_error, estimated_test_error : list of float
        Up to the last finite iteration; the estimate NaN where there is none.
    iteration : int
        Where the weights are from.
    first_weights : ndarray, shape (q, d)
        W^t.
    deep_weights : tuple of ndarray
        V^t.
    outputs : ndarray, shape (C, n)
        Outputs there for the training samples.
    fresh_outputs : ndarray, shape (C, n), or None
        Outputs there for each training sample as if it were a fresh one; None without an estimate.
    gained : float
        What the mean loss is too low by there, by chance, since iteration and penalty are those of a low one.
    second_estimate : float
        The estimate there with the mean curvature in place of the effective one; NaN where there is one estimate alone.
    diverged : bool
        Whether errors stopped being finite.
    """

    train_error: list[float]
    estimated_test_error: list[float]
    iteration: int
    first_weights: Float[np.ndarray, "q d"]
    deep_weights: DeepWeights
    outputs: Float[np.ndarray, "C n"]
    fresh_outputs: Float[np.ndarray, "C n"] | None
    gained: float
    second_estimate: float
    diverged: bool


def fit_network(
    problem: Problem,
    updates: Iterable[Update],
    table: Table,
    estimate: Estimate | None,
    *,
    exact: bool,
    last_only: bool,
    intercept: Float[np.ndarray, " C"] | None,
    linear: Begun | None,
    warm: tuple[Float[np.ndarray, "q d"], DeepWeights] | None,
    early_stopping: bool,
    patience: Patience,
    tell: Callable[[str], None] | None = None,
) -> Fit:
    """Run gradient descent as `sedyn.simulate` does, without signals to compare with.

    Parameters
    ----------
    problem : Problem
        Its `init_seed` is the only source of randomness.
    updates : iterable of Update
        One for each step.
    table : Table
    estimate : Estimate or None
        Before the first step; None for no estimate.
    exact : bool
        Whether leave-one-out is run side by side, and the test error taken from there.
    last_only : bool
        Whether the test error is wanted at the last iteration alone.
    intercept : ndarray, shape (C,), or None
        Where the biases of the outputs start; None for where the problem says.
    linear : Begun or None
        What the linear units and the biases of the outputs begin with; None for zero and the intercept.
    warm : tuple or None
        First-layer weights, shape (q, d), and deeper ones to begin with; None: drawn anew.
    early_stopping : bool
        Whether the weights kept are those of the least estimate; of a linear model that training began with, if none
        is clearly lower.
    patience : Patience
    tell : callable, optional
        Is given a line now and then.

    Returns
    -------
    Fit
    """
    rng = np.random.default_rng([problem.init_seed, 1])  # `init_seed` alone is the deeper weights'
    streams = single_streams("an estimator", problem.init_seed)
    first, deep = _start(problem, rng, intercept)
    if linear is not None:
        first, deep = linear.put(problem, first, deep)
    first, deep = warm or (first, deep)
    plain = bool((table.weights == 1).all())
    batches = None
    if not (plain and problem.full_batch):
        batches = Batches(lambda: _weights(problem, table.weights, streams.batches))
    noise = GradientNoise(streams.gradient_noise, 1 + len(deep)) if problem.temperature else None
    design = DenseDesign(table.features, 1 / np.sqrt(problem.d))
    data = Data(design, np.ones(problem.d), table.labels, first, deep, batches, estimate, noise)
    loss, layers = loss_named(problem.loss), layers_of(problem)
    updates = list(updates)
    left_out: Iterator[Float[np.ndarray, "C n"]] = iter(())
    if exact:
        alone = np.arange(problem.n)
        own = None if linear is None else linear.without(problem, table, first, deep)
        rows = table.features / np.sqrt(problem.d)
        left_out = fresh_outputs(problem, data, updates, rows, alone, centred=True, weights=table.weights, starts=own)

    shares = table.weights / table.weights.sum()

    def error(of_samples: Float[np.ndarray, " n"]) -> float:
        return float(2 * (shares @ of_samples))

    def clearly_lower(than: Float[np.ndarray, " n"], found: Float[np.ndarray, " n"]) -> bool:
        gained = than - found
        return bool(shares @ gained > CLEARLY * stderr_of_mean(gained, table.weights))

    resamples, sums = Resamples.of(table.weights), []
    train: list[float] = []
    estimates: list[float] = []
    chosen: dynamics.State | None = None
    kept: Float[np.ndarray, "C n"] | None = None
    each = start = np.full(problem.n, np.nan)
    best, lowest, least, diverged, told = 0, np.inf, np.inf, False, time.monotonic()

    def fresh_of(some: list[dynamics.State]) -> Iterable[Float[np.ndarray, "C n"] | None]:
        wanted = exact or (estimate is not None and not (last_only and some[-1].iteration < problem.steps))
        return _fresh(some, left_out, layers) if wanted else [None] * len(some)

    with np.errstate(over="ignore", invalid="ignore"):
        run = states(dynamics, problem, data, updates)
        for state, trained, fresh in _told(run, error, fresh_of, wanted_each=not last_only):
            chosen = chosen or state  # what is kept if not even the start is finite
            if diverged := not np.isfinite(trained):
                break
            estimated = doubtful = np.nan
            if fresh is not None:
                own_losses, each = losses_with_doubt(loss, fresh, table.labels)
                estimated, doubtful = error(own_losses), float(shares @ each)
                start = start if estimates else each
                sums.append(resamples.sums(each))
            lower = doubtful < least and (linear is None or clearly_lower(start, each))
            if not early_stopping or not estimates or lower:
                chosen, kept, least = state, fresh, doubtful
            train.append(trained)
            estimates.append(estimated)
            if doubtful < lowest * (1 - LOWER):
                best, lowest = state.iteration, doubtful
            if tell and time.monotonic() - told > SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                tell(f"iteration {state.iteration}: training error {trained:.4g}, estimated {estimated:.4g}")
            if patience.ends(state.iteration, best):
                break
    assert chosen is not None  # a run has a start
    second = np.nan
    if kept is not None and isinstance(chosen.estimate, SelfConsistent):
        few, *both = chosen.estimate.some_both_ways(chosen.trained)
        own, other = (losses(loss, forward(h, chosen.deep_weights, layers), table.labels[:, few]) for h in both)
        moved = float(2 * np.average(other - own, weights=table.weights[few]))
        second = error(losses(loss, kept, table.labels)) + moved
    gained = np.zeros(1) if linear is None else linear.model.gained
    if early_stopping and sums:
        gained = _gained(np.array(sums), chosen.iteration, resamples, None if linear is None else gained)
    weights = chosen.first_weights, chosen.deep_weights
    outputs = forward(chosen.trained, chosen.deep_weights, layers)
    return Fit(train, estimates, chosen.iteration, *weights, outputs, kept, max(0.0, gained.mean()), second, diverged)


def _gained(
    sums: Float[np.ndarray, "iterations G"],
    chosen: int,
    resamples: Resamples,
    by_penalty: Float[np.ndarray, " R"] | None,
) -> Float[np.ndarray, " R"]:
    """By how much what resamples choose is worse on the samples that were not drawn (docs/theory.md#chosen).

    Where training began with a linear model, they choose iterations that are clearly better than that, or else the
    penalty that they chose, with what that is worse by.
    """
    drawn = resamples.drawn(sums)
    if by_penalty is not None:
        drawn[~resamples.clearly_lower(sums, CLEARLY)] = np.inf
        drawn[:, 0] = np.where(np.isfinite(drawn[:, 1:]).any(axis=1), np.inf, 0)
    own = drawn.argmin(axis=1)
    gained = resamples.left_out(sums[own] - sums[chosen])
    return gained if by_penalty is None else gained + (own == 0) * by_penalty


def _told(
    run: Iterable[dynamics.State],
    error: Callable[[Float[np.ndarray, " n"]], float],
    fresh_of: Callable[[list[dynamics.State]], Iterable[Float[np.ndarray, "C n"] | None]],
    *,
    wanted_each: bool,
) -> Iterator[tuple[dynamics.State, float, Float[np.ndarray, "C n"] | None]]:
    """Hand out the states of a run, each with its training error and its outputs for samples as if they were fresh.

    Outputs are asked for so many states at a time as modes take steps together, so that a run may be some states ahead
    of what is handed out. States have no derivatives any more, which the next one has used. After a training error that
    is not finite there are no more.

    Parameters
    ----------
    run : iterable of State
    error : callable
        Of losses, the mean error.
    fresh_of : callable
        Outputs of some states that follow each other, or None for each.
    wanted_each : bool
        Whether each state is asked for its estimate.
    """
    some: list[dynamics.State] = []
    errors: list[float] = []
    for state in run:
        some.append(state._replace(derivatives=None, drive=None))
        errors.append(error(state.losses))
        finite, estimate = np.isfinite(errors[-1]), state.estimate
        if not (wanted_each and finite and isinstance(estimate, SelfConsistent)) or estimate.is_caught_up:
            yield from zip(some, errors, fresh_of(some), strict=True)
            some, errors = [], []
        if not finite:
            return
    if some:
        yield from zip(some, errors, fresh_of(some), strict=True)


def _fresh(
    some: list[dynamics.State], left_out: Iterator[Float[np.ndarray, "C n"]], layers: Stack
) -> Iterable[Float[np.ndarray, "C n"]]:
    """Outputs for samples as if they were fresh: of the networks without them, or else without what they keep."""
    estimate = some[-1].estimate
    if estimate is None:
        return [next(left_out) for _ in some]
    trained = [state.trained for state in some]
    if isinstance(estimate, SelfConsistent):
        h = estimate.fresh_like_up_to_here(trained)
    else:
        h = np.stack([estimate.fresh_like(trained[-1])])
    deep = tuple(np.stack(each) for each in zip(*(state.deep_weights for state in some), strict=True))
    return forward(h, deep, layers)


def _with_linear(
    problem: Problem, first: np.ndarray, deep: DeepWeights, weights: np.ndarray, intercept: np.ndarray
) -> tuple[np.ndarray, DeepWeights]:
    """Weights with those of a linear model in their place."""
    first = np.concatenate([first[: hidden_units(problem)], np.sqrt(problem.d) * weights])
    return first, deep if problem.bias == "none" else (*deep[:-1], intercept)


def _start(
    problem: Problem, rng: np.random.Generator, intercept: Float[np.ndarray, " C"] | None
) -> tuple[Float[np.ndarray, "q d"], DeepWeights]:
    """Where training starts: with deeper weights that start at zero, linear units do too."""
    first, deep = rng.standard_normal((problem.units, problem.d)), initial_deep_weights(problem)
    if problem.deep_init == "zero":
        first[hidden_units(problem) :] = 0
    return first, deep if intercept is None else (*deep[:-1], intercept)


def _weights(problem: Problem, weights: Float[np.ndarray, " n"], stream: Stream) -> Iterator[Float[np.ndarray, " n"]]:
    """Weights of the samples at each step, their own times those of the batch."""
    batches = batch_weights(problem, lambda step: stream.orders(problem.n, step)[0, :])
    return (weights if batch is None else batch * weights for batch in batches)
