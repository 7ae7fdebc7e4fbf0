"""Replicates side by side, through all iterations, by compiled code: arrays made ready for it, and its answers.

`sedyn.kernels.dispatch` says what is computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.arrays.threads import run_each
from sedyn.kernels.cpu import passes, paths
from sedyn.kernels.cpu.network import addresses_of, operations_of
from sedyn.kernels.cpu.several import networks_of, packed, samples_together, shares
from sedyn.kernels.program import program_with_form
from sedyn.model.algorithm import Descent, Path
from sedyn.model.functions import Loss
from sedyn.model.label_laws import SomeLabels
from sedyn.model.layers import Stack
from sedyn.model.network import DeepWeights
from sedyn.model.update import Update, numbers_of

__all__ = ["average_scores", "descend_path", "remove_own_gradients"]

# The most points of a readout that go through the network together.
POINTS = 256


def descend_path(matrices: Float[np.ndarray, "R n d"], scale: float, descent: Descent) -> Path | None:
    """Gradient descent on replicates side by side, all iterations at once.

    Parameters
    ----------
    matrices : ndarray, shape (R, n, d)
    scale : float
        Each design is this times its matrix.
    descent : Descent
        On the host.

    Returns
    -------
    Path or None
        None if the network is wide or has no compiled form, or units decay each at a rate of its own.
    """
    scales, start, network, sample_weights, updates, kicks, all_layers, curvature = descent
    (count, q, d), n, steps = start.shape, matrices.shape[1], len(updates)
    networks = networks_of(network, (count,), q)
    numbers = numbers_of(updates, start)
    if networks is None or numbers is None:
        return None
    program, shared, parameters, labels, _ = networks
    trained, losses = np.empty((count, steps + 1, q, n)), np.empty((count, steps + 1, n))
    first, deep = np.empty((count, steps + 1, q, d)), np.empty((count, steps + 1, program.parameters))
    first[:, 0], deep[:, 0] = start, parameters
    gradients = np.empty((count, steps if curvature else 1, q, n))
    curvatures = np.empty((count, steps, q, q, n) if curvature else (count, 0, 0, 0, 0))
    weights = np.empty((count, 0, 0)) if sample_weights is None else sample_weights
    together = min(samples_together(program, curvature=curvature), -(-n // passes.ROWS) * passes.ROWS)
    nesterov = bool(updates and updates[0].nesterov)
    noise, deep_noise = np.empty((count, 0, 0, 0)), np.empty((count, 0, 0))
    if kicks is not None:
        noise = np.ascontiguousarray(kicks[0])
        deep_noise = packed(kicks[1], program, (count, steps)).reshape(count, steps, -1)

    def descend(some: slice) -> None:
        of_problem = scale, scales, d / n, shared
        own = labels[some], weights[some], numbers[some], nesterov, all_layers, noise[some], deep_noise[some]
        found = (each[some] for each in (trained, losses, first, deep, gradients, curvatures))
        paths.descend_paths(matrices[some], together, *of_problem, *own, *found)

    run_each(descend, shares(count))
    kept = (gradients, curvatures) if curvature else (None, None)
    return Path(trained, losses, first, program.unpacked(deep), *kept)


def remove_own_gradients(
    path: Path,
    nodes: Float[np.ndarray, " B"],
    shares_of: Float[np.ndarray, " B"],
    delta: float,
    updates: Sequence[Update],
) -> Float[np.ndarray, "R iterations q n"]:
    """Take off what samples keep of their own gradients, at all iterations at once.

    Parameters
    ----------
    path : Path
        With gradients and curvatures.
    nodes, shares_of : ndarray, shape (B,)
        Of the feature covariance's spectrum.
    delta : float
        Aspect ratio.
    updates : sequence of Update
        One for each step.

    Returns
    -------
    ndarray, shape (R, T + 1, q, n)
        Pre-activations without what they keep.
    """
    gradients, curvatures = path.gradients, path.curvatures
    assert gradients is not None
    assert curvatures is not None
    count, fresh = len(curvatures), np.empty_like(path.trained)
    numbers, nesterov = numbers_of(updates, path.first_weights), bool(updates and updates[0].nesterov)
    assert numbers is not None  # or there is no path

    def remove(some: slice) -> None:
        spectrum = nodes, shares_of, delta
        kept = gradients[some], curvatures[some]
        paths.remove_own_gradients(*kept, *spectrum, numbers[some], nesterov, path.trained[some], fresh[some])

    run_each(remove, shares(count))
    return fresh


def average_scores(
    layers: Stack,
    loss: Loss,
    roots: Float[np.ndarray, "R iterations q kq"],
    deep: DeepWeights,
    normals: Float[np.ndarray, "R kq N"],
    labels: SomeLabels,
    weights: Float[np.ndarray, "R shifts M"],
) -> Float[np.ndarray, "R iterations shifts"] | None:
    """Average losses at all iterations over points that stand for fresh samples.

    Parameters
    ----------
    layers : Stack
    loss : Loss
    roots : ndarray, shape (R, T + 1, q, k + q)
        Take the points' standard normals to pre-activations.
    deep : tuple of ndarray
        With axes (R, T + 1) in front.
    normals : ndarray, shape (R, k + q, N)
    labels : SomeLabels
        Of the points.
    weights : ndarray, shape (R, shifts, N / shifts)
        Of the points, those of one shift after those of another.

    Returns
    -------
    ndarray, shape (R, T + 1, shifts), or None
        None if the network is wide, or it or the loss has no compiled form.
    """
    (count, iterations, q, _), (_, shifts, size) = roots.shape, weights.shape
    program = program_with_form(layers, q, "cpu")
    if program is None or loss.compiled is None:
        return None
    parameters = packed(deep, program, (count, iterations)).reshape(count, iterations, -1)
    found, numbers = np.empty((count, iterations, shifts)), np.array(loss.numbers, dtype=np.float64)
    forms = operations_of(program), addresses_of(program, loss.compiled), program.rows, program.outputs.start
    values, probabilities = (np.ascontiguousarray(each) for each in labels)
    roots, normals = np.ascontiguousarray(roots), np.ascontiguousarray(normals)

    def average(some: slice) -> None:
        of_points = normals[some], numbers, values[some], probabilities[some], weights[some]
        paths.average_scores(*forms, parameters[some], roots[some], *of_points, min(POINTS, size), found[some])

    run_each(average, shares(count))
    return found
