"""All iterations of replicates side by side on a GPU: two launches a step, and one for the test errors of all of them.

Nothing is asked of the host between steps, and nothing goes there but the number of the iteration, from which kernels
know their place. Arrays have their iterations in front, so that each launch meets those of one iteration without gaps.
"""

from __future__ import annotations

from pathlib import Path as File

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.kernels import dispatch
from sedyn.kernels.cuda.descent import pass_over, reads
from sedyn.kernels.cuda.launch import in_double_precision, macros, packed, rows
from sedyn.kernels.program import Program, form_of, program_with_form
from sedyn.model.algorithm import Descent, Path
from sedyn.model.functions import Loss
from sedyn.model.label_laws import SomeLabels
from sedyn.model.layers import Stack
from sedyn.model.network import DeepWeights
from sedyn.model.update import numbers_of

__all__ = ["average_scores", "descend_path", "error_over_shifts"]

ADVANCE, SCORES, SPREAD = (File(__file__).with_name(name) for name in ("advance.cu", "scores.cu", "spread.cu"))
ADVANCE_BLOCK, SCORES_BLOCK = 256, 128


def descend_path(matrices: Float[Array, "R n d"], scale: float, descent: Descent) -> Path | None:
    """Gradient descent on replicates side by side, by a launch of ``descend.cu`` and of ``advance.cu`` for each step.

    The lines of the definition have these in the source:

    ======================================  ================================================================
    `sedyn.descent.dynamics`                ``descend.cu`` and ``advance.cu``
    ======================================  ================================================================
    ``first_weights[0] * inputs.scales``    ``weight *= scales[column]``
    ``inputs.design.descend``               ``descend``; its sums over parts are added up by ``added_up``
    ``drive *= scales / aspect_ratio``      ``factor``
    ``update(...)``, ``of_deep_weights``    ``step_from``
    ======================================  ================================================================

    Parameters
    ----------
    matrices : array, shape (R, n, d)
    scale : float
        Each design is this times its matrix.
    descent : Descent

    Returns
    -------
    Path or None
        None where the kernels do not serve.
    """
    scales, start, network, sample_weights, updates, kicks, all_layers, curvature = descent
    (replicates, width, d), n, steps = start.shape, matrices.shape[1], len(updates)
    program = form_of(network, width, "gpu")
    numbers = numbers_of(updates, start)
    if program is None or numbers is None or not in_double_precision([start, network.labels, *network.deep]):
        return None
    weighted = network if sample_weights is None else network._replace(sample_weights=sample_weights[:, 0, :])
    own = pass_over(matrices, scale, program, weighted, curvature=curvature, scaled=True)
    if own is None:
        return None
    xp, like = array_namespace(start), {"dtype": start.dtype, "device": start.device}

    def room(iterations: int, *shape: int) -> Array:
        return xp.empty((iterations, replicates, *shape), **like)

    # At the last iteration, which no step follows, derivatives are found and not kept.
    kept = steps + 1 if curvature else 1
    trained, losses, first = room(steps + 1, width, n), room(steps + 1, n), room(steps + 1, width, d)
    gradients, parameters = room(kept, width, n), room(steps + 1, program.parameters)
    curvatures = room(kept, width, width, n) if curvature else None
    y = rows(network.labels, (replicates, *network.labels.shape[-2:]), replicates)
    first[0, ...] = start
    if program.parameters:
        parameters[0, ...] = packed(network.deep, program, (replicates,), y)
    nesterov = bool(updates and updates[0].nesterov)
    ahead, deep_ahead = (room(1, *each.shape[2:]) if nesterov else each for each in (first, parameters))
    batches = None if sample_weights is None else _iterations_first(sample_weights)
    noise = (
        None if kicks is None else (_iterations_first(kicks[0]), _deep_kicks(kicks[1], program, replicates, steps, y))
    )
    advance = backend.cuda_kernel(
        ADVANCE,
        "advance_weights",
        NUMBER=own.chosen["NUMBER"],
        INPUTS=width,
        PARAMETERS=program.parameters,
        NESTEROV=int(nesterov),
        LEARNS=int(all_layers),
        KICKED=int(kicks is not None),
    )
    grid = -(-(width * d + program.parameters) // ADVANCE_BLOCK), replicates
    before = (own.sums, own.deep, *map(np.int64, (own.sums.shape[1], n, d)))
    of_noise = (first, parameters) if noise is None else noise  # the former are not read
    after = scales, np.float64(scale * d / n), numbers, *of_noise, first, ahead, parameters, deep_ahead
    pass_through = own.ready(first, scales, y, batches, parameters, trained, losses, gradients, curvatures)
    for t in range(steps + 1):
        pass_through(t, min(t, kept - 1), min(t, steps - 1))
        if t < steps:
            advance(grid, (ADVANCE_BLOCK,), (*before, np.int64(t), np.int64(steps), *after))

    def replicates_first(array: Array) -> Array:
        return xp.moveaxis(array, 0, 1)

    return Path(
        replicates_first(trained),
        replicates_first(losses),
        replicates_first(first),
        program.unpacked(replicates_first(parameters)),
        replicates_first(gradients[:steps]) if curvature else None,
        None if curvatures is None else replicates_first(curvatures[:steps]),
    )


def average_scores(
    layers: Stack,
    loss: Loss,
    roots: Float[Array, "R iterations q kq"],
    deep: DeepWeights,
    normals: Float[Array, "R kq N"],
    labels: SomeLabels,
    weights: Float[Array, "R shifts M"],
) -> Float[Array, "R iterations shifts"] | None:
    """Average losses at all iterations over points that stand for fresh samples, by one launch of ``scores.cu``.

    The lines of the definition have these in the source:

    ==============================================  ==============================================
    `sedyn.descent.readout.quadrature_scores`       ``scores.cu``
    ==============================================  ==============================================
    ``xp.matmul(root, points.normals)``             ``own.signals[a] += root[...] * normal``
    ``dispatch.forward``                            ``Program::forward``
    ``LabelLaw.as_some``, the average over labels   ``mean += probabilities[...] * LOSS(...).value``
    ``xp.sum(... * points.weights, axis=-1)``       ``total``, added up over threads in ``totals``
    ==============================================  ==============================================

    Parameters
    ----------
    layers : Stack
    loss : Loss
    roots : array, shape (R, T + 1, q, k + q)
        Take the points' standard normals to pre-activations.
    deep : tuple of array
        With axes (R, T + 1) in front.
    normals : array, shape (R, k + q, N)
    labels : SomeLabels
        Of the points.
    weights : array, shape (R, shifts, N / shifts)
        Of the points, those of one shift after those of another.

    Returns
    -------
    array, shape (R, T + 1, shifts), or None
        None if the network is wide, or it or the loss has no form here.
    """
    (replicates, iterations, width, given), (_, shifts, size) = roots.shape, weights.shape
    program = program_with_form(layers, width, "gpu")
    if program is None or loss.cuda is None:
        return None
    choices = labels.probabilities.shape[-2]
    found = array_namespace(roots).empty((replicates, iterations, shifts), dtype=roots.dtype, device=roots.device)
    doubles = width * given + program.parameters + SCORES_BLOCK
    chosen = macros(program, loss, weighted=False, curvature=False)
    chosen |= {"THREADS": SCORES_BLOCK, "GIVEN": given, "CHOICES": choices, "CLUSTER": 1}
    flat = rows(roots, roots.shape, replicates * iterations)
    arguments = (
        flat,
        packed(deep, program, (replicates, iterations), flat),
        rows(normals, normals.shape, replicates),
        *(rows(each, (replicates, *each.shape[1:]), replicates) for each in labels),
        rows(weights, weights.shape, replicates),
        *map(np.int64, (iterations, size)),
        found,
    )
    kernel = backend.cuda_kernel(SCORES, "average", shared_memory=8 * doubles, **chosen)
    kernel((shifts * iterations, replicates), (SCORES_BLOCK,), arguments)
    return found


def error_over_shifts(
    losses: Float[Array, "R iterations shifts"], more: float | Float[Array, " R"]
) -> tuple[Float[Array, "R iterations"], Float[Array, "R iterations"]]:
    """Scores and standard errors from the mean losses of shifts, by one launch of ``spread.cu``.

    Parameters
    ----------
    losses : array, shape (R, T + 1, shifts)
    more : float or array, shape (R,)

    Returns
    -------
    scores, standard_errors : array, shape (R, T + 1)
    """
    (replicates, iterations, shifts), xp = losses.shape, array_namespace(losses)
    found = xp.empty((2, replicates, iterations), dtype=losses.dtype, device=losses.device)
    each = backend.constant(np.full(replicates, more), "gpu") if isinstance(more, float) else more
    each = backend.contiguous(xp.broadcast_to(each, (replicates,)))
    kernel = backend.cuda_kernel(SPREAD, "error_over_shifts", THREADS=SCORES_BLOCK)
    arguments = losses, each, *map(np.int64, (replicates, iterations, shifts)), found
    kernel((-(-replicates * iterations // SCORES_BLOCK), 1), (SCORES_BLOCK,), arguments)
    return found[0, ...], found[1, ...]


def _iterations_first(array: Float[Array, "R steps *shape"]) -> Float[Array, "steps R *shape"]:
    return backend.contiguous(array_namespace(array).moveaxis(array, 1, 0))


def _deep_kicks(
    kicks: DeepWeights, program: Program, replicates: int, steps: int, otherwise: Float[Array, "_ _"]
) -> Float[Array, "..."]:
    """Gradient noise of the layers above, shape (T, R, P); where there are none what is not read."""
    each = packed(kicks, program, (replicates, steps), otherwise)
    if not program.parameters:
        return each
    return _iterations_first(array_namespace(each).reshape(each, (replicates, steps, program.parameters)))


dispatch.descend_path.register(lambda matrices, *_: reads(matrices), descend_path)
dispatch.error_over_shifts.register(lambda losses, more: in_double_precision([losses]), error_over_shifts)
dispatch.average_scores.register(lambda layers, loss, roots, *_: in_double_precision([roots]), average_scores)
