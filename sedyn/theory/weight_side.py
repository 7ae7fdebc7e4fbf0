"""The weight side of state evolution: what first-layer rows carry, in closed form (THEORY section 2).

Everything here is linear and small: matrices of the width, for each iteration and spectral node. The weight response
R_w is of any array library and may have further axes in front, replicates that are run together: the data-driven
estimate keeps it where its samples are. What only state evolution has lives on the host as numpy, whatever device the
draws are on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.model.quadrature import SpectralMeasure
from sedyn.model.update import Update

__all__ = [
    "EffectiveSignal",
    "WeightResponse",
    "averaged",
    "carried_covariance",
    "init_effective_signal",
    "init_weight_response",
    "noise_covariance",
    "row_covariances",
    "start_covariance",
    "step_effective_signal",
    "step_weight_response",
]


class WeightResponse(NamedTuple):
    """How weights answer to earlier gradients.

    Attributes
    ----------
    spectrum : SpectralMeasure
        B nodes and weights.
    at_nodes : array, shape (..., T + 1, T + 1, B, q, q)
        ``at_nodes[..., t, s, :, :, :]`` is r(t, s) at each node, the response of the weights at t to a push at s < t;
        zero elsewhere. EffectiveSignal up to the present iteration are filled, in place.
    mean : array, shape (..., T + 1, T + 1, q, q)
        R_w(t, s), the average of `at_nodes` over the spectrum, filled likewise.
    """

    spectrum: SpectralMeasure
    at_nodes: Array
    mean: Array


class EffectiveSignal(NamedTuple):
    """What a first-layer row carries of its start.

    Attributes
    ----------
    coefficients : ndarray, shape (T + 1, B, q, q + k)
        [P_t, m_t] at each node: the row at t has mean P_t w^0 + m_t mu. Filled in place like the weight response.
    overlaps : ndarray, shape (B, q + k, q + k)
        Gram matrix of [w~^0, mu~] at each node.
    """

    coefficients: np.ndarray
    overlaps: np.ndarray


def init_weight_response(spectrum: SpectralMeasure, steps: int, width: int, like: Array) -> WeightResponse:
    """WeightResponse before the first step, R_w(0, 0) = 0.

    Parameters
    ----------
    spectrum : SpectralMeasure
    steps, width : int
        T and q.
    like : array, shape (..., a, b)
        Gives library, dtype, device and the axes in front.
    """
    xp, kind = array_namespace(like), {"dtype": like.dtype, "device": like.device}
    times = (*like.shape[:-2], steps + 1, steps + 1)
    return WeightResponse(
        SpectralMeasure(*(xp.asarray(part, **kind) for part in spectrum)),
        xp.zeros((*times, spectrum.nodes.size, width, width), **kind),
        xp.zeros((*times, width, width), **kind),
    )


def init_effective_signal(spectrum: SpectralMeasure, steps: int, overlaps: np.ndarray, width: int) -> EffectiveSignal:
    """EffectiveSignal before the first step: P_0 = I, m_0 = 0.

    Parameters
    ----------
    spectrum : SpectralMeasure
    steps : int
    overlaps : ndarray, shape (q + k, q + k)
        Gram matrix of [W0, mu] over d, the same all along the spectrum.
    width : int
        q.
    """
    nodes = spectrum.nodes
    coefficients = np.zeros((steps + 1, nodes.size, width, overlaps.shape[0]))
    coefficients[0, :, :, :width] = np.eye(width)
    return EffectiveSignal(coefficients, nodes[:, None, None] * overlaps)


def _drive(weight_response: WeightResponse, gradient: Array, delta: float) -> Array:
    """Gradient of a row at every node: eigenvalue / delta times the sum over s of R_g(t, s) u_s."""
    return weight_response.spectrum.nodes[:, None, None] / delta * gradient


def step_weight_response(
    weight_response: WeightResponse, t: int, responses: Array, update: Update, delta: float
) -> WeightResponse:
    """Advance R_w from iteration t to t + 1.

    Parameters
    ----------
    weight_response : WeightResponse
        Filled up to t.
    t : int
    responses : array, shape (..., t + 1, q, q)
        R_g(t, s) for s = 0..t.
    update : Update
        Of step t.
    delta : float
        Aspect ratio.
    """
    history = weight_response.at_nodes
    xp = array_namespace(history)
    *replicates, _, _, nodes, q, _ = history.shape
    # One matrix product for each replicate, so that its rounding does not depend on what runs beside it.
    left = xp.reshape(xp.moveaxis(responses, -3, -2), (*replicates, q, (t + 1) * q))
    known = xp.moveaxis(history[..., : t + 1, : t + 1, :, :, :], -2, -4)  # (..., r, b, s, node, c)
    right = xp.reshape(known, (*replicates, (t + 1) * q, (t + 1) * nodes * q))
    pushed = xp.moveaxis(xp.reshape(xp.matmul(left, right), (*replicates, q, t + 1, nodes, q)), -4, -2)
    pushed[..., t, :, :, :] += xp.eye(q, dtype=history.dtype, device=history.device)
    present, previous = (history[..., s, : t + 1, :, :, :] for s in (t, max(t - 1, 0)))
    row = update(present, previous, _drive(weight_response, pushed, delta))
    history[..., t + 1, : t + 1, :, :, :] = row
    weight_response.mean[..., t + 1, : t + 1, :, :] = averaged(weight_response.spectrum, row)
    return weight_response


def step_effective_signal(
    rows: EffectiveSignal,
    weight_response: WeightResponse,
    t: int,
    responses: np.ndarray,
    signal: np.ndarray,
    update: Update,
    delta: float,
) -> EffectiveSignal:
    """Advance P and m from iteration t to t + 1.

    Parameters
    ----------
    signal : EffectiveSignal
        Filled up to t.
    weight_response : WeightResponse
        For its spectrum.
    t : int
    responses : ndarray, shape (t + 1, q, q)
        R_g(t, s) for s = 0..t.
    signal : ndarray, shape (q, k)
        R_g(t, *).
    update : Update
        Of step t.
    delta : float
        Aspect ratio.
    """
    history = rows.coefficients
    gradient = np.einsum("sab,snbc->nac", responses, history[: t + 1], optimize=True)
    gradient[:, :, responses.shape[1] :] += signal
    history[t + 1] = update(history[t], history[max(t - 1, 0)], _drive(weight_response, gradient, delta))
    return rows


def averaged(spectrum: SpectralMeasure, values: Array) -> Array:
    """Average over the spectrum of values whose node axis is third from last."""
    return array_namespace(values).sum(spectrum.weights[:, None, None] * values, axis=-3)


def start_covariance(rows: EffectiveSignal, weight_response: WeightResponse, t: int) -> np.ndarray:
    """Overlaps of the rows at s = 0..t with where they started, shape (t + 1, q, q + k).

    The first q columns belong to the initialization, P_s S00 + m_s S0*^T, and the last k to the signals: there
    P_s S0* + m_s sigma_*^2 = Cov(z^s, z_*).
    """
    return averaged(weight_response.spectrum, rows.coefficients[: t + 1] @ rows.overlaps)


def carried_covariance(rows: EffectiveSignal, weight_response: WeightResponse, t: int) -> np.ndarray:
    """The part of Cov(z^t, z^s) that initialization and signal carry, for s = 0..t, shape (t + 1, q, q)."""
    present = rows.coefficients[t] @ rows.overlaps
    return averaged(weight_response.spectrum, present @ np.swapaxes(rows.coefficients[: t + 1], -1, -2))


def noise_covariance(weight_response: WeightResponse, t: int, gradient_covariance: np.ndarray) -> np.ndarray:
    """Sum over a < t, b < s of R_w(t, a) C_u(a, b) R_w(s, b)^T for s = 0..t, averaged over the spectrum.

    Parameters
    ----------
    weight_response : WeightResponse
        Filled up to t.
    t : int
    gradient_covariance : ndarray, shape (>= t, >= t, q, q)
        C_u(a, b).

    Returns
    -------
    ndarray, shape (t + 1, q, q)
    """
    history = weight_response.at_nodes[: t + 1, :t]
    half = _with_gradients(weight_response, t, gradient_covariance)
    return np.einsum("n,bnik,sbnlk->sil", weight_response.spectrum.weights, half, history, optimize=True)


def row_covariances(weight_response: WeightResponse, t: int, gradient_covariance: np.ndarray) -> np.ndarray:
    """Conditional covariance of a first-layer row w at t, for each node; w~ = Lambda^(1/2) w is what it answers for.

    Parameters
    ----------
    weight_response, t, gradient_covariance
        As for `noise_covariance`.

    Returns
    -------
    ndarray, shape (B, q, q)
    """
    half = _with_gradients(weight_response, t, gradient_covariance)
    products = np.einsum("bnik,bnlk->nil", half, weight_response.at_nodes[t, :t], optimize=True)
    return products / weight_response.spectrum.nodes[:, None, None]


def _with_gradients(weight_response: WeightResponse, t: int, gradient_covariance: np.ndarray) -> np.ndarray:
    """Sum over a < t of r(t, a) C_u(a, b) at each node, for b < t."""
    return np.einsum("anij,abjk->bnik", weight_response.at_nodes[t, :t], gradient_covariance[:t, :t], optimize=True)
