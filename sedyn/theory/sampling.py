"""Points to average over: scrambled Sobol normals with exact first and second moments, and correlated draws.

Independent scrambles, or shifts, are independent randomizations of the same quadrature, so their spread is its standard
error (Owen 1997); matching moments makes every average of a quadratic function exact.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float

__all__ = ["CausalFactor", "matched_normals", "psd_root", "shifted_points", "sobol_uniforms"]

# Directions whose variance is below this share of the largest are rounding, not randomness.
NEGLIGIBLE_VARIANCE = 1e-12
# Binary digits of a point.
BITS = 52
# Of Sobol points, for which direction numbers are known.
MOST_DIMENSIONS = 21201


def sobol_uniforms(
    seed: np.random.SeedSequence, dimensions: int, samples: int
) -> Float[np.ndarray, "{dimensions} {samples}"]:
    """Scrambled Sobol points in the open unit cube, coordinates first.

    Parameters
    ----------
    seed : SeedSequence
        Of the scramble.
    dimensions : int
        At most `MOST_DIMENSIONS`.
    samples : int
        A power of two.

    Returns
    -------
    ndarray, shape (dimensions, samples)
    """
    from scipy.stats import qmc  # as slow to load as all of sedyn

    engine = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed), bits=BITS)
    points = engine.random_base2(samples.bit_length() - 1)
    return np.ascontiguousarray(points.T).clip(2.0**-53, 1 - 2.0**-53)


def shifted_points(
    seed: np.random.SeedSequence, dimensions: int, samples: int, shifts: int
) -> Float[np.ndarray, "{shifts} {dimensions} {samples}"]:
    """Draw random digital shifts of one set of Sobol points, at a small part of the cost of as many scrambles.

    The linear scramble below the shifts is the same every time: each shift makes every point uniform by itself, so
    averages are unbiased and independent between shifts.

    Parameters
    ----------
    seed : SeedSequence
        Of the shifts.
    dimensions, samples
        As for `sobol_uniforms`.
    shifts : int

    Returns
    -------
    ndarray, shape (shifts, dimensions, samples)
    """
    shift = np.random.default_rng(seed).integers(0, 2**BITS, (shifts, dimensions, 1), dtype=np.uint64)
    return (_point_digits(dimensions, samples) ^ shift) * 2.0**-BITS + 2.0 ** -(BITS + 1)


@lru_cache(maxsize=16)
def _point_digits(dimensions: int, samples: int) -> np.ndarray:
    """Binary digits of scrambled Sobol points as whole numbers, shape (dimensions, samples)."""
    points = sobol_uniforms(np.random.SeedSequence(0), dimensions, samples)
    return (points * 2.0**BITS).astype(np.uint64)


def matched_normals(
    uniforms: Float[Array, "*leading dimensions samples"],
) -> Float[Array, "*leading dimensions samples"]:
    """Turn uniform points into normal ones with mean exactly 0 and covariance exactly the identity.

    The moments are matched causally, each coordinate using only those before it, so the first coordinates do not
    depend on how many follow (docs/theory.md#matched-moments).

    Parameters
    ----------
    uniforms : array, shape (..., dimensions, samples)
        Points in the open unit cube, more of them than dimensions.

    Returns
    -------
    array, shape (..., dimensions, samples)
    """
    xp = array_namespace(uniforms)
    normals = backend.ndtri(uniforms)
    normals -= xp.mean(normals, axis=-1, keepdims=True)
    covariance = xp.matmul(normals, xp.matrix_transpose(normals)) / normals.shape[-1]
    # Near the identity, so that nothing is lost by inverting its factor.
    return xp.matmul(xp.linalg.inv(xp.linalg.cholesky(covariance)), normals)


def psd_root(
    covariance: Float[Array, "*leading q q"], scale: float | None = None
) -> tuple[Float[Array, "*leading q q"], Float[Array, "*leading q q"]]:
    """Symmetric square root of a covariance and its pseudo-inverse, with negligible directions left out.

    The symmetric one does not turn when eigenvalues meet: what is computed with it changes little when rounding does
    (docs/theory.md#symmetric-root).

    Parameters
    ----------
    covariance : array, shape (..., q, q)
        Symmetric; negative eigenvalues are taken for rounding.
    scale : float, optional
        The variance that others are negligible against; by default the largest on the diagonal.

    Returns
    -------
    root, inverse : array, shape (..., q, q)
    """
    xp = array_namespace(covariance)
    largest = xp.max(xp.linalg.diagonal(covariance), axis=-1, keepdims=True) if scale is None else scale
    values, vectors = xp.linalg.eigh((covariance + xp.matrix_transpose(covariance)) / 2)
    kept = (values > NEGLIGIBLE_VARIANCE * largest) & (values > 0)
    deviation = xp.sqrt(xp.where(kept, values, 1.0))
    transposed = xp.matrix_transpose(vectors)
    root, inverse = (
        xp.matmul(vectors * xp.where(kept, factor, 0.0)[..., None, :], transposed)
        for factor in (deviation, 1 / deviation)
    )
    return root, inverse


class CausalFactor(NamedTuple):
    """A block Cholesky factor L that grows by one block of rows at a time (docs/theory.md#conditional-draw).

    With independent normal innovations eps_0, eps_1, ..., the draws ``[z_0, z_1, ...] = L [eps_0, eps_1, ...]`` have
    the covariance whose rows were given, and each z_t is drawn conditionally on the earlier ones. Where a block
    brings (almost) no new variance its innovation is left out, which keeps the factor usable when weights
    hardly move.

    Attributes
    ----------
    rows : tuple of ndarray
        Of L: those of z_t have shape (size of z_t, innovations of z_0..z_t).
    inverses : tuple of ndarray
        Pseudo-inverses of the blocks on the diagonal.
    """

    rows: tuple[Float[np.ndarray, "_ _"], ...] = ()
    inverses: tuple[Float[np.ndarray, "_ _"], ...] = ()

    def append(self, covariances: list[Float[np.ndarray, "q _"]]) -> CausalFactor:
        """Add a block from its covariances with the earlier blocks and, last, with itself.

        Parameters
        ----------
        covariances : list of ndarray
            Cov(z_t, z_s) for s = 0..t, each (size of z_t, size of z_s).

        Returns
        -------
        CausalFactor
            One block longer; its last rows are the new ones.
        """
        *past, own = covariances
        offsets = self._offsets()
        coefficients = np.empty((own.shape[0], offsets[-1]))
        for s, covariance in enumerate(past):
            start, stop = offsets[s], offsets[s + 1]
            known = coefficients[:, :start] @ self.rows[s][:, :start].T
            coefficients[:, start:stop] = (covariance - known) @ self.inverses[s].T
        scale = float(np.max(np.diagonal(own), initial=0.0))
        root, inverse = psd_root(own - coefficients @ coefficients.T, scale)
        row = np.concatenate([coefficients, root], axis=1)
        return CausalFactor((*self.rows, row), (*self.inverses, inverse))

    def solve(self, moments: Float[np.ndarray, "q innovations"]) -> list[Float[np.ndarray, "q _"]]:
        """Solve R L = `moments` for the blocks of R, taking no part in directions that were left out.

        Parameters
        ----------
        moments : ndarray, shape (q, number of innovations)

        Returns
        -------
        list of ndarray
            One block of R for each block of rows, (q, size of z_s) each.
        """
        offsets = self._offsets()
        remainder = moments.copy()
        blocks: list[np.ndarray] = []
        for s in reversed(range(len(self.rows))):
            start, stop = offsets[s], offsets[s + 1]
            blocks.insert(0, remainder[:, start:stop] @ self.inverses[s])
            remainder[:, :start] -= blocks[0] @ self.rows[s][:, :start]
        return blocks

    def _offsets(self) -> list[int]:
        """Where the innovations of each block begin, and where those of the last one end."""
        return [0, *(row.shape[1] for row in self.rows)]
