"""The estimate by modes where curvatures differ from sample to sample (docs/theory.md#effective-curvature).

The modes of the features answer with one curvature for all samples. Where curvatures differ, as those of classes do
once most samples are far on the right side, their mean is too large: a sample of large curvature has more of it in its
own memory, and less in that of the others. The curvature that is taken makes both agree on average. It is sought of
the parts that are not negative, since a static limit has memories of these alone, and the others add their mean; where
it falls below zero and below the mean's lowest eigenvalue, memories would grow without end, and it is held there.
Samples have weights.

What samples keep is asked for of several iterations together, and only then are the modes moved: a few samples go
through all these steps while what they carry is in cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.estimate.by_modes import ByModes
from sedyn.estimate.rows import MODES, RowModes, modes_and_spectrum, row_scales
from sedyn.kernels.dispatch import mean_answer
from sedyn.kernels.program import MOST_UNITS
from sedyn.model.network import Derivatives
from sedyn.model.quadrature import SpectralMeasure, gauss_quadrature
from sedyn.model.update import Update

__all__ = ["Begun", "SelfConsistent", "effective_curvature", "seconds_of"]

# The effective curvature is found anew each time the iteration has grown by this share.
REFRESHED = 0.2
# Samples that it is found from, and the mean one is followed for, at least, where there are so many.
ENOUGH_SAMPLES = 128
TOGETHER = 8
"""Steps that modes take together, once it is asked what samples keep."""
# Eigenvalues of matrices to be inverted are held above this.
LEAST_LEFT = 0.01
# Nodes for the eigenvalues.
NODES = 16
# Rounds in which a start that has learned and the effective curvature agree.
ROUNDS_AT_START = 5
# Decay of what has none: outputs of classes may be shifted together, which changes nothing.
NEXT_TO_NO_DECAY = 1e-8


class Begun(NamedTuple):
    """What samples keep of themselves at a start that is a linear model's solution (docs/theory.md#linear-start).

    Attributes
    ----------
    units : slice
        Those of the linear model, C.
    kept : ndarray, shape (C, n)
        What each sample keeps of its own gradient.
    gradients : ndarray, shape (C, n)
        G_i, without the samples' weights.
    curvatures : ndarray, shape (C, C, n)
        D_i, likewise.
    weight_decay : float
        Of these units; biases have none.
    """

    units: slice
    kept: Float[np.ndarray, "C n"]
    gradients: Float[np.ndarray, "C n"]
    curvatures: Float[np.ndarray, "C C n"]
    weight_decay: float


class _Modes(NamedTuple):
    """What is carried from step to step.

    Attributes
    ----------
    own : ByModes
        Of features times the roots of the weights, with the effective curvature.
    by_mean : ByModes
        Of some of the samples, with the mean curvature.
    constant : ByModes
        Of pushes that stay the same, of each of q units for each of m nodes, q m of them, with the effective curvature.
    """

    own: ByModes
    by_mean: ByModes
    constant: ByModes

    @property
    def answers(self) -> Float[np.ndarray, "m q q"]:
        """What a constant push of a mode has left in it."""
        carried = self.constant.carried
        return np.moveaxis(carried.reshape(len(carried), -1, len(carried)), 1, 0)

    def with_answers(self, answers: Float[np.ndarray, "m q q"]) -> _Modes:
        """The same with other answers, which have been there before."""
        carried = np.ascontiguousarray(np.moveaxis(answers, 0, 1)).reshape(self.constant.carried.shape)
        return self._replace(constant=self.constant._replace(carried=carried, previous=carried))


class _Taken(NamedTuple):
    """What a step tells the modes: gradients, mean curvature and what the effective one is lower by, and the update."""

    gradient: Float[np.ndarray, "q n"]
    mean: Float[np.ndarray, "q q"]
    lowered: Float[np.ndarray, "q q"]
    update: Update


class _Stretch:
    """Steps that modes go through together, not before somebody asks what has come of them.

    Parameters
    ----------
    modes : _Modes
        Before these steps.
    weights : ndarray, shape (n,)
        Of the samples, by which gradients have been multiplied.
    taken : sequence of _Taken
    shorter : _Stretch, optional
        Its steps are the first of these, and of it somebody has asked already what constant pushes leave.
    """

    def __init__(
        self,
        modes: _Modes,
        weights: Float[np.ndarray, " n"],
        taken: Sequence[_Taken] = (),
        shorter: _Stretch | None = None,
    ) -> None:
        self.modes, self.weights, self.taken, self.shorter = modes, weights, taken, shorter

    def longer(self, one: _Taken) -> _Stretch:
        """Steps with one more; of so many as go together none is left, and they are the start of others."""
        if len(self.taken) == TOGETHER:
            return _Stretch(_Modes(self._own[0], self.by_mean, self._answered[1]), self.weights, (one,))
        shorter = self if "_answered" in vars(self) else self.shorter
        return _Stretch(self.modes, self.weights, (*self.taken, one), shorter)

    @property
    def kept(self) -> Float[np.ndarray, "iterations q n"]:
        """What samples keep before the first step and after each."""
        return self._own[1]

    @property
    def answers(self) -> Float[np.ndarray, "m q q"]:
        """What a constant push of a mode has left in it after the last step."""
        return self.modes._replace(constant=self._answered[1]).answers

    @cached_property
    def by_mean(self) -> ByModes:
        """Of some samples, with the mean curvature, after the last step."""
        if not self.taken:
            return self.modes.by_mean
        gradients = np.ascontiguousarray(self._gradients[..., _some(self.weights.size)])
        return self.modes.by_mean.move(gradients, np.stack([one.mean for one in self.taken]), self._updates)[0]

    @cached_property
    def _own(self) -> tuple[ByModes, Float[np.ndarray, "iterations q n"]]:
        before = self.modes.own
        if not self.taken:
            return before, before.kept[None]
        after, kept = before.move(self._gradients, self._answered[0], self._updates)
        return after, np.concatenate([before.kept[None], kept])

    @cached_property
    def _answered(self) -> tuple[Float[np.ndarray, "steps q q"], ByModes]:
        """The effective curvature of each step, and what constant pushes leave after the last."""
        before = self.modes.constant
        q, pushes = before.kept.shape
        known, before = (np.empty((0, q, q)), before) if self.shorter is None else self.shorter._answered
        others = self.taken[len(known) :]
        if not others:
            return known, before
        means = np.stack([one.mean for one in others])
        effective = _held(means - np.stack([one.lowered for one in others]), means)
        gradients = np.broadcast_to(_pushes_of_units(q, pushes), (len(others), q, pushes))
        after, _ = before.move(gradients, effective, [one.update for one in others])
        return np.concatenate([known, effective]), after

    @cached_property
    def _gradients(self) -> Float[np.ndarray, "steps q n"]:
        found = np.stack([one.gradient for one in self.taken])
        found /= self.weights
        return found

    @property
    def _updates(self) -> list[Update]:
        return [one.update for one in self.taken]


class SelfConsistent(NamedTuple):
    """An estimate by modes, what a push of every sample does to the others, and the curvature that both agree on.

    Attributes
    ----------
    stretch : _Stretch
        The modes, and steps that they have not taken yet.
    row_scales : ndarray, shape (n,)
        tau_i, see `sedyn.estimate.rows.row_scales`.
    weights : ndarray, shape (n,)
        Of the samples, with mean 1.
    spectrum : SpectralMeasure
        Nodes for the eigenvalues of the same features' Gram matrix over n; the weights add up to their number over n.
    lowered : ndarray, shape (q, q)
        The mean curvature less the effective one.
    iteration, refreshed_at : int
        t, and where the effective curvature was found last.
    beyond : ndarray, shape (q, n)
        What each sample keeps beyond what modes and one curvature say, as it was known at the start.
    beyond_mean : ndarray, shape (q, samples)
        The same of some of the samples, where it is the mean curvature.
    """

    stretch: _Stretch
    row_scales: Float[np.ndarray, " n"]
    weights: Float[np.ndarray, " n"]
    spectrum: SpectralMeasure
    lowered: Float[np.ndarray, "q q"]
    iteration: int
    refreshed_at: int
    beyond: Float[np.ndarray, "q n"]
    beyond_mean: Float[np.ndarray, "q samples"]

    @classmethod
    def begin(
        cls,
        features: Float[np.ndarray, "n d"],
        weights: Float[np.ndarray, " n"],
        units: int,
        *,
        centred: bool,
        begun: Begun | None = None,
    ) -> SelfConsistent:
        """Estimate before the first step.

        Parameters
        ----------
        features : ndarray, shape (n, d)
        weights : ndarray, shape (n,)
            With mean 1.
        units : int
            q.
        centred : bool
            As for `row_modes`.
        begun : Begun, optional
            Where some units have learned already.

        Returns
        -------
        SelfConsistent
        """
        weighted = features * np.sqrt(weights)[:, None]
        n, d = weighted.shape
        modes, eigenvalues = modes_and_spectrum(weighted, centred=centred, weights=weights)
        nodes, shares = gauss_quadrature(eigenvalues, NODES)
        scales, like, some = row_scales(weighted), np.empty((units, d)), _some(n)
        estimate = ByModes.begin(modes, scales, like)
        own = RowModes(modes.nodes[:, some].copy(), modes.weights[:, some].copy(), modes.centred)
        by_mean = ByModes.begin(own, scales[some], like)
        pushes = np.repeat(nodes, units)
        constant = ByModes.begin(RowModes(pushes[None], np.zeros((1, pushes.size))), np.ones(pushes.size), like)
        spectrum = SpectralMeasure(nodes, shares * (eigenvalues.size / n))
        stretch, lowered = _Stretch(_Modes(estimate, by_mean, constant), weights), np.zeros((units, units))
        whole = cls(stretch, scales, weights, spectrum, lowered, 0, 0, estimate.kept, by_mean.kept)
        return whole if begun is None else whole._after(begun)

    def _after(self, begun: Begun) -> SelfConsistent:
        """The same at the fixed point of its own recursion, and what the fixed point does not know of."""
        units, kept, gradients, curvatures, decay = begun
        mean = effective = (curvatures * self.row_scales).mean(axis=-1)
        identity, before = np.eye(len(mean)), self.stretch.modes
        nodes, shares = self.spectrum

        def answers_to(eigenvalues: np.ndarray, decays: float | np.ndarray, curvature: np.ndarray) -> np.ndarray:
            each = eigenvalues[..., None, None]
            return each * np.linalg.inv(each * curvature + np.asarray(decays)[..., None, None] * identity)

        for _ in range(ROUNDS_AT_START):
            total = np.tensordot(shares, answers_to(nodes, decay, effective), 1)
            effective = mean - self._lowered(curvatures[..., _some(self.weights.size)], total, effective)
        answers, lowered = before.answers.copy(), self.lowered.copy()
        answers[:, units, units] = -answers_to(nodes, decay, effective)
        lowered[units, units] = mean - effective
        decays = np.full(before.own.modes.nodes.shape, decay)
        if before.own.modes.centred:
            decays[-1] = NEXT_TO_NO_DECAY

        def placed(estimate: ByModes, curvature: np.ndarray, own: slice) -> tuple[ByModes, np.ndarray]:
            """Where a recursion stands, and what it does not know."""
            shapes = answers_to(estimate.modes.nodes.T, decays.T[own], curvature)  # (n, B, C, C)
            keeps = np.einsum("bi,ibce->ice", estimate.modes.weights, shapes)
            pushes = np.linalg.solve(identity - curvature @ keeps, gradients.T[own, :, None])
            carried, beyond = estimate.carried.copy(), np.zeros_like(estimate.kept)
            carried[units] = -np.moveaxis((shapes @ pushes[:, None])[..., 0], 2, 0).swapaxes(1, 2)
            known = (estimate.modes.weights * carried).sum(axis=-2)
            beyond[units] = kept[:, own] - known[units]
            return estimate._replace(carried=carried, previous=carried, kept=known), beyond

        estimate, beyond = placed(before.own, effective, slice(None))
        by_mean, beyond_mean = placed(before.by_mean, mean, _some(self.weights.size))
        modes = before._replace(own=estimate, by_mean=by_mean).with_answers(answers)
        known = self._replace(stretch=_Stretch(modes, self.weights), lowered=lowered)
        return known._replace(beyond=beyond, beyond_mean=beyond_mean)

    def _lowered(self, own: np.ndarray, kept: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Find what the effective curvature is lower by than the mean, from the curvatures of some of the samples."""
        shares = self.row_scales[_some(self.weights.size)]
        shares = shares / shares.mean()
        return own @ shares / shares.size - effective_curvature(own, shares, kept, start)

    def step(self, derivatives: Derivatives, update: Update) -> SelfConsistent:
        """Take in the derivatives at iteration t; see `Estimate.step`."""
        assert derivatives.curvature is not None  # wherever there is an estimate
        lowered, t, refreshed_at = self.lowered, self.iteration, self.refreshed_at
        mean = derivatives.curvature @ (self.row_scales / (self.weights.size * self.weights))
        if t >= self.refreshed_at * (1 + REFRESHED) and t > 0:
            kept = -np.tensordot(self.spectrum.weights, self.stretch.answers, 1)
            with suppress(np.linalg.LinAlgError):  # of a run that diverges
                some = _some(self.weights.size)
                own = np.ascontiguousarray(derivatives.curvature[..., some])
                lowered = self._lowered(own / self.weights[some], kept, _held(mean - lowered, mean))
            refreshed_at = t
        stretch = self.stretch.longer(_Taken(derivatives.gradient, mean, lowered, update))
        return self._replace(stretch=stretch, lowered=lowered, iteration=t + 1, refreshed_at=refreshed_at)

    def fresh_like(self, trained: Float[np.ndarray, "q n"]) -> Float[np.ndarray, "q n"]:
        """Pre-activations without what they keep of their own gradients; see `Estimate.fresh_like`."""
        return self.fresh_like_up_to_here([trained])[0]

    def fresh_like_up_to_here(self, trained: Sequence[Float[np.ndarray, "q n"]]) -> Float[np.ndarray, "iterations q n"]:
        """Do so for the last iterations, together.

        Parameters
        ----------
        trained : sequence of ndarray, shape (q, n)
            h of as many iterations, of which t is the last, since it `is_caught_up` before.

        Returns
        -------
        ndarray, shape (iterations, q, n)
        """
        found = np.stack(trained)
        found -= self.stretch.kept[-len(trained) :]
        found -= self.beyond
        return found

    @property
    def is_caught_up(self) -> bool:
        """Whether modes have taken all steps, once they are asked for; those of a next one are taken together later."""
        return len(self.stretch.taken) in (0, TOGETHER)

    def some_both_ways(
        self, trained: Float[np.ndarray, "q n"]
    ) -> tuple[slice, Float[np.ndarray, "q samples"], Float[np.ndarray, "q samples"]]:
        """Do so for some samples, and by the mean curvature: where it is another, neither is to be believed.

        Parameters
        ----------
        trained : ndarray, shape (q, n)

        Returns
        -------
        samples : slice
        own, by_mean : ndarray, shape (q, samples)
        """
        some = _some(self.weights.size)
        by_mean = trained[:, some] - self.stretch.by_mean.kept - self.beyond_mean
        return some, self.fresh_like(trained)[:, some], by_mean


def seconds_of(n: int, d: int, units: int, steps: int) -> float:
    """Seconds that an estimate adds to a descent on one core, about; benchmarks/results/estimate.md says how nearly.

    Parameters
    ----------
    n, d, units, steps : int
        n, d, q and T.

    Returns
    -------
    float
    """
    samples, smaller = len(range(n)[_some(n)]), min(n, d)
    found = float(min(steps, 1 / REFRESHED + np.log(max(1.0, steps * REFRESHED)) / np.log1p(REFRESHED)))
    compiled = units <= MOST_UNITS["cpu"]
    answer = 2.4e-9 * units**3 if compiled else 1.5e-7 * units**2 + 3e-10 * units**3  # of a sample
    step = 4.5e-4 + 1.9e-9 * (MODES + 1) * n * units**2
    return steps * step + found * samples * answer + 1e-10 * n * smaller**2


def _some(n: int) -> slice:
    """Enough of the samples."""
    return slice(None, None, max(1, n // ENOUGH_SAMPLES))


def effective_curvature(
    curvatures: Float[np.ndarray, "q q n"],
    shares: Float[np.ndarray, " n"],
    kept: Float[np.ndarray, "q q"],
    start: Float[np.ndarray, "q q"],
) -> Float[np.ndarray, "q q"]:
    """One curvature for all samples that does on average what theirs do (docs/theory.md#effective-curvature).

    Parameters
    ----------
    curvatures : ndarray, shape (q, q, n)
        D_i, of any sign.
    shares : ndarray, shape (n,)
        What each sample counts for, with mean 1: the row scales, times the weights.
    kept : ndarray, shape (q, q)
        What a sample keeps of a constant push, on average.
    start : ndarray, shape (q, q)
        What it was before, or nearly: from there one step of the fixed point is made. A second one moves estimates by a
        tenth of what a step more often does.

    Returns
    -------
    ndarray, shape (q, q)
        Of equal curvatures, these.
    """
    root, identity = _root(kept), np.eye(len(kept))
    memory = root @ _root_of_inverse(identity - root @ _symmetric(start) @ root, LEAST_LEFT)
    answer, negative = mean_answer(curvatures, shares, memory @ memory.T)
    answer = _symmetric(answer)
    outer = answer @ memory
    outer = outer @ _root_of_inverse(identity - memory.T @ outer, LEAST_LEFT / 2)
    return answer + outer @ outer.T + negative


@lru_cache(maxsize=16)
def _pushes_of_units(units: int, pushes: int) -> Float[np.ndarray, "q pushes"]:
    """One push of each unit after another, as often as there are nodes."""
    found = np.tile(np.eye(units), pushes // units)
    found.flags.writeable = False
    return found


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + np.swapaxes(matrix, -1, -2)) / 2


def _held(effective: Float[np.ndarray, "... q q"], mean: Float[np.ndarray, "... q q"]) -> Float[np.ndarray, "... q q"]:
    """Curvature with eigenvalues held above the lowest of the mean, or above zero if that is less.

    Where either is not finite, of a run that diverges, nothing is held.
    """
    finite = np.isfinite(effective).all(axis=(-2, -1)) & np.isfinite(mean).all(axis=(-2, -1))
    own = effective if finite.all() else np.where(finite[..., None, None], effective, 0.0)
    try:
        values, vectors = np.linalg.eigh(own)
        if not (negative := values[..., 0] < 0).any():
            return effective
        least = np.zeros(values.shape[:-1])
        least[negative] = np.linalg.eigvalsh(mean[negative])[..., 0].clip(max=0.0)
    except np.linalg.LinAlgError:
        return effective
    held = np.matmul(vectors * np.maximum(values, least[..., None])[..., None, :], np.swapaxes(vectors, -1, -2))
    return np.where((values[..., 0] < least)[..., None, None], held, effective)


def _root(matrix: Float[np.ndarray, "q q"]) -> Float[np.ndarray, "q q"]:
    """Square root of the positive part of a symmetric matrix."""
    values, vectors = np.linalg.eigh(_symmetric(matrix))
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _root_of_inverse(matrix: Float[np.ndarray, "q q"], least: float) -> Float[np.ndarray, "q q"]:
    """What times its transpose is the inverse of a symmetric matrix, eigenvalues held above a number."""
    values, vectors = np.linalg.eigh(_symmetric(matrix))
    return vectors / np.sqrt(np.maximum(values, least))
