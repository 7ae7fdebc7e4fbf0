"""Points of the readouts of replicates on a GPU, and roots of small covariances: one launch each for all replicates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.points import BITS, point_digits
from sedyn.arrays.roots import NEGLIGIBLE_VARIANCE
from sedyn.arrays.shapes import Float, Integer
from sedyn.kernels import dispatch
from sedyn.kernels.cuda.launch import in_double_precision

__all__ = ["causal_root", "stretched_points"]

POINTS = Path(__file__).with_name("points.cu")
# Of points, and of covariances, whose entries a thread keeps in registers.
MOST_DIMENSIONS = 16
POINTS_THREADS, ROOT_THREADS = 256, 64


def stretched_points(
    words: Integer[Array, "R shifts dimensions"], samples: int, stretched: int, factor: float
) -> tuple[Float[Array, "R shifts dimensions samples"], Float[Array, "R shifts samples"]]:
    """Shift and stretch points, by one launch of ``points.cu``.

    ====================================================  ===========================================================
    `sedyn.arrays.points`                                 ``stretched_points``
    ====================================================  ===========================================================
    ``digits ^ shifts``, ``backend.ndtri``                ``quantile``
    ``weights``, `stretched_normals`                      ``weights``, over ``all``
    `_matched`, its first line                            ``means``
    ``covariance``, its factor, that one's inverse        ``moments``, ``root_of``, ``inverse_of``
    ====================================================  ===========================================================

    Parameters
    ----------
    words : array of uint64, shape (R, shifts, D)
        Of at most `MOST_DIMENSIONS`.
    samples : int
        A power of two.
    stretched : int
    factor : float

    Returns
    -------
    normals : array, shape (R, shifts, D, samples)
    weights : array, shape (R, shifts, samples)
    """
    replicates, shifts, dimensions = words.shape
    normals, weights = (
        backend.empty((replicates, *shape), "gpu") for shape in ((dimensions, shifts, samples), (shifts, samples))
    )
    kernel = backend.cuda_kernel(POINTS, "stretched_points", DIMENSIONS=dimensions, THREADS=POINTS_THREADS)
    digits = backend.constant(point_digits(dimensions, samples), "gpu")
    numbers = np.int64(samples), np.int64(stretched), np.float64(factor)
    arguments = backend.contiguous(words), np.int64(BITS), digits, *numbers, normals, weights
    kernel((shifts, replicates), (POINTS_THREADS,), arguments)
    return array_namespace(normals).moveaxis(normals, 1, 2), weights


def causal_root(covariance: Float[Array, "*leading q q"]) -> Float[Array, "*leading q q"]:
    """Lower triangular roots of covariances, see `sedyn.arrays.roots.causal_root`, by one launch of ``points.cu``.

    Parameters
    ----------
    covariance : array, shape (..., q, q)
        Of at most `MOST_DIMENSIONS`.

    Returns
    -------
    array, shape (..., q, q)
    """
    *leading, q, _ = covariance.shape
    count, root = math.prod(leading), array_namespace(covariance).empty_like(covariance)
    kernel = backend.cuda_kernel(POINTS, "causal_root", DIMENSIONS=q, THREADS=ROOT_THREADS)
    arguments = backend.contiguous(covariance), np.int64(count), np.float64(NEGLIGIBLE_VARIANCE), root
    kernel((-(-count // ROOT_THREADS), 1), (ROOT_THREADS,), arguments)
    return root


dispatch.stretched_points.register(
    lambda words, *_, **__: backend.on_cuda(words) and words.shape[-1] <= MOST_DIMENSIONS, stretched_points
)
dispatch.causal_root.register(
    lambda covariance: in_double_precision([covariance]) and covariance.shape[-1] <= MOST_DIMENSIONS, causal_root
)
