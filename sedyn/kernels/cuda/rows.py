"""First-layer rows on a GPU, one launch for all replicates: where they start, and what is observed of them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.kernels import dispatch
from sedyn.kernels.cuda.launch import in_double_precision
from sedyn.kernels.program import MOST_UNITS
from sedyn.model.initialization import bounds_of_groups, mixing_of
from sedyn.model.problem import Problem
from sedyn.model.row_averages import ROW_FUNCTIONS

__all__ = ["initial_weights_and_signals", "row_moments"]

ROWS = Path(__file__).with_name("rows.cu")
# Rows whose Gram matrix a thread keeps in registers; features of a group, which is the work of one block.
MOST_ROWS, MOST_FEATURES = 12, 2**15
LEAST_THREADS, MOST_THREADS = 32, 256


def initial_weights_and_signals(problem: Problem, normals: Float[Array, "R qk d"]) -> Float[Array, "R qk d"]:
    """Make rows orthogonal and mix them, by one launch of ``rows.cu``.

    ====================================================  ===========================================================
    `sedyn.model.initialization`                          ``starting_rows``
    ====================================================  ===========================================================
    ``bounds_of_groups``                                  ``bounds``
    ``backend.orthonormal_rows``, `factor`, twice         ``root_of`` and ``inverse_of``, two turns
    ``* math.sqrt(normals.shape[-1])``                    ``norm``
    ``xp.matmul(mixing, normals)``                        ``mixed``
    ====================================================  ===========================================================

    Parameters
    ----------
    problem : Problem
    normals : array, shape (R, q + k, d)

    Returns
    -------
    array, shape (R, q + k, d)
    """
    replicates, _, d = normals.shape
    bounds, found = bounds_of_groups(problem), array_namespace(normals).empty_like(normals)
    threads = _threads(_largest(bounds))
    chosen = {"UNITS": problem.units, "SIGNALS": problem.signals, "THREADS": threads}
    constants = (backend.constant(each, "gpu") for each in (np.array(bounds, np.int64), mixing_of(problem).T.copy()))
    kernel = backend.cuda_kernel(ROWS, "starting_rows", **chosen)
    kernel((len(bounds) - 1, replicates), (threads,), (normals, *constants, np.int64(d), found))
    return found


def row_moments(
    weights: Float[Array, "*replicates q d"], start: Float[Array, "... qk d"], scales: Float[Array, " d"]
) -> Float[Array, "*replicates q _"]:
    """Sum over rows, by one launch of ``rows.cu``.

    ====================================================  ===========================================================
    `sedyn.model.row_averages`                            ``row_moments``
    ====================================================  ===========================================================
    ``gram``                                              ``moments[b]``
    ``with_start``                                        ``moments[UNITS + b]``
    `row_sums`                                            the last of them
    ====================================================  ===========================================================

    Parameters
    ----------
    weights : array, shape (..., q, d)
        With an axis of replicates in front, and perhaps one of iterations after it.
    start : array, shape (..., q + k, d)
        With as many, the second of length 1.
    scales : array, shape (d,)

    Returns
    -------
    array, shape (..., q, 2 q + k + functions)
    """
    *leading, q, d = weights.shape
    replicates, iterations = leading[0], math.prod(leading[1:])
    xp, signals = array_namespace(weights), start.shape[-2] - q
    shape = (*leading, q, 2 * q + signals + len(ROW_FUNCTIONS))
    found, threads = xp.empty(shape, dtype=weights.dtype, device=weights.device), _threads(d)
    strides = weights.strides[0], weights.strides[1] if len(leading) > 1 else 0, start.strides[0]
    of_replicate, of_iteration, of_start = (np.int64(each // weights.itemsize) for each in strides)
    kernel = backend.cuda_kernel(ROWS, "row_moments", UNITS=q, SIGNALS=signals, THREADS=threads)
    sizes = np.int64(d), np.int64(iterations)
    arguments = weights, of_replicate, of_iteration, start, of_start, scales, *sizes, found
    kernel((q * iterations, replicates), (threads,), arguments)
    return found


def _threads(features: int) -> int:
    """Threads of a block, a power of two of warps."""
    return min(MOST_THREADS, max(LEAST_THREADS, 1 << (features - 1).bit_length()))


def _largest(bounds: tuple[int, ...]) -> int:
    """Features of the largest group."""
    return max(stop - start for start, stop in itertools.pairwise(bounds))


def _starts(problem: Problem, normals: Array) -> bool:
    if not (in_double_precision([normals]) and normals.ndim == 3 and backend.is_contiguous(normals)):
        return False
    if problem.initialization != "exact" or normals.shape[1] > MOST_ROWS:
        return False
    return _largest(bounds_of_groups(problem)) <= MOST_FEATURES


def _observes(weights: Array, start: Array, scales: Array) -> bool:
    if not in_double_precision([weights, start, scales]):
        return False
    q, leading = weights.shape[-2], weights.ndim - 2
    fits = q <= MOST_UNITS["gpu"] and start.shape[-2] <= MOST_ROWS and leading in (1, 2)
    alike = start.shape[: weights.ndim - 2] == (*weights.shape[:1], *(1,) * (leading - 1))
    return fits and alike and all(_rows_follow(each) for each in (weights, start)) and backend.is_contiguous(scales)


def _rows_follow(array: Array) -> bool:
    """Whether the last two axes lie in memory without gaps."""
    return array.strides[-1] == array.itemsize and array.strides[-2] == array.itemsize * array.shape[-1]


dispatch.initial_weights_and_signals.register(_starts, initial_weights_and_signals)
dispatch.row_moments.register(_observes, row_moments)
