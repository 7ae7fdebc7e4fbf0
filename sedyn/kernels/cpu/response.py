"""The adjoint pass of the gradient response on a CPU, a few samples at a time, whose adjoints all stay in cache.

`sedyn.model.adjoint.mean_response` defines what is computed, and says how the pass goes.
"""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays.compiling import compiled, widest_vectors
from sedyn.arrays.shapes import Float
from sedyn.arrays.threads import run_each
from sedyn.kernels.cpu.passes import UNITS, add_products, clear
from sedyn.kernels.cpu.several import parts_of, shares
from sedyn.kernels.cpu.tiles import bend

__all__ = ["add_adjoints", "mean_response", "samples_at_a_time"]

# Samples that are a thread's work, and bytes of the adjoints of those that are carried through the pass together.
SAMPLES, CACHED_BYTES = 512, 2**19
# Fewer samples together would leave vectors empty.
FEWEST = 16

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
    replicates, units = math.prod(leading), -(-q // UNITS) * UNITS
    stacked = np.ascontiguousarray(curvatures).reshape(replicates, *curvatures.shape[-4:])
    # R_w(r, s)[c, b] at (s, b, r q + c), rows below q zero: factors of the products with all that is known at s.
    couplings = np.zeros((replicates, iterations, units, iterations * q))
    moved = np.moveaxis(weight_response.reshape(replicates, *weight_response.shape[-4:]), (1, 2, 3, 4), (3, 1, 4, 2))
    couplings[:, :, :q, :] = moved.reshape(replicates, iterations, q, iterations * q)
    parts = parts_of(replicates, samples, SAMPLES)
    sums = np.zeros((len(parts), iterations, q, q))
    together = samples_at_a_time(iterations, q, samples)

    run_each(lambda own: add_adjoints_each(stacked, parts[own], couplings, together, sums[own]), shares(len(parts)))
    sums = sums.reshape(replicates, -1, iterations, q, q)
    total = sums.sum(axis=1).reshape(*leading, iterations, q, q)
    return np.swapaxes(total, -1, -2) / samples


def samples_at_a_time(iterations: int, q: int, samples: int) -> int:
    """Say how many samples are carried through the pass together.

    Parameters
    ----------
    iterations, q : int
        How many iterations and units the adjoints have.
    samples : int
        How many samples there are.

    Returns
    -------
    int
        A multiple of `FEWEST`.
    """
    together = CACHED_BYTES // (8 * iterations * q * q)
    return max(FEWEST, min(SAMPLES, -(-samples // FEWEST) * FEWEST, together - together % FEWEST))


@_compiled
def add_adjoints_each(
    curvatures: np.ndarray, parts: np.ndarray, couplings: np.ndarray, together: int, sums: np.ndarray
) -> None:
    """Set the sums of some parts of the samples of several replicates to those of `add_adjoints`.

    Parameters
    ----------
    curvatures, couplings : ndarray, shapes (R, t + 1, q, q, N) and (R, t + 1, q', (t + 1) q)
        As for `add_adjoints`, with an axis of replicates in front.
    parts : ndarray of int, shape (m, 3)
        Of each part the replicate, the first sample, and the one after the last.
    together : int
        How many samples are carried through the pass at a time.
    sums : ndarray, shape (m, t + 1, q, q)
        Zeros.
    """
    for number in range(parts.shape[0]):
        r, samples = parts[number, 0], (parts[number, 1], parts[number, 2])
        add_adjoints(curvatures[r], samples, couplings[r], together, sums[number])


@_taken_in
def add_adjoints(
    curvatures: np.ndarray, samples: tuple[int, int], couplings: np.ndarray, together: int, sums: np.ndarray
) -> None:
    """Add the transposed adjoints of some samples.

    Parameters
    ----------
    curvatures : ndarray, shape (t + 1, q, q, N)
    samples : tuple of int
        The first, and the one after the last.
    couplings : ndarray, shape (t + 1, q', (t + 1) q)
        At (s, b, r q + c) is R_w(r, s)[c, b], or zero for b beyond q; q' a multiple of
        `sedyn.kernels.cpu.passes.UNITS`.
    together : int
        How many samples are carried through the pass at a time.
    sums : ndarray, shape (t + 1, q, q)
        To them is added the sum over samples of Lambda_s^T.
    """
    widest_vectors()
    iterations, q = curvatures.shape[0], curvatures.shape[1]
    # One row for each iteration and each row of Lambda^T, whose columns have the samples innermost.
    adjoints, pushes = np.empty((iterations * q, q * together)), np.empty((couplings.shape[1], q * together))
    rows, sums_of_rows = curvatures.reshape(iterations * q * q, curvatures.shape[3]), sums.reshape(iterations * q, q)
    for start in range(samples[0], samples[1], together):
        count = min(together, samples[1] - start)
        for s in range(iterations - 1, -1, -1):
            clear(pushes)
            if s < iterations - 1:
                known = (s + 1) * q
                add_products(adjoints[known:], 0, couplings[s, :, known:], pushes, None)
            else:  # the unit matrix
                for a in range(q):
                    for i in range(count):
                        pushes[a, a * together + i] = 1
            bend(rows, s * q, start, pushes, together, count, adjoints, sums_of_rows)
