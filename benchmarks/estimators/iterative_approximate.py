"""Luo, Ren and Barber (2023), *Iterative approximate cross-validation*: each leave-one-out descent, linearized.

Beside the descent on all samples goes one for each sample that leaves it out, whose gradient is the first two terms of
its expansion about the weights that all samples have led to. For a quadratic loss it is leave-one-out.
"""

from __future__ import annotations

import numpy as np

from benchmarks.estimators.descent import Descent, Weights
from sedyn.designs.shared import SharedDesign
from sedyn.model.architecture import layers_of
from sedyn.model.network import Network, forward

__all__ = ["iterative_approximate"]

HALF_DISTANCE = 1e-5
"""Half the distance of the central differences that products with the Hessian are, relative to the weights."""


def iterative_approximate(descent: Descent) -> np.ndarray:
    """Estimated test error at every iteration, shape (T + 1,).

    Parameters
    ----------
    descent : Descent
        Its features are centred; each descent without a sample centres those of the others anew, as the project's exact
        leave-one-out does.
    """
    problem, data = descent.problem, descent.data
    n = problem.n
    design = SharedDesign(data.design, descent.features / np.sqrt(problem.d) / (n - 1))
    labels, weights = np.repeat(descent.labels[None], n, axis=0), 1.0 - np.eye(n)

    def gradient(at: Weights) -> Weights:
        """Of the mean loss without sample i at the i-th of n weights."""
        network = Network.of(problem, at.deep, labels, weights)
        _, derivatives, drive = design.descend(at.first, network, curvature=False)
        return Weights(drive / float(problem.aspect_ratio), derivatives.deep_gradient)

    def beside(each: np.ndarray) -> np.ndarray:
        return np.repeat(each[None], n, axis=0)

    errors, all_samples = [], descent.iterates()
    first = previous = beside(all_samples[0].first)
    deep = previous_deep = tuple(map(beside, all_samples[0].deep))
    for t, base in enumerate(all_samples):
        h = np.take_along_axis(design.matmul(first), np.arange(n)[:, None, None], axis=-1)
        outputs = forward(h, deep, layers_of(problem))[:, :, 0].T
        errors.append(descent.error(outputs, descent.labels))
        if t == len(descent.updates):
            break
        away = Weights(first - base.first, tuple(one - other for one, other in zip(deep, base.deep, strict=True)))
        farthest = max(float(np.abs(each).max(initial=0)) for each in (away.first, *away.deep))
        size = HALF_DISTANCE / max(HALF_DISTANCE, farthest)
        there = [gradient(_moved(base, away, sign * size)) for sign in (1, -1)]
        update = descent.updates[t]
        first, previous = update(first, previous, _expanded(there[0].first, there[1].first, size))
        if deep:
            drives = map(_expanded, there[0].deep, there[1].deep, [size] * len(deep))
            steps = zip(deep, previous_deep, drives, strict=True)
            deep, previous_deep = zip(*(update.of_deep_weights(*each) for each in steps), strict=True)
    return np.array(errors)


def _moved(base: Weights, away: Weights, size: float) -> Weights:
    deep = tuple(one + size * other for one, other in zip(base.deep, away.deep, strict=True))
    return Weights(base.first + size * away.first, deep)


def _expanded(ahead: np.ndarray, behind: np.ndarray, size: float) -> np.ndarray:
    """Value in the middle, and the slope for the whole way."""
    return (ahead + behind) / 2 + (ahead - behind) / (2 * size)
