"""The gradient response, a mean over samples of dg^t/dz^s, by one backward (adjoint) pass per iteration.

State evolution averages over draws, the data-driven estimate over training samples. Arrays may have the same further
axes in front, replicates that are run together. What is here defines the average; callers take it from
`sedyn.kernels.dispatch`, which may know a faster way.
"""

from __future__ import annotations

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float

__all__ = ["apply_per_sample", "mean_response", "onsager_term"]

# A chunk of samples is carried through the whole pass while its adjoints stay in cache; a block of iterations makes
# the matrix products wide enough to run at the speed of arithmetic rather than of memory.
SAMPLES_PER_CHUNK = 2048
ITERATIONS_PER_BLOCK = 8


def mean_response(
    curvatures: Float[Array, "... t q q N"], weight_response: Float[Array, "... t t q q"]
) -> Float[Array, "... t q q"]:
    """Average over samples of dg^t/dz^s for s = 0..t (docs/theory.md#adjoint-response).

    With Lambda_t = D^t and Lambda_s = (sum_{s<r<=t} Lambda_r R_w(r, s)) D^s the answer is the mean of Lambda_s.
    The sum is the same for every sample but for Lambda, so it is a matrix product; only the product with D^s is done
    sample by sample. Work is O(N t^2 q^3), memory O(N t q^2) for the curvatures.

    Parameters
    ----------
    curvatures : array, shape (..., t + 1, q, q, N)
        D^0..D^t, each symmetric.
    weight_response : array, shape (..., t + 1, t + 1, q, q)
        R_w(r, s), zero unless s < r.

    Returns
    -------
    array, shape (..., t + 1, q, q)
    """
    xp = array_namespace(curvatures)
    samples = curvatures.shape[-1]
    total = xp.zeros(curvatures.shape[:-1], dtype=curvatures.dtype, device=curvatures.device)
    # (s, b, r, c) -> R_w(r, s)[c, b]: rows are what a product for Lambda_s needs.
    couplings = xp.moveaxis(weight_response, (-4, -3, -2, -1), (-2, -4, -1, -3))
    for start in range(0, samples, SAMPLES_PER_CHUNK):
        chunk = curvatures[..., start : min(start + SAMPLES_PER_CHUNK, samples)]
        total += xp.sum(_transposed_adjoints(chunk, couplings), axis=-1)
    return xp.matrix_transpose(total) / samples


def _transposed_adjoints(curvatures: Array, couplings: Array) -> Array:
    """Lambda_s^T for every s and sample, shape (..., t + 1, q, q, N)."""
    xp = array_namespace(curvatures)
    *replicates, iterations, q, _, samples = curvatures.shape
    adjoints = xp.empty(curvatures.shape, dtype=curvatures.dtype, device=curvatures.device)
    adjoints[..., -1, :, :, :] = curvatures[..., -1, :, :, :]

    def pushed(s0: int, s1: int, r0: int, r1: int) -> Array:
        """Sum over r in [r0, r1) of R_w(r, s)^T Lambda_r^T, for s in [s0, s1)."""
        matrix = xp.reshape(couplings[..., s0:s1, :, r0:r1, :], (*replicates, (s1 - s0) * q, (r1 - r0) * q))
        known = xp.reshape(adjoints[..., r0:r1, :, :, :], (*replicates, (r1 - r0) * q, q * samples))
        return xp.reshape(xp.matmul(matrix, known), (*replicates, s1 - s0, q, q, samples))

    last = iterations - 1
    for stop in range(last, 0, -ITERATIONS_PER_BLOCK):
        first = max(0, stop - ITERATIONS_PER_BLOCK)
        block = pushed(first, stop, stop, iterations)
        for s in range(stop - 1, first - 1, -1):
            push = block[..., s - first, :, :, :]
            if s + 1 < stop:
                push = push + pushed(s, s + 1, s + 1, stop)[..., 0, :, :, :]
            adjoints[..., s, :, :, :] = apply_per_sample(curvatures[..., s, :, :, :], push)
    return adjoints


def apply_per_sample(
    matrices: Float[Array, "... a b N"], blocks: Float[Array, "... b c N"]
) -> Float[Array, "... a c N"]:
    """Multiply a matrix and a block for each sample.

    Parameters
    ----------
    matrices : array, shape (..., a, b, N)
    blocks : array, shape (..., b, c, N)

    Returns
    -------
    array, shape (..., a, c, N)
    """
    total = matrices[..., :, 0, None, :] * blocks[..., None, 0, :, :]
    for inner in range(1, blocks.shape[-3]):
        total += matrices[..., :, inner, None, :] * blocks[..., None, inner, :, :]
    return total


def onsager_term(
    weight_response: Float[Array, "... s p q"], gradients: Float[Array, "... s q N"]
) -> Float[Array, "... p N"]:
    """Sum over s of R_w(t, s) g^s, the Onsager term of pre-activations (docs/theory.md#trained-pre-activations).

    Parameters
    ----------
    weight_response : array, shape (..., S, p, q)
        R_w(t, s), or that of several t one below the other.
    gradients : array, shape (..., S, q, N)

    Returns
    -------
    array, shape (..., p, N)
    """
    xp = array_namespace(gradients)
    *replicates, iterations, q, samples = gradients.shape
    row = xp.reshape(xp.moveaxis(weight_response, -3, -2), (*replicates, weight_response.shape[-2], iterations * q))
    return xp.matmul(row, xp.reshape(gradients, (*replicates, iterations * q, samples)))
