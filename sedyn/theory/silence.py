"""What a network that says nothing scores, exactly: how far averages over samples are off is known of it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sedyn.arrays.roots import causal_root
from sedyn.kernels.dispatch import label_law
from sedyn.model.evaluation import silent_scores
from sedyn.model.initialization import initial_overlaps
from sedyn.model.label_laws import noise_variables
from sedyn.model.problem import Problem

__all__ = ["silent_score"]

# Distance of neighbouring nodes, in standard deviations, by how many variables there are; half of it has to give the
# same. More variables than these have too many nodes.
SPACING = {1: 1 / 16, 2: 1 / 5, 3: 1 / 2}
REACH = 9.0
AGREEMENT = 1e-9


@lru_cache(maxsize=256)
def silent_score(problem: Problem) -> float | None:
    """Twice the loss of outputs 0, averaged over labels by equally spaced nodes (docs/theory.md#silent-control).

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    float or None
        None where nodes of two spacings disagree, since a link jumps, or variables are too many.
    """
    spacing = SPACING.get(problem.signals + noise_variables(problem))
    if spacing is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # a start that is not finite has no score
        rough, fine = (_by_nodes(problem, each) for each in (spacing, spacing / 2))
    return fine if abs(rough - fine) <= AGREEMENT * abs(fine) else None


def _by_nodes(problem: Problem, spacing: float) -> float:
    k, drawn = problem.signals, noise_variables(problem)
    line = np.arange(-round(REACH / spacing), round(REACH / spacing) + 1) * spacing
    nodes = np.stack(np.meshgrid(*[line] * (k + drawn), indexing="ij")).reshape(k + drawn, -1)
    weights = np.exp(-np.sum(nodes * nodes, axis=0) / 2)
    indices = causal_root(initial_overlaps(problem)[problem.units :, problem.units :]) @ nodes[:k]
    scores = silent_scores(problem, label_law(problem, indices, nodes[k:]), weights)
    return float(scores @ weights / weights.sum())
