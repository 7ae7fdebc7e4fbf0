"""Gradient descent over all iterations, on replicates side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from sedyn.arrays.backend import Array, to_host
from sedyn.arrays.shapes import Float
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.descent.readout import Readout, Weights
from sedyn.model.algorithm import states
from sedyn.model.observables import stack_records, until_divergence
from sedyn.model.problem import Problem
from sedyn.model.update import Update
from sedyn.theory.laws import Laws, compare

__all__ = ["run"]


def run(
    problem: Problem, inputs: Data, updates: Iterable[Update], readout: Readout, laws: Sequence[Laws] = ()
) -> dict[str, Float[np.ndarray, "..."]]:
    """Run gradient descent for all iterations.

    Nothing waits for the device before the end, where all that was observed comes to the host at once.

    Parameters
    ----------
    problem : Problem
        For all in which the R replicates agree.
    inputs : Data
        With a leading axis R.
    updates : iterable of Update
        One for each step.
    readout : Readout
        Finds the test errors.
    laws : sequence of Laws, optional
        What each replicate is compared with; none to compare nothing.

    Returns
    -------
    dict of str to ndarray
        What `sedyn.model.observables.simulated` names, and ``COMPARED`` where there is something to compare with, along
        leading axes (R, iterations); NaN from a divergence on.
    """
    records: list[dict[str, Array]] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for state in states(dynamics, problem, inputs, updates):
            record = dynamics.observe(problem, inputs, state)
            overlaps = record["signal_overlap"], record["weight_gram"]
            readout.meet(Weights(state.first_weights, state.deep_weights, *overlaps))
            records.append(record | _compared(laws, inputs, state))
        found = to_host(stack_records(records) | readout.scores())
    return {name: np.moveaxis(values, 1, 0) for name, values in until_divergence(found).items()}


def _compared(laws: Sequence[Laws], inputs: Data, state: dynamics.State) -> dict[str, Array]:
    """Compare each replicate with its laws, where there are any."""
    parts = inputs.start, state.first_weights, state.trained, inputs.labels
    compared = [compare(each, state.iteration, *(part[r, ...] for part in parts)) for r, each in enumerate(laws)]
    return stack_records(compared) if compared else {}
