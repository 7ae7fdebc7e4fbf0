"""Kernels of what is small beside a descent, without a GPU: first-layer rows, points and roots, run on the host."""

import numpy as np
import pytest

from sedyn import Problem
from sedyn.arrays import backend, roots
from sedyn.arrays import points as definitions
from sedyn.kernels import dispatch
from sedyn.kernels.cuda import paths, points, rows
from sedyn.model import row_averages
from sedyn.model.evaluation import error_over_shifts
from sedyn.model.initialization import bounds_of_groups, initial_overlaps, initial_weights_and_signals


@pytest.fixture
def here(monkeypatch):
    """Room and constants of a GPU are numpy's."""
    monkeypatch.setattr(backend, "asarray", lambda array, device: np.array(array))
    monkeypatch.setattr(backend, "empty", lambda shape, device, dtype="float64": np.full(shape, np.nan, dtype))


# Features whose number is and is not a multiple of a block's threads, alone and in groups of equal or neighbouring
# eigenvalues; as few as rows; all widths that a thread has rows for.
@pytest.mark.parametrize(
    "fields",
    [
        {"d": 700},
        {"d": 300, "covariance": "power_law(0.4)"},
        {"d": 4, "n": 5},
        {"d": 64, "width": 8, "signals": 4, "init_overlap": 0.3, "signal_norm": 2.0},
        {"d": 33, "width": 1, "depth": 2, "init_overlap": 0.5},
    ],
)
@pytest.mark.usefixtures("here")
def test_rows_start_where_the_definition_has_them(on_host, fields):
    problem = Problem(**{"n": 400, "width": 3, **fields})
    count = problem.units + problem.signals
    normals = np.random.default_rng(0).standard_normal((3, count, problem.d))
    found = on_host(dispatch.initial_weights_and_signals, problem, normals)
    assert on_host.launches == ["starting_rows"]
    np.testing.assert_allclose(found, initial_weights_and_signals(problem, normals), rtol=0, atol=1e-12)
    np.testing.assert_allclose(found @ found.swapaxes(1, 2) / problem.d, [initial_overlaps(problem)] * 3, atol=1e-13)


def test_groups_of_features_cover_them_and_have_enough_each():
    for fields in ({"d": 700}, {"d": 300, "covariance": "power_law(0.4)"}, {"d": 4, "n": 5}):
        bounds = bounds_of_groups(Problem(**{"n": 400, "width": 3, **fields}))
        assert (bounds[0], bounds[-1]) == (0, fields["d"])
        assert min(np.diff(bounds)) >= 4


@pytest.mark.parametrize("iterations", [None, 1, 3])
@pytest.mark.parametrize(("width", "signals", "d"), [(1, 1, 5), (3, 1, 64), (2, 3, 301), (8, 4, 100)])
def test_row_moments(on_host, width, signals, d, iterations):
    rng, leading = np.random.default_rng(d), (2,) if iterations is None else (2, iterations)
    weights, scales = rng.standard_normal((*leading, width, d)), rng.uniform(0.5, 2, d)
    if iterations:  # as a path has them: iterations in front
        weights = np.moveaxis(np.ascontiguousarray(np.moveaxis(weights, 1, 0)), 0, 1)
    start = rng.standard_normal((2, *leading[1:1], *(1,) * (len(leading) - 1), width + signals, d))
    found = on_host(dispatch.row_moments, weights, start, scales)
    assert on_host.launches == ["row_moments"]
    expected = row_averages.row_moments(weights, start, scales)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(("dimensions", "samples", "stretched"), [(1, 128, 1), (4, 512, 1), (5, 256, 2), (16, 64, 0)])
@pytest.mark.usefixtures("here")
def test_points(on_host, dimensions, samples, stretched):
    words = np.random.default_rng(samples).integers(0, 2**64, (3, 2, dimensions), np.uint64)
    words[0, 0] = 2**64 - 1
    words[0, 1] = 0
    found = on_host(points.stretched_points, words, samples, stretched, 1.5)
    assert on_host.launches == ["stretched_points"]
    expected = definitions.stretched_points(words, samples, stretched, 1.5)
    for own, same in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, same, rtol=1e-11, atol=1e-11 * np.abs(same).max())
    normals, weights = found
    np.testing.assert_allclose(np.sum(weights, axis=-1), 1, rtol=1e-13)
    np.testing.assert_allclose(np.sum(weights[:, :, None] * normals, axis=-1), 0, atol=1e-13)
    gram = (weights[:, :, None] * normals) @ normals.swapaxes(-1, -2)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(dimensions), gram.shape), atol=1e-12)


@pytest.mark.parametrize(("size", "leading"), [(1, (3,)), (4, (5, 40)), (9, (70,)), (16, ())])
def test_causal_roots(on_host, size, leading):
    factors = np.random.default_rng(size).standard_normal((*leading, size, size + 2))
    covariances = factors @ factors.swapaxes(-1, -2)
    if size > 1 and leading:
        covariances[0] = 0  # nothing varies
        covariances[1] = np.ones((size, size))  # all is the same, to rounding
        covariances[1, ..., 0, 1] += 1e-15
    found = on_host(points.causal_root, covariances)
    assert on_host.launches == ["causal_root"]
    expected = roots.causal_root(covariances)
    if size > 1 and leading:
        # What is left of a variance there is the share it was raised by, to rounding: its root is 1e-6 +- 1e-10.
        bound = size * np.finfo(float).eps / np.sqrt(roots.NEGLIGIBLE_VARIANCE)
        np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=bound)
        found[1], expected[1], covariances[1] = 0, 0, 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.sqrt(np.abs(covariances).max()))
    product = found @ found.swapaxes(-1, -2)
    np.testing.assert_allclose(product, covariances, rtol=0, atol=1e-11 * np.abs(covariances).max())


@pytest.mark.parametrize("more", [0.25, np.array([0.0, 0.5, 2.0])], ids=["of all", "of each"])
def test_errors_over_shifts(on_host, more):
    losses = np.random.default_rng(0).exponential(size=(3, 100, 2))
    found = on_host(paths.error_over_shifts, losses, more)
    assert on_host.launches == ["error_over_shifts"]
    expected = error_over_shifts(losses, more)
    each = 2 * (losses + np.reshape(more, (-1, 1, 1)))
    np.testing.assert_allclose(expected[1], np.abs(each[..., 0] - each[..., 1]) / 2, rtol=1e-12)
    for own, same in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, same, rtol=1e-13)


def test_they_leave_alone_what_they_do_not_have(monkeypatch):
    monkeypatch.setattr(backend, "on_cuda", lambda x: True)
    operation, normals = dispatch.initial_weights_and_signals, np.zeros((2, 4, 200))
    for fields, array, served in (
        ({}, normals, True),
        ({"initialization": "random"}, normals, False),
        ({}, normals.astype(np.float32), False),
        ({}, normals[:, :, ::2], False),
        ({"width": 12}, np.zeros((2, 13, 200)), False),
    ):
        chosen = operation.chosen(Problem(n=400, d=array.shape[-1], **fields), array)
        assert (chosen is rows.initial_weights_and_signals) == served
    for q, served in ((16, True), (17, False)):
        root, spread = dispatch.causal_root, dispatch.stretched_points
        assert (root.chosen(np.zeros((q, q))) is points.causal_root) == served
        words = np.zeros((1, 1, q), np.uint64)
        assert (spread.chosen(words, 8, 1, 1.5) is points.stretched_points) == served
    weights, scales = np.zeros((2, 9, 30)), np.ones(30)
    assert dispatch.row_moments.chosen(weights, np.zeros((2, 10, 30)), scales) is not rows.row_moments
