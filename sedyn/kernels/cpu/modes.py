"""What the estimate by modes does at every step, compiled, a few samples at a time, whose numbers stay in cache.

`sedyn.model.own_modes` defines what is computed. Samples are innermost, so that the compiler works on several at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from sedyn.arrays.compiling import compiled, widest_vectors
from sedyn.arrays.shapes import Float
from sedyn.kernels.cpu.tiles import TOGETHER, UNITS, add_backward, add_multiple, add_product, follow, rotate, turn
from sedyn.model.own_modes import NO_MORE
from sedyn.model.update import Update

__all__ = ["mean_answer", "move_modes", "quadratures"]

# Samples that go through the modes together: what they carry of 9 units fits into the second-level cache thrice.
SAMPLES = 64
# Off the diagonal of what is rotated, the square of all that is left, over that of the whole; and turns at most.
ROTATED_AWAY, MOST_TURNS = 1e-28, 60

_compiled = compiled({"reassoc", "contract", "nsz"}, error_model="numpy")
_taken_in = compiled({"reassoc", "contract", "nsz"}, error_model="numpy", forceinline=True)


def move_modes(
    nodes: Float[np.ndarray, "B n"],
    weights: Float[np.ndarray, "B n"],
    decaying: int,
    carried: Float[np.ndarray, "*replicates q B n"],
    previous: Float[np.ndarray, "*replicates q B n"],
    kept: Float[np.ndarray, "*replicates q n"],
    gradients: Float[np.ndarray, "steps *replicates q n"],
    curvatures: Float[np.ndarray, "steps *replicates q q"],
    updates: Sequence[Update],
) -> tuple[
    Float[np.ndarray, "*replicates q B n"],
    Float[np.ndarray, "*replicates q B n"],
    Float[np.ndarray, "steps *replicates q n"],
]:
    """Take modes some steps on, for arrays of numpy in double precision.

    Parameters
    ----------
    nodes, weights, decaying, carried, previous, kept, gradients, curvatures, updates
        Of the shapes that `sedyn.model.own_modes.move_modes` takes.
    """
    *leading, q, count, n = carried.shape
    replicates, steps = math.prod(leading), len(updates)
    numbers, decay = np.empty((steps, 2)), np.empty((steps, q, count))
    for s, update in enumerate(updates):
        numbers[s] = update.learning_rate, update.momentum
        decay[s] = update.weight_decay
        if update.unit_decay is not None:
            decay[s, :, :decaying] += update.unit_decay
    nesterov = np.array([update.nesterov for update in updates])
    flat = [
        np.ascontiguousarray(each).reshape(replicates, *each.shape[len(leading) :])
        for each in (carried, previous, kept)
    ]
    taken = [
        np.ascontiguousarray(each).reshape(steps, replicates, *each.shape[1 + len(leading) :])
        for each in (gradients, curvatures)
    ]
    (moved, after), kept_each = np.empty((2, replicates, q, count, n)), np.empty((steps, replicates, q, n))
    move_each(nodes, weights, decay, numbers, nesterov, *flat, *taken, moved, after, kept_each)
    return moved.reshape(carried.shape), after.reshape(carried.shape), kept_each.reshape(gradients.shape)


@_compiled
def move_each(
    nodes: np.ndarray,
    weights: np.ndarray,
    decay: np.ndarray,
    numbers: np.ndarray,
    nesterov: np.ndarray,
    carried: np.ndarray,
    previous: np.ndarray,
    kept: np.ndarray,
    gradients: np.ndarray,
    curvatures: np.ndarray,
    moved: np.ndarray,
    after: np.ndarray,
    kept_each: np.ndarray,
) -> None:
    """Set what modes carry after some steps, what its momentum is the difference from, and the samples' shares of it.

    A few samples go through all steps, one after another, while what they carry is in cache.

    Parameters
    ----------
    nodes, weights : ndarray, shape (B, n)
    decay : ndarray, shape (S, q, B)
        At each step of each unit in each mode.
    numbers : ndarray, shape (S, 2)
        Learning rate and momentum of each step.
    nesterov : ndarray of bool, shape (S,)
    carried, previous : ndarray, shape (R, q, B, n)
    kept : ndarray, shape (R, q, n)
    gradients : ndarray, shape (S, R, q, n)
    curvatures : ndarray, shape (S, R, q, q)
    moved, after : ndarray, shape (R, q, B, n)
        Set.
    kept_each : ndarray, shape (S, R, q, n)
        Set: the shares after each step.
    """
    widest_vectors()
    replicates, q, count, n = carried.shape
    units = -(-q // UNITS) * UNITS
    all_own, all_behind, all_kept = np.empty((q, count, SAMPLES)), np.empty((q, count, SAMPLES)), np.empty((q, SAMPLES))
    pushes, drives = np.zeros((units, SAMPLES)), np.zeros((units, SAMPLES))
    factors, shares, of_units = np.zeros((units, q)), np.empty((2, SAMPLES)), np.empty((q, 2))
    for r in range(replicates):
        for start in range(0, n, SAMPLES):
            m = min(SAMPLES, n - start)
            push, drive, share, now = pushes[:, :m], drives[:, :m], shares[:, :m], all_kept[:, :m]
            for a in range(q):
                for i in range(m):
                    now[a, i] = kept[r, a, start + i]
                for b in range(count):
                    for i in range(m):
                        all_own[a, b, i] = carried[r, a, b, start + i]
                        all_behind[a, b, i] = previous[r, a, b, start + i]
            for s in range(gradients.shape[0]):
                rate, momentum = numbers[s, 0], numbers[s, 1]
                for a in range(q):
                    for i in range(m):
                        push[a, i] = gradients[s, r, a, start + i]
                    for c in range(q):
                        factors[a, c] = -curvatures[s, r, a, c]
                for a in range(0, q, UNITS):
                    add_backward(now, factors, a, push, None)
                for a in range(q):
                    for i in range(m):
                        now[a, i] = 0
                    for c in range(q):
                        factors[a, c] = curvatures[s, r, a, c]
                for b in range(count):
                    for i in range(m):
                        share[0, i] = -rate * nodes[b, start + i]
                        share[1, i] = weights[b, start + i]
                    for a in range(q):
                        of_units[a, 0], of_units[a, 1] = 1 - rate * decay[s, a, b], momentum
                        for i in range(m):
                            drive[a, i] = push[a, i]
                    own, behind = all_own[:, b, :m], all_behind[:, b, :m]
                    for a in range(0, q, UNITS):
                        add_backward(own, factors, a, drive, None)
                    follow(drive, own, behind, share, of_units, nesterov[s], own, behind, now)
                for a in range(q):
                    for i in range(m):
                        kept_each[s, r, a, start + i] = now[a, i]
            for a in range(q):
                for b in range(count):
                    for i in range(m):
                        moved[r, a, b, start + i] = all_own[a, b, i]
                        after[r, a, b, start + i] = all_behind[a, b, i]


def quadratures(
    eigenvalues: Float[np.ndarray, " m"], shares: Float[np.ndarray, "n m"], count: int
) -> tuple[Float[np.ndarray, "n B"], Float[np.ndarray, "n B"]]:
    """Gauss quadratures of measures with common nodes, for arrays of numpy.

    Parameters
    ----------
    eigenvalues, shares, count
        As `sedyn.model.own_modes.quadratures` takes them.
    """
    nodes, weights = np.empty((2, len(shares), count))
    set_quadratures(np.ascontiguousarray(eigenvalues), np.ascontiguousarray(shares), nodes, weights)
    return nodes, weights


@_compiled
def set_quadratures(eigenvalues: np.ndarray, shares: np.ndarray, nodes: np.ndarray, weights: np.ndarray) -> None:
    """Set nodes and weights, one measure after another by the Lanczos process, whose vectors stay in cache.

    Parameters
    ----------
    eigenvalues : ndarray, shape (m,)
    shares : ndarray, shape (n, m)
    nodes, weights : ndarray, shape (n, B)
        Set.
    """
    widest_vectors()
    (n, m), count = shares.shape, nodes.shape[1]
    size, scale = count * count, 0.0
    for k in range(m):
        scale = max(scale, eigenvalues[k])
    basis, vector, totals = np.empty((count, m)), np.empty(m), np.empty(TOGETHER)
    # Matrices one after another: of each process, and of their eigenvectors.
    rows = np.empty((2 * size + 2, TOGETHER))
    for start in range(0, n, TOGETHER):
        some = min(TOGETHER, n - start)
        rows[:] = 0
        for a in range(count):
            rows[size + a * count + a] = 1
        for i in range(some):
            own, total = shares[start + i], 0.0
            for j in range(m):
                total += own[j]
            totals[i] = total
            if total <= 0:  # a sample without features
                continue
            for j in range(m):
                vector[j] = math.sqrt(own[j] / total)
            for k in range(count):
                along = 0.0
                for j in range(m):
                    basis[k, j] = vector[j]
                    vector[j] *= eigenvalues[j]
                    along += vector[j] * basis[k, j]
                rows[k * count + k, i] = along
                if k + 1 == count:
                    break
                for _ in range(2):  # twice is enough to keep the basis orthogonal to rounding
                    for known in range(k + 1):
                        shared = 0.0
                        for j in range(m):
                            shared += basis[known, j] * vector[j]
                        for j in range(m):
                            vector[j] -= shared * basis[known, j]
                squares = 0.0
                for j in range(m):
                    squares += vector[j] * vector[j]
                norm = math.sqrt(squares)
                if norm < NO_MORE * scale:
                    break
                rows[(k + 1) * count + k, i] = norm
                for j in range(m):
                    vector[j] /= norm
        diagonalize(rows, count, 2 * size, 2 * size + 1)
        for i in range(some):
            for a in range(count):
                nodes[start + i, a] = max(rows[a * count + a, i], 0.0)
                weights[start + i, a] = totals[i] * rows[size + a * count, i] ** 2


def mean_answer(
    curvatures: Float[np.ndarray, "q q n"], shares: Float[np.ndarray, " n"], kept: Float[np.ndarray, "q q"]
) -> tuple[Float[np.ndarray, "q q"], Float[np.ndarray, "q q"]]:
    """Average over samples how they answer, for arrays of numpy.

    Parameters
    ----------
    curvatures, shares, kept
        Of the shapes that `sedyn.model.own_modes.mean_answer` takes.
    """
    answer, negative = np.zeros(kept.shape), np.zeros(kept.shape)
    own = np.ascontiguousarray(curvatures), np.ascontiguousarray(shares / shares.size), np.ascontiguousarray(kept)
    add_answers(*own, answer, negative)
    return answer, negative


@_compiled
def add_answers(
    curvatures: np.ndarray, shares: np.ndarray, kept: np.ndarray, answer: np.ndarray, negative: np.ndarray
) -> None:
    """Add answers of the positive parts, and the negative parts, of samples that go together.

    Parameters
    ----------
    curvatures : ndarray, shape (q, q, n)
    shares : ndarray, shape (n,)
    kept : ndarray, shape (q, q)
    answer, negative : ndarray, shape (q, q)
        Added to.
    """
    widest_vectors()
    q, n = curvatures.shape[0], curvatures.shape[2]
    size = q * q
    # Matrices one after another: curvatures, eigenvectors, these times what is kept, and what is divided by.
    vectors, pulled, inner, some, more = size, 2 * size, 3 * size, 4 * size, 4 * size + 1
    rows, share = np.empty((4 * size + 2, TOGETHER)), np.empty(TOGETHER)
    for start in range(0, n, TOGETHER):
        count = min(TOGETHER, n - start)
        share[:] = 0
        share[:count] = shares[start : start + count]
        rows[:] = 0
        for a in range(q):
            rows[vectors + a * q + a] = 1
            for b in range(q):
                rows[a * q + b, :count] = curvatures[a, b, start : start + count]
                for i in range(TOGETHER):
                    negative[a, b] += share[i] * rows[a * q + b, i]
        diagonalize(rows, q, some, more)
        for a in range(q):  # eigenvectors as long as the root of their eigenvalue, of those below zero nothing
            for i in range(TOGETHER):
                rows[some, i] = math.sqrt(max(rows[a * q + a, i], 0.0))
            for b in range(q):
                for i in range(TOGETHER):
                    rows[vectors + a * q + b, i] *= rows[some, i]
        add_squares(rows, vectors, q, share, -1.0, negative)
        for a in range(q):
            for b in range(q):
                for c in range(q):
                    add_multiple(rows, pulled + a * q + b, vectors + a * q + c, kept[c, b])
        for a in range(q):
            rows[inner + a * q + a] = 1
            for b in range(a + 1):
                for c in range(q):
                    add_product(rows, inner + a * q + b, pulled + a * q + c, vectors + b * q + c, 1.0)
        divide(rows, inner, vectors, q)
        add_squares(rows, vectors, q, share, 1.0, answer)


@_taken_in
def add_squares(rows: np.ndarray, vectors: int, q: int, share: np.ndarray, sign: float, out: np.ndarray) -> None:
    """Add the weighted sum of the squares of matrices, transposed times themselves.

    Parameters
    ----------
    rows : ndarray, shape (rows, `TOGETHER`)
    vectors, q : int
        Where the matrices' rows begin, and how many rows and columns a matrix has.
    share : ndarray, shape (`TOGETHER`,)
        The weights.
    sign : float
        What all are multiplied by.
    out : ndarray, shape (q, q)
        Added to.
    """
    for a in range(q):
        for b in range(a + 1):
            found = 0.0
            for c in range(q):
                one, other = rows[vectors + c * q + a], rows[vectors + c * q + b]
                for i in range(TOGETHER):
                    found += share[i] * one[i] * other[i]
            out[a, b] += sign * found
            if a != b:
                out[b, a] += sign * found


@_taken_in
def diagonalize(rows: np.ndarray, q: int, cosine: int, sine: int) -> None:
    """Rotate symmetric matrices of several samples until they are diagonal, two rows at a time (Jacobi's method).

    Parameters
    ----------
    rows : ndarray, shape (at least 2 q q, `TOGETHER`)
        The matrices, of which the part below the diagonal is read, and eigenvalues come to be on the diagonal; and
        after them what is rotated likewise, row by row.
    q : int
    cosine, sine : int
        Rows to work with.
    """
    for _ in range(MOST_TURNS):
        rows[cosine] = 0
        rows[sine] = 0
        for a in range(q):
            add_product(rows, cosine, a * q + a, a * q + a, 1.0)
            for b in range(a):
                add_product(rows, sine, a * q + b, a * q + b, 2.0)
        left = 0.0
        for i in range(TOGETHER):
            if rows[sine, i] > ROTATED_AWAY * rows[cosine, i]:
                left = 1.0
        if left == 0.0:
            break
        for high in range(1, q):
            for low in range(high):
                turn(rows, high * q + low, low * q + low, high * q + high, cosine, sine)
                for k in range(low):
                    rotate(rows, low * q + k, high * q + k, cosine, sine)
                for k in range(low + 1, high):
                    rotate(rows, k * q + low, high * q + k, cosine, sine)
                for k in range(high + 1, q):
                    rotate(rows, k * q + low, k * q + high, cosine, sine)
                for k in range(q * q, q * q + q):
                    rotate(rows, low * q + k, high * q + k, cosine, sine)


@_taken_in
def divide(rows: np.ndarray, inner: int, vectors: int, q: int) -> None:
    """Multiply matrices by the inverse of the Cholesky factors of others, for several samples.

    Parameters
    ----------
    rows : ndarray, shape (rows, `TOGETHER`)
    inner : int
        Where the positive matrices are; the parts below their diagonals become the factors.
    vectors : int
        Where the matrices are that become the products.
    q : int
    """
    for a in range(q):
        pivot = inner + a * q + a
        for b in range(a):
            add_product(rows, pivot, inner + a * q + b, inner + a * q + b, -1.0)
        for i in range(TOGETHER):
            rows[pivot, i] = 1 / math.sqrt(rows[pivot, i])
        for c in range(a + 1, q):
            for b in range(a):
                add_product(rows, inner + c * q + a, inner + a * q + b, inner + c * q + b, -1.0)
            scale(rows, inner + c * q + a, pivot)
        for k in range(q):
            for b in range(a):
                add_product(rows, vectors + a * q + k, inner + a * q + b, vectors + b * q + k, -1.0)
            scale(rows, vectors + a * q + k, pivot)


@_taken_in
def scale(rows: np.ndarray, one: int, other: int) -> None:
    """Multiply a row by another.

    Parameters
    ----------
    rows : ndarray, shape (rows, `TOGETHER`)
    one, other : int
    """
    for i in range(TOGETHER):
        rows[one, i] *= rows[other, i]
