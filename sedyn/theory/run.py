"""State evolution over all iterations, on one set of draws."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import numpy as np

from sedyn.arrays.backend import Array, to_host
from sedyn.arrays.shapes import Float
from sedyn.model.algorithm import states
from sedyn.model.observables import stack_iterations, stack_records, until_divergence
from sedyn.model.problem import Problem
from sedyn.model.update import Update
from sedyn.theory import dynamics
from sedyn.theory.inputs import Draws

__all__ = ["run"]


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
        Whether the draws of (h^t, y) themselves are wanted.

    Returns
    -------
    dict of str to ndarray
        What `sedyn.theory.dynamics.observe` finds, and both responses R_w and R_g, along a leading axis of iterations;
        NaN from a divergence on.
    """
    records: list[dict[str, Array]] = []
    # A covariance that is no longer finite has no factor.
    with np.errstate(over="ignore", invalid="ignore"), suppress(np.linalg.LinAlgError):
        for state in states(dynamics, problem, inputs, updates):
            record = dynamics.observe(problem, inputs, state)
            if keep_samples:
                record["pre_activation_samples"] = state.trained
            records.append(record)
    kept = {"response_samples": inputs.labels[0, :]} if keep_samples else {}
    found = to_host(stack_records(records) | kept)
    samples = {name: found.pop(name) for name in kept}
    count = len(records)
    found["weight_response"] = state.weight_response.mean.values[:count]
    # From the last iteration no step is taken, which would ask for it.
    gradient_response = np.pad(state.gradient_response.values, ((0, 1), (0, 1), (0, 0), (0, 0)))
    found["gradient_response"] = gradient_response[:count]
    arrays = {name: stack_iterations(problem, values) for name, values in until_divergence(found).items()}
    return arrays | samples
