"""Gradient descent over all iterations, on replicates side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, to_host
from sedyn.arrays.shapes import Float
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.descent.readout import Readout, Weights
from sedyn.designs.stacked import StackedDesign
from sedyn.estimate.by_spectrum import BySpectrum
from sedyn.model.algorithm import Descent, states
from sedyn.model.network import Network
from sedyn.model.observables import stack_records, until_divergence
from sedyn.model.problem import Problem
from sedyn.model.update import Update
from sedyn.theory.laws import Laws, compare

__all__ = ["run"]


def run(
    problem: Problem, inputs: Data, updates: Sequence[Update], readout: Readout, laws: Sequence[Laws] = ()
) -> dict[str, Float[np.ndarray, "..."]]:
    """Run gradient descent for all iterations.

    Nothing waits for the device before the end, where all that was observed comes to the host at once.

    Parameters
    ----------
    problem : Problem
        For all in which the R replicates agree.
    inputs : Data
        With a leading axis R.
    updates : sequence of Update
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
    with np.errstate(over="ignore", invalid="ignore"):
        whole = _whole_path(problem, inputs, updates)
        if whole is None:
            found = _step_by_step(problem, inputs, updates, readout, laws)
        else:
            found = _at_once(problem, inputs, whole, readout, laws)
        observed = to_host(found | readout.scores())
    return {name: np.moveaxis(values, 1, 0) for name, values in until_divergence(observed).items()}


def _step_by_step(
    problem: Problem, inputs: Data, updates: Sequence[Update], readout: Readout, laws: Sequence[Laws]
) -> dict[str, Array]:
    """What is observed at one iteration after another, with axes (iterations, R) in front."""
    records: list[dict[str, Array]] = []
    for state in states(dynamics, problem, inputs, updates):
        record = dynamics.observe(problem, inputs, state)
        first, *overlaps = (
            array[:, None, ...] for array in (state.first_weights, record["signal_overlap"], record["weight_gram"])
        )
        readout.meet(Weights(first, tuple(layer[:, None, ...] for layer in state.deep_weights), *overlaps))
        records.append(record | _compared(laws, inputs, state.iteration, state.first_weights, state.trained))
    return stack_records(records)


def _whole_path(problem: Problem, inputs: Data, updates: Sequence[Update]) -> dynamics.State | None:
    """State with an axis of iterations after that of replicates, where a kernel goes through all of them at once."""
    design, deep, batches, kicks = inputs.design, inputs.deep_weights, None, None
    if not (isinstance(design, StackedDesign) and design.has_paths):
        return None
    if not (inputs.estimate is None or isinstance(inputs.estimate, BySpectrum)):
        return None
    start, noise = inputs.start[..., : problem.units, :], inputs.gradient_noise
    if noise is not None and problem.steps:
        stack, steps = array_namespace(start).stack, range(problem.steps)
        of_deep = zip(*(noise.of_deep_weights(problem, t, deep) for t in steps), strict=True)
        first = stack([noise.of_first_weights(t, start) for t in steps], axis=1)
        kicks = first, tuple(stack(each, axis=1) for each in of_deep)
    if inputs.batches is not None:
        batches = array_namespace(start).stack([inputs.batches[t] for t in range(problem.steps)], axis=1)
    network, all_layers = Network.of(problem, deep, inputs.labels), problem.train == "all"
    own = inputs.scales, start, network, batches, updates, kicks
    path = design.path(Descent(*own, all_layers=all_layers, curvature=inputs.estimate is not None))
    if path is None:
        return None
    estimate = None if inputs.estimate is None else inputs.estimate.along(path, updates)
    weights = path.first_weights, path.first_weights, path.deep_weights, path.deep_weights
    return dynamics.State(problem.steps, path.trained, path.losses, *weights, None, None, estimate)


def _at_once(
    problem: Problem, inputs: Data, whole: dynamics.State, readout: Readout, laws: Sequence[Laws]
) -> dict[str, Array]:
    """What is observed of a state of all iterations, with axes (iterations, R) in front."""
    xp, iterations = array_namespace(inputs.start), problem.steps + 1

    labels = xp.broadcast_to(inputs.labels[:, None, ...], (*whole.losses.shape[:2], *inputs.labels.shape[1:]))
    beside = inputs._replace(start=inputs.start[:, None, ...], labels=labels)
    record = dynamics.observe(problem, beside, whole)
    readout.meet(Weights(whole.first_weights, whole.deep_weights, record["signal_overlap"], record["weight_gram"]))
    found = {name: xp.moveaxis(values, 1, 0) for name, values in record.items()}
    if laws:
        first, trained = whole.first_weights, whole.trained
        each = [_compared(laws, inputs, t, first[:, t, ...], trained[:, t, ...]) for t in range(iterations)]
        found |= stack_records(each)
    return found


def _compared(
    laws: Sequence[Laws], inputs: Data, iteration: int, first_weights: Array, trained: Array
) -> dict[str, Array]:
    """Compare each replicate with its laws, where there are any."""
    parts = inputs.start, first_weights, trained, inputs.labels
    compared = [compare(each, iteration, *(part[r, ...] for part in parts)) for r, each in enumerate(laws)]
    return stack_records(compared) if compared else {}
