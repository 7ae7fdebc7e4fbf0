"""Points of the readouts of replicates on a GPU, and roots of small covariances: one launch each for all replicates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float, Integer
from sedyn.kernels import dispatch
from sedyn.kernels.cuda.launch import in_double_precision

__all__ = ["causal_root", "stretched_points"]

POINTS = Path(__file__).with_name("points.cu")
# Of points, and of covariances, whose entries a thread keeps in registers.
MOST_DIMENSIONS = 16
POINTS_THREADS, ROOT_THREADS = 256, 64


def stretched_points(
    words: Integer[Array, "R shifts dimensions"],
    bits: int,
    digits: Integer[np.ndarray, "dimensions samples"],
    stretched: int,
    factor: float,
) -> tuple[Float[Array, "R shifts dimensions samples"], Float[Array, "R shifts samples"]] | None:
    """Shift and stretch points, by one launch of ``points.cu``.

    ====================================================  ===========================================================
    `sedyn.theory.sampling`                               ``stretched_points``
    ====================================================  ===========================================================
    ``digits ^ shifts``, ``backend.ndtri``                ``quantile``
    ``weights``, `stretched_normals`                      ``weights``, over ``all``
    `_matched`, its first line                            ``means``
    ``covariance``, its factor, that one's inverse        ``moments``, ``root_of``, ``inverse_of``
    ====================================================  ===========================================================

    Parameters
    ----------
    words, bits, digits, stretched, factor
        Of the shapes that `sedyn.kernels.dispatch.stretched_points` takes.

    Returns
    -------
    tuple or None
        Normals, shape (R, shifts, D, N), and weights, shape (R, shifts, N); None for points of many dimensions.
    """
    (replicates, shifts, dimensions), count = words.shape, digits.shape[1]
    if dimensions > MOST_DIMENSIONS:
        return None
    normals, weights = (
        backend.empty((replicates, *shape), "gpu") for shape in ((dimensions, shifts, count), (shifts, count))
    )
    kernel = backend.cuda_kernel(POINTS, "stretched_points", DIMENSIONS=dimensions, THREADS=POINTS_THREADS)
    numbers = np.int64(count), np.int64(stretched), np.float64(factor)
    arguments = backend.contiguous(words), np.int64(bits), backend.constant(digits, "gpu"), *numbers, normals, weights
    kernel((shifts, replicates), (POINTS_THREADS,), arguments)
    return array_namespace(normals).moveaxis(normals, 1, 2), weights


def causal_root(covariance: Float[Array, "*leading q q"], negligible: float) -> Float[Array, "*leading q q"] | None:
    """Lower triangular roots of covariances, see `sedyn.theory.sampling.causal_root`, by one launch of ``points.cu``.

    Parameters
    ----------
    covariance : array, shape (..., q, q)
    negligible : float
        The share by which each variance is raised.

    Returns
    -------
    array, shape (..., q, q), or None
        None for large ones.
    """
    *leading, q, _ = covariance.shape
    if q > MOST_DIMENSIONS:
        return None
    count, root = math.prod(leading), array_namespace(covariance).empty_like(covariance)
    kernel = backend.cuda_kernel(POINTS, "causal_root", DIMENSIONS=q, THREADS=ROOT_THREADS)
    arguments = backend.contiguous(covariance), np.int64(count), np.float64(negligible), root
    kernel((-(-count // ROOT_THREADS), 1), (ROOT_THREADS,), arguments)
    return root


dispatch.stretched_points.register(lambda words, *_: backend.on_cuda(words), stretched_points)
dispatch.causal_root.register(lambda covariance, negligible: in_double_precision([covariance]), causal_root)
