"""What samples keep of their own gradients from step to step, mode by mode, and how they answer to what they keep.

What is here defines both (docs/theory.md#row-modes, docs/theory.md#effective-curvature); callers take them from
`sedyn.kernels.dispatch`, which may know a faster way.
"""

from __future__ import annotations

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.update import Update

__all__ = ["mean_answer", "move_modes"]


def move_modes(
    nodes: Float[Array, "B n"],
    weights: Float[Array, "B n"],
    decaying: int,
    carried: Float[Array, "*replicates q B n"],
    previous: Float[Array, "*replicates q B n"],
    kept: Float[Array, "*replicates q n"],
    gradient: Float[Array, "*replicates q n"],
    curvature: Float[Array, "*replicates q q"],
    update: Update,
) -> tuple[Float[Array, "*replicates q B n"], Float[Array, "*replicates q B n"], Float[Array, "*replicates q n"]]:
    """Carry each sample's own gradients on by one step.

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
    gradient : array, shape (..., q, n)
    curvature : array, shape (..., q, q)
        One for all samples.
    update : Update

    Returns
    -------
    carried, previous, kept : array
        After the step, of the same shapes.
    """
    xp = array_namespace(carried)
    *leading, q, modes, n = carried.shape
    drive = xp.matmul(curvature, xp.reshape(carried, (*leading, q, modes * n)))
    drive = xp.reshape(drive, carried.shape)
    drive += (gradient - xp.matmul(curvature, kept))[..., None, :]
    drive *= nodes
    if update.unit_decay is not None:
        some = (..., slice(None, decaying), slice(None))
        drive[some] += update.unit_decay[..., None] * carried[some]
    carried, previous = update._replace(unit_decay=None)(carried, previous, drive)
    return carried, previous, xp.sum(weights * carried, axis=-2)


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
        Mean of what is left, D_i - P_i.
    """
    xp = array_namespace(curvatures)
    each, own = xp.moveaxis(curvatures, -1, 0), shares / shares.shape[0]
    values, vectors = xp.linalg.eigh(each)
    positive = xp.matmul(vectors * xp.clip(values, 0)[:, None, :], xp.matrix_transpose(vectors))
    inner = xp.eye(kept.shape[0], dtype=kept.dtype, device=kept.device) + xp.matmul(positive, kept)
    answer = xp.linalg.solve(inner, positive)
    return xp.tensordot(own, answer, axes=1), xp.tensordot(own, each - positive, axes=1)
