"""CUDA kernels in place of a chain of library calls, where they save launches and memory traffic by a large factor.

On a GPU an elementwise operation is a launch of its own that reads and writes whole arrays; these kernels keep a sample
in registers from one reading to one writing. benchmarks/results/roofline.md has the counts. Sources are in this folder.
They serve cupy's arrays in double precision, networks that are not wide, and functions of which the source has a form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float, Shaped
from sedyn.kernels import dispatch
from sedyn.kernels.program import MOST_UNITS, Program, form_of, program_with_form
from sedyn.model.functions import ACTIVATIONS, LOSSES, Loss
from sedyn.model.layers import Stack
from sedyn.model.network import DeepWeights, Derivatives, Network
from sedyn.model.problem import Problem

__all__ = [
    "ADJOINTS_PER_CHUNK",
    "adjoint_memory",
    "differentiate",
    "forward",
    "in_double_precision",
    "macros",
    "mean_response",
    "packed",
    "rows",
]

NETWORK, RESPONSE = (Path(__file__).with_name(name) for name in ("network.cu", "response.cu"))
# How the source writes what it has.
FORMS = {
    "activation": r"Jet (\w+)\(double x\)",
    "loss": r"(?:Jet|Losses) (\w+)\((?:double f, double y|const double\* f, const double\* y)\) {\n",
}
for registry in (ACTIVATIONS, LOSSES):
    dispatch.require_form(registry, "cuda", NETWORK, FORMS[registry.kind])
BLOCK = 128
# Threads of one replicate: with more samples each thread takes several, so that sums over samples stay short to write.
MOST_THREADS = 2**16
# Numbers that an adjoint pass keeps of each iteration it works on, in registers.
REGISTERS = 64
MOST_ITERATIONS = 8
# Adjoints held in memory at a time, in numbers.
ADJOINTS_PER_CHUNK = 2**27


def differentiate(h: Float[Array, "... q N"], network: Network, *, curvature: bool = True) -> Derivatives:
    """Losses and derivatives of the network by one launch of ``network.cu``.

    What each layer does in the definition is an operation in the source, three times:

    ==========================================  =========================================================
    `sedyn.model.network.differentiate`         ``network.cu``
    ==========================================  =========================================================
    ``layers.forward``, signals                 ``signals``, ``slopes`` and ``bends`` of activations
    ``loss.jet(outputs, labels, order)``        ``error``; ``weight`` is the batch's
    ``layers.backward``, ``pull``               ``pulls``
    ``layers.backward``, ``gradient``           ``sums`` of each thread, added up here, over ``samples``
    ``layers.forward``, tangents                ``tangents``, once the pulls are known
    ``layers.backward``, ``bend``               ``second += tangents^T tangents * bends``, its upper triangle
    ``_through_outputs``                        the same with ``error.bends``
    ==========================================  =========================================================

    Parameters
    ----------
    h : array, shape (..., q, N)
    network : Network
    curvature : bool, optional

    Returns
    -------
    Derivatives
    """
    *leading, width, samples = h.shape
    sample_weights, program = network.sample_weights, form_of(network, width, "gpu")
    assert program is not None  # or this is not called
    xp, replicates = array_namespace(h), math.prod(leading)
    like: dict[str, Any] = {"dtype": h.dtype, "device": h.device}
    y = rows(network.labels, (*leading, *network.labels.shape[-2:]), replicates)
    value, gradient = xp.empty((*leading, samples), **like), xp.empty(h.shape, **like)
    second = xp.empty((*leading, width, width, samples), **like) if curvature else None
    blocks = -(-min(samples, MOST_THREADS) // BLOCK)
    sums = xp.empty((*leading, program.parameters, blocks * BLOCK), **like)
    chosen = macros(program, network.loss, weighted=sample_weights is not None, curvature=curvature)
    kernel = backend.cuda_kernel(NETWORK, "differentiate", **chosen)
    kernel(
        (blocks, replicates),
        (BLOCK,),
        (
            rows(h, h.shape, replicates),
            y,
            y if sample_weights is None else rows(sample_weights, (*leading, samples), replicates),  # else not read
            packed(network.deep, program, leading, y),
            np.int64(samples),
            value,
            gradient,
            gradient if second is None else second,  # then not written
            sums,
        ),
    )
    return Derivatives(value, gradient, program.unpacked(xp.sum(sums, axis=-1) / samples), second)


@lru_cache(maxsize=256)
def macros(program: Program, loss: Loss, *, weighted: bool, curvature: bool) -> dict[str, int | str]:
    """Say what ``network.cu`` is compiled for, as it says at its top.

    Parameters
    ----------
    program : Program
    loss : Loss
    weighted : bool
        Whether samples carry mini-batch weights.
    curvature : bool
        Whether D is wanted.

    Returns
    -------
    dict
    """
    *others, last = (f"{each.cuda}(x)" for each in program.activations or [ACTIVATIONS["identity"]])
    return {
        "INPUTS": program.inputs,
        "ROWS": program.rows,
        "OUTPUT": program.outputs.start,
        "OUTPUTS": len(program.outputs),
        "PARAMETERS": program.parameters,
        "OPERATIONS": len(program.operations),
        "PROGRAM": ",".join(f"{{{','.join(map(str, map(int, each)))}}}" for each in program.operations) or "{}",
        "REACHED": ",".join(f"{sum(2**unit for unit, yes in enumerate(row) if yes)}u" for row in program.reached),
        "ACTIVATE": "".join(f"which=={number}?{each}:" for number, each in enumerate(others)) + last,
        "LOSS": str(loss.cuda) if loss.joint else f"each<{loss.cuda}>",
        "JOINT": int(loss.joint),
        "LOSS_NUMBERS": ",".join(map(repr, loss.numbers)) or "0",
        "WEIGHTED": int(weighted),
        "CURVATURE": int(curvature),
    }


def adjoint_memory(problem: Problem, samples: int) -> int:
    """Bytes of the adjoints of `sedyn.model.adjoint.mean_response` on a GPU, of as many samples as are held at a time.

    Parameters
    ----------
    problem : Problem
    samples : int
        Of one replicate, or of the theory.

    Returns
    -------
    int
    """
    return 8 * min(samples * problem.steps * problem.units**2, ADJOINTS_PER_CHUNK)


def mean_response(
    curvatures: Float[Array, "*replicates t q q N"], weight_response: Float[Array, "*replicates t t q q"]
) -> Float[Array, "*replicates t q q"]:
    """Average over samples of dg^t/dz^s, by launches of ``response.cu``.

    The lines of the definition have these in the source beside them:

    =================================================  ============================================================
    `sedyn.model.adjoint`                              ``response.cu``, for Lambda itself, not its transpose
    =================================================  ============================================================
    ``adjoints[-1] = curvatures[-1]``                  ``lambda`` of ``last``
    ``block = pushed(first, stop, stop, iterations)``  ``sums[j] += known * R_w(r, s)``, r from ``stop`` to ``last``
    ``push + pushed(s, s + 1, s + 1, stop)``           ``sums[k] += found * R_w(s, s')``, once Lambda_s is known
    ``apply_per_sample(curvatures[s], push)``          ``found = sums[j] * D^s``
    =================================================  ============================================================

    Parameters
    ----------
    curvatures : array, shape (..., t + 1, q, q, N)
        At most one axis of replicates in front.
    weight_response : array, shape (..., t + 1, t + 1, q, q)

    Returns
    -------
    array, shape (..., t + 1, q, q)
    """
    *leading, iterations, width, _, samples = curvatures.shape
    xp, replicates = array_namespace(curvatures), math.prod(leading)
    stacked = xp.reshape(curvatures, (1, *curvatures.shape)) if not leading else curvatures
    # Of several replicates and iterations side by side those that are there are a slice, which need not be copied.
    if not backend.is_contiguous(stacked[0, 0, ...]):
        stacked = backend.contiguous(stacked)
    strides = tuple(np.int64(each // stacked.itemsize) for each in stacked.strides[:2])
    couplings = backend.contiguous(weight_response)
    kept = max(1, min(MOST_ITERATIONS, REGISTERS // width**2))
    kernel = backend.cuda_kernel(RESPONSE, "adjoints", WIDTH=width, ITERATIONS=kept)
    chunk = max(BLOCK, ADJOINTS_PER_CHUNK // (replicates * iterations * width**2))
    like: dict[str, Any] = {"dtype": curvatures.dtype, "device": curvatures.device}
    total = xp.zeros((replicates, iterations, width, width), **like)
    for first in range(0, samples, chunk):
        count = min(chunk, samples - first)
        adjoints = xp.empty((replicates, iterations, width, width, count), **like)
        sizes = (np.int64(size) for size in (samples, first, count, iterations))
        arguments = (stacked, *strides, couplings, *sizes, adjoints)
        kernel((-(-count // BLOCK), replicates), (BLOCK,), arguments)
        total += xp.sum(adjoints, axis=-1)
    return xp.reshape(total, curvatures.shape[:-1]) / samples


def forward(h: Float[Array, "... q N"], deep: DeepWeights, layers: Stack) -> Float[Array, "... C N"]:
    """Outputs of the network by one launch of ``network.cu``, see `sedyn.model.network.forward`.

    Parameters
    ----------
    h : array, shape (..., q, N)
    deep : tuple of array
    layers : Stack

    Returns
    -------
    array, shape (..., C, N)
    """
    *leading, width, samples = h.shape
    program, xp, replicates = program_with_form(layers, width, "gpu"), array_namespace(h), math.prod(leading)
    assert program is not None  # or this is not called
    outputs = xp.empty((*leading, len(program.outputs), samples), dtype=h.dtype, device=h.device)
    # Any loss will do, where none is asked for.
    chosen = macros(program, LOSSES["squared"], weighted=False, curvature=False)
    kernel = backend.cuda_kernel(NETWORK, "forward", **chosen)
    flat = rows(h, h.shape, replicates)
    arguments = flat, packed(deep, program, leading, flat), np.int64(samples), outputs
    kernel((-(-samples // BLOCK), replicates), (BLOCK,), arguments)
    return outputs


def packed(
    deep: DeepWeights, program: Program, leading: Sequence[int], otherwise: Float[Array, "_ _"]
) -> Float[Array, "R _"]:
    """Bring the parameters of networks to one row for each replicate, in the order of the program.

    Parameters
    ----------
    deep : tuple of array
    program : Program
    leading : sequence of int
        Sizes of the axes of replicates, which the parameters are brought to.
    otherwise : array
        Taken where the program has no parameters, to be handed to a kernel that does not read it.

    Returns
    -------
    array, shape (R, P)
    """
    replicates = math.prod(leading)
    each = [rows(own, (*leading, *shape), replicates) for own, shape in zip(deep, program.shapes, strict=True)]
    if len(each) < 2:
        return each[0] if each else otherwise
    return array_namespace(*each).concat(each, axis=1)


def rows(array: Shaped[Array, "..."], shape: tuple[int, ...], replicates: int) -> Shaped[Array, "R _"]:
    """Bring an array to a shape and then to one contiguous row for each replicate.

    Parameters
    ----------
    array : array
    shape : tuple of int
    replicates : int
        How many there are in the first axes of the shape.

    Returns
    -------
    array, shape (R, ...)
    """
    xp = array_namespace(array)
    whole = array if array.shape == shape else xp.broadcast_to(array, shape)
    return xp.reshape(backend.contiguous(whole), (replicates, -1))


def in_double_precision(arrays: Iterable[Shaped[Array, "..."] | None]) -> bool:
    """Whether arrays are all there, and those that kernels take: cupy's, in double precision."""
    return all(x is not None and backend.on_cuda(x) and x.dtype == np.float64 for x in arrays)


def _differentiates(h: Array, network: Network, *, curvature: bool = True) -> bool:
    weights = [] if network.sample_weights is None else [network.sample_weights]
    if not in_double_precision([h, network.labels, *network.deep, *weights]):
        return False
    return form_of(network, h.shape[-2], "gpu") is not None


def _averages(curvatures: Array, weight_response: Array) -> bool:
    fits = curvatures.ndim <= 5 and curvatures.shape[-2] <= MOST_UNITS["gpu"]
    return fits and in_double_precision([curvatures, weight_response])


def _goes_forward(h: Array, deep: DeepWeights, layers: Stack) -> bool:
    return in_double_precision([h, *deep]) and program_with_form(layers, h.shape[-2], "gpu") is not None


dispatch.forward.register(_goes_forward, forward)
dispatch.differentiate.register(_differentiates, differentiate)
dispatch.mean_response.register(_averages, mean_response)
