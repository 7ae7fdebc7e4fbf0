import numpy as np
import pytest

from sedyn.kernels.cpu import response
from sedyn.kernels.dispatch import mean_response
from sedyn.model import adjoint


def random_recursion(iterations, q, samples, seed=0):
    rng = np.random.default_rng(seed)
    curvatures = rng.standard_normal((iterations, q, q, samples)) / np.sqrt(q)
    curvatures = (curvatures + np.swapaxes(curvatures, 1, 2)) / 2
    weight_response = rng.standard_normal((iterations, iterations, q, q)) / iterations
    weight_response[np.triu_indices(iterations)] = 0
    return curvatures, weight_response


def forward_jacobians(curvatures, weight_response):
    """dg^t/dz^s for every s, carried forward: O(T^2 q^2) numbers a sample (docs/theory.md#forward-response)."""
    iterations, q, _, samples = curvatures.shape
    jacobians = np.zeros((iterations, iterations, q, q, samples))
    for t in range(iterations):
        for s in range(t + 1):
            inner = np.einsum("rab,rbcN->acN", weight_response[t, s:t], jacobians[s:t, s])
            if s == t:
                inner = inner + np.eye(q)[:, :, None]
            jacobians[t, s] = np.einsum("abN,bcN->acN", curvatures[t], inner)
    return jacobians[-1].mean(axis=-1)


FORMS = [mean_response, mean_response.definition]
SIZES = [(1, 1, 3), (2, 3, 5), (9, 2, 40), (20, 3, 33), (7, 5, 100)]


def assert_same(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-13 * np.abs(expected).max(), rtol=0)


@pytest.mark.parametrize("mean", FORMS, ids=["chosen", "definition"])
@pytest.mark.parametrize(("iterations", "q", "samples"), SIZES)
def test_adjoint_is_the_forward_jacobian(mean, iterations, q, samples, monkeypatch):
    monkeypatch.setattr(adjoint, "SAMPLES_PER_CHUNK", 16)
    monkeypatch.setattr(response, "SAMPLES", 64)
    curvatures, weight_response = random_recursion(iterations, q, samples)
    assert_same(mean(curvatures, weight_response), forward_jacobians(curvatures, weight_response))


@pytest.mark.parametrize("block", [1, 3, 8, 50])
def test_blocking_changes_nothing(block, monkeypatch):
    curvatures, weight_response = random_recursion(17, 2, 30)
    expected = mean_response(curvatures, weight_response)
    monkeypatch.setattr(adjoint, "ITERATIONS_PER_BLOCK", block)
    assert_same(adjoint.mean_response(curvatures, weight_response), expected)


@pytest.mark.parametrize("mean", FORMS, ids=["chosen", "definition"])
def test_replicates_are_apart(mean):
    """A replicate is the same among others, and where the past fills only a part of what is reserved for it."""
    pairs = [random_recursion(6, 3, 700, seed) for seed in range(3)]
    reserved = np.full((3, 9, 3, 3, 700), np.nan)
    reserved[:, :6] = [curvatures for curvatures, _ in pairs]
    together = mean(reserved[:, :6], np.stack([weight_response for _, weight_response in pairs]))
    assert together.shape == (3, 6, 3, 3)
    for found, (curvatures, weight_response) in zip(together, pairs, strict=True):
        alone = mean(curvatures, weight_response)
        assert_same(found, alone)
        if mean is mean_response:
            np.testing.assert_array_equal(found, alone)
