"""All iterations of small replicates in compiled calls: descent, test errors and what the estimate removes.

A replicate's design stays in the second-level cache from one step to the next, and no line of the interpreter runs
between them. Replicates are shared out among threads, whole.
"""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays.compiling import calling, compiled, widest_vectors
from sedyn.kernels.cpu.functions import LOSE
from sedyn.kernels.cpu.network import CompiledNetwork, call_combine, call_differentiate_samples, call_forward
from sedyn.kernels.cpu.passes import UNITS, call_add_products, call_products, clear
from sedyn.kernels.cpu.response import LANES, call_add_adjoints, copy, totals_of
from sedyn.kernels.cpu.tiles import TOGETHER

__all__ = ["average_scores", "descend_paths", "remove_own_gradients"]

_compiled = compiled({"reassoc", "contract", "nsz"})
_taken_in = compiled({"reassoc", "contract", "nsz"}, forceinline=True)
lose = calling(LOSE)


@_taken_in
def advance(
    values: np.ndarray,
    previous: np.ndarray,
    drive: np.ndarray,
    rate: float,
    momentum: float,
    decay: float,
    kicks: np.ndarray,
    strength: float,
    nesterov: bool,
    out: np.ndarray,
) -> None:
    """Set the next values of what obeys `sedyn.model.update.Update`, and what its momentum is the difference from.

    Parameters
    ----------
    values, previous, drive, out : ndarray, shape (a, b)
        `previous` and `out` are set.
    rate, momentum, decay : float
    kicks : ndarray, shape (a, b)
        Gradient noise, or, at strength 0, anything.
    strength : float
    nesterov : bool
    """
    for a in range(values.shape[0]):
        for j in range(values.shape[1]):
            current = values[a, j]
            change = strength * kicks[a, j] - rate * drive[a, j] - rate * decay * current
            if nesterov:
                change += current
                out[a, j] = change + momentum * (change - previous[a, j])
                previous[a, j] = change
            else:
                out[a, j] = change + momentum * (current - previous[a, j]) + current
                previous[a, j] = current


@_compiled
def descend_paths(
    matrices: np.ndarray,
    samples_together: int,
    scale: float,
    scales: np.ndarray,
    drive_scale: float,
    network: CompiledNetwork,
    labels: np.ndarray,
    sample_weights: np.ndarray,
    numbers: np.ndarray,
    nesterov: bool,
    all_layers: bool,
    kicks: np.ndarray,
    deep_kicks: np.ndarray,
    trained: np.ndarray,
    losses: np.ndarray,
    first_weights: np.ndarray,
    parameters: np.ndarray,
    gradients: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Gradient descent on several replicates, from the first iteration to the last, T.

    Parameters
    ----------
    matrices : ndarray of floats, shape (R, n, d)
    samples_together : int
        How many go forward and backward at a time.
    scale : float
        Each design is this times its matrix.
    scales : ndarray, shape (d,)
        Standard deviations of the features.
    drive_scale : float
        1 / delta.
    network : CompiledNetwork
        In which the replicates agree: all but parameters, labels and weights of samples.
    labels, sample_weights : ndarray, shapes (R, C, n) and (R, T, n) or (R, 0, 0)
        Of each replicate, and step.
    numbers : ndarray, shape (R, T, 5)
        Learning rate, momentum, weight decay, learning rate of the deeper weights, and temperature.
    nesterov, all_layers : bool
        The form of momentum, and whether the deeper weights learn.
    kicks, deep_kicks : ndarray, shapes (R, T, q, d) and (R, T, P), or (R, 0, 0, 0) and (R, 0, 0)
        Gradient noise of the first layer's weights and of the others, if there is any.
    trained, losses : ndarray, shapes (R, T + 1, q, n) and (R, T + 1, n)
        Set.
    first_weights, parameters : ndarray, shapes (R, T + 1, q, d) and (R, T + 1, P)
        Set but for the first iteration, which is read.
    gradients : ndarray, shape (R, T, q, n), or (R, 1, q, n) where they need not be kept
        Set.
    curvatures : ndarray, shape (R, T, q, q, n), or (R, 0, 0, 0, 0) where they are not wanted
        Set.
    """
    widest_vectors()
    operations, addresses, rows, outputs, _, joint, loss_numbers, _, _, reached = network
    steps, q, samples, d = first_weights.shape[1] - 1, trained.shape[2], matrices.shape[1], matrices.shape[2]
    units = -(-q // UNITS) * UNITS
    weights, total = np.zeros((units, d), matrices.dtype), np.empty((units, d), matrices.dtype)
    forward = np.empty((units, samples_together), matrices.dtype)
    backward = np.zeros((units, samples_together), matrices.dtype)
    drive, previous = np.empty((q, d)), np.empty((q, d))
    deep, deep_previous = np.empty((1, parameters.shape[2])), np.empty((1, parameters.shape[2]))
    unweighted, no_gradients, no_curvatures = np.empty(0), np.empty((0, 0)), np.empty((0, 0, 0))
    for r in range(matrices.shape[0]):
        for a in range(q):
            for j in range(d):
                previous[a, j] = first_weights[r, 0, a, j]
        for p in range(parameters.shape[2]):
            deep_previous[0, p] = parameters[r, 0, p]
        for t in range(steps + 1):
            last = t == steps
            for a in range(q):
                for j in range(d):
                    weights[a, j] = first_weights[r, t, a, j] * scales[j] * scale
            clear(total)
            clear(deep)
            own = CompiledNetwork(
                operations,
                addresses,
                rows,
                outputs,
                parameters[r, t],
                joint,
                loss_numbers,
                labels[r],
                unweighted if last or sample_weights.shape[1] == 0 else sample_weights[r, t],
                reached,
            )
            gradient = no_gradients if last else gradients[r, min(t, gradients.shape[1] - 1)]
            curvature = no_curvatures if last or curvatures.shape[1] == 0 else curvatures[r, t]
            for start in range(0, samples, samples_together):
                stop = min(start + samples_together, samples)
                some = matrices[r, start:stop]
                call_products(some, 0, weights, forward, None)
                for a in range(q):
                    for i in range(stop - start):
                        trained[r, t, a, start + i] = forward[a, i]
                found = trained[r, t], losses[r, t], gradient, deep[0], curvature
                call_differentiate_samples(own, (start, stop), *found)
                if not last:
                    for a in range(q):
                        for i in range(stop - start):
                            backward[a, i] = gradient[a, start + i]
                    call_add_products(some, 0, backward, total, None)
            if last:
                continue
            for a in range(q):
                for j in range(d):
                    drive[a, j] = total[a, j] * scale * (scales[j] * drive_scale)
            rate, momentum, decay = numbers[r, t, 0], numbers[r, t, 1], numbers[r, t, 2]
            deep_rate, heat = numbers[r, t, 3], 2 * numbers[r, t, 4]
            kick, deep_kick = drive, deep
            if kicks.shape[1]:
                kick, deep_kick = kicks[r, t], deep_kicks[r, t : t + 1]
            strength, there = math.sqrt(heat * rate), first_weights[r, t + 1]
            advance(first_weights[r, t], previous, drive, rate, momentum, decay, kick, strength, nesterov, there)
            for p in range(parameters.shape[2]):
                deep[0, p] /= samples
                parameters[r, t + 1, p] = parameters[r, t, p]
            if all_layers:
                here, beyond = parameters[r, t : t + 1], parameters[r, t + 1 : t + 2]
                strength = math.sqrt(heat * deep_rate)
                given = deep_rate, momentum, decay, deep_kick, strength, nesterov
                advance(here, deep_previous, deep, *given, beyond)


@_compiled
def remove_own_gradients(
    gradients: np.ndarray,
    curvatures: np.ndarray,
    nodes: np.ndarray,
    shares: np.ndarray,
    delta: float,
    numbers: np.ndarray,
    nesterov: bool,
    trained: np.ndarray,
    fresh: np.ndarray,
) -> None:
    """Find what samples keep of their own gradients from curvatures of all steps, and take it off.

    The steps are those of `sedyn.estimate.by_spectrum.BySpectrum`.

    Parameters
    ----------
    gradients, curvatures : ndarray, shapes (R, T, q, n) and (R, T, q, q, n)
    nodes, shares : ndarray, shape (B,)
        Of the spectrum.
    delta : float
        Aspect ratio.
    numbers : ndarray, shape (R, T, 5)
        As for `descend_paths`.
    nesterov : bool
        The form of momentum.
    trained, fresh : ndarray, shape (R, T + 1, q, n)
        The latter is set.
    """
    widest_vectors()
    steps, q, samples = curvatures.shape[1], curvatures.shape[2], curvatures.shape[4]
    units, size = -(-q // UNITS) * UNITS, nodes.size
    # What unit a of the weights at t answers to a push of unit c at s, at node b: (t, a, (s, b, c)).
    answers, previous = np.zeros((steps + 1, q, steps * size * q)), np.empty((q, steps * size * q))
    responses, pushed = np.zeros((units, (steps + 1) * q)), np.empty((units, steps * size * q))
    couplings, factors = np.zeros((steps, q, steps * q)), np.zeros((units, steps * q))
    adjoints, blocks = np.empty((steps * q * q, TOGETHER)), np.empty((-(-samples // TOGETHER), steps * q * q, TOGETHER))
    part, partial, total = np.empty((units, samples)), np.empty((steps * q, q * LANES)), np.empty((steps, q, q))
    for r in range(trained.shape[0]):
        rows = curvatures[r].reshape(steps * q * q, samples)
        for block in range(blocks.shape[0]):
            copy(rows[:, block * TOGETHER : min((block + 1) * TOGETHER, samples)], blocks[block])
        for a in range(q):
            for i in range(samples):
                fresh[r, 0, a, i] = trained[r, 0, a, i]
        for t in range(steps):
            known = (t + 1) * q
            clear(partial[:known])
            for block in range(blocks.shape[0]):
                call_add_adjoints(blocks[block], couplings[: t + 1, :, :known], adjoints, partial)
            totals_of(partial, total[: t + 1])
            for a in range(q):
                for k in range(t * size * q, (t + 1) * size * q):
                    answers[t, a, k] = previous[a, k] = 0
                for s in range(t + 1):
                    for c in range(q):
                        responses[a, s * q + c] = delta * (total[s, c, a] / samples)
            # Gradients at each node: what pushes have made of the weights since, and the push at t itself.
            columns = (t + 1) * size * q
            clear(pushed[:, :columns])
            answered = answers[: t + 1].reshape(known, steps * size * q)
            call_add_products(answered[:, :columns], 0, responses[:, :known], pushed[:, :columns], None)
            for a in range(q):
                for b in range(size):
                    pushed[a, (t * size + b) * q + a] += 1
                for s in range(t + 1):
                    for b in range(size):
                        for c in range(q):
                            pushed[a, (s * size + b) * q + c] *= nodes[b] / delta
            rate, momentum, decay = numbers[r, t, 0], numbers[r, t, 1], numbers[r, t, 2]
            here, before, drive = answers[t, :, :columns], previous[:, :columns], pushed[:q, :columns]
            advance(here, before, drive, rate, momentum, decay, drive, 0.0, nesterov, answers[t + 1, :, :columns])
            for s in range(t + 1):
                for a in range(q):
                    for c in range(q):
                        mean = 0.0
                        for b in range(size):
                            mean += shares[b] * answers[t + 1, a, (s * size + b) * q + c]
                        factors[a, s * q + c] = -mean
                        if t + 1 < steps:
                            couplings[s, c, (t + 1) * q + a] = mean
            for a in range(units):
                for i in range(samples):
                    part[a, i] = trained[r, t + 1, a, i] if a < q else 0.0
            call_add_products(gradients[r, : t + 1].reshape(known, samples), 0, factors[:, :known], part, None)
            for a in range(q):
                for i in range(samples):
                    fresh[r, t + 1, a, i] = part[a, i]


@_compiled
def average_scores(
    operations: np.ndarray,
    addresses: np.ndarray,
    rows: int,
    first_output: int,
    parameters: np.ndarray,
    roots: np.ndarray,
    normals: np.ndarray,
    loss_numbers: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    weights: np.ndarray,
    together: int,
    found: np.ndarray,
) -> None:
    """Average losses over the points of quadratures, at several iterations of several replicates.

    Parameters
    ----------
    operations, addresses : ndarray of int64, shapes (m, 6) and (a + 1, 2)
        As of `CompiledNetwork`.
    rows, first_output : int
        How many rows there are, and the first of the outputs.
    parameters : ndarray, shape (R, T + 1, P)
    roots : ndarray, shape (R, T + 1, q, k + q)
        Take standard normals to pre-activations.
    normals : ndarray, shape (R, k + q, N)
    loss_numbers : ndarray, shape (_,)
    labels : ndarray, shape (R, M, C, N)
        That each point may have.
    probabilities : ndarray, shape (R, M, N)
        Of these.
    weights : ndarray, shape (R, shifts, N / shifts)
        Of the points.
    together : int
        Points that go through the network at a time; it divides those of a shift.
    found : ndarray, shape (R, T + 1, shifts)
        Set.
    """
    widest_vectors()
    iterations, q, given = roots.shape[1], roots.shape[2], roots.shape[3]
    outputs, choices, shifts, size = labels.shape[2], labels.shape[1], weights.shape[1], weights.shape[2]
    signals, slopes, pulls = np.empty((rows, together)), np.empty((rows, together)), np.empty((rows, together))
    points, y, values = np.empty((given, together)), np.empty((choices, outputs, together)), np.empty(together)
    shares = np.empty((choices, together))
    for r in range(roots.shape[0]):
        for shift in range(shifts):
            for t in range(iterations):
                found[r, t, shift] = 0
            for first in range(0, size, together):
                start = shift * size + first
                for a in range(given):
                    for i in range(together):
                        points[a, i] = normals[r, a, start + i]
                for m in range(choices):
                    for i in range(together):
                        shares[m, i] = probabilities[r, m, start + i] * weights[r, shift, first + i]
                    for c in range(outputs):
                        for i in range(together):
                            y[m, c, i] = labels[r, m, c, start + i]
                for t in range(iterations):
                    for a in range(q):
                        for i in range(together):
                            signals[a, i] = 0
                    # Roots are triangular: a unit's pre-activation reads the points of those up to it.
                    root = roots[r, t].reshape(q * given)
                    for a in range(0, q, UNITS):
                        units = min(UNITS, q - a)
                        known = 0, given - q + a + units
                        call_combine(root, a * given, (1, given), known, points, (a, units), signals)
                    call_forward(operations, addresses, parameters[r, t], signals, slopes)
                    for m in range(choices):
                        of_loss = addresses[addresses.shape[0] - 1, 0]
                        lose(of_loss, (loss_numbers, signals, first_output, y[m], 0, values, pulls))
                        total = 0.0
                        for i in range(together):
                            total += shares[m, i] * values[i]
                        found[r, t, shift] += total
