"""Scores averaged over label noise by formula, against the same averages over many draws of it, evenly spaced."""

import numpy as np
import pytest
from scipy import special

from sedyn import Problem
from sedyn.model.evaluation import sample_scores
from sedyn.model.label_laws import DrawnLabels, label_law, noise_variables
from sedyn.model.labels import label_noise, labels_of
from tests.helpers import assert_within_se

EVEN = (np.arange(2**16) + 0.5) / 2**16
LINEAR = {"n": 9, "d": 9, "width": 1, "depth": 1}
BINARY = {"labels": "binary", "link": "identity"}


def averaged(problem, h, indices, normals):
    """Scores at each of a few (h, z_*), averaged over labels drawn with each of many normals, and standard errors."""
    found = []
    for i in range(h.shape[1]):
        shape = (normals.shape[1],)
        y = labels_of(
            problem, np.broadcast_to(indices[:, [i]], (problem.signals, *shape)), label_noise(problem, normals)
        )
        outputs = np.broadcast_to(h[:, [i]], (h.shape[0], *shape))
        scores = sample_scores(problem, outputs, DrawnLabels(y), ())
        found.append((scores.mean(axis=-1), scores.std(axis=-1) / shape[0] ** 0.5))
    return np.moveaxis(found, 0, -1)


@pytest.mark.parametrize("noise_law", ["gaussian", "laplace", "student_t(9)"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"loss": "huber"},
        {"loss": "huber(0.3)", "noise": 1.4},
        {**BINARY, "loss": "logistic"},
        {**BINARY, "noise": 1.0},
        {**BINARY, "loss": "huber(0.7)"},
        {**BINARY, "loss": "absolute(0.2)"},
    ],
)
def test_losses_are_averages_over_the_noise(fields, noise_law):
    problem = Problem(**{**LINEAR, "noise": 0.6, "noise_law": noise_law, **fields})
    assert noise_variables(problem) == 0
    h, indices = np.random.default_rng(0).standard_normal((2, 1, 6))
    expected, _ = averaged(problem, h, indices, special.ndtri(EVEN)[None])
    found = sample_scores(problem, h, label_law(problem, indices, np.empty((0, 6))), ())
    np.testing.assert_allclose(found, expected, rtol=1e-4 if noise_law == "gaussian" else 4e-4)


@pytest.mark.parametrize("fields", [{**BINARY, "noise_law": "flip(0.2)"}, {**BINARY, "noise": 0.0}, {"noise": 0.0}])
def test_flips_and_no_noise(fields):
    problem = Problem(**{**LINEAR, **fields})
    h, indices = np.random.default_rng(0).standard_normal((2, 1, 6))
    expected, _ = averaged(problem, h, indices, special.ndtri(EVEN)[None])
    found = sample_scores(problem, h, label_law(problem, indices, np.empty((0, 6))), ())
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("fields", [{"noise": 0.8}, {"noise_law": "flip(0.3)"}, {"loss": "squared", "noise": 0.3}])
def test_scores_of_classes_are_averages_over_the_noise(fields):
    classes = {"labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "width": 3, "link": "identity"}
    problem = Problem(**{**LINEAR, **classes, **fields})
    assert noise_variables(problem) == 0
    h, indices = np.random.default_rng(0).standard_normal((2, 3, 4))
    normals = np.random.default_rng(1).standard_normal((3, 2**18))
    expected, error = averaged(problem, h, indices, normals)
    found = sample_scores(problem, h, label_law(problem, indices, np.empty((0, 4))), ())
    assert_within_se(found, expected, error, 3 / normals.shape[1])


def test_replicates_have_noise_of_their_own():
    problem = Problem(**LINEAR, loss="huber")
    h, indices = np.random.default_rng(0).standard_normal((2, 2, 1, 6))
    together = label_law(problem, indices, np.empty((2, 0, 6)), np.array([[[0.2]], [[0.9]]]))
    found = sample_scores(problem, h, together, ())
    for replicate, noise in enumerate((0.2, 0.9)):
        own = Problem(**LINEAR, loss="huber", noise=noise)
        alone = label_law(own, indices[replicate], np.empty((0, 6)))
        np.testing.assert_allclose(found[:, replicate], sample_scores(own, h[replicate], alone, ()), rtol=1e-13)


@pytest.mark.parametrize(
    "fields",
    [
        {"loss": "absolute(0.2)"},
        {"labels": "classes", "noise_law": "laplace", "outputs": 2, "signals": 2, "width": 2, "loss": "softmax"},
    ],
)
def test_noise_is_drawn_where_its_average_is_not_known(fields):
    problem = Problem(**{**LINEAR, "noise": 0.5, **fields})
    outputs = problem.outputs
    assert noise_variables(problem) == outputs
    indices, normals = np.random.default_rng(0).standard_normal((2, outputs, 5))
    known = label_law(problem, indices, normals)
    np.testing.assert_array_equal(known.labels, labels_of(problem, indices, label_noise(problem, normals)))
