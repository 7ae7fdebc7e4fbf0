"""The adjoint pass of the gradient response on a CPU, a few samples at a time, whose adjoints all stay in cache.

`sedyn.model.adjoint.mean_response` defines what is computed, and says how the pass goes.
"""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays.compiling import compiled, linked, widest_vectors
from sedyn.arrays.shapes import Float
from sedyn.arrays.threads import run_each
from sedyn.kernels.cpu.passes import clear
from sedyn.kernels.cpu.several import parts_of, shares
from sedyn.kernels.cpu.tiles import TOGETHER, VECTOR, push_and_bend

__all__ = ["LANES", "call_add_adjoints", "copy", "mean_response", "totals_of"]

# Samples that are a thread's work.
SAMPLES, LANES = 512, VECTOR // 8

_compiled = compiled({"reassoc", "contract", "nsz"})
_taken_in = compiled({"reassoc", "contract", "nsz"}, forceinline=True)


def mean_response(
    curvatures: Float[np.ndarray, "*replicates t q q N"], weight_response: Float[np.ndarray, "*replicates t t q q"]
) -> Float[np.ndarray, "*replicates t q q"]:
    """Average over samples of dg^t/dz^s, for arrays of numpy in double precision.

    Samples are cut into parts by their number alone, and added up in order, whatever thread had which.

    Parameters
    ----------
    curvatures : ndarray, shape (..., t + 1, q, q, N)
    weight_response : ndarray, shape (..., t + 1, t + 1, q, q)

    Returns
    -------
    ndarray, shape (..., t + 1, q, q)
    """
    *leading, iterations, q, _, samples = curvatures.shape
    replicates = math.prod(leading)
    rows, apart = _rows_of(curvatures)
    # R_w(r, s)[c, b] at (s, b, r q + c): factors of the products with all that is known at s.
    moved = np.moveaxis(weight_response.reshape(replicates, *weight_response.shape[-4:]), (1, 2, 3, 4), (3, 1, 4, 2))
    couplings = np.ascontiguousarray(moved).reshape(replicates, iterations, q, iterations * q)
    parts = parts_of(replicates, samples, SAMPLES)
    sums = np.empty((len(parts), iterations, q, q))

    run_each(lambda own: add_adjoints_each(rows, apart, parts[own], couplings, sums[own]), shares(len(parts)))
    sums = sums.reshape(replicates, -1, iterations, q, q)
    total = sums.sum(axis=1).reshape(*leading, iterations, q, q)
    return np.swapaxes(total, -1, -2) / samples


def _rows_of(curvatures: Float[np.ndarray, "*replicates t q q N"]) -> tuple[Float[np.ndarray, "rows N"], int]:
    """All entries of curvatures as rows, and how many rows each replicate is after the one before.

    Iterations that are the first of those that there is room for have gaps between replicates, which are not copied.
    """
    iterations, q, _, samples = curvatures.shape[-4:]
    own, size = iterations * q * q, samples * curvatures.itemsize
    whole = curvatures.reshape(-1, own, samples)
    each = whole[:1].flags.c_contiguous and (len(whole) == 1 or whole.strides[0] % size == 0)
    if not each:
        whole = np.ascontiguousarray(whole)
    apart = whole.strides[0] // size if len(whole) > 1 else own
    shape = (apart * (len(whole) - 1) + own, samples)
    return np.lib.stride_tricks.as_strided(whole, shape, (size, whole.itemsize)), apart


@_compiled
def add_adjoints_each(rows: np.ndarray, apart: int, parts: np.ndarray, couplings: np.ndarray, sums: np.ndarray) -> None:
    """Set the sums of some parts of the samples of several replicates of transposed adjoints.

    Parameters
    ----------
    rows : ndarray, shape (_, N)
        The (t + 1) q q rows of curvatures of each replicate.
    apart : int
        How many rows after those of the replicate before they begin.
    parts : ndarray of int, shape (m, 3)
        Of each part the replicate, the first sample, and the one after the last.
    couplings : ndarray, shape (R, t + 1, q, (t + 1) q)
        As for `add_adjoints`, with an axis of replicates in front.
    sums : ndarray, shape (m, t + 1, q, q)
        Set.
    """
    widest_vectors()
    iterations, q = couplings.shape[1], couplings.shape[2]
    adjoints, partial = np.empty((iterations * q * q, TOGETHER)), np.empty((iterations * q, q * LANES))
    filled = np.empty((iterations * q * q, TOGETHER))
    for number in range(parts.shape[0]):
        r, last = parts[number, 0], parts[number, 2]
        own = rows[r * apart : r * apart + iterations * q * q]
        clear(partial)
        for start in range(parts[number, 1], last, TOGETHER):
            some = own[:, start : min(start + TOGETHER, last)]
            if some.shape[1] < TOGETHER:
                copy(some, filled)
                some = filled[:, :TOGETHER]
            call_add_adjoints(some, couplings[r], adjoints, partial)
        totals_of(partial, sums[number])


@_taken_in
def copy(curvatures: np.ndarray, out: np.ndarray) -> None:
    """Copy the curvatures of a few samples, and put zeros after them.

    Parameters
    ----------
    curvatures : ndarray, shape (rows, m)
    out : ndarray, shape (rows, at least m)
        Set.
    """
    for row in range(curvatures.shape[0]):
        for i in range(curvatures.shape[1]):
            out[row, i] = curvatures[row, i]
        for i in range(curvatures.shape[1], out.shape[1]):
            out[row, i] = 0


@_compiled
def add_adjoints(curvatures: np.ndarray, couplings: np.ndarray, adjoints: np.ndarray, partial: np.ndarray) -> None:
    """Add the transposed adjoints of some samples.

    Parameters
    ----------
    curvatures : ndarray, shape (at least (t + 1) q q, `TOGETHER`)
        Zeros in place of samples that there are fewer.
    couplings : ndarray, shape (t + 1, q, (t + 1) q)
        At (s, b, r q + c) is R_w(r, s)[c, b].
    adjoints : ndarray, shape (at least (t + 1) q q, `TOGETHER`)
        Room.
    partial : ndarray, shape ((t + 1) q, q lanes)
        To them are added partial sums over samples of Lambda_s^T, see `totals_of`.
    """
    widest_vectors()
    q = couplings.shape[1]
    for s in range(couplings.shape[0] - 1, -1, -1):
        push_and_bend(curvatures, s * q, couplings[s], adjoints, partial)


call_add_adjoints = linked(add_adjoints)


@_taken_in
def totals_of(partial: np.ndarray, sums: np.ndarray) -> None:
    """Add up partial sums.

    Parameters
    ----------
    partial : ndarray, shape (at least (t + 1) q, q lanes)
        As many of each as a vector has lanes.
    sums : ndarray, shape (t + 1, q, q)
        Set.
    """
    for s in range(sums.shape[0]):
        for a in range(sums.shape[1]):
            for b in range(sums.shape[2]):
                total = 0.0
                for lane in range(b * LANES, (b + 1) * LANES):
                    total += partial[s * sums.shape[1] + a, lane]
                sums[s, a, b] = total
