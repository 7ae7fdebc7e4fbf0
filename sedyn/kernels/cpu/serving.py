"""What compiled kernels serve, told to the dispatcher; they and the compiler are loaded when one is first called."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sedyn.arrays.backend import Array
from sedyn.kernels import dispatch
from sedyn.kernels.program import MOST_UNITS, form_of, program_with_form
from sedyn.model.algorithm import Descent, Path
from sedyn.model.functions import ACTIVATIONS, LOSSES, Loss
from sedyn.model.label_laws import LabelLaw, SomeLabels
from sedyn.model.layers import Stack
from sedyn.model.network import DeepWeights, Derivatives, Network
from sedyn.model.noise import largest_with_normal_noise
from sedyn.model.problem import Problem
from sedyn.model.update import Update

if TYPE_CHECKING:
    from sedyn.arrays.revealing import Side
    from sedyn.kernels.cpu.samples import StoredSamples

NETWORK = pathlib.Path(__file__).with_name("functions.py")
# How the source writes what it has.
FORMS = {"activation": r"def _activate_(\w+)\(", "loss": r"def _lose_(\w+)\("}
for registry in (ACTIVATIONS, LOSSES):
    dispatch.require_form(registry, "compiled", NETWORK, FORMS[registry.kind])


def _in_double_precision(curvatures: Array, weight_response: Array) -> bool:
    return isinstance(curvatures, np.ndarray) and curvatures.dtype == np.float64


def _mean_response(curvatures: Array, weight_response: Array) -> Array:
    from sedyn.kernels.cpu import response

    return response.mean_response(curvatures, weight_response)


def _revealing_product(vectors: Array, own: Side, other: Side) -> Array:
    from sedyn.kernels.cpu import revealing

    return revealing.revealing_product(vectors, own, other)


def _stored_samples(matrix: Array, dtype: np.dtype) -> StoredSamples:
    from sedyn.kernels.cpu import samples

    return samples.StoredSamples(matrix, dtype)


def _descend_each(matrices: Array, weights: Array, network: Network, scale: float, *, curvature: bool) -> Any:
    from sedyn.kernels.cpu import samples

    return samples.descend_each(matrices, weights, network, scale, curvature=curvature)


def _descend_path(matrices: Array, scale: float, descent: Descent) -> Path | None:
    from sedyn.kernels.cpu import replicates

    return replicates.descend_path(matrices, scale, descent)


def _remove_own_gradients(path: Path, nodes: Array, shares: Array, delta: float, updates: Sequence[Update]) -> Array:
    from sedyn.kernels.cpu import replicates

    return replicates.remove_own_gradients(path, nodes, shares, delta, updates)


def _average_scores(
    layers: Stack, loss: Loss, roots: Array, deep: DeepWeights, normals: Array, labels: SomeLabels, weights: Array
) -> Array | None:
    from sedyn.kernels.cpu import replicates

    return replicates.average_scores(layers, loss, roots, deep, normals, labels, weights)


def _stretched_points(words: Array, samples: int, stretched: int, factor: float) -> tuple[Array, Array]:
    from sedyn.kernels.cpu import points

    return points.stretched_points(words, samples, stretched, factor)


def _is_of_noisy_classes(problem: Problem, indices: Array, normals: Array, deviation: Array | None = None) -> bool:
    of_normal_noise = problem.label_noise_law.family.largest is largest_with_normal_noise
    return problem.labels == "classes" and of_normal_noise and _in_numbers(indices)


def _law_of_noisy_classes(problem: Problem, indices: Array, normals: Array, deviation: Array | None = None) -> LabelLaw:
    from sedyn.kernels.cpu import largest

    return largest.law_of_noisy_classes(problem, indices, normals, deviation)


def _row_moments(weights: Array, start: Array, scales: Array) -> Array:
    from sedyn.kernels.cpu import rows

    return rows.row_moments(weights, start, scales)


def _moves(
    nodes: Array,
    weights: Array,
    decaying: int,
    carried: Array,
    previous: Array,
    kept: Array,
    gradients: Array,
    curvatures: Array,
    updates: Sequence[Update],
) -> bool:
    one_rate_for_all = not any(isinstance(update.learning_rate, np.ndarray) for update in updates)
    return _in_numbers(carried) and one_rate_for_all and carried.shape[-3] <= MOST_UNITS["cpu"]


def _move_modes(
    nodes: Array,
    weights: Array,
    decaying: int,
    carried: Array,
    previous: Array,
    kept: Array,
    gradients: Array,
    curvatures: Array,
    updates: Sequence[Update],
) -> tuple[Array, Array, Array]:
    from sedyn.kernels.cpu import modes

    return modes.move_modes(nodes, weights, decaying, carried, previous, kept, gradients, curvatures, updates)


def _answers(curvatures: Array, shares: Array, kept: Array) -> bool:
    return _in_numbers(curvatures) and curvatures.shape[0] <= MOST_UNITS["cpu"]


def _mean_answer(curvatures: Array, shares: Array, kept: Array) -> tuple[Array, Array]:
    from sedyn.kernels.cpu import modes

    return modes.mean_answer(curvatures, shares, kept)


def _quadratures(eigenvalues: np.ndarray, shares: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    from sedyn.kernels.cpu import modes

    return modes.quadratures(eigenvalues, shares, count)


def _has_form(h: Array, network: Network, *, curvature: bool = True) -> bool:
    return _in_numbers(h) and form_of(network, h.shape[-2], "cpu") is not None


def _differentiate(h: Array, network: Network, *, curvature: bool = True) -> Derivatives:
    from sedyn.kernels.cpu import several

    return several.differentiate(h, network, curvature=curvature)


def _goes_forward(h: Array, deep: DeepWeights, layers: Stack) -> bool:
    return _in_numbers(h) and program_with_form(layers, h.shape[-2], "cpu") is not None


def _forward(h: Array, deep: DeepWeights, layers: Stack) -> Array:
    from sedyn.kernels.cpu import several

    program = program_with_form(layers, h.shape[-2], "cpu")
    assert program is not None  # or this is not called
    return several.forward(program, h, deep)


def _in_numbers(h: Array) -> bool:
    return isinstance(h, np.ndarray) and h.dtype == np.float64


dispatch.forward.register(_goes_forward, _forward)
dispatch.differentiate.register(_has_form, _differentiate)
dispatch.mean_response.register(_in_double_precision, _mean_response)
dispatch.descend_each.register(lambda matrices, *_, curvature: isinstance(matrices, np.ndarray), _descend_each)
dispatch.descend_path.register(lambda matrices, *_: isinstance(matrices, np.ndarray), _descend_path)
dispatch.remove_own_gradients.register(lambda path, *_: _in_numbers(path.trained), _remove_own_gradients)
dispatch.average_scores.register(lambda layers, loss, roots, *_: _in_numbers(roots), _average_scores)
dispatch.stretched_points.register(lambda words, *_, **__: isinstance(words, np.ndarray), _stretched_points)
dispatch.label_law.register(_is_of_noisy_classes, _law_of_noisy_classes)
dispatch.row_moments.register(lambda weights, *_: _in_numbers(weights), _row_moments)
dispatch.revealing_product.register(lambda vectors, own, other: isinstance(vectors, np.ndarray), _revealing_product)
dispatch.stored_samples.register(lambda matrix, dtype: isinstance(matrix, np.ndarray), _stored_samples)
dispatch.move_modes.register(_moves, _move_modes)
dispatch.mean_answer.register(_answers, _mean_answer)
dispatch.quadratures.register(lambda eigenvalues, shares, count: _in_numbers(shares), _quadratures)
