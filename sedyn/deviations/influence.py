"""What every representative sample and feature adds to an observable, and the covariance that follows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.deviations import dynamics
from sedyn.deviations.inputs import Innovations
from sedyn.deviations.tape import Node, Tape
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import limit_weights
from sedyn.model.problem import Problem
from sedyn.model.update import updates_of

__all__ = ["Covariance", "Influence", "covariance", "influences"]

# Fourth powers of larger derivatives, which variances of variances are made of, overflow.
LARGEST = 1e75


class Influence(NamedTuple):
    """Derivatives of one observable towards single samples and single features (docs/theory.md#influence).

    Attributes
    ----------
    samples : ndarray, shape (iterations, entries, N)
    features : ndarray, shape (iterations, entries, M)
    kicks : ndarray, shape (iterations, entries, T P)
        Derivatives in the gradient noise of each of the P deeper parameters at each step; without any, (..., 0).
    shape : tuple of int
        Of the observable at an iteration.
    """

    samples: Float[np.ndarray, "iterations entries N"]
    features: Float[np.ndarray, "iterations entries M"]
    kicks: Float[np.ndarray, "iterations entries K"]
    shape: tuple[int, ...]


class Covariance(NamedTuple):
    """Covariance of sqrt(n) (run - theory) across iterations, entry by entry.

    Attributes
    ----------
    total : ndarray, shape (iterations, iterations, entries)
    of_samples : ndarray, shape (iterations, iterations, entries)
        The part that the samples make; the features make the rest.
    """

    total: Float[np.ndarray, "iterations iterations entries"]
    of_samples: Float[np.ndarray, "iterations iterations entries"]


def influences(problem: Problem, inputs: Innovations) -> dict[str, Influence]:
    """Derivatives of every observable at every iteration.

    The run goes forward once; from every iteration one pass goes back for all that is observed there.

    Parameters
    ----------
    problem : Problem
    inputs : Innovations

    Returns
    -------
    dict of str to Influence
        For each name of `sedyn.deviations.dynamics.observe`; up to the last iteration before a divergence, which may
        leave none.
    """
    parameters = sum(start.size for start in initial_deep_weights(problem))
    kicks = {dynamics.KICKS: np.ones(problem.steps * parameters)} if problem.temperature else {}
    tape, found = Tape(inputs.weights | kicks), []
    sizes = {side: weights.size for side, weights in inputs.weights.items()}
    sizes[dynamics.KICKS] = problem.steps * parameters if problem.temperature else 0
    first: dict[str, Node] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        state = dynamics.init(problem, inputs, tape)
        for update in [*updates_of(problem), None]:
            finite = np.isfinite(state.trained.error.value).all()
            if first and not finite:
                break
            seen = dynamics.observe(problem, inputs, tape, state)
            first = first or seen
            if not finite:
                break
            back = _pulled(tape, seen)
            if not all(np.abs(own).max(initial=0.0) < LARGEST for own in back.values()):
                break
            found.append(_centred(problem, inputs, back))
            if update is not None:
                state = dynamics.step(problem, inputs, tape, state, update)
    each, start = {}, 0
    for name, node in sorted(first.items(), key=lambda item: not item[0].startswith("estimate")):  # as passes go back
        stop = start + node.value.size
        samples, features, kicked = (
            np.reshape([back[side][start:stop] for back in found], (len(found), node.value.size, size))
            for side, size in sizes.items()
        )
        each[name], start = Influence(samples, features, kicked, node.shape), stop
    return each


def covariance(problem: Problem, inputs: Innovations, influence: Influence) -> Covariance:
    """Variance of the derivatives over samples and over features (docs/theory.md#fluctuation-covariance).

    Parameters
    ----------
    problem : Problem
    inputs : Innovations
    influence : Influence

    Returns
    -------
    Covariance
    """
    of_samples, of_features = (
        np.einsum("sei,tei->ste", own * inputs.weights[side], own, optimize=True)
        for side, own in zip(inputs.weights, influence[:2], strict=True)
    )
    of_kicks = np.einsum("sek,tek->ste", influence.kicks, influence.kicks)
    return Covariance(of_samples + float(problem.aspect_ratio) * (of_features + of_kicks), of_samples)


def _pulled(tape: Tape, seen: dict[str, Node]) -> dict[str, Float[np.ndarray, "B _"]]:
    """Go back from all that is observed at an iteration; for the estimate apart, since its way is its own."""
    apart = [[node for name, node in seen.items() if name.startswith("estimate") is own] for own in (True, False)]
    passes = [tape.pull_back(nodes) for nodes in apart if nodes]
    return {side: np.concatenate([found[side] for found in passes]) for side in tape.weights}


def _centred(
    problem: Problem, inputs: Innovations, derivatives: dict[str, Float[np.ndarray, "B _"]]
) -> dict[str, Float[np.ndarray, "B _"]]:
    """Take out what cannot vary: the number of samples, in each batch too, and of features with each eigenvalue."""
    samples, features = derivatives["samples"], derivatives["features"]
    fixed: list[Any] = [np.ones(samples.shape[1])]
    if not problem.full_batch:
        fixed.extend(limit_weights(problem, t, inputs.samples.batches) for t in range(problem.steps))
    basis, sizes, _ = np.linalg.svd(np.stack(fixed).T, full_matrices=False)
    basis = basis[:, sizes > 1e-9 * sizes[0]]
    counts = np.bincount(inputs.levels)
    means = np.stack([np.bincount(inputs.levels, row) for row in features]) / counts
    return {
        "samples": samples - (samples @ basis) @ basis.T,
        "features": features - means[:, inputs.levels],
        dynamics.KICKS: derivatives.get(dynamics.KICKS, np.zeros((len(samples), 0))),
    }
