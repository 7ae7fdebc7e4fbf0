"""Square roots of small covariances, singular ones too."""

from __future__ import annotations

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float

__all__ = ["NEGLIGIBLE_VARIANCE", "causal_root", "psd_root"]

# Directions whose variance is below this share of the largest are rounding, not randomness.
NEGLIGIBLE_VARIANCE = 1e-12


def causal_root(covariance: Float[Array, "*leading q q"]) -> Float[Array, "*leading q q"]:
    """Lower triangular root of a covariance, of which the first rows are those of the first variables' own.

    Parameters
    ----------
    covariance : array, shape (..., q, q)
        Symmetric; it may be singular.

    Returns
    -------
    array, shape (..., q, q)
        Root of the covariance with each variance raised by the share `NEGLIGIBLE_VARIANCE`, so that rounding leaves no
        variance negative. It says nothing where the covariance is not finite.
    """
    xp = array_namespace(covariance)
    finite = xp.all(xp.isfinite(covariance), axis=(-2, -1), keepdims=True)
    covariance = xp.where(finite, covariance, 0.0)  # of others a factorization would raise
    deviations = xp.sqrt(xp.maximum(xp.linalg.diagonal(covariance), 0.0))
    divisors = xp.where(deviations > 0, deviations, 1.0)
    correlation = covariance / divisors[..., :, None] / divisors[..., None, :]
    one = xp.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    correlation = xp.where(one > 0, 1 + NEGLIGIBLE_VARIANCE, xp.minimum(xp.maximum(correlation, -1.0), 1.0))
    return deviations[..., :, None] * xp.linalg.cholesky(correlation)


def psd_root(
    covariance: Float[Array, "*leading q q"], scale: Float[Array, "*leading 1"] | None = None
) -> tuple[Float[Array, "*leading q q"], Float[Array, "*leading q q"]]:
    """Symmetric square root of a covariance and its pseudo-inverse, with negligible directions left out.

    The symmetric one does not turn when eigenvalues meet: what is computed with it changes little when rounding does
    (docs/theory.md#symmetric-root).

    Parameters
    ----------
    covariance : array, shape (..., q, q)
        Symmetric; negative eigenvalues are taken for rounding.
    scale : array, shape (..., 1), optional
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
