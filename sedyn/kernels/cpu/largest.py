"""Which of several means is the largest with normal noise, compiled: `sedyn.model.noise.largest_with_normal_noise`.

At each node the distribution function of the noise and its density are found for all classes of a few samples, whose
numbers stay in cache. Samples are innermost, so that the compiler works on several at once.
"""

from __future__ import annotations

import math

import numpy as np

from sedyn.arrays.compiling import compiled, widest_vectors
from sedyn.arrays.shapes import Float
from sedyn.arrays.threads import run_each
from sedyn.kernels.cpu.functions import normal
from sedyn.kernels.cpu.several import shares
from sedyn.model.label_laws import LabelLaw, labels_of_classes, means_of_classes
from sedyn.model.noise import nodes_for_largest
from sedyn.model.problem import Problem

__all__ = ["largest_with_normal_noise", "law_of_noisy_classes"]

# Samples that go through the nodes together.
SAMPLES = 64

_compiled = compiled({"reassoc", "contract", "nsz"}, error_model="numpy")


@_compiled
def fill_chances(means: np.ndarray, start: int, stop: int, nodes: np.ndarray, scale: float, found: np.ndarray) -> None:
    """Set how likely each mean is the largest, of some tiles of samples of each replicate.

    Parameters
    ----------
    means : ndarray, shape (R, C, N)
    start, stop : int
        Of the samples that are set.
    nodes : ndarray, shape (J,)
    scale : float
        What densities at the nodes are multiplied by, if their highest is 1.
    found : ndarray, shape (R, C, N)
        Set.
    """
    widest_vectors()
    replicates, classes, _ = means.shape
    behind, below = np.empty((classes, SAMPLES)), np.empty((classes, SAMPLES))
    density, total = np.empty((classes, SAMPLES)), np.empty((classes, SAMPLES))
    top, others = np.empty(SAMPLES), np.empty(SAMPLES)
    for r in range(replicates):
        for first in range(start, stop, SAMPLES):
            count = min(SAMPLES, stop - first)
            for i in range(count):
                top[i] = means[r, 0, first + i]
            for c in range(1, classes):
                for i in range(count):
                    mean = means[r, c, first + i]
                    top[i] = mean if mean > top[i] else top[i]
            for c in range(classes):
                for i in range(SAMPLES):
                    behind[c, i] = top[i] - means[r, c, first + i] if i < count else 0.0
                    total[c, i] = 0.0
            for node in nodes:
                for i in range(SAMPLES):
                    others[i] = 1.0
                for c in range(classes):
                    for i in range(SAMPLES):
                        below[c, i], bell = normal(behind[c, i] + node)
                        density[c, i] = bell * others[i]
                        others[i] *= below[c, i]
                for i in range(SAMPLES):
                    others[i] = 1.0
                for c in range(classes - 1, -1, -1):
                    for i in range(SAMPLES):
                        total[c, i] += density[c, i] * others[i]
                        others[i] *= below[c, i]
            for c in range(classes):
                for i in range(count):
                    found[r, c, first + i] = scale * total[c, i]


def largest_with_normal_noise(means: Float[np.ndarray, "*leading C N"]) -> Float[np.ndarray, "*leading C N"]:
    """How likely each mean is the largest, for arrays of numpy in double precision.

    Parameters
    ----------
    means : ndarray, shape (..., C, N)

    Returns
    -------
    ndarray, shape (..., C, N)
    """
    *_, classes, count = means.shape
    rows = np.ascontiguousarray(means).reshape(-1, classes, count)
    found, (nodes, distance) = np.empty_like(rows), nodes_for_largest(classes)
    scale = distance / math.sqrt(2 * math.pi)

    def fill(tiles: slice) -> None:
        fill_chances(rows, SAMPLES * tiles.start, min(SAMPLES * tiles.stop, count), nodes, scale, found)

    run_each(fill, shares(-(-count // SAMPLES)))
    return found.reshape(means.shape)


def law_of_noisy_classes(
    problem: Problem,
    indices: Float[np.ndarray, "*replicates k N"],
    normals: Float[np.ndarray, "*replicates _ N"],
    deviation: Float[np.ndarray, "*replicates 1 1"] | None = None,
) -> LabelLaw:
    """Law of classes that normal noise decides, see `sedyn.model.label_laws.label_law`.

    Parameters
    ----------
    problem, indices, normals, deviation
        Of the shapes that it takes.

    Returns
    -------
    LabelLaw
    """
    return labels_of_classes(largest_with_normal_noise(means_of_classes(problem, indices, deviation)))
