"""What every estimate of the test error does, whatever it knows of the features, and where there is none.

What a training sample keeps of its own gradients is subtracted from its pre-activations, which are then distributed
like those of a fresh sample (docs/theory.md#own-gradients-removed). Estimates differ in how they know what it keeps:
from the spectrum of the features (`sedyn.estimate.by_spectrum`), or from the features at hand
(`sedyn.estimate.by_modes`). Arrays may have the same further axes in front, replicates that are run together.
"""

from __future__ import annotations

from typing import Protocol

from sedyn.arrays.backend import Array
from sedyn.arrays.shapes import Float
from sedyn.model.functions import ACTIVATIONS
from sedyn.model.network import Derivatives, has_kink
from sedyn.model.problem import Problem
from sedyn.model.update import Update

__all__ = ["Estimate", "no_estimate_because"]


def no_estimate_because(problem: Problem) -> str | None:
    """Say why the data-driven estimate cannot be had for a problem, or None if it can."""
    if has_kink(problem):
        kinked = ACTIVATIONS[problem.activation].kinked
        what = f"activation {problem.activation!r}" if kinked else f"hidden layer {problem.hidden!r}"
        return (
            f"{what} has a kink, whose point mass in the second derivative no training "
            "sample shows; use a smooth one, for example softplus or gelu"
        )
    return None


class Estimate(Protocol):
    """What the estimate of the test error rests on, up to one iteration t; no step changes it."""

    def step(self, derivatives: Derivatives, update: Update) -> Estimate:
        """Take in the derivatives at iteration t.

        Parameters
        ----------
        derivatives : Derivatives
            At h^t, with curvature.
        update : Update
            Of step t.

        Returns
        -------
        Estimate
            Up to t + 1.
        """
        ...

    def fresh_like(self, trained: Float[Array, "*replicates q n"]) -> Float[Array, "*replicates q n"]:
        """Pre-activations without what they keep of their own gradients: distributed like those of fresh samples.

        Parameters
        ----------
        trained : array, shape (..., q, n)
            h^t.

        Returns
        -------
        array, shape (..., q, n)
            zhat^t.
        """
        ...
