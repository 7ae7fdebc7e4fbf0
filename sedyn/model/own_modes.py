"""What samples keep of their own gradients from step to step, mode by mode, and how they answer to what they keep.

What is here defines both (docs/theory.md#row-modes, docs/theory.md#effective-curvature), and the few modes that stand
for a sample's many; callers take them from `sedyn.kernels.dispatch`, which may know a faster way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.update import Update

__all__ = ["NO_MORE", "mean_answer", "move_modes", "quadratures"]

# Share of the largest eigenvalue below which the Lanczos process has no further direction.
NO_MORE = 1e-12


def move_modes(
    nodes: Float[Array, "B n"],
    weights: Float[Array, "B n"],
    decaying: int,
    carried: Float[Array, "*replicates q B n"],
    previous: Float[Array, "*replicates q B n"],
    kept: Float[Array, "*replicates q n"],
    gradients: Float[Array, "steps *replicates q n"],
    curvatures: Float[Array, "steps *replicates q q"],
    updates: Sequence[Update],
) -> tuple[Float[Array, "*replicates q B n"], Float[Array, "*replicates q B n"], Float[Array, "steps *replicates q n"]]:
    """Carry each sample's own gradients on by some steps.

    A mode is pushed by the sample's gradient, and answers with the curvature to what it carries, less what the sample
    itself has of that: the others', without the sample.

    Parameters
    ----------
    nodes, weights : array, shape (B, n)
        Eigenvalues of the modes, and the share of each that is the sample's own.
    decaying : int
        How many modes, the first ones, have the units' decay.
    carried : array, shape (..., q, B, n)
        What sample i would keep of its own gradients, were mode b all that it has.
    previous : array, shape (..., q, B, n)
        What its momentum is the difference from, see `sedyn.model.update.Update`.
    kept : array, shape (..., q, n)
        The samples' shares of what is carried.
    gradients : array, shape (S, ..., q, n)
        At each step.
    curvatures : array, shape (S, ..., q, q)
        One for all samples, at each step.
    updates : sequence of Update
        One for each step.

    Returns
    -------
    carried, previous : array
        After the last step, of the same shapes.
    kept : array, shape (S, ..., q, n)
        After each step.
    """
    xp, shares = array_namespace(carried), []
    *leading, q, modes, n = carried.shape
    for s, update in enumerate(updates):
        curvature = curvatures[s, ...]
        drive = xp.matmul(curvature, xp.reshape(carried, (*leading, q, modes * n)))
        drive = xp.reshape(drive, carried.shape)
        drive += (gradients[s, ...] - xp.matmul(curvature, kept))[..., None, :]
        drive *= nodes
        if update.unit_decay is not None:
            some = (..., slice(None, decaying), slice(None))
            drive[some] += update.unit_decay[..., None] * carried[some]
        carried, previous = update._replace(unit_decay=None)(carried, previous, drive)
        kept = xp.sum(weights * carried, axis=-2)
        shares.append(kept)
    return carried, previous, xp.stack(shares)


def quadratures(
    eigenvalues: Float[np.ndarray, " m"], shares: Float[np.ndarray, "n m"], count: int
) -> tuple[Float[np.ndarray, "n B"], Float[np.ndarray, "n B"]]:
    """Gauss quadratures of measures with common nodes, by the Lanczos process for all at once.

    Where a measure has fewer nodes the process ends, and the others get weight 0.

    Parameters
    ----------
    eigenvalues : ndarray, shape (m,)
        The common nodes.
    shares : ndarray, shape (n, m)
        Of each measure, not negative.
    count : int
        B < m nodes of each quadrature.

    Returns
    -------
    nodes, weights : ndarray, shape (n, B)
    """
    rows, scale = shares.shape[0], float(eigenvalues.max())
    total = shares.sum(axis=1)
    vector = np.sqrt(shares / np.where(total > 0, total, 1)[:, None])
    basis = np.empty((rows, count, eigenvalues.size))
    matrix = np.zeros((rows, count, count))
    for k in range(count):
        basis[:, k] = vector
        vector = eigenvalues * vector
        matrix[:, k, k] = np.einsum("rm,rm->r", vector, basis[:, k])
        if k + 1 == count:
            break
        for _ in range(2):  # twice is enough to keep the basis orthogonal to rounding
            known = np.matmul(basis[:, : k + 1], vector[:, :, None])
            vector = vector - np.matmul(np.swapaxes(known, 1, 2), basis[:, : k + 1])[:, 0]
        norm = np.linalg.norm(vector, axis=1)
        norm[norm < NO_MORE * scale] = 0
        matrix[:, k + 1, k] = matrix[:, k, k + 1] = norm
        vector = vector / np.where(norm, norm, np.inf)[:, None]
    nodes, vectors = np.linalg.eigh(matrix)
    return nodes.clip(0), total[:, None] * vectors[:, 0] ** 2


def mean_answer(
    curvatures: Float[Array, "q q n"], shares: Float[Array, " n"], kept: Float[Array, "q q"]
) -> tuple[Float[Array, "q q"], Float[Array, "q q"]]:
    """Average over samples how they answer to a push, given what is kept of it.

    Parameters
    ----------
    curvatures : array, shape (q, q, n)
        D_i, symmetric.
    shares : array, shape (n,)
        What each sample counts for, with mean 1.
    kept : array, shape (q, q)
        K, not negative: what a sample keeps of a push.

    Returns
    -------
    answer : array, shape (q, q)
        Mean of P_i (1 + K P_i)^-1 with P_i the part of D_i that has its positive eigenvalues.
    negative : array, shape (q, q)
        Mean of what is left, D_i - P_i. NaN, as the answer, where a curvature is not finite.
    """
    xp, q = array_namespace(curvatures), kept.shape[0]
    if not xp.all(xp.isfinite(curvatures)):  # there are no eigenvalues
        return xp.full_like(kept, xp.nan), xp.full_like(kept, xp.nan)
    own, answer = shares / shares.shape[0], xp.zeros_like(kept)
    negative = xp.reshape(xp.matmul(xp.reshape(curvatures, (q * q, -1)), own), (q, q))
    for i in range(own.shape[0]):  # one after another: each has another number of positive eigenvalues, R
        values, vectors = xp.linalg.eigh(curvatures[..., i])
        count = int(xp.sum(xp.astype(values > 0, xp.int64)))
        root = vectors[:, q - count :] * xp.sqrt(values[q - count :])  # P_i = B B^T, B of R columns
        across = xp.matrix_transpose(root)
        inner = xp.eye(count, dtype=kept.dtype, device=kept.device) + xp.matmul(across, xp.matmul(kept, root))
        answer += own[i] * xp.matmul(root, xp.linalg.solve(inner, across))
        negative -= own[i] * xp.matmul(root, across)
    return answer, negative
