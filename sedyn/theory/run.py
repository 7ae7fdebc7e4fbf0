"""State evolution over all iterations, on one set of draws or on those of several randomizations side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, to_host
from sedyn.arrays.shapes import Float
from sedyn.model.algorithm import states
from sedyn.model.observables import stack_iterations, stack_records, until_divergence
from sedyn.model.problem import Problem
from sedyn.model.update import Update
from sedyn.theory import dynamics
from sedyn.theory.inputs import Draws, Points, draws_of_points
from sedyn.theory.weight_side import spectral_nodes

__all__ = ["run", "run_each"]

# Entries of the weight response at all spectral nodes that randomizations side by side may have, if they are several.
MOST_RESPONSES = 2**22


def run(
    problem: Problem, inputs: Draws, updates: Iterable[Update], *, keep_samples: bool = False
) -> dict[str, Float[np.ndarray, "..."]]:
    """Run state evolution for all iterations.

    Parameters
    ----------
    problem : Problem
    inputs : Draws
    updates : iterable of Update
        One for each step.
    keep_samples : bool, optional
        Whether the draws of (h^t, y) themselves are wanted, those of the first randomization.

    Returns
    -------
    dict of str to ndarray
        What `sedyn.theory.dynamics.observe` finds, and both responses R_w and R_g, along an axis of iterations, before
        which is that of randomizations if the draws have it; NaN from a divergence on. `pre_activation_samples` and
        `response_samples`, if they are wanted.
    """
    records: list[dict[str, Array]] = []
    randomizations = inputs.labels.ndim - 2
    first = (0,) * randomizations
    with np.errstate(over="ignore", invalid="ignore"):  # what has diverged goes on beside what has not
        for state in states(dynamics, problem, inputs, updates):
            if not np.isfinite(state.fresh_covariance).all(axis=(-2, -1)).any():
                break
            record = dynamics.observe(problem, inputs, state)
            if keep_samples:
                own = state.trained[(*first, ...)]
                # A view would keep those of all randomizations.
                record["pre_activation_samples"] = array_namespace(own).asarray(own, copy=True)
            records.append(record)
    kept = {"response_samples": inputs.labels[(*first, 0, ...)]} if keep_samples else {}
    found = to_host(stack_records(records) | kept)
    count, axes = len(records), [(0, 0)] * randomizations
    found["weight_response"] = np.moveaxis(state.weight_response.mean.values, randomizations, 0)[:count]
    # From the last iteration no step is taken, which would ask for it.
    asked = np.moveaxis(state.gradient_response.values, randomizations, 0)
    found["gradient_response"] = np.pad(asked, ((0, 1), *axes, (0, 1), (0, 0), (0, 0)))[:count]
    samples = {name: found.pop(name) for name in ("pre_activation_samples", *kept) if name in found}
    arrays = {name: stack_iterations(problem, values) for name, values in until_divergence(found).items()}
    if keep_samples:
        alive = np.isfinite(arrays["train_error"][(slice(None), *first)])
        drawn = stack_iterations(problem, samples["pre_activation_samples"])
        samples["pre_activation_samples"] = np.where(alive[:, None, None], drawn, np.nan)
    return {name: np.moveaxis(values, 0, randomizations) for name, values in arrays.items()} | samples


def run_each(
    problem: Problem, points: Points, updates: Sequence[Update], *, keep_samples: bool = False
) -> dict[str, Float[np.ndarray, "..."]]:
    """Solve state evolution for each randomization, as many side by side as their weight responses have room.

    Which are side by side changes no number.

    Parameters
    ----------
    problem : Problem
    points : Points
        Of randomizations side by side; they are left as they are.
    updates : sequence of Update
        One for each step.
    keep_samples : bool, optional
        As for `run`.

    Returns
    -------
    dict of str to ndarray
        As of `run`.
    """
    nodes = min(spectral_nodes(problem.steps), np.unique(problem.eigenvalues).size)
    together = max(1, MOST_RESPONSES // (nodes * ((problem.steps + 1) * problem.units) ** 2))
    found: list[dict[str, np.ndarray]] = []
    count = points.normals.shape[0]
    for start in range(0, count, together):
        some = Points(*(each[start : min(start + together, count), ...] for each in points))
        draws = draws_of_points(problem, some, copy=True)
        found.append(run(problem, draws, updates, keep_samples=keep_samples and not found))
        del draws  # there is room for one
    if len(found) == 1:
        return found[0]
    return {**found[0], **{name: np.concatenate([each[name] for each in found]) for name in found[-1]}}
