"""What the weight side learns from representative samples: how gradients vary together, and what they answer to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, asarray_like, to_host
from sedyn.arrays.history import History
from sedyn.arrays.shapes import Float
from sedyn.kernels.dispatch import mean_response
from sedyn.model.problem import Problem
from sedyn.theory.causal_factor import CausalFactor
from sedyn.theory.weight_side import EffectiveSignal, WeightResponse

__all__ = ["GradientMoments", "gradient_moments"]


class GradientMoments(NamedTuple):
    """Averages over samples that the gradient at one iteration t enters.

    Attributes
    ----------
    covariance : ndarray, shape (..., q, (t + 1) q)
        C_u(t, s) for s = 0..t, one beside the other (docs/theory.md#gradient-covariance).
    response : ndarray, shape (..., t + 1, q, q)
        R_g(t, s) for s = 0..t (Onsager; docs/theory.md#gradient-response).
    signal_response : ndarray, shape (..., q, k)
        R_g(t, *) (docs/theory.md#signal-response).
    """

    covariance: Float[np.ndarray, "... q (t+1)*q"]
    response: Float[np.ndarray, "... t+1 q q"]
    signal_response: Float[np.ndarray, "... q k"]


def gradient_moments(
    problem: Problem,
    innovations: Float[Array, "*randomizations innovations N"],
    gradient: Float[Array, "*randomizations q N"],
    gradients: History,
    curvatures: History | None,
    weight_response: WeightResponse,
    effective_signal: EffectiveSignal,
    factor: CausalFactor,
) -> GradientMoments:
    """Average over samples, with one transfer to the host.

    Responses are means of derivatives where these exist; the signal's is found by Stein's identity, which asks nothing
    of the link. Where the activation has a kink all of them are, in the basis of the innovations
    (docs/theory.md#kink-response).

    Parameters
    ----------
    problem : Problem
    innovations : array, shape (..., k + q (T + 1), N)
        See `sedyn.theory.inputs.Draws`.
    gradient : array, shape (..., q, N)
        g^t.
    gradients : History, shape (..., t + 1, q, N)
        g^0..g^t.
    curvatures : History, shape (..., t + 1, q, q, N), or None
        D^0..D^t; None where the activation has a kink.
    weight_response, effective_signal : WeightResponse, EffectiveSignal
        Up to t.
    factor : CausalFactor
        Of the covariance of z_*, z^0, ..., z^t.

    Returns
    -------
    GradientMoments
    """
    t, k, delta = len(gradients) - 1, problem.signals, float(problem.aspect_ratio)
    xp, past, q = array_namespace(gradient), gradients.values, problem.units
    *leading, _, _, samples = past.shape
    means = {"covariance": _mean_products(gradient, xp.reshape(past, (*leading, (t + 1) * q, samples)))}
    if curvatures is None:
        k += q * (t + 1)
    else:
        known = asarray_like(weight_response.mean.values[..., : t + 1, :, :], gradient)
        means["response"] = mean_response(curvatures.values, known)
    means["innovations"] = _mean_products(gradient, innovations[..., :k, :])
    found = {name: delta * mean for name, mean in to_host(means).items()}
    if curvatures is None:
        solved = factor.solve(found["innovations"])
        fresh = np.reshape(solved[..., problem.signals :], (*leading, q, t + 1, q))
        return GradientMoments(found["covariance"], np.swapaxes(fresh, -3, -2), solved[..., : problem.signals])
    indices = factor.rows[0]
    with_signal = effective_signal.with_start.values[..., q:]  # (..., s, b, k)
    response = np.reshape(np.swapaxes(found["response"], -3, -2), (*leading, q, (t + 1) * q))
    through_fresh = response @ np.reshape(with_signal, (*leading, (t + 1) * q, -1))
    with_indices = found["innovations"] @ indices.T
    signal_response = np.linalg.solve(indices @ indices.T, np.swapaxes(with_indices - through_fresh, -1, -2))
    return GradientMoments(found["covariance"], found["response"], np.swapaxes(signal_response, -1, -2))


def _mean_products(
    left: Float[Array, "*randomizations q N"], right: Float[Array, "*randomizations m N"]
) -> Float[Array, "*randomizations q m"]:
    """Mean over samples of left right^T."""
    xp = array_namespace(left)
    return xp.matmul(left, xp.matrix_transpose(right)) / left.shape[-1]
