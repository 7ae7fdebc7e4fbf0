"""The weight side of state evolution: what first-layer rows carry, in closed form (docs/theory.md#init-coefficient).

Everything here is linear and small: matrices of the width, for each iteration and spectral node. Arrays may have
further axes in front, randomizations or replicates that are run together; each has matrix products of its own, so that
its rounding does not depend on what runs beside it. The weight response R_w is of any array library: the data-driven
estimate keeps it where its samples are. What only state evolution has lives on the host as numpy, whatever device the
draws are on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.history import History
from sedyn.arrays.shapes import Float
from sedyn.model.quadrature import SpectralMeasure
from sedyn.model.update import Update

__all__ = [
    "EffectiveSignal",
    "Pushes",
    "WeightResponse",
    "averaged",
    "carried_covariance",
    "fresh_covariances",
    "init_effective_signal",
    "init_weight_response",
    "noise_covariance",
    "row_covariances",
    "spectral_nodes",
    "step_effective_signal",
    "step_weight_response",
]


class WeightResponse(NamedTuple):
    """How weights answer to earlier gradients, up to one iteration t (Onsager; docs/theory.md#weight-response).

    Attributes
    ----------
    spectrum : SpectralMeasure
        B nodes and weights.
    at_nodes : History, shape (..., t + 1, T + 1, B, q, q)
        ``at_nodes.values[..., r, s, :, :, :]`` is r(r, s) at each node, the response of the weights at r to a push at
        s < r; zero elsewhere.
    mean : History, shape (..., t + 1, T + 1, q, q)
        R_w(r, s), the average of `at_nodes` over the spectrum.
    previous : array, shape (..., t, B, q, q)
        What the momentum of r(t, s) is the difference from, for s < t; see `sedyn.model.update.Update`.
    """

    spectrum: SpectralMeasure
    at_nodes: History
    mean: History
    previous: Float[Array, "... t B q q"]


class EffectiveSignal(NamedTuple):
    """What a first-layer row carries of its start, up to one iteration t (docs/theory.md#effective-signal).

    Attributes
    ----------
    spectrum : SpectralMeasure
        B nodes and weights.
    coefficients : History, shape (..., t + 1, B, q, q + k)
        [P_s, m_s] at each node: a first-layer row at s has mean P_s w^0 + m_s mu.
    with_start : History, shape (..., t + 1, q, q + k)
        Overlaps of the rows at s with where they started. The first q columns belong to the initialization,
        P_s S00 + m_s S0*^T, and the last k to the signals: there P_s S0* + m_s sigma_*^2 = Cov(z^s, z_*)
        (docs/theory.md#index-covariance).
    overlaps : ndarray, shape (B, q + k, q + k)
        Gram matrix of [w~^0, mu~] at each node.
    previous : ndarray, shape (..., B, q, q + k)
        What the momentum of [P_t, m_t] is the difference from; see `sedyn.model.update.Update`.
    """

    spectrum: SpectralMeasure
    coefficients: History
    with_start: History
    overlaps: Float[np.ndarray, "B q+k q+k"]
    previous: Float[np.ndarray, "... B q q+k"]

    def append(
        self, coefficients: Float[np.ndarray, "... B q qk"], previous: Float[np.ndarray, "... B q qk"]
    ) -> EffectiveSignal:
        """Add [P, m] of the next iteration.

        Parameters
        ----------
        coefficients : ndarray, shape (..., B, q, q + k)
        previous : ndarray, shape (..., B, q, q + k)
            What their momentum is the difference from.

        Returns
        -------
        EffectiveSignal
        """
        with_start = averaged(self.spectrum, coefficients @ self.overlaps)
        return self._replace(
            coefficients=self.coefficients.append(coefficients),
            with_start=self.with_start.append(with_start),
            previous=previous,
        )


class Pushes(NamedTuple):
    """What pushes first-layer rows at the steps s < t, besides what they carry.

    Attributes
    ----------
    gradients : ndarray, shape (..., t q, t q)
        C_u(a, b) (docs/theory.md#gradient-covariance), the blocks of one matrix.
    noise : ndarray, shape (t,)
        Of the gradient noise at each step, as a variance of gradients at eigenvalue 1
        (docs/theory.md#gradient-noise-covariance).
    """

    gradients: Float[np.ndarray, "... t*q t*q"]
    noise: Float[np.ndarray, " t"]

    @classmethod
    def none(cls, leading: tuple[int, ...] = ()) -> Pushes:
        """Before the first step.

        Parameters
        ----------
        leading : tuple of int, optional
            Sizes of the axes in front.

        Returns
        -------
        Pushes
        """
        return cls(np.empty((*leading, 0, 0)), np.empty(0))

    def append(self, latest: Float[np.ndarray, "... q _"], update: Update, delta: float) -> Pushes:
        """Add those of step t.

        Parameters
        ----------
        latest : ndarray, shape (..., q, (t + 1) q)
            C_u(t, s) for s = 0..t, one beside the other.
        update : Update
            Of step t.
        delta : float
            Aspect ratio.

        Returns
        -------
        Pushes
        """
        *leading, width, size = latest.shape
        gradients = np.empty((*leading, size, size))
        gradients[..., :-width, :-width] = self.gradients
        gradients[..., -width:, :] = latest
        gradients[..., :, -width:] = np.swapaxes(latest, -1, -2)
        # A step of no length has no noise: what it would be divided by below is a response that is zero.
        rate = update.learning_rate
        noise = 2 * update.temperature * delta**2 / rate if rate else 0.0
        return Pushes(gradients, np.append(self.noise, noise))


def spectral_nodes(steps: int) -> int:
    """Nodes that the theory takes of a spectrum with many eigenvalues (docs/theory.md#spectral-nodes).

    After T steps it averages polynomials of degree 2T + 1 in the eigenvalues, and the law of a first-layer row has
    coefficients of degree T and a covariance of degree 2T - 1: T + 1 nodes give the averages, and 2T every row's own
    law.
    """
    return max(2 * steps, 2)


def init_weight_response(
    spectrum: SpectralMeasure, steps: int, width: int, like: Float[Array, "... a b"]
) -> WeightResponse:
    """Weight response before the first step, R_w(0, 0) = 0.

    Parameters
    ----------
    spectrum : SpectralMeasure
    steps, width : int
        T and q.
    like : array, shape (..., a, b)
        Gives library, dtype, device and the axes in front.

    Returns
    -------
    WeightResponse
    """
    xp, kind = array_namespace(like), {"dtype": like.dtype, "device": like.device}
    leading, nodes = like.shape[:-2], spectrum.nodes.size
    nothing = xp.zeros((*leading, 0, nodes, width, width), **kind)
    return WeightResponse(
        SpectralMeasure(*(xp.asarray(part, **kind) for part in spectrum)),
        History.empty(steps + 1, (steps + 1, nodes, width, width), like, leading).append(nothing),
        History.empty(steps + 1, (steps + 1, width, width), like, leading).append(nothing[..., 0, :, :]),
        nothing,
    )


def init_effective_signal(
    spectrum: SpectralMeasure,
    steps: int,
    overlaps: Float[np.ndarray, "qk qk"],
    width: int,
    leading: tuple[int, ...] = (),
) -> EffectiveSignal:
    """Effective signal before the first step: P_0 = I, m_0 = 0.

    Parameters
    ----------
    spectrum : SpectralMeasure
    steps : int
    overlaps : ndarray, shape (q + k, q + k)
        Gram matrix of [W0, mu] over d, the same all along the spectrum.
    width : int
        q.
    leading : tuple of int, optional
        Sizes of the axes in front.

    Returns
    -------
    EffectiveSignal
    """
    nodes, columns = spectrum.nodes, overlaps.shape[0]
    start = np.broadcast_to(np.eye(width, columns), (*leading, nodes.size, width, columns))
    nothing = EffectiveSignal(
        spectrum,
        History.empty(steps + 1, (nodes.size, width, columns), overlaps, leading),
        History.empty(steps + 1, (width, columns), overlaps, leading),
        nodes[:, None, None] * overlaps,
        start,
    )
    return nothing.append(start, start)


def _drive(spectrum: SpectralMeasure, gradient: Array, delta: float) -> Array:
    """Gradient of a first-layer row at every node: eigenvalue / delta times the sum over s of R_g(t, s) u_s."""
    return spectrum.nodes[:, None, None] / delta * gradient


def step_weight_response(
    weight_response: WeightResponse, gradient_response: Float[Array, "... s q q"], update: Update, delta: float
) -> WeightResponse:
    """Advance R_w from iteration t to t + 1.

    Parameters
    ----------
    weight_response : WeightResponse
        Up to t.
    gradient_response : array, shape (..., t + 1, q, q)
        R_g(t, s) for s = 0..t.
    update : Update
        Of step t.
    delta : float
        Aspect ratio.

    Returns
    -------
    WeightResponse
        Up to t + 1.
    """
    spectrum, at_nodes, mean, previous = weight_response
    t, history = len(at_nodes) - 1, at_nodes.values
    xp = array_namespace(history)
    *replicates, _, _, nodes, q, _ = history.shape
    # One matrix product for each replicate, so that its rounding does not depend on what runs beside it.
    left = xp.reshape(xp.moveaxis(gradient_response, -3, -2), (*replicates, q, (t + 1) * q))
    known = xp.moveaxis(history[..., : t + 1, :, :, :], -2, -4)  # (..., r, b, s, node, c)
    right = xp.reshape(known, (*replicates, (t + 1) * q, (t + 1) * nodes * q))
    pushed = xp.moveaxis(xp.reshape(xp.matmul(left, right), (*replicates, q, t + 1, nodes, q)), -4, -2)
    pushed[..., t, :, :, :] += xp.eye(q, dtype=history.dtype, device=history.device)
    present = history[..., t, : t + 1, :, :, :]
    previous = xp.concat([previous, xp.zeros_like(present[..., t:, :, :, :])], axis=-4)  # no push at t is felt at t
    following, previous = update(present, previous, _drive(spectrum, pushed, delta))
    return WeightResponse(spectrum, at_nodes.append(following), mean.append(averaged(spectrum, following)), previous)


def step_effective_signal(
    effective_signal: EffectiveSignal,
    gradient_response: Float[np.ndarray, "... s q q"],
    signal_response: Float[np.ndarray, "... q k"],
    update: Update,
    delta: float,
) -> EffectiveSignal:
    """Advance P and m from iteration t to t + 1 (docs/theory.md#init-coefficient, docs/theory.md#signal-coefficient).

    Parameters
    ----------
    effective_signal : EffectiveSignal
        Up to t.
    gradient_response : ndarray, shape (..., t + 1, q, q)
        R_g(t, s) for s = 0..t.
    signal_response : ndarray, shape (..., q, k)
        R_g(t, *).
    update : Update
        Of step t.
    delta : float
        Aspect ratio.

    Returns
    -------
    EffectiveSignal
        Up to t + 1.
    """
    history = effective_signal.coefficients.values
    *leading, steps, nodes, q, columns = history.shape
    known = np.reshape(np.swapaxes(history, -3, -2), (*leading, steps * q, nodes * columns))  # (s, b), (node, c)
    gradient = np.reshape(_beside(gradient_response) @ known, (*leading, q, nodes, columns))
    gradient = np.swapaxes(gradient, -3, -2)
    gradient[..., q:] += signal_response[..., None, :, :]
    drive = _drive(effective_signal.spectrum, gradient, delta)
    return effective_signal.append(*update(history[..., -1, :, :, :], effective_signal.previous, drive))


def averaged(spectrum: SpectralMeasure, values: Float[Array, "*leading B a b"]) -> Float[Array, "*leading a b"]:
    """Average over the spectrum (docs/theory.md#spectrum-average).

    Parameters
    ----------
    spectrum : SpectralMeasure
    values : array, shape (..., B, a, b)

    Returns
    -------
    array, shape (..., a, b)
    """
    return array_namespace(values).sum(spectrum.weights[:, None, None] * values, axis=-3)


def carried_covariance(effective_signal: EffectiveSignal) -> Float[np.ndarray, "... q _"]:
    """The part of Cov(z^t, z^s) that initialization and signal carry, for s = 0..t, shape (..., q, (t + 1) q)."""
    history, spectrum = effective_signal.coefficients.values, effective_signal.spectrum
    present = spectrum.weights[:, None, None] * (history[..., -1, :, :, :] @ effective_signal.overlaps)
    return _with_history(present, history)


def noise_covariance(weight_response: WeightResponse, pushes: Pushes) -> Float[np.ndarray, "... q _"]:
    """Sum over a < t, b < s of R_w(t, a) C_u(a, b) R_w(s, b)^T for s = 0..t, averaged over the spectrum.

    With what gradient noise adds to C_u (docs/theory.md#gradient-noise-covariance).

    Parameters
    ----------
    weight_response : WeightResponse
        Up to t.
    pushes : Pushes
        At the steps before t.

    Returns
    -------
    ndarray, shape (..., q, (t + 1) q)
        For one s beside another.
    """
    history = _pushed(weight_response, slice(None), len(pushes.noise))
    half = weight_response.spectrum.weights[:, None, None] * _with_pushes(weight_response, pushes)
    return _with_history(half, history)


def fresh_covariances(
    effective_signal: EffectiveSignal,
    weight_response: WeightResponse,
    pushes: Pushes,
) -> Float[np.ndarray, "... q _"]:
    """Covariances of z^t with z_*, z^0, ..., z^t (docs/theory.md#index-covariance, docs/theory.md#fresh-covariance).

    Parameters
    ----------
    effective_signal, weight_response : EffectiveSignal, WeightResponse
        Up to t.
    pushes : Pushes
        At the steps before t.

    Returns
    -------
    ndarray, shape (..., q, k + (t + 1) q)
        One beside the other.
    """
    with_fresh = carried_covariance(effective_signal) + noise_covariance(weight_response, pushes)
    with_indices = effective_signal.with_start.values[..., -1, :, with_fresh.shape[-2] :]
    return np.concatenate([with_indices, with_fresh], axis=-1)


def row_covariances(weight_response: WeightResponse, pushes: Pushes) -> Float[np.ndarray, "... B q q"]:
    """Conditional covariance of a first-layer row w at t, for each node (docs/theory.md#law-of-rows).

    Gradients push w~ = Lambda^(1/2) w, of which w is the eigenvalue's root less.

    Parameters
    ----------
    weight_response : WeightResponse
        Up to t.
    pushes : Pushes
        At the steps before t.

    Returns
    -------
    ndarray, shape (..., B, q, q)
    """
    present = _pushed(weight_response, slice(-1, None), len(pushes.noise))[..., 0, :, :, :]
    products = _with_pushes(weight_response, pushes) @ np.swapaxes(present, -1, -2)
    return products / weight_response.spectrum.nodes[:, None, None]


def _beside(blocks: Float[np.ndarray, "... s a b"]) -> Float[np.ndarray, "... a _"]:
    """Blocks one beside the other in one matrix."""
    *leading, count, rows, columns = blocks.shape
    return np.reshape(np.swapaxes(blocks, -3, -2), (*leading, rows, count * columns))


def _with_history(
    present: Float[np.ndarray, "... B q m"], history: Float[np.ndarray, "... s B q m"]
) -> Float[np.ndarray, "... q _"]:
    """Sum over nodes of the products of what is at t with what is at each s, transposed, one beside the other."""
    *leading, steps, nodes, q, columns = history.shape
    known = np.reshape(np.swapaxes(history, -3, -2), (*leading, steps * q, nodes * columns))
    return _beside(present) @ np.swapaxes(known, -1, -2)


def _pushed(weight_response: WeightResponse, iterations: slice, steps: int) -> Float[np.ndarray, "... s B q _"]:
    """r(s, b) at each node for some iterations s, those for b = 0, 1, ... before `steps` one beside the other."""
    values = weight_response.at_nodes.values[..., iterations, :steps, :, :, :]
    *leading, steps, nodes, q, _ = values.shape
    return np.reshape(np.moveaxis(values, -4, -2), (*leading, nodes, q, steps * q))


def _with_pushes(weight_response: WeightResponse, pushes: Pushes) -> Float[np.ndarray, "... B q _"]:
    """Sum over a < t of r(t, a) times the covariance of pushes at a and b, at each node, for one b beside another."""
    present = _pushed(weight_response, slice(-1, None), len(pushes.noise))[..., 0, :, :, :]
    *leading, nodes, q, pushing = present.shape
    half = np.reshape(np.reshape(present, (*leading, nodes * q, pushing)) @ pushes.gradients, present.shape)
    if pushes.noise.any():
        own = np.repeat(pushes.noise, q) / weight_response.spectrum.nodes[:, None]
        half += own[:, None, :] * present
    return half
