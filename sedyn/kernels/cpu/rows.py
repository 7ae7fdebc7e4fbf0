"""What overlaps and averages over rows are made of, compiled: `sedyn.model.row_averages.row_moments`."""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays.compiling import compiled, widest_vectors
from sedyn.arrays.shapes import Float
from sedyn.kernels.cpu.functions import exp
from sedyn.kernels.cpu.passes import UNITS, call_products

__all__ = ["row_moments"]

# Test functions of rows: |w|, exp(-w^2/2), |w - mu| and |w - w^0|, as in `sedyn.model.row_averages.ROW_FUNCTIONS`.
FUNCTIONS = 4

_compiled = compiled({"reassoc", "contract", "nsz"}, error_model="numpy")


@_compiled
def fill_moments(weights: np.ndarray, start: np.ndarray, scales: np.ndarray, found: np.ndarray) -> None:
    """Set the moments of several weights, so many in a row with one start.

    Parameters
    ----------
    weights, start : ndarray, shapes (M, q, d) and (R, q + k, d)
        R divides M.
    scales : ndarray, shape (d,)
    found : ndarray, shape (M, q, 2 q + k + FUNCTIONS)
        Set.
    """
    widest_vectors()
    count, q, d = weights.shape
    known, units = start.shape[1], -(-q // UNITS) * UNITS
    rows, scaled, moments = np.empty((q + known, d)), np.zeros((units, d)), np.empty((units, q + known))
    for m in range(count):
        own, beside = weights[m], start[m // (count // start.shape[0])]
        for a in range(q):
            for j in range(d):
                scaled[a, j] = own[a, j] * scales[j]
            for j in range(d):
                rows[a, j] = scaled[a, j]
        for a in range(known):
            for j in range(d):
                rows[q + a, j] = beside[a, j] * scales[j]
        call_products(rows, 0, scaled, moments, None)
        for a in range(q):
            for b in range(q + known):
                found[m, a, b] = moments[a, b]
            size = bump = to_signal = to_start = 0.0
            for j in range(d):
                weight = own[a, j]
                size += abs(weight)
                bump += exp(-0.5 * weight * weight)
                to_signal += abs(weight - beside[q, j])
                to_start += abs(weight - beside[a, j])
            found[m, a, q + known], found[m, a, q + known + 1] = size, bump
            found[m, a, q + known + 2], found[m, a, q + known + 3] = to_signal, to_start


def row_moments(
    weights: Float[np.ndarray, "*replicates q d"], start: Float[np.ndarray, "... qk d"], scales: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "*replicates q _"]:
    """Sum over rows, for arrays of numpy in double precision; see `sedyn.model.row_averages.row_moments`.

    Parameters
    ----------
    weights : ndarray, shape (..., q, d)
    start : ndarray, shape (..., q + k, d)
    scales : ndarray, shape (d,)

    Returns
    -------
    ndarray, shape (..., q, 2 q + k + functions)
    """
    *leading, q, _ = weights.shape
    known = start.shape[-2]
    found = np.empty((math.prod(leading), q, q + known + FUNCTIONS))
    weights, start = (np.ascontiguousarray(each).reshape(-1, *each.shape[-2:]) for each in (weights, start))
    fill_moments(weights, start, np.ascontiguousarray(scales), found)
    return found.reshape(*leading, q, -1)
