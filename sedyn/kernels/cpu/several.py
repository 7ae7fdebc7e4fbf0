"""Networks of several replicates on a CPU: what compiled code needs of them, and its answers as arrays.

`sedyn.model.network` defines what is computed.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float, Integer
from sedyn.arrays.threads import run_each, thread_count
from sedyn.kernels.cpu.network import (
    CompiledNetwork,
    addresses_of,
    differentiate_parts,
    forward_parts,
    operations_of,
    reached_by,
)
from sedyn.kernels.program import Program, form_of
from sedyn.model.functions import Loss
from sedyn.model.network import DeepWeights, Derivatives, Network

__all__ = ["Networks", "differentiate", "forward", "networks_of", "packed", "parts_of", "samples_together", "shares"]

# The most samples that go through the network together, and bytes of what it makes of them, which stay in cache.
MOST_TOGETHER, NETWORK_BYTES = 128, 2**18
# Samples of a part: sums over samples are those of such parts, whatever the number of threads.
SAMPLES = 2**12


class Networks(NamedTuple):
    """Networks of R replicates, as compiled functions take them.

    Attributes
    ----------
    program : Program
    shared : CompiledNetwork
        All in which they agree, and the rest of one of them.
    parameters, labels, sample_weights : ndarray, shapes (R, P), (R, C, N) and (R, N) or (R, 0)
        Of each.
    """

    program: Program
    shared: CompiledNetwork
    parameters: Float[np.ndarray, "R P"]
    labels: Float[np.ndarray, "R C N"]
    sample_weights: Float[np.ndarray, "R _"]


def networks_of(network: Network, leading: tuple[int, ...], inputs: int) -> Networks | None:
    """Bring networks to the form that compiled functions take.

    Parameters
    ----------
    network : Network
        With axes of replicates in front.
    leading : tuple of int
        Sizes of these axes, which those of the network are brought to.
    inputs : int
        Units of the first layer.

    Returns
    -------
    Networks or None
        None if the network is wide or has no compiled form.
    """
    program, weights = form_of(network, inputs, "cpu"), network.sample_weights
    if program is None:
        return None
    parameters = packed(network.deep, program, leading)
    labels = _rows(network.labels, leading, network.labels.shape[-2:])
    own = np.empty((len(labels), 0)) if weights is None else _rows(weights, leading, labels.shape[-1:])
    shared = _without_samples(program, network.loss)
    shared = shared._replace(parameters=parameters[0], labels=labels[0], sample_weights=own[0])
    return Networks(program, shared, parameters, labels, own)


@lru_cache(maxsize=256)
def _without_samples(program: Program, loss: Loss) -> CompiledNetwork:
    """All of a network but its parameters, labels and weights of samples, which are empty."""
    return CompiledNetwork(
        operations_of(program),
        addresses_of(program, loss.compiled),
        program.rows,
        program.outputs.start,
        np.empty(0),
        int(loss.joint),
        np.array(loss.numbers, dtype=np.float64),
        np.empty((0, 0)),
        np.empty(0),
        reached_by(program),
    )


def samples_together(program: Program, *, curvature: bool) -> int:
    """Say how many samples go through a network together.

    Parameters
    ----------
    program : Program
    curvature : bool
        Whether D is wanted.
    """
    numbers = program.rows * (3 + program.inputs * curvature)
    return max(16, min(MOST_TOGETHER, NETWORK_BYTES // (8 * numbers) // 16 * 16))


def differentiate(h: Float[np.ndarray, "... q N"], network: Network, *, curvature: bool = True) -> Derivatives:
    """Losses and derivatives of the network, see `sedyn.model.network.differentiate`.

    Parameters
    ----------
    h : ndarray, shape (..., q, N)
    network : Network
        It has a compiled form.
    curvature : bool, optional

    Returns
    -------
    Derivatives
    """
    *leading, q, samples = h.shape
    networks, replicates = networks_of(network, tuple(leading), q), math.prod(leading)
    assert networks is not None  # or this is not called
    flat = np.ascontiguousarray(h).reshape(replicates, q, samples)
    losses, gradients = np.empty((replicates, samples)), np.empty(flat.shape)
    curvatures = np.empty((replicates, q, q, samples) if curvature else (replicates, 0, 0, 0))
    parts = parts_of(replicates, samples, SAMPLES)
    sums = np.empty((len(parts), networks.program.parameters))
    together = samples_together(networks.program, curvature=curvature)
    found = losses, gradients
    run_each(
        lambda own: differentiate_parts(*networks[1:], parts[own], together, flat, *found, sums[own], curvatures),
        shares(len(parts)),
    )
    sums = sums.reshape(*leading, len(parts) // replicates, sums.shape[1])
    deep = networks.program.unpacked(sums.sum(axis=-2) / samples)
    second = curvatures.reshape(*leading, q, q, samples) if curvature else None
    return Derivatives(losses.reshape(*leading, samples), gradients.reshape(h.shape), deep, second)


def forward(program: Program, h: Float[np.ndarray, "... q N"], deep: DeepWeights) -> Float[np.ndarray, "... C N"]:
    """Outputs of the network, see `sedyn.model.network.forward`.

    Parameters
    ----------
    program : Program
    h : ndarray, shape (..., q, N)
    deep : tuple of ndarray

    Returns
    -------
    ndarray, shape (..., C, N)
    """
    *leading, q, samples = h.shape
    replicates = math.prod(leading)
    flat = np.ascontiguousarray(h).reshape(replicates, q, samples)
    outputs = np.empty((replicates, len(program.outputs), samples))
    parameters = packed(deep, program, tuple(leading))
    given = operations_of(program), addresses_of(program), program.rows, program.outputs.start, parameters
    together = samples_together(program, curvature=False)
    parts = parts_of(replicates, samples, SAMPLES)
    run_each(lambda own: forward_parts(*given, parts[own], together, flat, outputs), shares(len(parts)))
    return outputs.reshape(*leading, -1, samples)


@lru_cache(maxsize=64)
def parts_of(replicates: int, samples: int, most: int) -> Integer[np.ndarray, "parts 3"]:
    """Cut the samples of each replicate into parts.

    Parameters
    ----------
    replicates, samples : int
        How many replicates there are, and samples of each.
    most : int
        Samples of a part, but for the last one of a replicate, which may have fewer.

    Returns
    -------
    ndarray of int, shape (parts, 3)
        Of each part the replicate, the first sample, and the one after the last; not to be written to.
    """
    starts = np.arange(0, samples, most)
    each = np.stack([starts, np.minimum(starts + most, samples)], axis=1)
    return np.column_stack([np.repeat(np.arange(replicates), starts.size), np.tile(each, (replicates, 1))])


def shares(count: int) -> list[slice]:
    """What threads do of so many pieces of work."""
    size = -(-count // thread_count())
    return [slice(start, start + size) for start in range(0, count, size)]


def packed(deep: DeepWeights, program: Program, leading: tuple[int, ...]) -> Float[np.ndarray, "R P"]:
    """Put the parameters of each replicate side by side.

    Parameters
    ----------
    deep : tuple of ndarray
    program : Program
    leading : tuple of int
        Sizes of the axes in front, to which those of the parameters are brought.

    Returns
    -------
    ndarray, shape (R, P)
    """
    rows = [_rows(each, leading, shape) for each, shape in zip(deep, program.shapes, strict=True)]
    replicates = math.prod(leading)
    return np.concatenate([each.reshape(replicates, -1) for each in rows] or [np.empty((replicates, 0))], axis=1)


def _rows(array: np.ndarray, leading: tuple[int, ...], shape: tuple[int, ...]) -> Float[np.ndarray, "R ..."]:
    """One array for each replicate, without gaps."""
    if array.shape != (*leading, *shape):
        array = np.broadcast_to(array, (*leading, *shape))
    whole = array.reshape(math.prod(leading), *shape)
    if whole.dtype == np.float64 and whole.flags.carray:
        return whole
    return np.require(whole, np.float64, ["C", "W"])  # for which the code is compiled
