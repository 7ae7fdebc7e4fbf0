"""Gradient descent on dense designs side by side with one reading of each a step, by ``descend.cu``.

The designs are cut into parts of samples, each the work of a block of threads, or of a cluster of blocks that share
its features. How depends on the shape of one design and on the card alone: a replicate's numbers do not change with
those beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
    "SAMPLES_PER_UNIT",
    "Cut",
    "Pass",
    "bytes_moved",
    "cut",
    "descend",
    "pass_over",
    "reads",
]

DESCEND = Path(__file__).with_name("descend.cu")
# The first that copies to shared memory without waiting, and the first with clusters of blocks.
LEAST_ARCHITECTURE, CLUSTERED_ARCHITECTURE = 80, 90
# Blocks that share the features of a sample: all sizes that every card with clusters has.
CLUSTERS = 1, 2, 4, 8
# Samples of a part, for each unit: its sums are then a small share of what it reads.
SAMPLES_PER_UNIT = 24
# Parts of one design that fill a card, and features of a block below which a cluster is not worth its waiting.
PARTS, LEAST_FEATURES = 264, 1024
# Threads of a block, and words of 4 bytes that each may sum in registers.
THREADS, WORDS = (128, 256, 512), {128: 32, 256: 32, 512: 64}
# Blocks that a processor of the card holds at a time, the bytes of a tile then, and its least samples.
TILES = (2, 2**15, 4), (1, 2**16, 2)
MOST_TILE_ROWS = 128
WARP, TOGETHER, ALIGNMENT = 32, 2, 4
GATHER_BLOCK = 256


class Cut(NamedTuple):
    """How a design is cut.

    Attributes
    ----------
    cluster : int
        Blocks that share the features of a sample.
    threads, columns : int
        Of a block, and features that each sums over samples.
    part_rows, tile_rows : int
        Samples of a part, and of what is staged at a time.
    vector : int
        Entries that are copied at a time.
    shared_memory : int
        Bytes of a block.
    """

    cluster: int
    threads: int
    columns: int
    part_rows: int
    tile_rows: int
    vector: int
    shared_memory: int


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
        None if a sample does not fit into shared memory, or the card cannot: two products of the library serve.
    """
    if card.architecture < LEAST_ARCHITECTURE:
        return None
    part_rows = min(samples, max(SAMPLES_PER_UNIT * program.inputs, -(-samples // PARTS)))
    found = None
    for cluster in CLUSTERS if card.architecture >= CLUSTERED_ARCHITECTURE else CLUSTERS[:1]:
        spread = -(-samples // part_rows) * cluster
        if found is not None and (2 * spread > PARTS or features < cluster * LEAST_FEATURES):
            return found
        found = next(_cuts(part_rows, features, program, itemsize, card, cluster), found)
    return found


def _cuts(part_rows: int, features: int, program: Program, itemsize: int, card: Card, cluster: int) -> Iterator[Cut]:
    """All that fit for a size of clusters, the best first."""
    pitch = math.ceil(math.ceil(features / cluster) / ALIGNMENT) * ALIGNMENT
    vector = 16 // itemsize if features % (16 // itemsize) == 0 else 1
    for threads in THREADS:
        columns = 1 << (-(-pitch // threads) - 1).bit_length()
        if (threads == min(THREADS) and columns > 1) or columns * program.inputs * itemsize // 4 > WORDS[threads]:
            continue
        for resident, tile_bytes, least in TILES:
            most = min(MOST_TILE_ROWS, part_rows + part_rows % TOGETHER, tile_bytes // (pitch * itemsize))
            least = min(least, part_rows + part_rows % TOGETHER)
            for tile_rows in range(most // TOGETHER * TOGETHER, least - 1, -TOGETHER):
                shared = _shared_memory(tile_rows, pitch, program, itemsize, threads, cluster)
                if shared <= card.shared_memory // resident:
                    whole = -(-part_rows // tile_rows) * tile_rows
                    yield Cut(cluster, threads, columns, whole, tile_rows, vector, shared)
                    break


def _shared_memory(tile_rows: int, pitch: int, program: Program, itemsize: int, threads: int, cluster: int) -> int:
    """Bytes of what ``descend.cu`` keeps in shared memory, in its order."""
    pairs = tile_rows // TOGETHER
    sources = max(1, threads // WARP // pairs) * cluster
    entries = (2 * tile_rows + program.inputs) * pitch
    doubles = 2 * sources * tile_rows * program.inputs + tile_rows * (program.parameters | 1)
    return itemsize * (entries + tile_rows * program.inputs) + 8 * doubles


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
    ``self.matmul(weights)``                   ``total``, added up over warps and blocks to ``h``
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
    own.launch(
        rows(weights, weights.shape, replicates),
        y,
        None if batch is None else rows(batch, (replicates, samples), replicates),
        packed(network.deep, program, (replicates,), y),
        trained,
        value,
        gradient,
        second,
    )
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
        X^T g of the samples of each part, over the scale; set by `launch`.
    deep : array, shape (R, parts, P)
        Sums over these samples of the derivatives in the parameters; likewise.
    """

    matrices: Float[Array, "R n d"]
    scale: float
    cut: Cut
    chosen: dict[str, int | str]
    sums: Float[Array, "R parts q d"]
    deep: Float[Array, "R parts P"]

    def launch(
        self,
        weights: Float[Array, "R ..."],
        labels: Float[Array, "R _"],
        batch: Float[Array, "R n"] | None,
        parameters: Float[Array, "R _"],
        trained: Float[Array, "R q n"],
        losses: Float[Array, "R n"],
        gradient: Float[Array, "R q n"],
        curvature: Float[Array, "R q q n"] | None,
    ) -> None:
        """Go through the samples; all arrays without gaps.

        Parameters
        ----------
        weights : array, shape (R, q, d) or (R, q d)
        labels : array, shape (R, C n)
        batch : array, shape (R, n), or None
            Weights of samples; not read where the pass was made for none.
        parameters : array, shape (R, P)
        trained, losses, gradient : array, shapes (R, q, n), (R, n) and (R, q, n)
            Set.
        curvature : array, shape (R, q, q, n), or None
            Set where the pass was made for it.
        """
        replicates, samples, features = self.matrices.shape
        kernel = backend.cuda_kernel(DESCEND, "descend", shared_memory=self.cut.shared_memory, **self.chosen)
        kernel(
            (self.sums.shape[1] * self.cut.cluster, replicates),
            (self.cut.threads,),
            (
                self.matrices,
                weights,
                np.float64(self.scale),
                labels,
                labels if batch is None else batch,  # then not read
                parameters,
                *map(np.int64, (samples, features, self.cut.part_rows, self.cut.tile_rows)),
                trained,
                losses,
                gradient,
                gradient if curvature is None else curvature,  # then not written
                self.sums,
                self.deep,
            ),
        )

    def gather(self, products: Float[Array, "R q d"], deep_gradient: Float[Array, "R P"]) -> None:
        """Set X^T g, and means over samples of the derivatives in the parameters, from what `launch` has left.

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
    matrices: Float[Array, "R n d"], scale: float, program: Program, network: Network, *, curvature: bool
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
        "THREADS": own.threads,
        "COLUMNS": own.columns,
        "VECTOR": own.vector,
        "CLUSTER": own.cluster,
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
