"""Gradient descent on dense designs side by side with one reading of each a step, by ``descend.cu``.

The designs are cut into parts of samples, each the work of a block of threads, or of a cluster of blocks that share
its features. How depends on the shape of one design and on the card alone: a replicate's numbers do not change with
those beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, Card, array_namespace
from sedyn.arrays.shapes import Float, Shaped
from sedyn.kernels import dispatch
from sedyn.kernels.cuda.launch import in_double_precision, macros, packed, rows
from sedyn.kernels.program import Program, form_of
from sedyn.model.network import Derivatives, Network

__all__ = [
    "LEAST_ARCHITECTURE",
    "Cut",
    "Pass",
    "bytes_moved",
    "cut",
    "descend",
    "most_parts",
    "pass_over",
    "reads",
]

DESCEND = Path(__file__).with_name("descend.cu")
# The first that copies to shared memory without waiting, and the first with clusters of blocks.
LEAST_ARCHITECTURE, CLUSTERED_ARCHITECTURE = 80, 90
# Blocks that share the features of a sample: all sizes that every card with clusters has.
CLUSTERS = 1, 2, 4, 8
# Bytes of the parts that a processor of the card has at a time, against what a part begins and ends with; measured.
PART_BYTES = 2**21
# A design so large has a card for itself, and at least so many blocks; and no more than fill one are of use.
LARGE_BYTES, FEW_BLOCKS, BLOCKS = 2**26, 66, 528
WARP, ALIGNMENT = 32, 4
# Warps of a block that go forward and backward; words of 4 bytes of the sums of a thread, where it can be and at most.
MOST_WARPS, WORDS = 16, (32, 40)
# Bytes of a tile, of a block that is alone on its processor and of others; measured.
TILE_BYTES, SMALL_TILE_BYTES = 2**15, 2**14
# Warps that evaluate networks beside, at least: a processor has its warps in fours.
NETWORKS = 2
# Warps of a block that have all features of their samples, each, and samples that one may have side by side.
ALONE, SIDES = 4, (4, 2, 1)
# Blocks that a processor of the card holds at a time, the most first; the registers that it has, and bytes of shared
# memory that a block takes beside its own.
RESIDENT, REGISTERS, RESERVED = (6, 5, 4, 3, 2, 1), 2**16, 1024
# Registers of a thread: beside its weights and sums; of one that evaluates networks, and for each row of the program;
# and of one that does both. With fewer some go to memory, which costs more than another block brings; measured.
OF_FEATURES, OF_NETWORKS, OF_BOTH, OF_ROW = 37, 46, 58, 2
# Stages of those who wait for others, where they fit, and of anybody: more are of no use.
LEAST_STAGES, MOST_STAGES = (5, 4), 12
GATHER_BLOCK = 256


class Cut(NamedTuple):
    """How a design is cut: what ``descend.cu`` is compiled for, as it says at its top, and launched with.

    Attributes
    ----------
    cluster : int
        Blocks that share the features of a sample.
    warps, networks : int
        Of a block, that go forward and backward, and beside them that evaluate networks.
    resident : int
        Blocks that a processor of the card holds at a time.
    side : int
        Samples that a warp has side by side.
    columns, vector : int
        Features of a thread, and of them those that are copied at a time.
    full : int
        1 if all threads have as many.
    tile, stages, lag : int
        Samples of a tile, tiles in shared memory, and tiles between forward and backward.
    part_rows : int
        Samples of a part.
    shared_memory : int
        Bytes of a block.
    """

    cluster: int
    warps: int
    networks: int
    resident: int
    side: int
    columns: int
    vector: int
    full: int
    tile: int
    stages: int
    lag: int
    part_rows: int
    shared_memory: int

    @property
    def macros(self) -> dict[str, int]:
        """What the source is compiled for."""
        return {name.upper(): value for name, value in zip(self._fields[:-2], self, strict=False)}


@lru_cache(maxsize=256)
def cut(samples: int, features: int, program: Program, itemsize: int, card: Card) -> Cut | None:
    """Say how designs are cut, of the present card: the one rule by which this kernel serves.

    Parameters
    ----------
    samples, features : int
        Of one design.
    program : Program
    itemsize : int
        Bytes of an entry.
    card : Card

    Returns
    -------
    Cut or None
        None if a sample does not fit into a block's memory, or the card cannot: two products of the library serve.
    """
    if card.architecture < LEAST_ARCHITECTURE:
        return None
    for cluster in CLUSTERS if card.architecture >= CLUSTERED_ARCHITECTURE else CLUSTERS[:1]:
        found = _cut_for(samples, features, program, itemsize, card, cluster)
        if found is not None:
            return found
    return None


def _cut_for(samples: int, features: int, program: Program, itemsize: int, card: Card, cluster: int) -> Cut | None:
    """The best for a size of clusters, if a sample fits."""
    pitch = math.ceil(math.ceil(features / cluster) / ALIGNMENT) * ALIGNMENT
    vector = math.gcd(features, 16 // itemsize)
    side = next(side for side in SIDES if (cluster == 1 and vector * WARP >= side * pitch) or side == 1)
    for words in WORDS:
        most = max(1, 4 * words // (itemsize * program.inputs) // vector) * vector
        warps = math.ceil(pitch / (WARP * most))
        if warps <= MOST_WARPS:
            break
    else:
        return None
    columns = math.ceil(pitch * side / (WARP * warps * vector)) * vector
    alone = warps == cluster == 1
    full = int(side * features == cluster * warps * WARP * columns)
    streams = ALONE if alone else 1
    warps *= streams
    evaluating = 0 if alone else NETWORKS + -(warps + NETWORKS) % 4
    words = 2 * columns * program.inputs * itemsize // 4
    networks_need = OF_ROW * program.rows + (OF_BOTH + words if alone else OF_NETWORKS)
    registers = max(words + OF_FEATURES, networks_need)
    choices = itertools.product((1,) if alone else LEAST_STAGES, range(WARP.bit_length()), RESIDENT)
    for least, halvings, resident in choices:
        tile = _largest_tile(samples, pitch * itemsize, streams, side, resident) >> halvings
        held = resident * (warps + evaluating) * WARP * registers
        if tile < side or (held > REGISTERS and resident > 1):
            continue
        rows_together = tile * streams
        part_rows = _part_rows(samples, features, pitch, itemsize, cluster, resident)
        part_rows = math.ceil(part_rows / rows_together) * rows_together
        memory = (card.shared_memory + RESERVED) // resident - RESERVED
        for stages in range(min(MOST_STAGES, max(least, part_rows // rows_together)), least - 1, -1):
            lag = 0 if alone else (stages + 1) // 2
            networks = min(evaluating, lag + 1)
            sizes = cluster, warps, networks, resident, side, columns, vector, full, tile, stages, lag, part_rows
            own = Cut(*sizes, _shared_memory(Cut(*sizes, 0), pitch, program, itemsize))
            if own.shared_memory <= memory and (not alone or stages * tile >= program.inputs):
                return own
    return None


def _largest_tile(samples: int, row_bytes: int, streams: int, side: int, resident: int) -> int:
    """Samples of a tile, a power of two, before it is halved for want of memory."""
    tile = min(WARP, 1 << max(0, ((TILE_BYTES if resident == 1 else SMALL_TILE_BYTES) // row_bytes).bit_length() - 1))
    while tile > side and tile * streams >= 2 * samples:
        tile //= 2
    return tile


def _part_rows(samples: int, features: int, pitch: int, itemsize: int, cluster: int, resident: int) -> int:
    """Samples of a part, before they are made whole tiles."""
    wanted = PART_BYTES // (resident * pitch * itemsize)
    if samples * features * itemsize >= LARGE_BYTES:
        wanted = min(wanted, -(-samples * cluster // FEW_BLOCKS))
    return min(samples, max(wanted, -(-samples * cluster // BLOCKS)))


def _shared_memory(own: Cut, pitch: int, program: Program, itemsize: int) -> int:
    """Bytes of what ``descend.cu`` keeps in shared memory, in its order."""
    alone = own.networks == 0
    streams, sources = (own.warps, 1) if alone else (1, own.warps * own.cluster)
    entries = own.stages * own.tile * pitch
    passed = (own.lag + 1) * own.tile * program.inputs * (2 * sources + 1)
    doubles = program.parameters * (1 + (own.warps if alone else own.networks)) + 3 * (own.lag + 1)
    doubles += own.networks * own.tile * (program.parameters | 1)
    return math.ceil(8 * doubles / 16) * 16 + itemsize * streams * (entries + passed)


def most_parts(samples: int, features: int, itemsize: int) -> int:
    """Count the parts that a design is cut into at most, on any card.

    Parameters
    ----------
    samples, features, itemsize : int
        As for `cut`.

    Returns
    -------
    int
    """
    return min(samples, BLOCKS, 1 + max(RESIDENT) * samples * features * itemsize // PART_BYTES)


def bytes_moved(samples: int, features: int, program: Program, itemsize: int, own: Cut) -> int:
    """Count what a pass over one design reads and writes: its entries once, and little else.

    Parameters
    ----------
    samples, features, program, itemsize
        As for `cut`.
    own : Cut

    Returns
    -------
    int
    """
    parts = math.ceil(samples / own.part_rows)
    sums = 2 * parts * program.inputs * features * itemsize  # written, and read to be added up
    of_samples = 8 * samples * (len(program.outputs) + 1 + 2 * program.inputs)  # labels, losses, h and gradients
    return samples * features * itemsize + sums + of_samples


def descend(
    matrices: Float[Array, "R n d"], weights: Float[Array, "R q d"], network: Network, scale: float, *, curvature: bool
) -> tuple[Float[Array, "R q n"], Derivatives, Float[Array, "R q d"]]:
    """X w, what the network makes of it, and X^T g, by two launches of ``descend.cu``.

    The lines of the definition have these in the source:

    =========================================  ===============================================================
    `sedyn.designs.protocol.Design.descend`    ``descend.cu``
    =========================================  ===============================================================
    ``self.matmul(weights)``                   ``forward_tile``; over warps and blocks in ``evaluate``
    ``dispatch.differentiate``                 ``differentiate_sample``, as in ``network.cu``
    ``self.rmatmul(derivatives.gradient)``     ``found``, sums over a part's samples; over parts in ``gather``
    =========================================  ===============================================================

    Parameters
    ----------
    matrices : array, shape (R, n, d)
        In single or double precision, which products are computed in.
    weights : array, shape (R, q, d)
    network : Network
        With an axis of replicates in front.
    scale : float
        Each X is this times its matrix.
    curvature : bool
        Whether D is wanted.

    Returns
    -------
    trained : array, shape (R, q, n)
    derivatives : Derivatives
    products : array, shape (R, q, d)
    """
    replicates, width, _ = weights.shape
    samples, program = matrices.shape[1], form_of(network, width, "gpu")
    assert program is not None  # or this is not called
    xp, like = array_namespace(weights), {"dtype": weights.dtype, "device": weights.device}
    own = pass_over(matrices, scale, program, network, curvature=curvature)
    assert own is not None  # likewise
    batch = network.sample_weights
    trained, gradient = (xp.empty((replicates, width, samples), **like) for _ in range(2))
    value, products = xp.empty((replicates, samples), **like), xp.empty(weights.shape, **like)
    second = xp.empty((replicates, width, width, samples), **like) if curvature else None
    deep_gradient = xp.empty((replicates, program.parameters), **like)
    y = rows(network.labels, (replicates, *network.labels.shape[-2:]), replicates)
    own.ready(
        rows(weights, weights.shape, replicates),
        None,
        y,
        None if batch is None else rows(batch, (replicates, samples), replicates),
        packed(network.deep, program, (replicates,), y),
        trained,
        value,
        gradient,
        second,
    )(0, 0, 0)
    own.gather(products, deep_gradient)
    return trained, Derivatives(value, gradient, program.unpacked(deep_gradient), second), products


class Pass(NamedTuple):
    """A pass over designs, to be launched once or again and again.

    Attributes
    ----------
    matrices : array, shape (R, n, d)
    scale : float
        Each X is this times its matrix.
    cut : Cut
    chosen : dict
        What kernels of ``descend.cu`` are compiled for.
    sums : array, shape (R, parts, q, d)
        X^T g of the samples of each part, over the scale; set by what `ready` gives.
    deep : array, shape (R, parts, P)
        Sums over these samples of the derivatives in the parameters; likewise.
    """

    matrices: Float[Array, "R n d"]
    scale: float
    cut: Cut
    chosen: dict[str, int | str]
    sums: Float[Array, "R parts q d"]
    deep: Float[Array, "R parts P"]

    def ready(
        self,
        weights: Float[Array, "..."],
        scales: Float[Array, " d"] | None,
        labels: Float[Array, "R _"],
        batch: Float[Array, "..."] | None,
        parameters: Float[Array, "..."],
        trained: Float[Array, "..."],
        losses: Float[Array, "..."],
        gradient: Float[Array, "..."],
        curvature: Float[Array, "..."] | None,
    ) -> Callable[[int, int, int], None]:
        """Make ready to go through the samples; all arrays without gaps, and what has iterations has them in front.

        Parameters
        ----------
        weights : array, shape (iterations, R, q, d)
        scales : array, shape (d,), or None
            What weights are multiplied by before they meet a matrix; given if the pass was made for scales.
        labels : array, shape (R, C n)
        batch : array, shape (steps, R, n), or None
            Weights of samples; not read where the pass was made for none.
        parameters : array, shape (iterations, R, P)
        trained, losses, gradient : array, shapes (iterations, R, q, n), (iterations, R, n) and (iterations, R, q, n)
            Set.
        curvature : array, shape (iterations, R, q, q, n), or None
            Set where the pass was made for it.

        Returns
        -------
        callable
            Goes through the samples once: of an iteration, of the one that gradients and curvatures are kept for, and
            of a step of the batches.
        """
        replicates, samples, features = self.matrices.shape
        kernel = backend.cuda_kernel(DESCEND, "descend", shared_memory=self.cut.shared_memory, **self.chosen)
        grid = self.sums.shape[1] * self.cut.cluster, replicates
        block = ((self.cut.warps + self.cut.networks) * WARP,)
        before = (
            self.matrices,
            weights,
            weights if scales is None else scales,  # then not read, as below
            np.float64(self.scale),
            labels,
            labels if batch is None else batch,
            parameters,
        )
        after = (
            *map(np.int64, (samples, features, self.cut.part_rows)),
            trained,
            losses,
            gradient,
            gradient if curvature is None else curvature,
            self.sums,
            self.deep,
        )

        def go(iteration: int, kept: int, step: int) -> None:
            kernel(grid, block, (*before, np.int64(iteration), np.int64(kept), np.int64(step), *after))

        return go

    def gather(self, products: Float[Array, "R q d"], deep_gradient: Float[Array, "R P"]) -> None:
        """Set X^T g, and means over samples of the derivatives in the parameters, from what a pass has left.

        Parameters
        ----------
        products : array, shape (R, q, d)
        deep_gradient : array, shape (R, P)
        """
        replicates, samples, features = self.matrices.shape
        numbers = products.shape[1] * features + deep_gradient.shape[1]
        sizes = map(np.int64, (self.sums.shape[1], samples, features))
        backend.cuda_kernel(DESCEND, "gather", **self.chosen)(
            (-(-numbers // GATHER_BLOCK), replicates),
            (GATHER_BLOCK,),
            (self.sums, self.deep, *sizes, np.float64(self.scale), products, deep_gradient),
        )


def pass_over(
    matrices: Float[Array, "R n d"],
    scale: float,
    program: Program,
    network: Network,
    *,
    curvature: bool,
    scaled: bool = False,
) -> Pass | None:
    """Make a pass over designs ready.

    Parameters
    ----------
    matrices : array, shape (R, n, d)
        In single or double precision, without gaps.
    scale : float
        Each X is this times its matrix.
    program : Program
        Of the network.
    network : Network
        Gives the loss, whether samples are weighted, and library and device.
    curvature : bool
        Whether D is wanted.
    scaled : bool, optional
        Whether features have scales, which weights are multiplied by.

    Returns
    -------
    Pass or None
        None where this kernel does not serve, see `cut`.
    """
    own = cut(*matrices.shape[1:], program, matrices.itemsize, backend.gpu_card())
    if own is None:
        return None
    (replicates, samples, features), y = matrices.shape, network.labels
    xp, parts = array_namespace(y), -(-samples // own.part_rows)
    sums = xp.empty((replicates, parts, program.inputs, features), dtype=matrices.dtype, device=y.device)
    deep = xp.empty((replicates, parts, program.parameters), dtype=y.dtype, device=y.device)
    chosen = macros(program, network.loss, weighted=network.sample_weights is not None, curvature=curvature) | {
        "NUMBER": {8: "double", 4: "float"}[matrices.itemsize],
        "SCALED": int(scaled),
        **own.macros,
    }
    return Pass(matrices, scale, own, chosen, sums, deep)


def reads(matrices: Shaped[Array, "R n d"]) -> bool:
    """Whether designs are of a kind that passes read: cupy's floats, without gaps."""
    return backend.on_cuda(matrices) and matrices.dtype in (np.float32, np.float64) and backend.is_contiguous(matrices)


def _descends(matrices: Array, weights: Array, network: Network, scale: float, *, curvature: bool) -> bool:
    others = [weights, network.labels, *network.deep]
    others += [] if network.sample_weights is None else [network.sample_weights]
    if not (in_double_precision(others) and reads(matrices)):
        return False
    program = form_of(network, weights.shape[1], "gpu")
    if program is None:
        return False
    return cut(*matrices.shape[1:], program, matrices.itemsize, backend.gpu_card()) is not None


dispatch.descend_each.register(_descends, descend)
