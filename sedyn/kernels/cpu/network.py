"""The network for a few samples at a time, compiled: `sedyn.model.network.differentiate`.

A pass over a large matrix calls it between its two products, while the samples are in cache, without the interpreter.
Samples are innermost, so that the compiler works on several at once. Activations and losses are called where they are
(`sedyn.kernels.cpu.functions`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import types

from sedyn.arrays.compiling import CUBE, MATRIX, VECTOR, calling, compiled, linked
from sedyn.arrays.shapes import Float, Integer, Shaped
from sedyn.kernels.cpu.functions import ACTIVATE, BEND, BEND_LOSS, LOSE, activation_addresses, loss_addresses
from sedyn.kernels.cpu.tiles import UNITS, add_backward, add_forward
from sedyn.kernels.cpu.tiles import VECTOR as VECTOR_BYTES
from sedyn.kernels.program import Kind, Program

__all__ = [
    "ADD_OUTER",
    "COMBINE",
    "CURVE",
    "DIFFERENTIATE",
    "FORWARD",
    "INT",
    "NETWORK",
    "WHOLE_NUMBERS",
    "CompiledNetwork",
    "addresses_of",
    "call_combine",
    "call_differentiate_samples",
    "call_forward",
    "differentiate_parts",
    "forward_parts",
    "lose",
    "operations_of",
    "reached_by",
]

_compiled = compiled({"reassoc", "contract", "nsz"}, error_model="numpy")
_taken_in = compiled({"reassoc", "contract", "nsz"}, error_model="numpy", forceinline=True)
_linked = compiled({"reassoc", "contract", "nsz"}, error_model="numpy", no_cpython_wrapper=True)
activate, bend, lose, bend_loss = map(calling, (ACTIVATE, BEND, LOSE, BEND_LOSS))


class CompiledNetwork(NamedTuple):
    """A network on its training samples, as compiled functions take it.

    Attributes
    ----------
    operations : ndarray of int64, shape (m, 6)
        Of its program (`sedyn.kernels.program.Operation`).
    addresses : ndarray of int64, shape (a + 1, 2)
        Where the functions of each activation are, its values and its second derivatives or 0, and last those of the
        loss.
    rows, outputs : int
        How many rows there are, and the first of the outputs.
    parameters : ndarray, shape (P,)
        Packed.
    joint : int
        Whether the loss has second derivatives in two outputs.
    loss_numbers : ndarray, shape (_,)
        Of the loss's family.
    labels : ndarray, shape (C, n)
    sample_weights : ndarray, shape (n,) or (0,)
        Empty for all ones.
    reached : ndarray of bool, shape (rows, q)
        See `sedyn.kernels.program.Program`.
    """

    operations: Integer[np.ndarray, "m 6"]
    addresses: Integer[np.ndarray, "_ 2"]
    rows: int
    outputs: int
    parameters: Float[np.ndarray, " P"]
    joint: int
    loss_numbers: Float[np.ndarray, " _"]
    labels: Float[np.ndarray, "C n"]
    sample_weights: Float[np.ndarray, " _"]
    reached: Shaped[np.ndarray, "rows q"]


LANES = VECTOR_BYTES // 8
INT, WHOLE_NUMBERS = types.int64, types.Array(types.int64, 2, "C")
_FIELDS = (
    WHOLE_NUMBERS,
    WHOLE_NUMBERS,
    INT,
    INT,
    VECTOR,
    INT,
    VECTOR,
    MATRIX,
    VECTOR,
    types.Array(types.bool_, 2, "C"),
)
NETWORK = types.NamedTuple(_FIELDS, CompiledNetwork)


@lru_cache(maxsize=256)
def reached_by(program: Program) -> Shaped[np.ndarray, "rows q"]:
    """Bring what a program's rows depend on to the form that compiled functions take."""
    return np.array(program.reached)


@lru_cache(maxsize=256)
def operations_of(program: Program) -> Integer[np.ndarray, "m 6"]:
    """Bring a program's operations to the form that compiled functions take."""
    return np.array(program.operations, np.int64).reshape(-1, 6)


@lru_cache(maxsize=256)
def addresses_of(program: Program, loss: str | None = None) -> Integer[np.ndarray, "_ 2"]:
    """Compile a program's activations and a loss, and say where they are.

    Parameters
    ----------
    program : Program
        Its activations have compiled forms.
    loss : str, optional
        The compiled form of the loss.

    Returns
    -------
    ndarray of int64, shape (a + 1, 2)
        As of `CompiledNetwork`; zeros in place of a loss that is not given.
    """
    found = [activation_addresses(str(each.compiled)) for each in program.activations]
    return np.array([*found, (0, 0) if loss is None else loss_addresses(loss)], np.int64)


@_linked
def combine(
    weights: np.ndarray,
    place: int,
    strides: tuple[int, int],
    sources: tuple[int, int],
    matrix: np.ndarray,
    targets: tuple[int, int],
    out: np.ndarray,
) -> None:
    """Add linear combinations of rows of a matrix to rows of another, in tiles, and four at a time what is left over.

    Parameters
    ----------
    weights : ndarray, shape (P,)
    place : int
        Of the first weight.
    strides : tuple of int
        From the weight of one row that is read to that of the next, and of one that is set.
    sources, targets : tuple of int
        The first row that is read, and how many; and that is added to.
    matrix, out : ndarray, shape (rows, m)
    """
    (source, given), (target, units) = sources, targets
    tiled = units - units % UNITS
    if tiled:
        factors = np.empty((tiled, given))
        for b in range(tiled):
            for a in range(given):
                factors[b, a] = weights[place + a * strides[0] + b * strides[1]]
        for b in range(0, tiled, UNITS):
            add_backward(matrix[source : source + given], factors, b, out[target : target + tiled], None)
    for b in range(tiled, units):
        t = target + b
        for a in range(0, given, 4):
            s, w, step = source + a, place + a * strides[0] + b * strides[1], strides[0]
            left = given - a
            if left >= 4:
                p, q, u, v = weights[w], weights[w + step], weights[w + 2 * step], weights[w + 3 * step]
                for i in range(matrix.shape[1]):
                    out[t, i] += (p * matrix[s, i] + q * matrix[s + 1, i]) + (
                        u * matrix[s + 2, i] + v * matrix[s + 3, i]
                    )
            elif left == 3:
                p, q, u = weights[w], weights[w + step], weights[w + 2 * step]
                for i in range(matrix.shape[1]):
                    out[t, i] += p * matrix[s, i] + q * matrix[s + 1, i] + u * matrix[s + 2, i]
            elif left == 2:
                p, q = weights[w], weights[w + step]
                for i in range(matrix.shape[1]):
                    out[t, i] += p * matrix[s, i] + q * matrix[s + 1, i]
            else:
                p = weights[w]
                for i in range(matrix.shape[1]):
                    out[t, i] += p * matrix[s, i]


_PAIR = types.UniTuple(INT, 2)
COMBINE = types.void(VECTOR, INT, _PAIR, _PAIR, MATRIX, _PAIR, MATRIX)
call_combine = linked(combine, COMBINE)


@_taken_in
def add_dots(
    signals: np.ndarray,
    source: int,
    given: int,
    pulls: np.ndarray,
    target: int,
    units: int,
    place: int,
    out: np.ndarray,
) -> None:
    """Add products of rows, summed over samples, to the derivatives in a dense layer's weights, as `combine` goes.

    Parameters
    ----------
    signals : ndarray, shape (rows, m)
    source, given : int
        The first row that the layer reads, and how many.
    pulls : ndarray, shape (rows, m)
        Derivatives in the signals.
    target, units : int
        The first row that the layer sets, and how many.
    place : int
        Of the layer's first weight.
    out : ndarray, shape (P,)
        Derivatives in the parameters, to which the sums are added.
    """
    tiled = units - units % UNITS
    if tiled:
        sums = np.zeros((tiled, given * LANES))
        for b in range(0, tiled, UNITS):
            add_forward(signals[source : source + given], pulls[target : target + tiled], b, sums, None)
        for b in range(tiled):
            for a in range(given):
                total = 0.0
                for lane in range(a * LANES, (a + 1) * LANES):
                    total += sums[b, lane]
                out[place + a * units + b] += total
    for b in range(tiled, units):
        f = target + b
        for a in range(0, given - given % 4, 4):
            s, p, q, u, v = source + a, 0.0, 0.0, 0.0, 0.0
            for i in range(signals.shape[1]):
                pull = pulls[f, i]
                p += signals[s, i] * pull
                q += signals[s + 1, i] * pull
                u += signals[s + 2, i] * pull
                v += signals[s + 3, i] * pull
            w = place + a * units + b
            out[w] += p
            out[w + units] += q
            out[w + 2 * units] += u
            out[w + 3 * units] += v
        for a in range(given - given % 4, given):
            p = 0.0
            for i in range(signals.shape[1]):
                p += signals[source + a, i] * pulls[f, i]
            out[place + a * units + b] += p


@_linked
def add_outer(
    left: np.ndarray, one: int, right: np.ndarray, other: int, count: int, start: int, curvatures: np.ndarray
) -> None:
    """Add products of rows' tangents to the lower triangle of curvatures.

    Parameters
    ----------
    left, right : ndarray, shape (rows, q, m)
        Tangents, the one times what is bent.
    one, other, count : int
        The first rows, and how many.
    start : int
        The sample that comes first.
    curvatures : ndarray, shape (q, q, n)
    """
    for a in range(curvatures.shape[0]):
        for b in range(a + 1):
            found = curvatures[a, b, start:]
            for u in range(0, count - count % 4, 4):
                r, s = one + u, other + u
                for i in range(left.shape[2]):
                    found[i] += (left[r, a, i] * right[s, b, i] + left[r + 1, a, i] * right[s + 1, b, i]) + (
                        left[r + 2, a, i] * right[s + 2, b, i] + left[r + 3, a, i] * right[s + 3, b, i]
                    )
            for u in range(count - count % 4, count):
                for i in range(left.shape[2]):
                    found[i] += left[one + u, a, i] * right[other + u, b, i]


ADD_OUTER = types.void(CUBE, INT, CUBE, INT, INT, INT, CUBE)
call_add_outer = linked(add_outer, ADD_OUTER)


@_taken_in
def add_reached(
    left: np.ndarray,
    right: np.ndarray,
    source: int,
    units: int,
    reached: np.ndarray,
    start: int,
    curvatures: np.ndarray,
) -> None:
    """Do what `add_outer` does where most tangents are zero: `reached` says which are not.

    Parameters
    ----------
    left, right : ndarray, shape (rows, q, m)
        As for `add_outer`; of the left the first rows are read.
    source, units : int
        The first row of the right, and how many.
    reached : ndarray of bool, shape (rows, q)
        As of `CompiledNetwork`.
    start : int
        The sample that comes first.
    curvatures : ndarray, shape (q, q, n)
        The products are added to its lower triangle.
    """
    for a in range(curvatures.shape[0]):
        for b in range(a + 1):
            found = curvatures[a, b, start:]
            for u in range(units):
                s = source + u
                if reached[s, a] and reached[s, b]:
                    for i in range(left.shape[2]):
                        found[i] += left[u, a, i] * right[s, b, i]


@_linked
def curve(
    network: CompiledNetwork,
    start: int,
    signals: np.ndarray,
    slopes: np.ndarray,
    pulls: np.ndarray,
    bends: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Set the second derivatives of a few samples' weighted losses in their pre-activations.

    Tangents, derivatives of the signals in the pre-activations, go forward, and each activation adds what it bends
    times its pull; at the outputs the loss adds what it bends.

    Parameters
    ----------
    network : CompiledNetwork
    start : int
        The sample that comes first.
    signals, slopes, pulls : ndarray, shape (rows, m)
        As `forward` and `backward` leave them, pulls weighted.
    bends : ndarray, shape (C, C, m)
        Second derivatives of the loss in the outputs, weighted.
    curvatures : ndarray, shape (q, q, n)
        Set for these samples.
    """
    operations, addresses, rows, outputs, parameters, joint, _, labels, _, reached = network
    count, q, classes = signals.shape[1], curvatures.shape[0], labels.shape[0]
    # What is bent of one activation, or output, stays in the place of that of another.
    tangents, bent, row = np.empty((rows, q, count)), np.empty((rows, q, count)), np.empty(count)
    side_by_side = tangents.reshape(rows, q * count)
    for a in range(q):
        for k in range(q * count):
            side_by_side[a, k] = 0
        for i in range(count):
            tangents[a, a, i] = 1
        for b in range(a + 1):
            found = curvatures[a, b, start:]
            for i in range(count):
                found[i] = 0
    for step in range(operations.shape[0]):
        kind, source, given = operations[step, 0], operations[step, 1], operations[step, 2]
        target, units, place = operations[step, 3], operations[step, 4], operations[step, 5]
        if kind == Kind.dense:
            for u in range(target, target + units):
                for k in range(q * count):
                    side_by_side[u, k] = 0
            call_combine(parameters, place, (units, 1), (source, given), side_by_side, (target, units), side_by_side)
        elif kind == Kind.activate:
            if addresses[place, 1]:
                whole = True
                for u in range(units):
                    s = source + u
                    bend(addresses[place, 1], (signals, slopes, s, target + u, row))
                    for i in range(count):
                        row[i] *= pulls[target + u, i]
                    for a in range(q):
                        whole = whole and reached[s, a]
                        for i in range(count):
                            bent[u, a, i] = row[i] * tangents[s, a, i]
                if whole:
                    call_add_outer(bent, 0, tangents, source, units, start, curvatures)
                else:
                    add_reached(bent, tangents, source, units, reached, start, curvatures)
            for u in range(units):
                for a in range(q):
                    for i in range(count):
                        tangents[target + u, a, i] = slopes[target + u, i] * tangents[source + u, a, i]
        else:
            for u in range(units):
                for k in range(q * count):
                    side_by_side[target + u, k] = side_by_side[source + u, k]
                    if kind == Kind.add:
                        side_by_side[target + u, k] += side_by_side[place + u, k]
    for c in range(classes):
        for e in range(classes):
            if joint or c == e:
                for a in range(q):
                    for i in range(count):
                        bent[0, a, i] = bends[c, e, i] * tangents[outputs + c, a, i]
                call_add_outer(bent, 0, tangents, outputs + e, 1, start, curvatures)
    for a in range(q):
        for b in range(a):
            lower, upper = curvatures[a, b, start:], curvatures[b, a, start:]
            for i in range(count):
                upper[i] = lower[i]


CURVE = types.void(NETWORK, INT, MATRIX, MATRIX, MATRIX, CUBE, CUBE)
call_curve = linked(curve, CURVE)


@_linked
def forward(
    operations: np.ndarray, addresses: np.ndarray, parameters: np.ndarray, signals: np.ndarray, slopes: np.ndarray
) -> None:
    """Run a network's program.

    Parameters
    ----------
    operations, addresses, parameters : ndarray, shapes (m, 6), (a + 1, 2) and (P,)
        As of `CompiledNetwork`.
    signals, slopes : ndarray, shape (rows, m)
        The first rows of the signals are pre-activations; the others are set, and the slopes of activations.
    """
    count = signals.shape[1]
    for step in range(operations.shape[0]):
        kind, source, given = operations[step, 0], operations[step, 1], operations[step, 2]
        target, units, place = operations[step, 3], operations[step, 4], operations[step, 5]
        if kind == Kind.activate:
            activate(addresses[place, 0], (signals, slopes, source, target, units))
        elif kind == Kind.bias:
            for a in range(units):
                bias = parameters[place + a]
                for i in range(count):
                    signals[target + a, i] = signals[source + a, i] + bias
        elif kind == Kind.dense:
            for b in range(units):
                for i in range(count):
                    signals[target + b, i] = 0
            call_combine(parameters, place, (units, 1), (source, given), signals, (target, units), signals)
        elif kind == Kind.add:
            for a in range(units):
                for i in range(count):
                    signals[target + a, i] = signals[source + a, i] + signals[place + a, i]


FORWARD = types.void(WHOLE_NUMBERS, WHOLE_NUMBERS, VECTOR, MATRIX, MATRIX)
call_forward = linked(forward, FORWARD)


@_taken_in
def backward(
    operations: np.ndarray,
    parameters: np.ndarray,
    signals: np.ndarray,
    slopes: np.ndarray,
    pulls: np.ndarray,
    deep_gradient: np.ndarray,
) -> None:
    """Bring the loss's derivatives back through a network's program, from its last operation to its first.

    Parameters
    ----------
    operations, parameters : ndarray, shapes (m, 6) and (P,)
        As of `CompiledNetwork`.
    signals, slopes : ndarray, shape (rows, m)
        As `forward` leaves them.
    pulls : ndarray, shape (rows, m)
        Derivatives in the signals: those in the outputs, and zeros, to which the others are added.
    deep_gradient : ndarray, shape (P,)
        Derivatives in the parameters are added to it.
    """
    count = signals.shape[1]
    for step in range(operations.shape[0] - 1, -1, -1):
        kind, source, given = operations[step, 0], operations[step, 1], operations[step, 2]
        target, units, place = operations[step, 3], operations[step, 4], operations[step, 5]
        if kind == Kind.activate:
            for a in range(units):
                for i in range(count):
                    pulls[source + a, i] += pulls[target + a, i] * slopes[target + a, i]
        elif kind == Kind.bias:
            for a in range(units):
                total = 0.0
                for i in range(count):
                    pulls[source + a, i] += pulls[target + a, i]
                    total += pulls[target + a, i]
                deep_gradient[place + a] += total
        elif kind == Kind.dense:
            call_combine(parameters, place, (1, units), (target, units), pulls, (source, given), pulls)
            add_dots(signals, source, given, pulls, target, units, place, deep_gradient)
        elif kind == Kind.add:
            for a in range(units):
                for i in range(count):
                    pulls[source + a, i] += pulls[target + a, i]
                    pulls[place + a, i] += pulls[target + a, i]


@_linked
def differentiate_samples(
    network: CompiledNetwork,
    samples: tuple[int, int],
    pre_activations: np.ndarray,
    losses: np.ndarray,
    gradients: np.ndarray,
    deep_gradient: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Loss and derivatives of some of the training samples.

    Parameters
    ----------
    network : CompiledNetwork
    samples : tuple of int
        The first, and the one after the last.
    pre_activations : ndarray, shape (q, n)
    losses : ndarray, shape (n,)
        Set for these samples.
    gradients : ndarray, shape (q, n), or (0, 0) where losses alone are wanted
        Set for these samples: the derivative of each one's weighted loss in its pre-activations.
    deep_gradient : ndarray, shape (P,)
        To it is added the derivative of the samples' summed weighted losses in the parameters.
    curvatures : ndarray, shape (q, q, n), or (0, 0, 0) where they are not wanted
        Set for these samples: the second derivatives of each one's weighted loss.
    """
    operations, addresses, rows, outputs, parameters, joint, loss_numbers, labels, sample_weights, _ = network
    classes, curved, of_loss = labels.shape[0], curvatures.shape[0] > 0, addresses[addresses.shape[0] - 1]
    start, count, q = samples[0], samples[1] - samples[0], pre_activations.shape[0]
    signals, slopes, pulls = np.empty((rows, count)), np.empty((rows, count)), np.zeros((rows, count))
    for a in range(q):
        given = pre_activations[a, start:]
        for i in range(count):
            signals[a, i] = given[i]
    call_forward(operations, addresses, parameters, signals, slopes)
    lose(of_loss[0], (loss_numbers, signals, outputs, labels, start, losses, pulls))
    if gradients.shape[0] == 0:
        return
    bends = np.zeros((classes, classes, count if curved else 0))
    if curved:
        for c in range(classes):
            for e in range(classes):
                if joint or c == e:
                    bend_loss(of_loss[1], (loss_numbers, signals, outputs, labels, start, pulls, c, e, bends[c, e]))
    if sample_weights.size:
        weights = sample_weights[start:]
        for c in range(classes):
            for i in range(count):
                pulls[outputs + c, i] *= weights[i]
            if curved:
                for e in range(classes):
                    for i in range(count):
                        bends[c, e, i] *= weights[i]
    backward(operations, parameters, signals, slopes, pulls, deep_gradient)
    if curved:
        call_curve(network, start, signals, slopes, pulls, bends, curvatures)
    for a in range(q):
        found = gradients[a, start:]
        for i in range(count):
            found[i] = pulls[a, i]


DIFFERENTIATE = types.void(NETWORK, _PAIR, MATRIX, VECTOR, MATRIX, VECTOR, CUBE)
call_differentiate_samples = linked(differentiate_samples, DIFFERENTIATE)


@_compiled
def differentiate_parts(
    network: CompiledNetwork,
    parameters: np.ndarray,
    labels: np.ndarray,
    sample_weights: np.ndarray,
    parts: np.ndarray,
    together: int,
    pre_activations: np.ndarray,
    losses: np.ndarray,
    gradients: np.ndarray,
    sums: np.ndarray,
    curvatures: np.ndarray,
) -> None:
    """Loss and derivatives of some samples of several replicates, a few at a time.

    Parameters
    ----------
    network : CompiledNetwork
        In which the replicates agree: all but parameters, labels and weights of samples.
    parameters, labels, sample_weights : ndarray, shapes (R, P), (R, C, N) and (R, N) or (R, 0)
        Of each replicate.
    parts : ndarray of int, shape (m, 3)
        Of each part the replicate, the first sample, and the one after the last.
    together : int
        How many samples are worked on at a time.
    pre_activations : ndarray, shape (R, q, N)
    losses, gradients, curvatures : ndarray, shapes (R, N), (R, q, N) and (R, q, q, N) or (R, 0, 0, 0)
        Set for these samples.
    sums : ndarray, shape (m, P)
        Set: the derivatives of the summed weighted losses of a part in the parameters.
    """
    operations, addresses, rows, outputs, _, joint, numbers, _, _, reached = network
    for number in range(parts.shape[0]):
        r, first, last = parts[number, 0], parts[number, 1], parts[number, 2]
        own = CompiledNetwork(
            operations,
            addresses,
            rows,
            outputs,
            parameters[r],
            joint,
            numbers,
            labels[r],
            sample_weights[r],
            reached,
        )
        for place in range(sums.shape[1]):
            sums[number, place] = 0
        for start in range(first, last, together):
            some = (start, min(start + together, last))
            found = pre_activations[r], losses[r], gradients[r], sums[number], curvatures[r]
            call_differentiate_samples(own, some, *found)


@_compiled
def forward_parts(
    operations: np.ndarray,
    addresses: np.ndarray,
    rows: int,
    first_output: int,
    parameters: np.ndarray,
    parts: np.ndarray,
    together: int,
    pre_activations: np.ndarray,
    outputs: np.ndarray,
) -> None:
    """Outputs of some samples of several replicates, a few at a time.

    Parameters
    ----------
    operations, addresses : ndarray of int64, shapes (m, 6) and (a + 1, 2)
        As of `CompiledNetwork`.
    rows, first_output : int
        How many rows there are, and the first of the outputs.
    parameters : ndarray, shape (R, P)
    parts : ndarray of int, shape (m, 3)
        As for `differentiate_parts`.
    together : int
        How many samples are worked on at a time.
    pre_activations, outputs : ndarray, shapes (R, q, N) and (R, C, N)
        The latter is set for these samples.
    """
    signals, slopes = np.zeros((rows, together)), np.empty((rows, together))
    for number in range(parts.shape[0]):
        r, first, last = parts[number, 0], parts[number, 1], parts[number, 2]
        for start in range(first, last, together):
            count = min(together, last - start)
            for a in range(pre_activations.shape[1]):
                given = pre_activations[r, a, start:]
                for i in range(count):
                    signals[a, i] = given[i]
            call_forward(operations, addresses, parameters[r], signals, slopes)
            for c in range(outputs.shape[1]):
                found = outputs[r, c, start:]
                for i in range(count):
                    found[i] = signals[first_output + c, i]
