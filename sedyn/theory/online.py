"""One pass over the data in ever smaller batches: closed differential equations (docs/theory.md#online).

Where batches get small no sample meets what it has taught: a batch is as good as fresh samples, and the overlaps of the
weights with themselves and with the signals are all that matters. Nothing here is shared with the state evolution but
the network itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sedyn.arrays.backend import Array
from sedyn.arrays.points import matched_normals, sobol_uniforms
from sedyn.arrays.roots import psd_root
from sedyn.arrays.shapes import Float
from sedyn.checks import SEED, checked, whole
from sedyn.errors import InvalidInput, require_whole
from sedyn.kernels.dispatch import differentiate, label_law
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.evaluation import mean_scores, score_names, silent_weights
from sedyn.model.initialization import initial_overlaps
from sedyn.model.labels import label_noise, labels_of
from sedyn.model.network import DeepWeights, Network
from sedyn.model.observables import pad_deep_weights, parts_of, predicted, stack_records, to_dataset
from sedyn.model.problem import A_PROBLEM, Problem
from sedyn.model.quadrature import SpectralMeasure, gauss_quadrature
from sedyn.model.seeds import randomization_seeds
from sedyn.model.update import Update, updates_of
from sedyn.theory.inputs import RANDOMIZATIONS
from sedyn.theory.silence import silent_score
from sedyn.theory.weight_side import averaged
from sedyn.versions import versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["online_limit"]

# Of the data in a step of the solver, at most; its error is the fourth power of a step.
STEP = 1 / 64
# Of a spectrum with many eigenvalues.
NODES = 16
# More than these would save nothing: the error of the average is far below that of any run.
MOST_SAMPLES = 2**20


@checked(problem=A_PROBLEM, samples=whole(1, condition="a power of two"), randomizations=RANDOMIZATIONS, seed=SEED)
def online_limit(problem: Problem, samples: int = 2**14, randomizations: int = 8, seed: int = 0) -> xr.Dataset:
    """Solve the limit of one pass over the data as batches get small, by rates of the data seen.

    Parameters
    ----------
    problem : Problem
        With ``batching='one_pass'``. Its steps say at which shares of the data the solution is wanted, and learning
        rates over its batch share are those of the data seen.
    samples : int, optional
        Quadrature points of one randomization, a power of two.
    randomizations : int, optional
        Independent ones; they give the standard error.
    seed : int, optional
        Base seed.

    Returns
    -------
    xarray.Dataset
        Of `sedyn.state_evolution`, as far as the limit has them: `test_error` (`test_error_rate`), `signal_overlap`,
        `weight_gram`, `deep_weights` (`biases`), and ``<name>_stderr`` of each.

    Raises
    ------
    InvalidInput
        If batches are others or an argument is out of range.

    Notes
    -----
    Source: docs/theory.md#online; Saad and Solla (1995), Collins-Woodfin et al. (arXiv 2308.08977).

    Examples
    --------
    >>> problem = Problem(steps=4, epochs=1, batching="one_pass")
    >>> online_limit(problem, samples=1024, randomizations=2).test_error.dims
    ('iteration',)
    """
    if problem.batching != "one_pass":
        raise InvalidInput(
            "batching", problem.batching, "samples that come again have no closed equations; use one_pass"
        )
    least = 2 ** _dimensions(problem).bit_length()
    condition = f"a power of two, from {least} for this width to {MOST_SAMPLES}"
    require_whole("samples", samples, least, MOST_SAMPLES, condition=condition)
    if samples & (samples - 1):
        raise InvalidInput("samples", samples, condition)
    solutions = [
        _solve(problem, _draw(problem, samples, stream))
        for stream in randomization_seeds(problem, seed, randomizations)
    ]
    arrays = {}
    for name in solutions[0]:
        values = np.stack([solution[name] for solution in solutions])
        arrays[name] = values.mean(axis=0)
        arrays[name + "_stderr"] = values.std(axis=0, ddof=1) / math.sqrt(randomizations)
    attributes = {"samples": samples, "randomizations": randomizations, "seed": seed, **versions()}
    known = predicted(parts_of(problem))
    return to_dataset(problem, arrays, {name: known[name] for name in arrays}, attributes=attributes)


class _Point(NamedTuple):
    """What changes with the data seen, or its derivative.

    Attributes
    ----------
    overlaps : ndarray, shape (B, q + k, q + k)
        Gram matrix of [w~, mu~] at each spectral node.
    deep_weights : tuple of ndarray
        V.
    """

    overlaps: Float[np.ndarray, "B qk qk"]
    deep_weights: DeepWeights

    def along(self, slope: _Point, distance: float) -> _Point:
        """Go straight on."""
        deep = zip(self.deep_weights, slope.deep_weights, strict=True)
        return _Point(self.overlaps + distance * slope.overlaps, tuple(w + distance * dw for w, dw in deep))


class _Draws(NamedTuple):
    """Standard normals of representative samples: of [z, z_*], shape (q + k, N); and of label noise, (C, N)."""

    projections: Float[np.ndarray, "qk N"]
    normals: Float[np.ndarray, "C N"]


def _draw(problem: Problem, samples: int, seed: np.random.SeedSequence) -> _Draws:
    normals = matched_normals(sobol_uniforms(seed, _dimensions(problem), samples))
    noise, projections = normals[: problem.outputs, :], normals[problem.outputs :, :]
    return _Draws(projections, noise)


def _dimensions(problem: Problem) -> int:
    """Normal variables of a sample."""
    return problem.outputs + problem.units + problem.signals


def _solve(problem: Problem, draws: _Draws) -> dict[str, Array]:
    """Integrate by the classical method of Runge and Kutta; observables at every iteration."""
    spectrum = gauss_quadrature(problem.eigenvalues, NODES)
    point = _Point(spectrum.nodes[:, None, None] * initial_overlaps(problem), initial_deep_weights(problem))
    records = [_observe(problem, draws, spectrum, point)]
    parts = math.ceil(problem.batch_share / STEP)
    length = problem.batch_share / parts
    for update in updates_of(problem):
        for _ in range(parts):
            first = _slope(problem, draws, spectrum, point, update)
            second = _slope(problem, draws, spectrum, point.along(first, length / 2), update)
            third = _slope(problem, draws, spectrum, point.along(second, length / 2), update)
            fourth = _slope(problem, draws, spectrum, point.along(third, length), update)
            for slope, weight in ((first, 1), (second, 2), (third, 2), (fourth, 1)):
                point = point.along(slope, weight * length / 6)
        records.append(_observe(problem, draws, spectrum, point))
    return stack_records(records)


def _fresh(
    problem: Problem, draws: _Draws, spectrum: SpectralMeasure, point: _Point
) -> tuple[Float[np.ndarray, "qk N"], Float[np.ndarray, "C N"], Float[np.ndarray, "qk qk"]]:
    """[z, z_*] and labels of fresh samples, and what turns moments with [z, z_*] into coefficients of [w~, mu~]."""
    root, inverse = psd_root(averaged(spectrum, point.overlaps))
    projections = root @ draws.projections
    return (
        projections,
        labels_of(problem, projections[problem.units :, :], label_noise(problem, draws.normals)),
        inverse @ inverse,
    )


def _slope(problem: Problem, draws: _Draws, spectrum: SpectralMeasure, point: _Point, update: Update) -> _Point:
    """Derivative by the share of the data seen (docs/theory.md#online)."""
    q, nodes, deep = problem.units, spectrum.nodes[:, None, None], point.deep_weights
    # A kick lasts, by momentum, for a share of the data that vanishes.
    rate, deep_rate = (
        each / (1 - update.momentum) / problem.batch_share for each in (update.learning_rate, update.deep_learning_rate)
    )
    projections, labels, inverse = _fresh(problem, draws, spectrum, point)
    found = differentiate(projections[:q, :], Network.of(problem, deep, labels), curvature=False)
    gradient, samples = found.gradient, labels.shape[-1]
    drift = np.zeros_like(point.overlaps)
    drift[:, :q, :] = nodes * (gradient @ projections.T / samples @ inverse)
    drift[:, range(q), range(q)] += update.weight_decay
    moved = drift @ point.overlaps
    slope = -rate * (moved + np.swapaxes(moved, 1, 2))
    kicks = gradient @ gradient.T / samples * nodes * rate / float(problem.aspect_ratio)
    heat = 2 * update.temperature / (1 - update.momentum) * np.eye(q)
    slope[:, :q, :q] += rate * nodes * (kicks + heat)
    if problem.train == "first":
        return _Point(slope, tuple(np.zeros_like(weights) for weights in deep))
    layers = zip(found.deep_gradient, deep, strict=True)
    return _Point(slope, tuple(-deep_rate * (each + update.weight_decay * weights) for each, weights in layers))


def _observe(
    problem: Problem, draws: _Draws, spectrum: SpectralMeasure, point: _Point
) -> dict[str, Float[Array, "..."]]:
    q, overlaps = problem.units, averaged(spectrum, point.overlaps)
    projections, _, _ = _fresh(problem, draws, spectrum, point)
    h, labels = projections[:q, :], label_law(problem, projections[q:, :], draws.normals)
    weights = silent_weights(problem, labels, silent_score(problem), h[0, :])
    means = mean_scores(problem, h, labels, point.deep_weights, weights)
    scores = zip(score_names(problem), means, strict=True)
    return {
        **{f"test_{name}": score for name, score in scores},
        "signal_overlap": overlaps[:q, q:],
        "weight_gram": overlaps[:q, :q],
        **pad_deep_weights(problem, point.deep_weights, h),
    }
