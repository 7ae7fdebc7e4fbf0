"""How fast a fit learns: a rate that suits the features and the loss, and the momentum that goes with it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.model.functions import Loss
from sedyn.model.problem import Problem
from sedyn.model.update import Update, updates_of

__all__ = ["AUTO_SHARE", "curvature_bound", "hidden_units", "largest_eigenvalue", "updates_of_fit"]

AUTO_SHARE = 0.1
"""The rate that is chosen, as a share of one over the largest curvature of a linear model's mean loss."""
DEEP_SHARE = 0.05
"""The rate of deeper layers at most, over the loss's curvature: their signals, of units and biases, are of size one."""
POWER_ITERATIONS = 50


def largest_eigenvalue(features: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"]) -> float:
    """Largest eigenvalue of the features' second moments, by power iteration from the row of largest length.

    Parameters
    ----------
    features : ndarray, shape (n, d)
    weights : ndarray, shape (n,)
        Of the rows, with mean 1.

    Returns
    -------
    float
    """
    vector = features[np.argmax(np.einsum("ij,ij,i->i", features, features, weights))]
    value = 0.0
    for _ in range(POWER_ITERATIONS):
        vector = vector / np.linalg.norm(vector)
        vector = features.T @ (weights * (features @ vector)) / len(features)
        previous, value = value, float(np.linalg.norm(vector))
        if value - previous <= 1e-3 * value:
            break
    return value


def curvature_bound(loss: Loss, outputs: int) -> float:
    """Largest second derivative of a loss in its outputs, as found on a grid of outputs and labels.

    Parameters
    ----------
    loss : Loss
    outputs : int
        How many outputs there are.

    Returns
    -------
    float
    """
    if loss.joint:  # two classes that tie, and all others far behind
        f, y = np.full((outputs, 1), -20.0), np.zeros((outputs, 1))
        f[:2], y[0] = 0, 1
        return float(np.linalg.eigvalsh(loss.jet(f, y, 2)[2][..., 0])[-1])
    f, y = np.meshgrid(np.linspace(-4, 4, 81), [-1.0, 1.0] if loss.binary else np.linspace(-1, 1, 5))
    return float(loss.jet(f, y, 2)[2].max())


def updates_of_fit(problem: Problem, *, accelerated: bool, linear_decay: bool) -> Iterable[Update]:
    """Build the update of every step (docs/theory.md#accelerated).

    Parameters
    ----------
    problem : Problem
    accelerated : bool
        Whether momentum grows, t / (t + 3) in Nesterov's form: the time that descent has gone through then grows like
        the square of the steps, which are fine where little is learned and large where much is.
    linear_decay : bool
        Whether weight decay is of the linear units alone (docs/theory.md#linear-start).

    Returns
    -------
    list of Update
    """
    updates = updates_of(problem)
    if linear_decay:
        decay = np.zeros((problem.units, 1))
        decay[hidden_units(problem) :] = problem.weight_decay
        updates = [update._replace(weight_decay=0.0, unit_decay=decay) for update in updates]
    if accelerated:
        updates = [update._replace(momentum=t / (t + 3.0), nesterov=True) for t, update in enumerate(updates)]
    return updates


def hidden_units(problem: Problem) -> int:
    """Count the units of the first layer that go through others; the linear ones come after them."""
    return problem.width if problem.depth > 1 else 0
