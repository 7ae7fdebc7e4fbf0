"""Correlated draws, one after another, each given those before it (docs/theory.md#conditional-draw)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.arrays.roots import psd_root
from sedyn.arrays.shapes import Float

__all__ = ["CausalFactor"]


class CausalFactor(NamedTuple):
    """A block Cholesky factor L that grows by one block of rows at a time (docs/theory.md#conditional-draw).

    With independent normal innovations eps_0, eps_1, ..., the draws ``[z_0, z_1, ...] = L [eps_0, eps_1, ...]`` have
    the covariance whose rows were given, and each z_t is drawn conditionally on the earlier ones. Where a block
    brings (almost) no new variance its innovation is left out, which keeps the factor usable when weights
    hardly move.

    Attributes
    ----------
    rows : tuple of ndarray
        Of L: those of z_t have shape (..., size of z_t, innovations of z_0..z_t).
    inverses : tuple of ndarray
        Pseudo-inverses of the blocks on the diagonal.
    """

    rows: tuple[Float[np.ndarray, "... _ _"], ...] = ()
    inverses: tuple[Float[np.ndarray, "... _ _"], ...] = ()

    def append(self, covariances: Float[np.ndarray, "... q _"]) -> CausalFactor:
        """Add a block from its covariances with the earlier blocks and, last, with itself.

        Parameters
        ----------
        covariances : ndarray, shape (..., size of z_t, variables of z_0..z_t)
            Cov(z_t, z_s) for s = 0..t, one beside the other.

        Returns
        -------
        CausalFactor
            One block longer; its last rows are the new ones. What is not finite makes a block of NaN.
        """
        known = covariances.shape[-1] - covariances.shape[-2]
        row, own = np.empty(covariances.shape), covariances[..., known:]
        for (start, stop), factor, inverse in zip(self._places(), self.rows, self.inverses, strict=True):
            left = covariances[..., start:stop]
            if start:
                left = left - row[..., :start] @ np.swapaxes(factor[..., :start], -1, -2)
            np.matmul(left, np.swapaxes(inverse, -1, -2), out=row[..., start:stop])
        coefficients = row[..., :known]
        scale = np.max(np.diagonal(own, axis1=-2, axis2=-1), axis=-1, keepdims=True, initial=0.0)
        new = own - coefficients @ np.swapaxes(coefficients, -1, -2)
        # What is not finite has no root, and those beside it are not to know.
        finite = np.isfinite(new + np.swapaxes(new, -1, -2)).all(axis=(-2, -1), keepdims=True)
        root, inverse = (np.where(finite, each, np.nan) for each in psd_root(np.where(finite, new, 0.0), scale))
        row[..., known:] = root
        return CausalFactor((*self.rows, row), (*self.inverses, inverse))

    def solve(self, moments: Float[np.ndarray, "... q innovations"]) -> Float[np.ndarray, "... q innovations"]:
        """Solve R L = `moments` for R, taking no part in directions that were left out.

        Parameters
        ----------
        moments : ndarray, shape (..., q, number of innovations)

        Returns
        -------
        ndarray, of the same shape
            One block of columns of R for each block of rows, (..., q, size of z_s) each.
        """
        found, remainder = np.empty_like(moments), moments.copy()
        for (start, stop), row, inverse in zip(
            reversed(self._places()), reversed(self.rows), reversed(self.inverses), strict=True
        ):
            np.matmul(remainder[..., start:stop], inverse, out=found[..., start:stop])
            remainder[..., :start] -= found[..., start:stop] @ row[..., :start]
        return found

    def _places(self) -> list[tuple[int, int]]:
        """Where the innovations of each block begin and end."""
        ends = [row.shape[-1] for row in self.rows]
        return list(zip([0, *ends], ends, strict=False))
