"""What samples keep of their own gradients, from the features at hand, without a spectrum (docs/theory.md#row-modes).

The modes of the features, each with the share that a sample has in it, carry a sample's own gradients from step to step
under the mean curvature of all samples. Nothing of earlier steps is kept: time and memory are linear in n, and time is
linear in the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.estimate.rows import RowModes
from sedyn.kernels.dispatch import move_modes
from sedyn.model.network import Derivatives
from sedyn.model.update import Update

__all__ = ["ByModes"]


class ByModes(NamedTuple):
    """What each sample's gradients have left in each mode, up to t.

    Attributes
    ----------
    modes : RowModes
        B modes of each sample.
    row_scales : array, shape (n,)
        tau_i, see `sedyn.estimate.rows.row_scales`.
    carried : array, shape (..., q, B, n)
        What sample i would keep of its own gradients, were mode b all that it has.
    previous : array, shape (..., q, B, n)
        What the momentum of `carried` is the difference from; see `sedyn.model.update.Update`.
    kept : array, shape (..., q, n)
        What each sample keeps of its own gradients: its shares of `carried`.
    """

    modes: RowModes
    row_scales: Float[Array, " n"]
    carried: Float[Array, "... q B n"]
    previous: Float[Array, "... q B n"]
    kept: Float[Array, "... q n"]

    @classmethod
    def begin(cls, modes: RowModes, row_scales: Float[Array, " n"], like: Float[Array, "... q d"]) -> ByModes:
        """Estimate before the first step.

        Parameters
        ----------
        modes : RowModes
        row_scales : array, shape (n,)
        like : array, shape (..., q, d)
            Gives library, dtype, device, the number of units and the axes in front.

        Returns
        -------
        ByModes
        """
        xp, kind = array_namespace(like), {"dtype": like.dtype, "device": like.device}
        nodes, weights = (xp.asarray(part, **kind) for part in (modes.nodes, modes.weights))
        modes = RowModes(nodes, weights, modes.centred)
        nothing = xp.zeros((*like.shape[:-1], *modes.nodes.shape), **kind)
        return cls(modes, xp.asarray(row_scales, **kind), nothing, nothing, nothing[..., 0, :])

    def step(self, derivatives: Derivatives, update: Update) -> ByModes:
        """Take in the derivatives at iteration t; see `Estimate.step`."""
        xp = array_namespace(self.carried)
        curvature = xp.matmul(derivatives.curvature, self.row_scales) / self.row_scales.shape[0]
        return self.move(derivatives.gradient[None], curvature[None], [update])[0]

    def move(
        self,
        gradients: Float[Array, "steps *replicates q n"],
        curvatures: Float[Array, "steps *replicates q q"],
        updates: Sequence[Update],
    ) -> tuple[ByModes, Float[Array, "steps *replicates q n"]]:
        """Take in the gradients of some steps, and one curvature for all samples at each.

        The mode that centring took out is what biases learn, and has none of the units' decay.

        Parameters
        ----------
        gradients : array, shape (S, ..., q, n)
            At iterations t to t + S - 1.
        curvatures : array, shape (S, ..., q, q)
        updates : sequence of Update
            Of these steps.

        Returns
        -------
        estimate : ByModes
            Up to t + S.
        kept : array, shape (S, ..., q, n)
            At iterations t + 1 to t + S.
        """
        nodes, weights, centred = self.modes
        known = self.carried, self.previous, self.kept
        given = nodes, weights, nodes.shape[0] - centred, *known, gradients, curvatures, updates
        carried, previous, kept = move_modes(*given)
        return self._replace(carried=carried, previous=previous, kept=kept[-1, ...]), kept

    def fresh_like(self, trained: Float[Array, "*replicates q n"]) -> Float[Array, "*replicates q n"]:
        """h^t less each sample's shares of what its modes carry; see `Estimate.fresh_like`."""
        return trained - self.kept
