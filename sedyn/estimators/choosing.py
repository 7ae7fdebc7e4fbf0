"""What choosing gains by chance: the least of several estimates is too low (docs/theory.md#chosen).

The choice is made again on samples of the samples, and judged on those that were not drawn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float, Integer, Shaped

__all__ = ["RESAMPLED", "Resamples"]

RESAMPLED = 100
"""Samples of the samples."""
MOST_GROUPS = 1024
"""Groups that are drawn in place of samples, where there are more of these."""


class Resamples(NamedTuple):
    """Samples of the samples, drawn in groups where these are many.

    Attributes
    ----------
    counts : ndarray of int, shape (R, G)
        How often each group was drawn.
    shares : ndarray, shape (n,)
        Of the samples in a mean; they add up to 1.
    sizes : ndarray, shape (G,)
        The same of the groups.
    """

    counts: Integer[np.ndarray, "R G"]
    shares: Float[np.ndarray, " n"]
    sizes: Float[np.ndarray, " G"]

    @classmethod
    def of(cls, weights: Float[np.ndarray, " n"]) -> Resamples:
        """Draw them, the same for all choices among the same samples.

        Parameters
        ----------
        weights : ndarray, shape (n,)
            Of the samples.

        Returns
        -------
        Resamples
        """
        shares, groups = weights / weights.sum(), min(weights.size, MOST_GROUPS)
        return cls(_counts(groups), shares, _grouped(shares, groups))

    def sums(self, losses: Float[np.ndarray, " n"]) -> Float[np.ndarray, " G"]:
        """Add up what each group contributes to the mean of all samples.

        Parameters
        ----------
        losses : ndarray, shape (n,)

        Returns
        -------
        ndarray, shape (G,)
        """
        return _grouped(self.shares * losses, self.sizes.size)

    def drawn(self, sums: Float[np.ndarray, "K G"]) -> Float[np.ndarray, "R K"]:
        """Mean of each candidate over the groups that were drawn.

        Parameters
        ----------
        sums : ndarray, shape (K, G)
            Of each candidate.

        Returns
        -------
        ndarray, shape (R, K)
        """
        return self.counts @ sums.T / (self.counts @ self.sizes)[:, None]

    def clearly_lower(self, sums: Float[np.ndarray, "K G"], errors: float) -> Shaped[np.ndarray, "R K"]:
        """Tell whether candidates are lower than the first by so many standard errors, with what was drawn.

        Parameters
        ----------
        sums : ndarray, shape (K, G)
            Of each candidate.
        errors : float

        Returns
        -------
        ndarray of bool, shape (R, K)
        """
        gained = sums[0] - sums
        total = (self.counts @ self.sizes)[:, None]
        mean = self.counts @ gained.T / total
        # The squares of gained - mean * size, group by group, added up without an array of all three axes.
        squares = self.counts @ (gained**2).T - 2 * mean * (self.counts @ (gained * self.sizes).T)
        squares += mean**2 * (self.counts @ self.sizes**2)[:, None]
        count = self.sizes.size
        return mean > errors * np.sqrt(squares.clip(0) * count / max(1, count - 1)) / total

    def left_out(self, sums: Float[np.ndarray, "R G"]) -> Float[np.ndarray, " R"]:
        """Mean over the groups that were not drawn, of one candidate for each resample.

        Parameters
        ----------
        sums : ndarray, shape (R, G)
            Of these candidates.

        Returns
        -------
        ndarray, shape (R,)
            Zero where all were drawn.
        """
        others = self.counts == 0
        return (others * sums).sum(axis=1) / np.maximum(others @ self.sizes, np.finfo(float).tiny)


@lru_cache(maxsize=4)
def _counts(groups: int) -> Integer[np.ndarray, "R G"]:
    """How often each of so many groups was drawn."""
    counts = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), RESAMPLED)
    counts.flags.writeable = False
    return counts


def _grouped(values: Float[np.ndarray, " n"], groups: int) -> Float[np.ndarray, " G"]:
    return values if values.size == groups else np.bincount(np.arange(values.size) % groups, values, groups)
